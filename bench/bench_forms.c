/* bench_forms.c - what a form costs an answer, and what forced text saves.
 *
 *     bench_forms DIR [TOKENS [ROUNDS [session|one|eight]]]
 *
 * Answers of TOKENS (200) tokens, alone in a session, one and eight at once in an engine: free ones
 * and such of a form that cannot end before. All take turns within one run, ROUNDS (5) times after
 * one that warms caches up; printed are medians of tokens a second and their ratio to free text.
 *   pattern   a regular expression that allows any text
 *   strings   an array of strings of at most 40 characters
 *   records   an array of objects with fixed keys, where most of the text is forced
 * The engine does records twice, with and without several tokens of forced text a step; nothing else
 * is guessed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "quern.h"

enum { N_PROMPT = 16, MOST_AT_ONCE = 8, ROUNDS_MAX = 50 };

static const char STRINGS[] =
    "{\"type\": \"array\", \"minItems\": 5000, \"items\": {\"type\": \"string\", \"maxLength\": 40}}";
static const char RECORDS[] =
    "{\"type\": \"array\", \"minItems\": 5000, \"items\": {\"type\": \"object\", \"properties\": {"
    "\"temperature_celsius\": {\"type\": \"integer\", \"minimum\": -40, \"maximum\": 60}, "
    "\"is_raining\": {\"type\": \"boolean\"}, \"wind_direction\": {\"enum\": [\"north\", \"south\"]}, "
    "\"station_number\": {\"type\": \"integer\", \"minimum\": 0, \"maximum\": 99}}, "
    "\"required\": [\"temperature_celsius\", \"is_raining\", \"wind_direction\", \"station_number\"], "
    "\"additionalProperties\": false}}";

static const struct kind {
    const char *name;
    struct quern_form form;
    bool one_a_step; /* in the engine: no guesses, and forced text like any other */
} kinds[] = {
    {"free", {0}, true},
    {"pattern", {.regex = "[\\s\\S]{20000}"}, true},
    {"strings", {.json_schema = STRINGS}, true},
    {"records, one a step", {.json_schema = RECORDS}, true},
    {"records", {.json_schema = RECORDS}, false},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds, SAME_IN_SESSION = 3 };

struct bench {
    quern_model *model;
    quern_engine *engines[2]; /* with speculation as it is by default, and off */
    int32_t n_made;
    int n_rounds;
    bool failed;
};

static void report(struct bench *b, const char *message) {
    fprintf(stderr, "bench_forms: %s\n", message);
    b->failed = true;
}

static void fill_request(const struct bench *b, const struct kind *kind, size_t i, int32_t *prompt,
                         struct quern_request *out) {
    for (int32_t k = 0; k < N_PROMPT; k++)
        prompt[k] = 300 + 17 * k + (int32_t)i;
    *out = (struct quern_request){
        .prompt = prompt,
        .n_prompt = N_PROMPT,
        .generate = {.sampling = {.temperature = 0.7f,
                                  .top_k = 20,
                                  .top_p = 0.95f,
                                  .typical_p = 1,
                                  .repetition_penalty = 1,
                                  .seed = i},
                     .max_tokens = b->n_made,
                     .ignore_eos = true,
                     .n_top_logprobs = -1,
                     .form = strcmp(kind->name, "free") == 0 ? NULL : &kind->form}};
}

static double in_session(struct bench *b, const struct kind *kind) {
    int32_t prompt[N_PROMPT];
    struct quern_request r;
    struct quern_error err;
    const struct quern_session_options so = {.n_context = 2048};
    struct quern_generate_result result = {0};
    quern_session *s = NULL;
    fill_request(b, kind, 0, prompt, &r);
    if (quern_session_create(b->model, &so, &s, &err) ||
        quern_session_feed(s, prompt, N_PROMPT, &err) ||
        quern_generate(s, &r.generate, &result, &err))
        report(b, err.message);
    quern_session_destroy(s);
    return result.seconds > 0 ? (double)result.n_tokens / result.seconds : 0;
}

