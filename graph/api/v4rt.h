/* v4rt, the C interface (C11).
 *
 *   v4rt_model* model;
 *   if (v4rt_model_open("models/v4", NULL, &model) != V4RT_OK) puts(v4rt_last_error());
 *
 * Rules that hold for every function:
 *  - It returns a status; v4rt_last_error() then says what happened: the thing, the fact and the way out. No exception,
 *    abort or crash comes out of a bad argument: NULL where something is needed is V4RT_INVALID_ARGUMENT.
 *  - Results are written through the last pointers, only on V4RT_OK unless said otherwise.
 *  - Structures begin with struct_size = sizeof(the structure), and have no padding. New fields are added at the end,
 *    where zero means what it meant before: a program works with a newer library, whose results are cut to what the
 *    program knows. With an older one it works as long as it leaves the fields zero that the library does not know;
 *    otherwise the call is V4RT_UNSUPPORTED. In options, zero means the default; NULL options mean all defaults.
 *  - Whatever *_open gives is closed with *_close, which takes NULL. A handle keeps what it needs alive, so handles may
 *    be closed in any order. Texts and arrays that a function allocates are freed with v4rt_free.
 *  - A model, a tokenizer and an engine may be used from many threads; all else from one thread at a time.
 *  - After fork() the child calls exec or _exit, and nothing here: threads are not copied, and sessions of several
 * slots keep sequences in memory that it shares with its parent.
 *  - Text is UTF-8, with lengths in bytes; it need not end in a zero byte. Paths, names and patterns do.
 *  - Callbacks return 1 to go on and 0 to stop; the call that stops is V4RT_CANCELLED. They must return: not by
 * longjmp, not by an exception.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Of this header; v4rt_version() is that of the library. Until 1.0 a new minor version may change what is here. */
#define V4RT_VERSION_MAJOR 0
#define V4RT_VERSION_MINOR 1
#define V4RT_VERSION_PATCH 0

#if defined(__GNUC__)
#define V4RT_API __attribute__((visibility("default")))
#else
#define V4RT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum v4rt_status {
  V4RT_OK = 0,
  V4RT_INVALID_ARGUMENT = 1, /* the call has no meaning */
  V4RT_NOT_FOUND = 2,        /* a file, a tensor, a device that is not there */
  V4RT_CORRUPT = 3,          /* data that contradicts itself or its format */
  V4RT_UNSUPPORTED = 4,      /* well formed, but not something this build can do */
  V4RT_OUT_OF_MEMORY = 5,
  V4RT_DEVICE = 6,    /* a driver or device failed */
  V4RT_INTERNAL = 7,  /* a bug of v4rt */
  V4RT_CANCELLED = 8, /* a callback of the caller said stop */
  V4RT_BUSY = 9,      /* as many requests wait as may: try again later */
} v4rt_status;

V4RT_API const char* v4rt_version(void);           /* "0.1.0" */
V4RT_API const char* v4rt_status_name(int status); /* "invalid argument" */

/* The message of the last call on this thread that failed; valid until the next one fails. Never NULL. */
V4RT_API const char* v4rt_last_error(void);

V4RT_API void v4rt_free(void* allocated); /* NULL is fine */

typedef enum v4rt_log_level {
  V4RT_LOG_DEBUG = 0,
  V4RT_LOG_INFO = 1,
  V4RT_LOG_WARNING = 2,
  V4RT_LOG_ERROR = 3,
} v4rt_log_level;

/* Where the library's messages of `level` and above go, from any thread, one at a time; nothing is logged per token.
 * `write` NULL: to standard error, which is how it begins, with V4RT_LOG_WARNING. `write` must not call v4rt. */
V4RT_API v4rt_status v4rt_log_to(void (*write)(int level, const char* message, void* user), void* user, int level);

/* ---- Devices */

typedef struct v4rt_device_info {
  size_t struct_size;
  const char* name;        /* "cpu", "opencl:0": what v4rt_model_options.device takes */
  const char* description; /* for people */
  uint64_t memory;         /* bytes; 0: unknown */
  uint64_t max_allocation; /* bytes in one buffer; 0: unknown */
} v4rt_device_info;

/* Calls `visit` once per device; `info` and its strings are valid during the call. A driver that fails, and a device
 * that cannot be used, are not among them: the log has a warning that says why. */
V4RT_API v4rt_status v4rt_devices(int (*visit)(const v4rt_device_info* info, void* user), void* user);

