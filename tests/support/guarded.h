/* guarded.h - buffers between two unreadable pages, so that one byte too many faults. */
#ifndef TESTS_SUPPORT_GUARDED_H
#define TESTS_SUPPORT_GUARDED_H

#include <stdbool.h>
#include <stddef.h>

struct guarded {
    unsigned char *data; /* page-aligned, size_bytes long, guard pages on both sides */
    size_t size_bytes;   /* whole pages */
};

/* Ends the test program when memory is short. */
void guarded_init(struct guarded *g, size_t size_bytes);
void guarded_release(struct guarded *g);

/* A place for `bytes` bytes inside: right before the guard page behind, or right after the one in
 * front, then moved away from it by `slack` bytes. */
void *guarded_place(const struct guarded *g, size_t bytes, bool at_end, size_t slack);

/* Read-only while a function under test may not write it. */
void guarded_protect(const struct guarded *g, bool read_only);

#endif
