/* sync.h - locks, conditions and single threads, thin over POSIX, for code that waits. (For work
 * split over all cores see threads.h.) Locking cannot fail here: the locks are plain ones that are
 * never destroyed while held. */
#ifndef QUERN_BASE_SYNC_H
#define QUERN_BASE_SYNC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct mutex {
    pthread_mutex_t impl;
};

struct condition {
    pthread_cond_t impl; /* waits by the monotonic clock */
};

struct thread {
    pthread_t impl;
    bool started;
};

enum quern_status mutex_init(struct mutex *m, struct quern_error *err);
void mutex_release(struct mutex *m);
enum quern_status condition_init(struct condition *c, struct quern_error *err);
void condition_release(struct condition *c);

static inline void mutex_lock(struct mutex *m) {
    pthread_mutex_lock(&m->impl);
}

static inline void mutex_unlock(struct mutex *m) {
    pthread_mutex_unlock(&m->impl);
}

/* May also return without a signal: ask again for what was awaited. */
static inline void condition_wait(struct condition *c, struct mutex *m) {
    pthread_cond_wait(&c->impl, &m->impl);
}

/* The same, until os_now_ns() reaches `until_ns` at the latest: false then. */
bool condition_wait_until(struct condition *c, struct mutex *m, uint64_t until_ns);

static inline void condition_signal_all(struct condition *c) {
    pthread_cond_broadcast(&c->impl);
}

/* Runs fn(arg) on a thread of its own, with all signals blocked: they are the program's main
 * thread's business. `name`: at most 15 bytes, for debuggers. */
enum quern_status thread_start(struct thread *t, const char *name, void (*fn)(void *arg), void *arg,
                               struct quern_error *err);
/* Waits until fn has returned. Zeroed is fine. */
void thread_join(struct thread *t);

#endif