/* The same and more, as JSON: the backends and libraries of this build; of each device also its features, the
 * alignment of its buffers, and of OpenCL's the form of its kernels without a cache_dir; the devices that cannot be
 * used, with the reason. Free *json with v4rt_free. */
V4RT_API v4rt_status v4rt_devices_json(char** json);

/* ---- Model: weights on devices */

typedef struct v4rt_model v4rt_model;

typedef enum v4rt_numbers {
  V4RT_FAITHFUL = 0, /* every value rounded as the released model rounds it */
  V4RT_PLAIN = 1,    /* fp32 throughout */
} v4rt_numbers;

/* Products of prompts in the order of summation of a library that the build has (Eigen, oneDNN, CLBlast). */
typedef enum v4rt_fast {
  V4RT_EXACT = 0,       /* never: the same bits everywhere */
  V4RT_FAST = 1,        /* where that was measured to be faster on the device */
  V4RT_FAST_ALWAYS = 2, /* wherever a library can */
} v4rt_fast;

/* Who computes when several sessions of a model run on the cpu device at the same time. The results do not depend on
 * it. */
typedef enum v4rt_thread_sharing {
  V4RT_THREADS_FIRST = 0, /* the model's threads serve one operator of one session; a session that finds them busy
                             computes on the thread of its caller meanwhile */
  V4RT_THREADS_TURNS = 1, /* they serve all sessions in turn, an operator at a time, in the order of asking */
  V4RT_THREADS_OWN = 2,   /* each session has `threads` of its own */
} v4rt_thread_sharing;

typedef struct v4rt_model_options {
  size_t struct_size;
  const char* device; /* "reference", "cpu", "opencl", "opencl:1", "opencl:1/0" (a NUMA domain of it, or a half), or a
                         part of a device's description; NULL: "cpu" */
  const char* const* place; /* n_place rules "PATTERN=DEVICE", such as "*.experts.*=cpu": nodes whose name matches run
                               there; the first match wins. v4rt_model_explain lists the nodes */
  size_t n_place;
  const char* const* memory; /* n_memory limits "DEVICE=BYTES" of what the model and one session may take of a device;
                                what does not fit moves to the other devices that `place` names, in its order. Without
                                one that has room: V4RT_OUT_OF_MEMORY before anything is allocated */
  size_t n_memory;
  const char* cache_dir;    /* where compiled OpenCL programs and what fast measures are kept; NULL: nowhere */
  const char* weight_cache; /* folder where weights are kept as the device wants them, and mapped from; NULL: nowhere */
  int (*progress)(const char* what, double done, void* user); /* long work, done from 0 to 1; called for every layer */
  void* progress_user;
  int64_t context;  /* positions a sequence can hold; 0: 4096 */
  int32_t chunk;    /* prompt tokens read at once; 0: 2048, or fewer where memory is short. The results do not depend
                       on it */
  int32_t threads;  /* of the cpu device, the caller's among them; 0: one per processor that the process may use */
  int32_t numbers;  /* a v4rt_numbers */
  int32_t fast;     /* a v4rt_fast */
  int32_t slots;    /* sequences that a session holds: slots 0 to slots - 1; 0: one */
  int32_t rewind;   /* positions that a sequence can always go back by; 0: 8, -1: none */
  int32_t draft;    /* tokens that the MTP block guesses at once, at most 4; 0: none */
  int32_t mtp;      /* 1: build the MTP block too, which the checkpoint must have: for v4rt_session_score */
  int32_t no_mmap;  /* 1: files are read into memory when the model is opened; 0: they are mapped */
  int32_t reserved; /* 0 */
  /* Of a program that uses OpenCL itself, for the device "opencl:host": a cl_context, a cl_device_id of it, and a
   * cl_command_queue of both that runs commands in order, or NULL. They are retained while the model lives. What v4rt
   * enqueues runs after what the program has enqueued there before. */
  void* opencl_context;
  void* opencl_device;
  void* opencl_queue;
  /* Where the cpu device's buffers come from: weights that are copied, state, working memory, inputs and outputs, as
   * v4rt_memory_needed counts them. Both or neither; called from any thread, until the model and its sessions are
   * closed. `allocate` returns a multiple of `alignment`, a power of two, or NULL: V4RT_OUT_OF_MEMORY. Other devices
   * take memory of their own, which `memory` limits: V4RT_UNSUPPORTED where neither `device` nor `place` names "cpu".
   */
  void* (*allocate)(size_t bytes, size_t alignment, void* user);
  void (*release)(void* memory, size_t bytes, size_t alignment, void* user);
  void* memory_user;
  int32_t thread_sharing; /* a v4rt_thread_sharing */
  int32_t reserved2;      /* 0 */
  const char* program;    /* where the program v4rt is: processes of it compile OpenCL programs, several at once, make
                             their first launches, and measure, if there is a cache_dir, which form of kernels is faster; a
                             driver that crashes over one ends such a process, and the call fails with V4RT_DEVICE. NULL:
                             all of that is done in this process */
  int64_t reserve; /* positions that a device whose memory cannot grow in place holds memory for from the start; 0:
                      4096, at most the context. Beyond them it takes larger buffers as sequences grow */
} v4rt_model_options;

