/* alloc_check.c - runs every scenario with its k-th allocation failing, for k = 1, 2, ... until
 * none is left to fail; once with that request alone failing, once with all later ones failing
 * too. Each run must end with QUERN_ERR_NOMEM (or overcome the failure and be right), leave
 * nothing allocated, and leave the next run unharmed.
 *
 *     alloc_check [NAME]      only scenarios whose name contains NAME
 *
 * First it shows on two faulty scenarios that it finds faults. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc/alloc_fail.h"
#include "alloc/scenarios.h"
#include "base/error.h"

/* Of scenarios with many allocations the first are all tried, then every n-th. */
enum { TRY_ALL = 600, TRY_MOST = 1500 };

static const struct scenario *const lists[] = {
    base_scenarios,   text_scenarios, formats_scenarios, model_scenarios,  sampler_scenarios,
    engine_scenarios, api_scenarios,  chat_scenarios,    grammar_scenarios, openai_scenarios,
    tools_scenarios,  train_scenarios};

/* What is running, for the message when it crashes or hangs. */
static char running[256];

static void on_crash(int signal_number) {
    const char text[] = "crashed or hung: ";
    (void)!write(1, text, sizeof text - 1);
    (void)!write(1, running, strlen(running));
    (void)!write(1, "\n", 1);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

struct tally {
    size_t n_runs, n_overcome;
};

static bool complain(const struct quern_error *err, const char *what) {
    printf("%s: %s (status \"%s\", message \"%s\")\n", running, what, quern_status_name(err->code),
           err->message);
    return false;
}

/* One run with the k-th request failing. *ended: nothing was left to fail. */
static bool run_failing(const struct scenario *s, enum alloc_fail_mode mode, size_t k, bool *ended,
                        struct tally *tally) {
    struct quern_error err = {0};
    snprintf(running, sizeof running, "%s, request %zu failing %s", s->name, k,
             mode == ALLOC_FAIL_ONCE ? "alone" : "and all after it");
    alarm(60);
    long live = alloc_fail_live();
    alloc_fail_start(mode, k);
    enum quern_status status = s->run(&err);
    alloc_fail_stop();
    *ended = !alloc_fail_happened();
    tally->n_runs++;
    if (alloc_fail_live() != live) {
        printf("%s: %ld allocations leaked\n", running, alloc_fail_live() - live);
        return false;
    }
    if (status == QUERN_OK) {
        tally->n_overcome += !*ended;
        return true;
    }
    if (*ended)
        return complain(&err, "failed although no allocation did");
    if (status != QUERN_ERR_NOMEM || err.code != QUERN_ERR_NOMEM || !err.message[0])
        return complain(&err, "expected \"out of memory\" with a message");
    return true;
}

static bool run_mode(const struct scenario *s, enum alloc_fail_mode mode, size_t n_requests,
                     struct tally *tally) {
    size_t stride = 1 + (n_requests > TRY_ALL ? (n_requests - TRY_ALL) / (TRY_MOST - TRY_ALL) : 0);
    bool ended = false;
    /* Without failures again at the end: what failed before must not linger. */
    for (size_t k = 1; !ended; k += k < TRY_ALL ? 1 : stride) {
        if (!run_failing(s, mode, k, &ended, tally))
            return false;
    }
    return true;
}

static bool run_scenario(const struct scenario *s) {
    struct quern_error err = {0};
    snprintf(running, sizeof running, "%s, nothing failing", s->name);
    alarm(60);
    /* The first run also pays for what libraries allocate once and keep. */
    for (int i = 0; i < 2; i++) {
        alloc_fail_start(ALLOC_FAIL_NEVER, 0);
        if (s->run(&err) != QUERN_OK)
            return complain(&err, "failed although no allocation did");
    }
    size_t n_requests = alloc_fail_stop();
    struct tally tally = {0};
    bool ok = run_mode(s, ALLOC_FAIL_ONCE, n_requests, &tally) &&
              run_mode(s, ALLOC_FAIL_ONWARDS, n_requests, &tally);
    alarm(0);
    if (ok)
        printf("%s: %zu allocations, %zu runs, %zu overcame the failure\n", s->name, n_requests,
               tally.n_runs, tally.n_overcome);
    return ok;
}

static enum quern_status leaks_when_the_second_fails(struct quern_error *err) {
    char *first = malloc(10), *second = malloc(20);
    if (!first || !second) {
        free(second);
        return error_nomem(err);
    }
    free(first);
    free(second);
    return QUERN_OK;
}

static enum quern_status gives_the_wrong_status(struct quern_error *err) {
    char *volatile p = malloc(10);
    if (!p)
        return error_set(err, QUERN_ERR_IO, "no memory");
    free(p);
    return QUERN_OK;
}

static bool find_the_faults_of_faulty_scenarios(void) {
    static const struct scenario faulty[] = {
        {"leaks_when_the_second_fails", leaks_when_the_second_fails},
        {"gives_the_wrong_status", gives_the_wrong_status},
    };
    printf("two faults follow that must be found:\n");
    return !run_scenario(&faulty[0]) && !run_scenario(&faulty[1]);
}

static bool report(bool ok, const char *name) {
    printf("[ %s ] %s\n", ok ? "      OK" : " FAILED ", name);
    return ok;
}

int main(int argc, char **argv) {
    const char *filter = argc > 1 ? argv[1] : "";
    int n_failed = 0;
    signal(SIGSEGV, on_crash);
    signal(SIGABRT, on_crash);
    signal(SIGALRM, on_crash);
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    n_failed += !report(find_the_faults_of_faulty_scenarios(), "faults_of_scenarios_are_found");
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (const struct scenario *s = lists[i]; s->name; s++) {
            if (strstr(s->name, filter))
                n_failed += !report(run_scenario(s), s->name);
        }
    }
    return n_failed ? 1 : 0;
}