static void finish(struct bench *b, quern_ticket *t, double *decode_ms, size_t *n_tokens) {
    struct quern_event event;
    struct quern_request_result result = {0};
    for (enum quern_next next; (next = quern_ticket_next(t, &event)) != QUERN_NEXT_END;)
        if (next == QUERN_NEXT_NOTHING)
            quern_ticket_wait(t, -1);
    quern_ticket_result(t, &result, NULL);
    if (result.status)
        report(b, result.message);
    *n_tokens += result.usage.completion_tokens;
    if (result.usage.decode_ms > *decode_ms)
        *decode_ms = result.usage.decode_ms;
    quern_ticket_destroy(t);
}

static double at_once(struct bench *b, const struct kind *kind, size_t n) {
    int32_t prompts[MOST_AT_ONCE][N_PROMPT];
    quern_ticket *tickets[MOST_AT_ONCE] = {0};
    struct quern_error err;
    double decode_ms = 0;
    size_t n_tokens = 0;
    for (size_t i = 0; i < n; i++) {
        struct quern_request r;
        fill_request(b, kind, i, prompts[i], &r);
        if (quern_engine_submit(b->engines[kind->one_a_step], &r, &tickets[i], &err))
            report(b, err.message);
    }
    for (size_t i = 0; i < n; i++)
        if (tickets[i])
            finish(b, tickets[i], &decode_ms, &n_tokens);
    return decode_ms > 0 ? (double)n_tokens * 1e3 / decode_ms : 0;
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n) {
    qsort(v, (size_t)n, sizeof *v, compare);
    return v[n / 2];
}

/* n: at once in an engine; 0: in a session, which has no steps of one token only. Ratios are taken
 * within a round, so that a machine that grows slower does not count. */
static void measure(struct bench *b, const char *where, size_t n) {
    double rates[N_KINDS][ROUNDS_MAX], ratios[N_KINDS][ROUNDS_MAX];
    for (int round = -1; round < b->n_rounds && !b->failed; round++)
        for (size_t k = 0; k < N_KINDS && !b->failed; k++) {
            const double rate =
                n ? at_once(b, &kinds[k], n) : k == SAME_IN_SESSION ? 1 : in_session(b, &kinds[k]);
            if (round < 0)
                continue;
            rates[k][round] = rate;
            ratios[k][round] = rate / rates[0][round];
        }
    for (size_t k = 0; k < N_KINDS && !b->failed; k++)
        if (n || k != SAME_IN_SESSION)
            printf("%-14s %-20s %8.1f tok/s  x %.3f\n", where, kinds[k].name,
                   median(rates[k], b->n_rounds), median(ratios[k], b->n_rounds));
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "bench_forms DIR [TOKENS [ROUNDS [session|one|eight]]]\n");
        return 0; /* make bench runs all of them */
    }
    struct bench b = {.n_made = 200, .n_rounds = 5};
    struct quern_model_options o = {0};
    struct quern_error err = {0};
    if (argc > 2)
        b.n_made = (int32_t)strtol(argv[2], NULL, 10);
    if (argc > 3)
        b.n_rounds = (int)strtol(argv[3], NULL, 10);
    const char *where = argc > 4 ? argv[4] : "";
    if (b.n_made < 2 || b.n_made > 1900 || b.n_rounds < 1 || b.n_rounds > ROUNDS_MAX) {
        fprintf(stderr, "bench_forms: TOKENS is 2 to 1900, ROUNDS 1 to %d\n", (int)ROUNDS_MAX);
        return 1;
    }
    if (quern_model_open(argv[1], &o, &b.model, &err)) {
        fprintf(stderr, "bench_forms: %s\n", err.message);
        return 1;
    }
    for (int off = 0; off < 2; off++) {
        const struct quern_engine_options eo = {
            .n_context = 2048, .speculation = off ? QUERN_SPECULATION_OFF : QUERN_SPECULATION_AUTO};
        if (quern_engine_create(b.model, &eo, &b.engines[off], &err))
            report(&b, err.message);
    }
    if (!*where || strcmp(where, "session") == 0)
        measure(&b, "session", 0);
    if (!*where || strcmp(where, "one") == 0)
        measure(&b, "engine, one", 1);
    if (!*where || strcmp(where, "eight") == 0)
        measure(&b, "engine, eight", MOST_AT_ONCE);
    quern_engine_destroy(b.engines[0]);
    quern_engine_destroy(b.engines[1]);
    quern_model_close(b.model);
    return b.failed;
}