/* Files are mapped for as long as the model lives. Replacing a file by another of its name does no harm. Writing to it
 * changes numbers: the next call that asks for logits is V4RT_CORRUPT. If it is cut short, the process gets SIGBUS
 * where the missing pages are read; the library handles no signals. If you cannot rule that out, set no_mmap, and have
 * memory for the files.
 *
 * `path`: a folder with an official DeepSeek-V4 checkpoint, or one .safetensors file with config.json beside it. */
V4RT_API v4rt_status v4rt_model_open(const char* path, const v4rt_model_options* options, v4rt_model** model);

/* A checkpoint's file that is in no folder. */
typedef struct v4rt_file {
  size_t struct_size;
  const char* name; /* "config.json", "model.safetensors", "model-00001-of-00046.safetensors" */
  const void* data; /* `size` bytes, which stay as they are until the model and its sessions are closed; they are used
                       in place where the device can, best at a multiple of 64. NULL: `read` gives them */
  uint64_t size;
  int (*read)(uint64_t offset, void* to, size_t n, void* user); /* n bytes from `offset`: 1, or 0 if it cannot. Called
                       in order, during v4rt_model_open_files alone; the library keeps what it reads in memory */
  void* user;
} v4rt_file;

/* `files`: an array of n_files. config.json and the weights are needed; others of a checkpoint's folder may be there. A
 * weight_cache cannot be used with it. */
V4RT_API v4rt_status v4rt_model_open_files(const v4rt_file* files, size_t n_files, const v4rt_model_options* options,
                                           v4rt_model** model);
V4RT_API void v4rt_model_close(v4rt_model* model);

typedef struct v4rt_model_info {
  size_t struct_size;
  int64_t vocab_size;
  int64_t context;
  int32_t layers;
  int32_t bos_token;
  int32_t eos_token;     /* the first of v4rt_model_end_tokens */
  int32_t has_mtp;       /* 1: the checkpoint has the MTP block */
  uint64_t weight_bytes; /* that the plans use; mapped ones included */
  uint64_t state_bytes;  /* of one session */
  uint64_t arena_bytes;  /* of one session: working memory */
  int32_t chunk;         /* tokens that a step can read at once */
  int32_t reserved;
} v4rt_model_info;

/* Set info->struct_size before the call; fields beyond it are not written. */
V4RT_API v4rt_status v4rt_model_get_info(const v4rt_model* model, v4rt_model_info* info);

/* The tokens that end a text, as config.json and generation_config.json name them: one or more; *ids lives as long as
 * the model. v4rt_generate stops at any of them. */
V4RT_API v4rt_status v4rt_model_end_tokens(const v4rt_model* model, const int32_t** ids, size_t* n_ids);

/* How a step of `tokens` tokens (1: decoding) that begins at `position` runs, as JSON: every node with its device,
 * kernel, bytes and FLOPs; transfers; what devices refused; memory; of OpenCL devices the form of their kernels, and
 * whether that was measured. Free *json with v4rt_free. */
V4RT_API v4rt_status v4rt_model_explain(const v4rt_model* model, int32_t tokens, int64_t position, char** json);

/* The memory certificate of v4rt_model_open(path, options), before anything is allocated, as JSON: for every device the
 * bytes of weights, state, arena (with scratch memory), inputs and outputs, of staging while weights are loaded, of the
 * largest buffer, and of all that is there at once; and of the host's memory that copies go through, where the device's
 * is another. */
V4RT_API v4rt_status v4rt_memory_needed(const char* path, const v4rt_model_options* options, char** json);

/* ---- Session: the running state of `slots` sequences, which are independent of each other */

