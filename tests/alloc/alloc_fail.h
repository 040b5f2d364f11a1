/* alloc_fail.h - stands between the program and the C library's allocator: counts what is
 * alive and fails chosen requests. Heap blocks and memory maps count alike. */
#ifndef TESTS_ALLOC_ALLOC_FAIL_H
#define TESTS_ALLOC_ALLOC_FAIL_H

#include <stdbool.h>
#include <stddef.h>

enum alloc_fail_mode {
    ALLOC_FAIL_NEVER,
    ALLOC_FAIL_ONCE,    /* the k-th request after alloc_fail_start */
    ALLOC_FAIL_ONWARDS, /* the k-th and all after it */
};

/* Starts counting requests from 1. */
void alloc_fail_start(enum alloc_fail_mode mode, size_t k);
/* No more failures. Answers how many requests were made since the start. */
size_t alloc_fail_stop(void);
/* How many so far. */
size_t alloc_fail_requests(void);
/* Whether a request was failed since the start. */
bool alloc_fail_happened(void);
/* Blocks and maps not yet given back. */
long alloc_fail_live(void);

#endif
