#pragma once

// Everything that a C++ program needs: open_checkpoint, Model, Session, Tokenizer, Sampler, generate.
// examples/minimal.cc shows the way from a path to text.

#include "backend/registry.h"
#include "graph/plan/plan.h"
#include "graph/runtime/generate.h"
#include "graph/runtime/model.h"
#include "graph/runtime/session.h"
#include "loaders/checkpoint/checkpoint.h"
#include "loaders/text/chat_encoding.h"
#include "loaders/text/tokenizer.h"