typedef struct v4rt_session v4rt_session;
typedef struct v4rt_snapshot v4rt_snapshot;

V4RT_API v4rt_status v4rt_session_open(v4rt_model* model, v4rt_session** session);
V4RT_API void v4rt_session_close(v4rt_session* session);

/* Called by v4rt_session_feed and v4rt_generate when they read more than one token: after each chunk but the last, and
 * after each layer of a chunk but its last, when its tokens count in part: tokens done, tokens in all. If it stops, the
 * sequence holds the chunks that were read to their end. `progress` NULL: none. */
V4RT_API v4rt_status v4rt_session_on_progress(v4rt_session* session,
                                              int (*progress)(int64_t done, int64_t total, void* user), void* user);

/* Appends tokens. *logits: vocab_size numbers after the last token, valid until the next call with this session; may be
 * NULL. A failed call leaves the sequences as they were, unless the device itself failed, or a logit is not a finite
 * number (V4RT_CORRUPT): then they hold the tokens, and are to be reset or restored. */
V4RT_API v4rt_status v4rt_session_feed(v4rt_session* session, int32_t slot, const int32_t* tokens, size_t n_tokens,
                                       const float** logits);

/* The same on an OpenCL device, with the logits left there: vocab_size floats at *offset bytes of *memory, a cl_mem
 * that is the session's, valid until its next call. They are there when what is enqueued on the host's queue so far is
 * done; without such a queue the call waits. Whether they are finite is not looked at. V4RT_UNSUPPORTED where they are
 * made elsewhere. */
V4RT_API v4rt_status v4rt_session_feed_opencl(v4rt_session* session, int32_t slot, const int32_t* tokens,
                                              size_t n_tokens, void** memory, uint64_t* offset);

typedef struct v4rt_batch_item {
  size_t struct_size;
  const int32_t* tokens; /* n_tokens of them */
  size_t n_tokens;
  int32_t slot;
  int32_t reserved; /* 0 */
  /* With the device "opencl:host", in place of `tokens`: n_tokens int32_t at opencl_offset bytes, a multiple of 4, of a
   * cl_mem of its context. What has been enqueued on the host's queue may write them; without such a queue they are
   * there. They are read once, on the device. What is outside the vocabulary is read as 0: the call is then
   * V4RT_INVALID_ARGUMENT, its sequences hold the tokens so, and are to be truncated, reset or restored.
   * V4RT_UNSUPPORTED with a model that was opened for drafts, or where `place` has another device read tokens too. */
  void* opencl_tokens;
  uint64_t opencl_offset;
} v4rt_batch_item;

/* One step of several sequences (an array of n_items): each is given its tokens, together at most one chunk
 * (v4rt_model_info.chunk). *logits: as above, vocab_size numbers per item. A sequence's logits are the same bits
 * whatever shares the step. */
V4RT_API v4rt_status v4rt_session_feed_batch(v4rt_session* session, const v4rt_batch_item* items, size_t n_items,
                                             const float** logits);

/* The same with the logits left on the OpenCL device, as v4rt_session_feed_opencl leaves them. With opencl_tokens the
 * call waits until they were read, and not until the step is done. */
V4RT_API v4rt_status v4rt_session_feed_batch_opencl(v4rt_session* session, const v4rt_batch_item* items, size_t n_items,
                                                    void** memory, uint64_t* offset);

/* Appends tokens and hands over the logits after each: vocab_size numbers, valid during the call, for token i of
 * `tokens`. mtp_logits: those of the MTP block, which predicts one token further, or NULL. There are any for all but
 * the last token, when the model was opened with mtp and the sequence was empty. */
V4RT_API v4rt_status v4rt_session_score(v4rt_session* session, int32_t slot, const int32_t* tokens, size_t n_tokens,
                                        int (*row)(int64_t i, const float* logits, const float* mtp_logits, void* user),
                                        void* user);

/* Guesses the n tokens that follow `next`, which comes next in the sequence and has not been fed: of a model that was
 * opened with draft, at most that many. ids: n of them; -1 where there is nothing to go by, as after a restore. The
 * sequence stays as it is. */
V4RT_API v4rt_status v4rt_session_draft(v4rt_session* session, int32_t slot, int32_t next, int32_t n, int32_t* ids);

V4RT_API v4rt_status v4rt_session_position(const v4rt_session* session, int32_t slot, int64_t* position); /* tokens */
V4RT_API v4rt_status v4rt_session_reset(v4rt_session* session, int32_t slot); /* to position 0 */

