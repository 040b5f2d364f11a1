/* bench_grammar_threads.c - threads that share one compiled grammar, whose lock they take for every
 * mask, beside threads with a grammar each.
 *
 *     bench_grammar_threads TOKENIZER_DIR [PAUSE_US]
 *
 * Each thread answers the same random JSON Schema value again and again: mask and accept, and
 * between tokens PAUSE_US (0; then 200, which is fast for a model) of work of its own. Printed are
 * tokens a second of all threads and percentiles of the time a mask and its token take, waiting
 * included. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/sync.h"
#include "grammar/answer_guard.h"

enum { THREADS_MAX = 8, STEPS = 6000, ANSWER_STEPS = 150 };

static struct tokenizer *tokenizer;
static struct token_image *image;
static const int32_t no_end = -1;

struct worker {
    struct thread thread;
    char schema[400];
    uint64_t seed, pause_ns;
    double *us; /* [STEPS] */
    size_t n;
    bool failed;
};

/* One of the tokens of the mask, from a random place on. */
static int32_t pick(const uint32_t *mask, uint64_t *seed) {
    const size_t words = ((size_t)image->n_tokens + 31) / 32;
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    const size_t from = (size_t)(*seed >> 33) % words;
    for (size_t i = 0; i < words; i++) {
        const size_t w = (from + i) % words;
        if (mask[w])
            return (int32_t)(w * 32 + (size_t)__builtin_ctz(mask[w]));
    }
    return -1;
}

static void work_for(uint64_t ns) {
    for (const uint64_t end = os_now_ns() + ns; ns && os_now_ns() < end;) {
    }
}

static void one_answer(struct worker *w, uint32_t *mask) {
    const struct answer_rules rules = {.form = ANSWER_SCHEMA, .text = str_from(w->schema)};
    struct answer_guard *g = NULL;
    if (answer_guard_create(image, &no_end, 0, &rules, NULL, &g, NULL) != QUERN_OK) {
        w->failed = true;
        return;
    }
    const struct constraint *c = answer_guard_constraint(g);
    for (int i = 0; i < ANSWER_STEPS && w->n < STEPS; i++) {
        const uint64_t begin = os_now_ns();
        if (c->ops->mask(c->state, mask, image->n_tokens, NULL) != QUERN_OK)
            break; /* the text has ended */
        const int32_t token = pick(mask, &w->seed);
        w->failed = w->failed || c->ops->accept(c->state, token, NULL) != QUERN_OK;
        w->us[w->n++] = (double)(os_now_ns() - begin) * 1e-3;
        work_for(w->pause_ns);
    }
    answer_guard_destroy(g);
}

static void work(void *arg) {
    struct worker *w = arg;
    uint32_t *mask = calloc((size_t)image->n_tokens / 32 + 1, sizeof *mask);
    w->n = 0;
    while (w->n < STEPS && mask && !w->failed)
        one_answer(w, mask);
    free(mask);
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run(struct worker *workers, size_t n, bool share, uint64_t pause_ns, bool print) {
    double *all = calloc(n * STEPS, sizeof *all);
    for (size_t i = 0; i < n; i++) {
        snprintf(workers[i].schema, sizeof workers[i].schema,
                 "{\"title\": \"%zu\", \"type\": \"array\", \"minItems\": 9, \"items\": {\"type\": \"object\", "
                 "\"properties\": {\"name\": {\"type\": \"string\", \"maxLength\": 20}, \"n\": {\"type\": "
                 "\"integer\"}, \"tags\": {\"type\": \"array\", \"items\": {\"type\": \"string\"}}}, \"required\": "
                 "[\"name\", \"n\"], \"additionalProperties\": false}}",
                 share ? 0 : i);
        workers[i].pause_ns = pause_ns;
        workers[i].seed = i;
    }
    const uint64_t begin = os_now_ns();
    for (size_t i = 0; i < n; i++)
        workers[i].failed |= thread_start(&workers[i].thread, "forms", work, &workers[i], NULL) != QUERN_OK;
    size_t n_all = 0;
    for (size_t i = 0; i < n; i++) {
        thread_join(&workers[i].thread);
        if (all)
            memcpy(all + n_all, workers[i].us, workers[i].n * sizeof *all);
        n_all += workers[i].n;
    }
    const double seconds = (double)(os_now_ns() - begin) * 1e-9;
    if (print && all && n_all) {
        qsort(all, n_all, sizeof *all, compare);
        printf("%zu threads, %-18s pause %3.0f us: %9.0f tokens/s, us a token p50 %.2f p99 %.1f p99.9 %.0f\n", n,
               share ? "one grammar," : "a grammar each,", (double)pause_ns * 1e-3, (double)n_all / seconds,
               all[n_all / 2], all[n_all * 99 / 100], all[n_all * 999 / 1000]);
    }
    free(all);
}

int main(int argc, char **argv) {
    static const size_t counts[] = {1, 2, THREADS_MAX};
    struct quern_error err = {0};
    struct worker workers[THREADS_MAX] = {0};
    int code = 0;
    if (argc < 2) {
        fprintf(stderr, "bench_grammar_threads TOKENIZER_DIR [PAUSE_US]\n");
        return 0; /* make bench runs all of them */
    }
    if (tokenizer_open(argv[1], &tokenizer, &err) || token_image_create(tokenizer, &image, &err)) {
        fprintf(stderr, "bench_grammar_threads: %s\n", err.message);
        code = 1;
    }
    for (size_t i = 0; i < THREADS_MAX && !code; i++)
        code = !(workers[i].us = calloc(STEPS, sizeof(double)));
    const uint64_t pauses[] = {0, argc > 2 ? strtoull(argv[2], NULL, 10) * 1000 : 200000};
    for (size_t p = 0; p < 2 && !code; p++)
        for (size_t i = 0; i < 3; i++)
            for (int share = 1; share >= 0; share--) {
                run(workers, counts[i], share, 0, false); /* warm */
                run(workers, counts[i], share, pauses[p], true);
            }
    for (size_t i = 0; i < THREADS_MAX; i++) {
        code |= workers[i].failed;
        free(workers[i].us);
    }
    token_image_destroy(image);
    tokenizer_close(tokenizer);
    return code;
}
