/* jinja_run.h - one render: its memory, limits, output and error. */
#ifndef QUERN_CHAT_JINJA_RUN_H
#define QUERN_CHAT_JINJA_RUN_H

#include "base/arena.h"
#include "chat/jinja_value.h"

enum {
    JINJA_STEPS_MAX = 1000000,
    JINJA_OUTPUT_BYTES_MAX = 4 << 20, /* of the result and of every string made */
    JINJA_MEMORY_BYTES_MAX = 128 << 20,
    JINJA_CALL_DEPTH_MAX = 64,   /* macros within macros */
    JINJA_EVAL_DEPTH_MAX = 1500, /* C recursion of the interpreter: below 1 MB of stack */
    JINJA_VALUE_DEPTH_MAX = 200, /* of values printed, compared or hashed */
    JINJA_RANGE_MAX = 100000,    /* jinja2.sandbox.MAX_RANGE */
    JINJA_BYTES_PER_STEP = 256,  /* how much copying or scanning counts as a step */
};

/* A call's own variables. Blocks with a scope of their own share their function's frame. */
struct jinja_frame {
    struct jinja_frame *parent; /* of the function around this one */
    struct jvalue *slots;
    size_t n_slots;
    bool captured; /* a macro made here may outlive the call */
};

struct jinja_trace; /* jinja_trace.h */

struct jinja_run {
    struct arena arena;
    struct buffer *out;      /* where output goes now */
    struct jdict *variables; /* given to the render, before the environment's own */
    int64_t steps_left;
    int line; /* being evaluated, for messages */
    int eval_depth, call_depth;
    struct jinja_frame *free_frames;
    const struct jinja_trace *trace; /* NULL: nobody asks what stands where */
    const int64_t *now;       /* for strftime_now, seconds since 1970; NULL: the clock */
    enum quern_status status; /* the first failure */
    struct quern_error error; /* its message, without the place */
};

/* Records a failure (the first one counts) and returns false. */
bool jinja_fail(struct jinja_run *run, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool jinja_fail_with(struct jinja_run *run, enum quern_status status, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* The UndefinedError of Jinja for v. */
bool jinja_fail_undefined(struct jinja_run *run, struct jvalue v);

/* False when the budget is used up. */
bool jinja_charge(struct jinja_run *run, size_t steps);
bool jinja_charge_bytes(struct jinja_run *run, size_t bytes);

/* From the arena; NULL after jinja_fail. */
void *jinja_alloc(struct jinja_run *run, size_t n, size_t size);
/* A copy of s as a value; fails beyond JINJA_OUTPUT_BYTES_MAX. */
bool jinja_copy_string(struct jinja_run *run, struct str s, struct jvalue *out);
/* The buffer's text as a value; the buffer is released in any case, and its failure reported. */
bool jinja_take_buffer(struct jinja_run *run, struct buffer *buffer, struct jvalue *out);
bool jinja_check_buffer(struct jinja_run *run, const struct buffer *buffer);

#endif