/* The sequence forgets the tokens from `position` on. It can go back to where it began, by v4rt_model_options.rewind
 * positions from the furthest it has been, and to its checkpoints. */
V4RT_API v4rt_status v4rt_session_truncate(v4rt_session* session, int32_t slot, int64_t position);
/* Keeps what it takes to come back to this position, until the sequence is truncated before it, reset or restored. */
V4RT_API v4rt_status v4rt_session_checkpoint(v4rt_session* session, int32_t slot);
V4RT_API v4rt_status v4rt_session_drop_checkpoint(v4rt_session* session, int32_t slot, int64_t position);
/* Sequence `to` becomes a copy of `from`, on the devices. */
V4RT_API v4rt_status v4rt_session_fork(v4rt_session* session, int32_t from, int32_t to);

/* A copy of a sequence's state, which can be restored any number of times into any session of a model that was opened
 * from the same checkpoint, or a copy of it, with the same numbers; another one refuses it. */
V4RT_API v4rt_status v4rt_snapshot_open(const v4rt_session* session, int32_t slot, v4rt_snapshot** snapshot);
/* The same from bytes, which were a snapshot's: of this process or another, of any device. Checked before it is used.
 */
V4RT_API v4rt_status v4rt_snapshot_open_bytes(const void* bytes, size_t n_bytes, v4rt_snapshot** snapshot);
V4RT_API v4rt_status v4rt_snapshot_bytes(const v4rt_snapshot* snapshot, const void** bytes, size_t* n_bytes);
V4RT_API v4rt_status v4rt_session_restore(v4rt_session* session, int32_t slot, const v4rt_snapshot* snapshot);
V4RT_API void v4rt_snapshot_close(v4rt_snapshot* snapshot);

/* ---- Tokenizer */

typedef struct v4rt_tokenizer v4rt_tokenizer;

/* `path`: a tokenizer.json, or the model's path, beside whose files it lies. */
V4RT_API v4rt_status v4rt_tokenizer_open(const char* path, v4rt_tokenizer** tokenizer);
V4RT_API v4rt_status v4rt_tokenizer_open_memory(const char* json, size_t n_bytes, v4rt_tokenizer** tokenizer);
V4RT_API void v4rt_tokenizer_close(v4rt_tokenizer* tokenizer);

/* Control tokens written in the text ("<think>") become their ids when `special` is not 0, which must not be
 * used for text from others: it could speak as user, assistant or system. BOS is never added.
 * *n_ids is the number of ids of the text, even if `capacity` is too small; the call is then V4RT_INVALID_ARGUMENT
 * and writes no ids. With ids NULL and capacity 0 it only counts. */
V4RT_API v4rt_status v4rt_tokenizer_encode(const v4rt_tokenizer* tokenizer, const char* text, size_t n_bytes,
                                           int32_t special, int32_t* ids, size_t capacity, size_t* n_ids);

/* The bytes of ids, which may end within a UTF-8 character. Sizes as in v4rt_tokenizer_encode. */
V4RT_API v4rt_status v4rt_tokenizer_decode(const v4rt_tokenizer* tokenizer, const int32_t* ids, size_t n_ids,
                                           char* text, size_t capacity, size_t* n_bytes);

/* The bytes of one token; *bytes lives as long as the tokenizer. */
V4RT_API v4rt_status v4rt_tokenizer_token(const v4rt_tokenizer* tokenizer, int32_t id, const char** bytes,
                                          size_t* n_bytes);

/* ---- Chat: the V4 encoding of conversations */

typedef struct v4rt_message {
  size_t struct_size;
  const char* role;    /* "system", "user", "assistant", "tool", "developer", "latest_reminder" */
  const char* content; /* n_content bytes, always text: what looks like a control token in it is none */
  size_t n_content;
  const char* reasoning; /* n_reasoning bytes: what an assistant thought before it said `content`; may be NULL */
  size_t n_reasoning;
  const char* tool_calls; /* n_tool_calls bytes: what an assistant called, in JSON: the list "tool_calls" of a message
                             of OpenAI's API; may be NULL */
  size_t n_tool_calls;
  const char* tool_call_id; /* of a "tool": the call whose result `content` is; may be NULL */
} v4rt_message;

