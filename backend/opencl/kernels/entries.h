#pragma once

#include "backend/opencl/kernels.h"

namespace v4rt {

extern const OpenclEntry kOpenclEmbedRows, kOpenclTakeLast, kOpenclAddStreams;
extern const OpenclEntry kOpenclLinear, kOpenclRmsNorm, kOpenclHeadRms, kOpenclRopeTail, kOpenclFakeQuant,
    kOpenclHadamard;
extern const OpenclEntry kOpenclRingAppend, kOpenclRingRead, kOpenclCompressPool, kOpenclIndexSelect, kOpenclAttend,
    kOpenclAttendWide;
extern const OpenclEntry kOpenclHcPre, kOpenclHcPost, kOpenclHcHead;
extern const OpenclEntry kOpenclRouteTopK, kOpenclRouteHash, kOpenclSwiglu, kOpenclMoeGateUp, kOpenclMoeDown,
    kOpenclMoeDownParts, kOpenclMoeSum;
extern const OpenclEntry kOpenclRepack, kOpenclCustom;
extern const OpenclEntry kOpenclLinearClblast, kOpenclMoeGateUpClblast, kOpenclMoeDownClblast;  // of a library

}  // namespace v4rt
