/* threads.h - a pool that runs one function on all workers at once. Workers spin
 * for a moment, then sleep: an idle pool burns no CPU. */
#ifndef QUERN_BASE_THREADS_H
#define QUERN_BASE_THREADS_H

#include <stddef.h>

#include "base/error.h"

struct thread_pool;

/* Whether the workers of pools made from now on, though not the caller's thread, stay each on a core
 * of their own. AUTO: on machines with several memories (NUMA). */
enum thread_pinning { THREADS_PINNED_AUTO, THREADS_PINNED, THREADS_FREE };
void thread_pool_set_pinning(enum thread_pinning wish);

/* n_threads counts the caller: 1 starts no thread. 0: os_cpu_count(). */
enum quern_status thread_pool_create(int n_threads, struct thread_pool **out,
                                     struct quern_error *err);
void thread_pool_destroy(struct thread_pool *pool); /* NULL is fine */
int thread_pool_size(const struct thread_pool *pool);

/* Calls fn(ctx, worker, n_workers) once for each worker 0..n_workers-1, the caller
 * being worker 0, and returns when all have returned. One run at a time: calls
 * from several threads queue on a lock. */
void thread_pool_run(struct thread_pool *pool, void (*fn)(void *ctx, int worker, int n_workers),
                     void *ctx);

/* For a worker that waits for others in the middle of a run: call it with 0, 1, 2, ... until they are
 * there. Now and then it lets somebody else have the core. */
void thread_pause(unsigned tries);

/* The half-open share of [0, n) that belongs to `worker`; shares are multiples of
 * `grain` except the last. */
static inline void thread_share(size_t n, size_t grain, int worker, int n_workers, size_t *begin,
                                size_t *end) {
    size_t grains = (n + grain - 1) / grain;
    size_t b = grains * (size_t)worker / (size_t)n_workers * grain;
    size_t e = grains * ((size_t)worker + 1) / (size_t)n_workers * grain;
    *begin = b < n ? b : n;
    *end = e < n ? e : n;
}

#endif