typedef enum v4rt_effort { /* when thinking; what it writes depends on the revision */
                           V4RT_EFFORT_DEFAULT = 0,
                           V4RT_EFFORT_LOW = 1,
                           V4RT_EFFORT_HIGH = 2,
                           V4RT_EFFORT_MAX = 3,
} v4rt_effort;

typedef enum v4rt_chat_revision {
  V4RT_CHAT_PREVIEW = 0, /* V4-Flash and V4-Pro of April 2026 */
  V4RT_CHAT_0731 = 1,    /* V4-Flash-0731, V4-Pro-0813 */
} v4rt_chat_revision;

typedef struct v4rt_chat_options {
  size_t struct_size;
  int32_t thinking;       /* 1: the model reasons before it answers: up to "</think>" */
  int32_t effort;         /* a v4rt_effort */
  int32_t revision;       /* a v4rt_chat_revision */
  int32_t keep_reasoning; /* 1: also the reasoning, and developer messages, before the last question */
  int32_t no_bos;         /* 1: without the token that begins a text */
  int32_t allow_closed;   /* 1: also conversations that ask for no answer */
  const char* tools;      /* n_tools bytes: what may be called, in JSON: the list "tools" of a request of OpenAI's API;
                             NULL: nothing */
  size_t n_tools;
} v4rt_chat_options;

/* The ids of a conversation (an array of n_messages), which end where the model is to go on. Sizes as in
 * v4rt_tokenizer_encode. */
V4RT_API v4rt_status v4rt_chat_encode(const v4rt_tokenizer* tokenizer, const v4rt_message* messages, size_t n_messages,
                                      const v4rt_chat_options* options, int32_t* ids, size_t capacity, size_t* n_ids);

/* The same as one text, for people: encoded, a control token that a message quotes would become one. Free *text with
 * v4rt_free. */
V4RT_API v4rt_status v4rt_chat_render(const v4rt_message* messages, size_t n_messages, const v4rt_chat_options* options,
                                      char** text);

/* Takes an answer apart as its tokens come: the reasoning, then content, then calls of tools. Control tokens
 * count by their ids: the same characters written as text are text. */
typedef struct v4rt_reply v4rt_reply;

typedef struct v4rt_reply_options {
  size_t struct_size;
  int32_t thinking; /* as of v4rt_chat_options: the answer begins with reasoning */
  int32_t calls;    /* 1: calls of tools become pieces; 0: they are content as they are written */
} v4rt_reply_options;

typedef enum v4rt_piece_kind {
  V4RT_PIECE_REASONING = 0,
  V4RT_PIECE_CONTENT = 1,
  V4RT_PIECE_CALL = 2,      /* the name of a tool: a call begins */
  V4RT_PIECE_ARGUMENTS = 3, /* its arguments: together a JSON object */
  V4RT_PIECE_CALL_END = 4,  /* a call without an end was cut, and is none */
} v4rt_piece_kind;

V4RT_API v4rt_status v4rt_reply_open(const v4rt_tokenizer* tokenizer, const v4rt_reply_options* options,
                                     v4rt_reply** reply);
V4RT_API void v4rt_reply_close(v4rt_reply* reply);
/* Hands over what the next token makes known: any number of pieces of whole UTF-8 characters, valid during the call of
 * `piece`, which stops the call by 0. */
V4RT_API v4rt_status v4rt_reply_push(v4rt_reply* reply, int32_t token,
                                     int (*piece)(int32_t kind, const char* text, size_t n_bytes, void* user),
                                     void* user);
/* The same at the end of the answer, for what was held back. */
V4RT_API v4rt_status v4rt_reply_end(v4rt_reply* reply,
                                    int (*piece)(int32_t kind, const char* text, size_t n_bytes, void* user),
                                    void* user);

/* ---- Sampling and generation */

typedef struct v4rt_sampler v4rt_sampler;

typedef struct v4rt_logit_bias {
  int32_t id;
  float bias; /* added to the token's logit: -100 to 100 */
} v4rt_logit_bias;

/* What is done, in this order, each to what the one before left; what is 0 does nothing: logit_bias,
 * repetition_penalty, frequency_penalty, presence_penalty, temperature, min_p, top_k, top_p, and a draw that depends on
 * the seed alone. */
