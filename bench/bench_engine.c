/* bench_engine.c - the serving engine on one model.
 *
 *     bench_engine DIR [MADE [THREADS]]
 *
 * Prints, for prompts of random tokens and MADE (64) tokens each:
 *   throughput   tokens a second of all requests together, 1 to 16 of them at once, and what a
 *                session reaches that decodes alone (quern_generate)
 *   first token  time to it after a prompt of 1024 + 16 tokens, cold and with the 1024 in the cache
 *   stall        the longest gap between two tokens of a decoding request while a prompt of 1024
 *                tokens is prefilled beside it
 *   guesses      throughput of a text that repeats itself, with and without speculation */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/rng.h"
#include "quern.h"

enum { PREFIX = 1024, SUFFIX = 16, MOST_REQUESTS = 16, SHORT_PROMPT = 32, N_REPEATS = 3 };

struct bench {
    quern_model *model;
    struct quern_model_info info;
    int32_t n_made;
    uint64_t next_seed;
};

static double ms_since(uint64_t ns) {
    return (double)(os_now_ns() - ns) * 1e-6;
}

static void fill_prompt(const struct bench *b, int32_t *out, size_t n, uint64_t seed) {
    const int32_t usual = b->info.n_tokens < 100000 ? b->info.n_tokens / 2 : 100000;
    for (size_t i = 0; i < n; i++) {
        uint32_t r[4];
        rng_block(seed, 0, i, r);
        out[i] = (int32_t)(r[0] % (uint32_t)usual);
    }
}

static struct quern_request make_request(const int32_t *prompt, size_t n, int32_t n_made) {
    return (struct quern_request){
        .prompt = prompt,
        .n_prompt = n,
        .generate = {.sampling = {.top_p = 1, .typical_p = 1, .repetition_penalty = 1},
                     .max_tokens = n_made,
                     .ignore_eos = true,
                     .n_top_logprobs = -1}};
}

static quern_engine *make_engine(const struct bench *b, enum quern_speculation speculation) {
    const struct quern_engine_options o = {.n_context = 2048, .speculation = speculation};
    quern_engine *e = NULL;
    struct quern_error err;
    if (quern_engine_create(b->model, &o, &e, &err)) {
        fprintf(stderr, "bench_engine: %s\n", err.message);
        return NULL;
    }
    return e;
}

/* Reads to the end. */
static struct quern_request_result finish(quern_ticket *t) {
    struct quern_event event;
    struct quern_request_result result = {0};
    for (;;) {
        const enum quern_next next = quern_ticket_next(t, &event);
        if (next == QUERN_NEXT_END)
            break;
        if (next == QUERN_NEXT_NOTHING)
            quern_ticket_wait(t, -1);
    }
    quern_ticket_result(t, &result, NULL);
    quern_ticket_destroy(t);
    return result;
}

static quern_ticket *submit(quern_engine *e, const struct quern_request *r) {
    quern_ticket *t = NULL;
    struct quern_error err;
    if (quern_engine_submit(e, r, &t, &err))
        fprintf(stderr, "bench_engine: %s\n", err.message);
    return t;
}

/* Tokens a second from the first token of the last request to start until all have ended. */
static double together(struct bench *b, quern_engine *e, size_t n) {
    int32_t prompts[MOST_REQUESTS][SHORT_PROMPT];
    quern_ticket *tickets[MOST_REQUESTS];
    const uint64_t begin = os_now_ns();
    double prefill_ms = 0;
    for (size_t i = 0; i < n; i++) {
        fill_prompt(b, prompts[i], SHORT_PROMPT, b->next_seed++);
        const struct quern_request r = make_request(prompts[i], SHORT_PROMPT, b->n_made);
        tickets[i] = submit(e, &r);
        if (!tickets[i])
            return 0;
    }
    for (size_t i = 0; i < n; i++) {
        const struct quern_request_result r = finish(tickets[i]);
        const double first_ms = r.usage.queue_ms + r.usage.prefill_ms;
        prefill_ms = first_ms > prefill_ms ? first_ms : prefill_ms;
    }
    return (double)n * (b->n_made - 1) * 1e3 / (ms_since(begin) - prefill_ms);
}

static double alone_in_a_session(struct bench *b) {
    int32_t prompt[SHORT_PROMPT];
    const struct quern_session_options so = {.n_context = 2048};
    quern_session *s = NULL;
    struct quern_generate_result result = {0};
    fill_prompt(b, prompt, SHORT_PROMPT, b->next_seed++);
    const struct quern_request r = make_request(prompt, SHORT_PROMPT, b->n_made);
    if (quern_session_create(b->model, &so, &s, NULL) ||
        quern_session_feed(s, prompt, SHORT_PROMPT, NULL) ||
        quern_generate(s, &r.generate, &result, NULL))
        fprintf(stderr, "bench_engine: the session failed\n");
    quern_session_destroy(s);
    return result.seconds > 0 ? (double)result.n_tokens / result.seconds : 0;
}

static void bench_throughput(struct bench *b) {
    quern_engine *e = make_engine(b, QUERN_SPECULATION_OFF);
    if (!e)
        return;
    double best_alone = 0, best_one = 0;
    for (int i = 0; i < N_REPEATS; i++) {
        const double s = alone_in_a_session(b);
        best_alone = s > best_alone ? s : best_alone;
    }
    printf("throughput   session %.1f tok/s\n", best_alone);
    for (size_t n = 1; n <= MOST_REQUESTS; n *= 2) {
        double best = 0;
        for (int i = 0; i < N_REPEATS; i++) {
            const double t = together(b, e, n);
            best = t > best ? t : best;
        }
        best_one = n == 1 ? best : best_one;
        printf("throughput   %2zu at once %.1f tok/s, %.2f x one\n", n, best, best / best_one);
    }
    quern_engine_destroy(e);
}

