/* process.h - a program run beside this one, its input and output in pipes. It has a process group
 * of its own, so that a Ctrl-C at the terminal does not reach it and all it starts can be ended. */
#ifndef QUERN_BASE_PROCESS_H
#define QUERN_BASE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

struct process {
    long pid;         /* 0: none */
    int in, out, err; /* our ends of its standard streams, -1 once closed */
    bool cut;         /* it wrote more than a buffer took */
    bool exited;      /* and was waited for: `code` is known */
    int code;         /* its exit code, or 128 + the signal that ended it */
};

/* argv[0] is searched for in PATH unless it has a slash; argv ends with NULL. No shell. `env`:
 * "NAME=value" that replace variables of our own environment, NULL at the end; NULL: none. */
enum quern_status process_start(struct process *p, const char *const *argv, const char *const *env,
                                struct quern_error *err);

enum process_event {
    PROCESS_MOVED,   /* something was written or read */
    PROCESS_NOTHING, /* not for a tenth of a second, or a signal came: time to look around */
    PROCESS_CLOSED,  /* it has closed its output, or has ended and everything was read */
};
/* Writes of *input what goes in, which advances it, and reads what is there; waits a tenth of a second
 * at most. Buffers take up to their maximum, the rest is dropped (`cut`). */
enum process_event process_pump(struct process *p, struct str *input, struct buffer *out,
                                struct buffer *err_out);
void process_close_input(struct process *p);

/* Whether it has ended, waiting for that so long at most. */
bool process_wait(struct process *p, int64_t timeout_ms);
/* Ends it and what it started: asks, and after grace_ms insists. Closes the pipes. Zeroed is fine. */
void process_end(struct process *p, int64_t grace_ms);

#endif