typedef struct v4rt_sampler_options {
  size_t struct_size;
  float temperature; /* 0: always the largest logit, and no other step but bias and penalties */
  float top_p;       /* in (0, 1]: keeps the fewest tokens, likeliest first, that have this share together */
  uint64_t seed;
  int32_t top_k;            /* keeps so many, the likeliest */
  float min_p;              /* keeps tokens of at least this share of the largest probability */
  float repetition_penalty; /* for all tokens read or chosen: a positive logit is divided by it, others multiplied */
  float presence_penalty;   /* -2 to 2, taken once from the logit of a token that was chosen */
  float frequency_penalty;  /* -2 to 2, taken from it as often as it was chosen */
  int32_t logprobs;         /* 1: v4rt_sampler_logprobs has those of the chosen token and */
  int32_t top_logprobs;     /* of so many likeliest, at most 20 */
  int32_t reserved;         /* 0 */
  const v4rt_logit_bias* logit_bias; /* n_logit_bias of them */
  size_t n_logit_bias;
  /* Before every other step: clears the bits of tokens that may not come after the n_chosen ones that the text has so
   * far: of id i, bit i % 64 of allowed[i / 64]; they come all set, and one must stay. 0 stops, as it does elsewhere.
   * It may be called for one place more than once, and for earlier ones again. Of an engine's request, its thread calls
   * it, and never after v4rt_answer_close. It may use a tokenizer, and nothing else of v4rt. NULL: all may. */
  int (*filter)(const int32_t* chosen, size_t n_chosen, uint64_t* allowed, size_t n_words, void* user);
  void* filter_user;
} v4rt_sampler_options;

typedef struct v4rt_token_logprob {
  int32_t id;
  float logprob; /* natural logarithm of the model's own probability, before every step above */
} v4rt_token_logprob;

V4RT_API v4rt_status v4rt_sampler_open(const v4rt_model* model, const v4rt_sampler_options* options,
                                       v4rt_sampler** sampler);
V4RT_API void v4rt_sampler_close(v4rt_sampler* sampler);
V4RT_API v4rt_status v4rt_sampler_sample(v4rt_sampler* sampler, const float* logits, size_t n_logits, int32_t* id);
/* For the penalties: a text begins, or goes on, with these tokens, and what was chosen so far counts as read.
 * v4rt_generate does it. */
V4RT_API v4rt_status v4rt_sampler_begin(v4rt_sampler* sampler, const int32_t* tokens, size_t n_tokens);
V4RT_API v4rt_status v4rt_sampler_forget(v4rt_sampler* sampler); /* what was read and chosen; the draws go on */
/* Of the token that was chosen last: it, then the likeliest in falling order. None unless options.logprobs; *logprobs
 * is valid until the sampler's next call. In on_token, it is that token's. */
V4RT_API v4rt_status v4rt_sampler_logprobs(const v4rt_sampler* sampler, const v4rt_token_logprob** logprobs, size_t* n);

typedef enum v4rt_stop {
  V4RT_STOP_END_TOKEN = 0,
  V4RT_STOP_MAX_TOKENS = 1,
  V4RT_STOP_CONTEXT_FULL = 2,
  V4RT_STOP_CANCELLED = 3,
  V4RT_STOP_STRING = 4, /* of a v4rt_request */
} v4rt_stop;

typedef struct v4rt_generate_options {
  size_t struct_size;
  int64_t max_tokens; /* 0: 128 */
  int32_t slot;
  int32_t ignore_end_token; /* 1: go on after the model's end tokens */
  int32_t draft;            /* tokens to guess before each step, at most that of the model's options: changes no token,
                               only the time */
  int32_t reserved;         /* 0 */
} v4rt_generate_options;

typedef struct v4rt_generate_result {
  size_t struct_size;
  int64_t prompt_tokens, tokens;
  int64_t drafted, accepted; /* guesses made, and those that were right */
  double prefill_seconds, decode_seconds;
  int32_t stop; /* a v4rt_stop */
  int32_t reserved;
  int64_t cached_tokens; /* of the prompt, which an engine's cache held */
} v4rt_generate_result;

/* Feeds `prompt`, then samples token by token, until on_token or the session's progress stops it, which is no error
 * here: `stop` says so. Every token handed to on_token is in the session's state afterwards, so that a conversation can
 * go on; the end token is neither. `sampler` NULL: greedy. `result` may be NULL; otherwise set its struct_size. */
V4RT_API v4rt_status v4rt_generate(v4rt_session* session, const int32_t* prompt, size_t n_prompt,
                                   const v4rt_generate_options* options, v4rt_sampler* sampler,
                                   int (*on_token)(int32_t id, void* user), void* user, v4rt_generate_result* result);

