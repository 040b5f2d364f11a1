#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"

/* How long a waiting thread spins before it sleeps. Between two runs of one forward pass lie
 * a few microseconds; waking a sleeper costs 5 to 50. Spinning in vain halves the time, spinning
 * with success doubles it: on a busy machine the thread waited for may be waiting for this
 * very core. (bench/bench_threads.c with two threads beside two busy processes on two cores: 3000
 * to 4000 runs a second when always spinning 50 us, 11000 to 32000 this way.) */
static const uint64_t MAX_SPIN_NS = 50000, MIN_SPIN_NS = 2000;
enum { MAX_THREADS = 1024, SPINS_PER_CLOCK_READ = 64, SPINS_BEFORE_YIELD = 1024, CACHE_LINE = 64 };

static atomic_int pinning = THREADS_PINNED_AUTO;

typedef void worker_fn(void *ctx, int worker, int n_workers);

/* One run at a time. The caller fills fn, ctx and n_pending and then raises `generation`;
 * a worker that sees it raised runs fn and lowers n_pending. Whoever waits spins first, then
 * counts itself in n_sleeping (or caller_sleeps) and looks again under the lock: with
 * sequentially consistent accesses either the waiter sees the change or the changer sees the
 * waiter and takes the lock to wake it. */
struct thread_pool {
    int n_threads;
    uint64_t max_spin_ns;
    worker_fn *fn;
    void *ctx;
    bool stop; /* read after `generation` */
    bool pinned;
    pthread_mutex_t run_lock, sleep_lock;
    pthread_cond_t work, done;
    struct worker *workers; /* [n_threads - 1] */
    int n_started;
    uint64_t caller_spin_ns; /* guarded by run_lock */
    _Alignas(CACHE_LINE) atomic_uint generation;
    atomic_int n_sleeping;
    _Alignas(CACHE_LINE) atomic_int n_pending;
    atomic_bool caller_sleeps;
};

struct worker {
    struct thread_pool *pool;
    int index;
    pthread_t thread;
};

static void cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void thread_pause(unsigned tries) {
    cpu_relax();
    if (tries % SPINS_BEFORE_YIELD == SPINS_BEFORE_YIELD - 1)
        sched_yield();
}

static bool has_work(struct thread_pool *p, unsigned seen) {
    return atomic_load(&p->generation) != seen;
}

static bool is_done(struct thread_pool *p, unsigned unused) {
    (void)unused;
    return atomic_load(&p->n_pending) == 0;
}

static bool spin_for(struct thread_pool *p, bool (*holds)(struct thread_pool *, unsigned),
                     unsigned seen, uint64_t spin_ns) {
    uint64_t deadline = os_now_ns() + spin_ns;
    do {
        for (int i = 0; i < SPINS_PER_CLOCK_READ; i++) {
            if (holds(p, seen))
                return true;
            cpu_relax();
        }
    } while (os_now_ns() < deadline);
    return false;
}

/* True as soon as the condition holds, false when the time for spinning is over. */
static bool spin_until(struct thread_pool *p, bool (*holds)(struct thread_pool *, unsigned),
                       unsigned seen, uint64_t *spin_ns) {
    if (holds(p, seen))
        return true;
    /* With more threads than cores a spinning thread only keeps the working one off. */
    if (p->max_spin_ns == 0)
        return false;
    bool held = spin_for(p, holds, seen, *spin_ns);
    *spin_ns = held ? *spin_ns * 2 : *spin_ns / 2;
    if (*spin_ns > p->max_spin_ns)
        *spin_ns = p->max_spin_ns;
    if (*spin_ns < MIN_SPIN_NS)
        *spin_ns = MIN_SPIN_NS;
    return held;
}

static void wait_for_work(struct thread_pool *p, unsigned seen, uint64_t *spin_ns) {
    if (spin_until(p, has_work, seen, spin_ns))
        return;
    pthread_mutex_lock(&p->sleep_lock);
    atomic_fetch_add(&p->n_sleeping, 1);
    while (!has_work(p, seen))
        pthread_cond_wait(&p->work, &p->sleep_lock);
    atomic_fetch_sub(&p->n_sleeping, 1);
    pthread_mutex_unlock(&p->sleep_lock);
}

static void wait_until_done(struct thread_pool *p) {
    if (spin_until(p, is_done, 0, &p->caller_spin_ns))
        return;
    pthread_mutex_lock(&p->sleep_lock);
    atomic_store(&p->caller_sleeps, true);
    while (!is_done(p, 0))
        pthread_cond_wait(&p->done, &p->sleep_lock);
    atomic_store(&p->caller_sleeps, false);
    pthread_mutex_unlock(&p->sleep_lock);
}

