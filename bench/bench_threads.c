/* bench_threads.c - what one run of the thread pool costs.
 *
 *     bench_threads [THREADS [BUSY]]
 *
 * THREADS: 2 unless told otherwise. BUSY: that many processes that never sleep run beside it, as
 * on a shared machine. Prints the time of an empty run (median and 99th percentile) and how many
 * runs a second are made when the caller works a little between them, as a forward pass does. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os.h"
#include "base/threads.h"

enum { N_EMPTY = 50000, MAX_BUSY = 64, SHARE_STEPS = 20000, SERIAL_STEPS = 10000 };
static const uint64_t SECONDS_NS = 3000000000u;

static void burn(unsigned steps) {
    volatile unsigned sink = 0;
    for (unsigned i = 0; i < steps; i++)
        sink += i;
}

static void nothing(void *ctx, int worker, int n_workers) {
    (void)ctx, (void)worker, (void)n_workers;
}

static void a_share(void *ctx, int worker, int n_workers) {
    (void)ctx, (void)worker, (void)n_workers;
    burn(SHARE_STEPS);
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void time_empty_runs(struct thread_pool *pool) {
    static uint64_t times[N_EMPTY];
    for (int i = 0; i < N_EMPTY; i++) {
        uint64_t begin = os_now_ns();
        thread_pool_run(pool, nothing, NULL);
        times[i] = os_now_ns() - begin;
    }
    qsort(times, N_EMPTY, sizeof times[0], compare);
    printf("empty run: median %.2f us, 99%% %.2f us\n", (double)times[N_EMPTY / 2] / 1e3,
           (double)times[N_EMPTY / 100 * 99] / 1e3);
}

static void count_runs(struct thread_pool *pool) {
    unsigned n = 0;
    uint64_t begin = os_now_ns(), end;
    do {
        thread_pool_run(pool, a_share, NULL);
        burn(SERIAL_STEPS);
        n++;
        end = os_now_ns();
    } while (end - begin < SECONDS_NS);
    printf("runs with work between them: %.0f a second\n", n / ((double)(end - begin) / 1e9));
}

int main(int argc, char **argv) {
    int n_threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2;
    int n_busy = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
    pid_t busy[MAX_BUSY];
    struct thread_pool *pool;
    struct quern_error err;
    if (thread_pool_create(n_threads, &pool, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    for (int i = 0; i < n_busy && i < MAX_BUSY; i++) {
        busy[i] = fork();
        while (busy[i] == 0)
            burn(SHARE_STEPS);
    }
    printf("%d threads, %d busy processes, %d cores\n", n_threads, n_busy, os_cpu_count());
    time_empty_runs(pool);
    count_runs(pool);
    for (int i = 0; i < n_busy && i < MAX_BUSY; i++) {
        kill(busy[i], SIGKILL);
        waitpid(busy[i], NULL, 0);
    }
    thread_pool_destroy(pool);
    return 0;
}