/* ---- Engine: many requests at once, over the slots of a session of its own */

/* A thread that takes a token of every sequence that is written, and parts of prompts, in each step. Requests begin in
 * the order in which they come, as slots become free. Beginnings of prompts are kept, and not read again. What a
 * request is answered does not depend on the others. With a model that was opened for drafts, they are made. */
typedef struct v4rt_engine v4rt_engine;

typedef struct v4rt_engine_options {
  size_t struct_size;
  const char* cache_folder;    /* where beginnings are kept between runs, also for other processes; NULL: nowhere */
  uint64_t cache_folder_bytes; /* that may be kept there; 0: 4 GiB */
  uint64_t cache_memory;       /* bytes of memory for beginnings; 0: 1 GiB */
  int32_t no_cache;            /* 1: every prompt is read whole */
  int32_t max_waiting;         /* requests without a slot; 0: 64 */
} v4rt_engine_options;

V4RT_API v4rt_status v4rt_engine_open(v4rt_model* model, const v4rt_engine_options* options, v4rt_engine** engine);
/* Answers that are not complete end with V4RT_CANCELLED. Waits for the step that runs. */
V4RT_API void v4rt_engine_close(v4rt_engine* engine);

typedef struct v4rt_engine_info {
  size_t struct_size;
  int64_t waiting; /* requests without a slot */
  int64_t running;
} v4rt_engine_info;

V4RT_API v4rt_status v4rt_engine_get_info(const v4rt_engine* engine, v4rt_engine_info* info);

typedef struct v4rt_request {
  size_t struct_size;
  const int32_t* prompt; /* n_prompt of them */
  size_t n_prompt;
  const v4rt_sampler_options* sampler; /* NULL: greedy */
  const v4rt_tokenizer* tokenizer;     /* for the text of events; NULL: they have none, and `stop` cannot be used */
  const char* const* stop;             /* n_stop strings: the text ends before the first that comes */
  size_t n_stop;
  const char* cache_space;  /* beginnings are shared with requests of the same space alone; NULL: "" */
  void (*news)(void* user); /* something has come for v4rt_answer_next; from the engine's thread, which waits for it. It
                               must not call v4rt. NULL: none */
  void* user;
  int64_t max_tokens;       /* 0: 128 */
  int32_t ignore_end_token; /* 1: go on after the model's end tokens */
  int32_t reserved;         /* 0 */
} v4rt_request;

/* One request under way. `news` may be called before v4rt_answer_open returns, and is not after v4rt_answer_close. */
typedef struct v4rt_answer v4rt_answer;

/* V4RT_BUSY: as many wait as may. What `request` points to is copied, but for the tokenizer, which stays open. */
V4RT_API v4rt_status v4rt_answer_open(v4rt_engine* engine, const v4rt_request* request, v4rt_answer** answer);
V4RT_API void v4rt_answer_close(v4rt_answer* answer); /* cancels it, if it is not complete */
/* Asks for its end, from any thread; what has been written before that stays. */
V4RT_API v4rt_status v4rt_answer_cancel(v4rt_answer* answer);

typedef enum v4rt_event_kind {
  V4RT_EVENT_NONE = 0,  /* nothing came in time */
  V4RT_EVENT_TOKEN = 1, /* the next token */
  V4RT_EVENT_END = 2,   /* the answer is complete: v4rt_answer_result */
} v4rt_event_kind;

typedef struct v4rt_event {
  size_t struct_size;
  const char* text; /* n_bytes that became certain: whole UTF-8 characters, and none of a stop string */
  size_t n_bytes;
  const v4rt_token_logprob* logprobs; /* n_logprobs of them, as of v4rt_sampler_logprobs */
  size_t n_logprobs;
  int32_t kind;  /* a v4rt_event_kind */
  int32_t token; /* of V4RT_EVENT_TOKEN */
} v4rt_event;

/* Waits for what comes next, at most so many seconds; less than 0: as long as it takes. What `event` points to is valid
 * until the answer's next call. The status is that of the request: one that fails does not disturb the others. */
V4RT_API v4rt_status v4rt_answer_next(v4rt_answer* answer, double seconds, v4rt_event* event);
/* After V4RT_EVENT_END. Tokens after a stop string do not count. */
V4RT_API v4rt_status v4rt_answer_result(const v4rt_answer* answer, v4rt_generate_result* result);

#ifdef __cplusplus
}
#endif
