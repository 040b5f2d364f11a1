#include "base/sync.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static enum quern_status refused(const char *what, int code, struct quern_error *err) {
    return error_set(err, QUERN_ERR_NOMEM, "the system refuses a %s: %s", what, strerror(code));
}

enum quern_status mutex_init(struct mutex *m, struct quern_error *err) {
    const int code = pthread_mutex_init(&m->impl, NULL);
    return code ? refused("lock", code, err) : QUERN_OK;
}

void mutex_release(struct mutex *m) {
    pthread_mutex_destroy(&m->impl);
}

enum quern_status condition_init(struct condition *c, struct quern_error *err) {
    pthread_condattr_t attr;
    int code = pthread_condattr_init(&attr);
    if (code)
        return refused("condition", code, err);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    code = pthread_cond_init(&c->impl, &attr);
    pthread_condattr_destroy(&attr);
    return code ? refused("condition", code, err) : QUERN_OK;
}

void condition_release(struct condition *c) {
    pthread_cond_destroy(&c->impl);
}

bool condition_wait_until(struct condition *c, struct mutex *m, uint64_t until_ns) {
    const uint64_t second_ns = 1000000000u;
    const struct timespec at = {.tv_sec = (time_t)(until_ns / second_ns),
                                .tv_nsec = (long)(until_ns % second_ns)};
    return pthread_cond_timedwait(&c->impl, &m->impl, &at) == 0;
}

struct start {
    void (*fn)(void *arg);
    void *arg;
};

static void *run(void *arg) {
    const struct start start = *(struct start *)arg;
    free(arg);
    start.fn(start.arg);
    return NULL;
}

enum quern_status thread_start(struct thread *t, const char *name, void (*fn)(void *arg), void *arg,
                               struct quern_error *err) {
    struct start *start = malloc(sizeof *start);
    if (!start)
        return error_nomem(err);
    *start = (struct start){fn, arg};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int code = pthread_create(&t->impl, NULL, run, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code) {
        free(start);
        return refused("thread", code, err);
    }
#ifdef __linux__
    pthread_setname_np(t->impl, name);
#else
    (void)name;
#endif
    t->started = true;
    return QUERN_OK;
}

void thread_join(struct thread *t) {
    if (t->started)
        pthread_join(t->impl, NULL);
    t->started = false;
}