static void bench_first_token(struct bench *b) {
    static int32_t prompt[PREFIX + SUFFIX];
    quern_engine *e = make_engine(b, QUERN_SPECULATION_OFF);
    if (!e)
        return;
    double cold = 1e30, warm = 1e30;
    for (int i = 0; i < N_REPEATS; i++) {
        fill_prompt(b, prompt, PREFIX + SUFFIX, b->next_seed++);
        struct quern_request r = make_request(prompt, PREFIX + SUFFIX, 1);
        struct quern_usage u = finish(submit(e, &r)).usage;
        cold = u.queue_ms + u.prefill_ms < cold ? u.queue_ms + u.prefill_ms : cold;
        fill_prompt(b, prompt + PREFIX, SUFFIX, b->next_seed++);
        u = finish(submit(e, &r)).usage;
        warm = u.queue_ms + u.prefill_ms < warm ? u.queue_ms + u.prefill_ms : warm;
        if (u.cached_tokens < PREFIX)
            printf("first token  only %zu tokens were cached\n", u.cached_tokens);
    }
    printf("first token  %d tokens: cold %.1f ms, %d of them cached %.2f ms, %.1f x\n",
           PREFIX + SUFFIX, cold, PREFIX, warm, cold / warm);
    quern_engine_destroy(e);
}

static void bench_stall(struct bench *b) {
    static int32_t long_prompt[PREFIX], prompt[SHORT_PROMPT];
    quern_engine *e = make_engine(b, QUERN_SPECULATION_OFF);
    if (!e)
        return;
    double worst = 0, usual = 0;
    size_t n_gaps = 0;
    for (int i = 0; i < N_REPEATS; i++) {
        fill_prompt(b, prompt, SHORT_PROMPT, b->next_seed++);
        fill_prompt(b, long_prompt, PREFIX, b->next_seed++);
        const struct quern_request decoding = make_request(prompt, SHORT_PROMPT, 200);
        const struct quern_request prefilling = make_request(long_prompt, PREFIX, 2);
        quern_ticket *d = submit(e, &decoding), *p = NULL;
        struct quern_event event;
        uint64_t last = 0;
        size_t n = 0;
        for (enum quern_next next; (next = quern_ticket_next(d, &event)) != QUERN_NEXT_END;) {
            if (next == QUERN_NEXT_NOTHING) {
                quern_ticket_wait(d, -1);
                continue;
            }
            const double gap = ms_since(last);
            if (last && p)
                worst = gap > worst ? gap : worst;
            else if (last && n > 2)
                usual += gap, n_gaps++;
            last = os_now_ns();
            /* Repeats after the first know the speed. */
            if (++n == 20)
                p = submit(e, &prefilling);
        }
        quern_ticket_destroy(d);
        finish(p);
        if (i == 0)
            worst = 0;
    }
    printf(
        "stall        between tokens usually %.1f ms, beside a prompt of %d tokens at most %.1f ms "
        "(max_step_ms 100)\n",
        n_gaps ? usual / (double)n_gaps : 0, PREFIX, worst);
    quern_engine_destroy(e);
}

static void bench_guesses(struct bench *b) {
    static int32_t prompt[512];
    double rate[2] = {0};
    fill_prompt(b, prompt, 16, b->next_seed++);
    for (size_t i = 16; i < 512; i++)
        prompt[i] = prompt[i % 16];
    for (int guesses = 0; guesses < 2; guesses++) {
        quern_engine *e = make_engine(b, guesses ? QUERN_SPECULATION_AUTO : QUERN_SPECULATION_OFF);
        if (!e)
            return;
        for (int i = 0; i < N_REPEATS; i++) {
            const struct quern_request r = make_request(prompt, 512, 4 * b->n_made);
            const struct quern_request_result result = finish(submit(e, &r));
            const double t = (4 * b->n_made - 1) * 1e3 / result.usage.decode_ms;
            rate[guesses] = t > rate[guesses] ? t : rate[guesses];
            if (guesses && i == 0)
                printf("guesses      %zu of %zu right\n", result.usage.accepted_tokens,
                       result.usage.drafted_tokens);
        }
        quern_engine_destroy(e);
    }
    printf("guesses      off %.1f tok/s, automatic %.1f tok/s, %.2f x\n", rate[0], rate[1],
           rate[1] / rate[0]);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "bench_engine DIR [MADE [THREADS]]\n");
        return 0; /* make bench runs all of them */
    }
    struct bench b = {.n_made = 64, .next_seed = 1};
    struct quern_model_options o = {0};
    struct quern_error err;
    if (argc > 2)
        b.n_made = (int32_t)strtol(argv[2], NULL, 10);
    if (argc > 3)
        o.n_threads = (int)strtol(argv[3], NULL, 10);
    if (b.n_made < 2 || b.n_made > 256 || quern_model_open(argv[1], &o, &b.model, &err)) {
        fprintf(stderr, "bench_engine: %s\n", b.model ? "MADE is 2 to 256" : err.message);
        return 1;
    }
    quern_model_get_info(b.model, &b.info);
    bench_throughput(&b);
    bench_first_token(&b);
    bench_stall(&b);
    bench_guesses(&b);
    quern_model_close(b.model);
    return 0;
}