static void announce(struct thread_pool *p) {
    atomic_fetch_add(&p->generation, 1);
    if (atomic_load(&p->n_sleeping) > 0) {
        pthread_mutex_lock(&p->sleep_lock);
        pthread_cond_broadcast(&p->work);
        pthread_mutex_unlock(&p->sleep_lock);
    }
}

static void finish_share(struct thread_pool *p) {
    if (atomic_fetch_sub(&p->n_pending, 1) == 1 && atomic_load(&p->caller_sleeps)) {
        pthread_mutex_lock(&p->sleep_lock);
        pthread_cond_signal(&p->done);
        pthread_mutex_unlock(&p->sleep_lock);
    }
}

static void *worker_main(void *arg) {
    const struct worker *w = arg;
    struct thread_pool *p = w->pool;
    uint64_t spin_ns = p->max_spin_ns;
    if (p->pinned)
        os_pin_thread(w->index);
    for (unsigned seen = 0;; seen++) {
        wait_for_work(p, seen, &spin_ns);
        if (p->stop)
            return NULL;
        p->fn(p->ctx, w->index, p->n_threads);
        finish_share(p);
    }
}

/* Ctrl-C belongs to the thread that asked for the work. A fault is the worker's own; were it
 * blocked, the system would kill the process past the host program's handler. */
static void block_signals(sigset_t *before) {
    sigset_t blocked;
    sigfillset(&blocked);
    const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, before);
}

static enum quern_status start_workers(struct thread_pool *p, struct quern_error *err) {
    sigset_t before;
    block_signals(&before);
    int failed = 0;
    while (!failed && p->n_started < p->n_threads - 1) {
        struct worker *w = &p->workers[p->n_started];
        *w = (struct worker){.pool = p, .index = p->n_started + 1};
        failed = pthread_create(&w->thread, NULL, worker_main, w);
        if (!failed)
            p->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return error_set(err, QUERN_ERR_LIMIT, "cannot start thread %d of %d: %s", p->n_started + 2,
                         p->n_threads, strerror(failed));
    return QUERN_OK;
}

/* With one memory, keeping workers on cores wins nothing, and a worker whose core somebody else
 * uses cannot move to a free one (bench_threads 2 2: 39,000 runs a second pinned, 53,000 not). With
 * several memories, a worker that moves away from what it touched first reads it from afar. */
static bool should_pin(void) {
    const int wish = atomic_load(&pinning);
    return wish == THREADS_PINNED || (wish == THREADS_PINNED_AUTO && os_memory_nodes() > 1);
}

void thread_pool_set_pinning(enum thread_pinning wish) {
    atomic_store(&pinning, (int)wish);
}

enum quern_status thread_pool_create(int n_threads, struct thread_pool **out,
                                     struct quern_error *err) {
    int n_cpus = os_cpu_count();
    if (n_threads == 0)
        n_threads = n_cpus < MAX_THREADS ? n_cpus : MAX_THREADS;
    if (n_threads < 0 || n_threads > MAX_THREADS)
        return error_set(err, QUERN_ERR_ARG, "%d threads: expected 0 to %d", n_threads,
                         MAX_THREADS);
    void *memory;
    if (posix_memalign(&memory, _Alignof(struct thread_pool), sizeof(struct thread_pool)))
        return error_nomem(err);
    struct thread_pool *p = memory;
    memset(p, 0, sizeof *p);
    p->n_threads = n_threads;
    p->pinned = n_threads <= n_cpus && should_pin();
    p->max_spin_ns = n_threads <= n_cpus ? MAX_SPIN_NS : 0;
    p->caller_spin_ns = p->max_spin_ns;
    pthread_mutex_init(&p->run_lock, NULL);
    pthread_mutex_init(&p->sleep_lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->done, NULL);
    enum quern_status status;
    if (n_threads > 1) {
        p->workers = calloc((size_t)n_threads - 1, sizeof *p->workers);
        status = p->workers ? start_workers(p, err) : error_nomem(err);
        if (status)
            goto fail;
    }
    *out = p;
    return QUERN_OK;

fail:
    thread_pool_destroy(p);
    return status;
}

void thread_pool_destroy(struct thread_pool *p) {
    if (!p)
        return;
    p->stop = true;
    announce(p);
    for (int i = 0; i < p->n_started; i++)
        pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->sleep_lock);
    pthread_mutex_destroy(&p->run_lock);
    free(p->workers);
    free(p);
}

int thread_pool_size(const struct thread_pool *p) {
    return p->n_threads;
}

void thread_pool_run(struct thread_pool *p, worker_fn *fn, void *ctx) {
    pthread_mutex_lock(&p->run_lock);
    p->fn = fn;
    p->ctx = ctx;
    atomic_store(&p->n_pending, p->n_threads - 1);
    if (p->n_threads > 1)
        announce(p);
    fn(ctx, 0, p->n_threads);
    wait_until_done(p);
    pthread_mutex_unlock(&p->run_lock);
}
