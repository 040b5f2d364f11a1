#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"
#include "support/support.h"

enum { MAX_WORKERS = 8 };

struct tally {
    size_t calls[MAX_WORKERS]; /* each written by its own worker only */
    int n_workers;
};

static void count_call(void *ctx, int worker, int n_workers) {
    struct tally *t = ctx;
    t->calls[worker]++;
    if (worker == 0)
        t->n_workers = n_workers;
}

static struct thread_pool *make_pool(int n_threads) {
    struct thread_pool *pool = NULL;
    assert_int_equal(thread_pool_create(n_threads, &pool, NULL), QUERN_OK);
    return pool;
}

static void each_worker_is_called_once_per_run(void **state) {
    (void)state;
    for (int n = 1; n <= MAX_WORKERS; n++) {
        struct thread_pool *pool = make_pool(n);
        assert_int_equal(thread_pool_size(pool), n);
        struct tally t = {0};
        for (int i = 0; i < 300; i++)
            thread_pool_run(pool, count_call, &t);
        assert_int_equal(t.n_workers, n);
        for (int w = 0; w < MAX_WORKERS; w++)
            assert_int_equal(t.calls[w], w < n ? 300 : 0);
        thread_pool_destroy(pool);
    }
}

static void sleeping_workers_wake_for_the_next_run(void **state) {
    (void)state;
    struct thread_pool *pool = make_pool(3);
    struct tally t = {0};
    for (int i = 0; i < 20; i++) {
        usleep(1000); /* well beyond the time a worker spins */
        thread_pool_run(pool, count_call, &t);
    }
    for (int w = 0; w < 3; w++)
        assert_int_equal(t.calls[w], 20);
    thread_pool_destroy(pool);
}

static void slow_worker(void *ctx, int worker, int n_workers) {
    (void)n_workers;
    if (worker == 1) {
        usleep(2000);
        *(int *)ctx += 1;
    }
}

static void run_returns_only_when_the_slowest_worker_has(void **state) {
    (void)state;
    struct thread_pool *pool = make_pool(2);
    int done = 0;
    for (int i = 1; i <= 10; i++) {
        thread_pool_run(pool, slow_worker, &done);
        assert_int_equal(done, i);
    }
    thread_pool_destroy(pool);
}

struct shared_use {
    struct thread_pool *pool;
    long total; /* guarded by the pool: one run at a time */
};

static void add_as_caller(void *ctx, int worker, int n_workers) {
    (void)n_workers;
    if (worker == 0)
        ((struct shared_use *)ctx)->total++;
}

static void *run_many(void *arg) {
    struct shared_use *use = arg;
    for (int i = 0; i < 500; i++)
        thread_pool_run(use->pool, add_as_caller, use);
    return NULL;
}

static void runs_from_several_threads_queue(void **state) {
    (void)state;
    struct shared_use use = {.pool = make_pool(2)};
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_many, &use), 0);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(use.total, 1500);
    thread_pool_destroy(use.pool);
}

static void note_mask(void *ctx, int worker, int n_workers) {
    (void)n_workers;
    if (worker == 1)
        pthread_sigmask(SIG_BLOCK, NULL, ctx);
}

/* Blocked, a fault kills the process past every handler: no crash report, no sanitizer's. */
static void workers_take_no_signals_but_faults_of_their_own(void **state) {
    (void)state;
    struct thread_pool *pool = make_pool(2);
    sigset_t mask;
    thread_pool_run(pool, note_mask, &mask);
    assert_int_equal(sigismember(&mask, SIGINT), 1);
    assert_int_equal(sigismember(&mask, SIGTERM), 1);
    const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        assert_int_equal(sigismember(&mask, faults[i]), 0);
    thread_pool_destroy(pool);
}

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void an_idle_pool_burns_no_cpu(void **state) {
    (void)state;
    struct thread_pool *pool = make_pool(4);
    struct tally t = {0};
    for (int i = 0; i < 100; i++)
        thread_pool_run(pool, count_call, &t);
    usleep(20000); /* they may spin for a moment */
    const double before = cpu_seconds();
    usleep(500000);
    /* Spinning would take a second and more; nothing at all is expected of a sleeping process. */
    assert_true(cpu_seconds() - before < 0.005);
    thread_pool_destroy(pool);
}

static void note_core_count(void *ctx, int worker, int n_workers) {
    (void)n_workers;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        ((int *)ctx)[worker] = CPU_COUNT(&set);
}

static void workers_stay_on_cores_of_their_own_when_asked(void **state) {
    (void)state;
    const int n_cpus = os_cpu_count();
    for (int pinned = 0; pinned < 2; pinned++) {
        int cores[2] = {0};
        thread_pool_set_pinning(pinned ? THREADS_PINNED : THREADS_FREE);
        struct thread_pool *pool = make_pool(n_cpus > 1 ? 2 : 1);
        thread_pool_run(pool, note_core_count, cores);
        assert_true(cores[0] >= n_cpus); /* the caller's own thread is left alone */
        if (n_cpus > 1)
            assert_int_equal(cores[1], pinned ? 1 : cores[0]);
        thread_pool_destroy(pool);
    }
    thread_pool_set_pinning(THREADS_PINNED_AUTO);
}

static void bad_thread_counts_are_refused_with_a_message(void **state) {
    (void)state;
    struct thread_pool *pool = NULL;
    struct quern_error err = {0};
    assert_int_equal(thread_pool_create(-1, &pool, &err), QUERN_ERR_ARG);
    assert_string_equal(err.message, "-1 threads: expected 0 to 1024");
    assert_int_equal(thread_pool_create(1025, &pool, &err), QUERN_ERR_ARG);
    assert_null(pool);
}

static void zero_threads_means_one_per_core(void **state) {
    (void)state;
    struct thread_pool *pool = make_pool(0);
    assert_int_equal(thread_pool_size(pool), os_cpu_count());
    thread_pool_destroy(pool);
    thread_pool_destroy(NULL);
}

static void shares_cover_everything_once_in_whole_grains(void **state) {
    (void)state;
    for (size_t n = 0; n < 70; n++) {
        for (size_t grain = 1; grain <= 16; grain *= 2) {
            for (int workers = 1; workers <= 9; workers++) {
                size_t at = 0, begin, end;
                for (int w = 0; w < workers; w++) {
                    thread_share(n, grain, w, workers, &begin, &end);
                    assert_int_equal(begin, at);
                    assert_true(end == n || end % grain == 0);
                    at = end;
                }
                assert_int_equal(at, n);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_worker_is_called_once_per_run),
        cmocka_unit_test(sleeping_workers_wake_for_the_next_run),
        cmocka_unit_test(run_returns_only_when_the_slowest_worker_has),
        cmocka_unit_test(runs_from_several_threads_queue),
        cmocka_unit_test(workers_take_no_signals_but_faults_of_their_own),
        cmocka_unit_test(an_idle_pool_burns_no_cpu),
        cmocka_unit_test(workers_stay_on_cores_of_their_own_when_asked),
        cmocka_unit_test(bad_thread_counts_are_refused_with_a_message),
        cmocka_unit_test(zero_threads_means_one_per_core),
        cmocka_unit_test(shares_cover_everything_once_in_whole_grains),
    };
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
