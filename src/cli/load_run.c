#include "cli/load_run.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/os.h"
#include "base/rng.h"
#include "base/sync.h"
#include "text/json.h"

/* Streams of the random numbers: what one request is does not depend on how many there are. */
enum { STREAM_ARRIVAL, STREAM_PROMPT_LENGTH, STREAM_OUTPUT_LENGTH, STREAM_PREFIX, STREAM_IDS };

/* ---- lengths ------------------------------------------------------------------------- */

enum quern_status load_length_parse(const char *text, struct load_length *out,
                                    struct quern_error *err) {
    char *end, *end2;
    double a = number_parse(text, &end), b = a;
    char form = *end;
    if (form == '-' || form == '~') {
        b = number_parse(end + 1, &end2);
        end = end2 == end + 1 ? end : end2;
    }
    bool good =
        end != text && !*end && a >= 1 && a <= 1e7 && b <= 1e7 && (form == '~' ? b > 0 : b >= a);
    if (!good)
        return error_set(err, QUERN_ERR_ARG,
                         "\"%s\": expected N, MIN-MAX or MEAN~DEVIATION, in tokens", text);
    *out = (struct load_length){(int64_t)a, (int64_t)b, 0, 0};
    if (form == '~')
        *out = (struct load_length){1, (int64_t)(a + 4 * b), a, b};
    return QUERN_OK;
}

int64_t load_length_draw(const struct load_length *l, uint64_t seed, uint64_t stream,
                         uint64_t index) {
    if (l->deviation > 0) {
        double x = l->mean + l->deviation * (double)rng_normal(seed, stream, index);
        return x < (double)l->min ? l->min : x > (double)l->max ? l->max : (int64_t)x;
    }
    return l->min + (int64_t)(rng_uniform(seed, stream, index) * (double)(l->max - l->min + 1));
}

/* ---- one request ------------------------------------------------------------------------ */

static void write_ids(const struct load_plan *p, uint64_t stream, int64_t n, bool *first,
                      struct buffer *out) {
    for (int64_t i = 0; i < n; i++) {
        int64_t id = (int64_t)(rng_uniform(p->seed, stream, (uint64_t)i) * (double)p->n_vocab);
        buffer_printf(out, "%s%lld", *first ? "" : ",", (long long)id);
        *first = false;
    }
}

static void write_body(const struct load_plan *p, size_t index, const struct load_result *r,
                       struct buffer *out) {
    char temperature[40];
    bool first = true;
    json_format_float(p->temperature, temperature);
    int64_t shared = p->shared_prefix < r->n_prompt ? p->shared_prefix : r->n_prompt;
    int64_t which = (int64_t)(rng_uniform(p->seed, STREAM_PREFIX, index) * (double)p->n_prefixes);
    buffer_putc(out, '{');
    if (p->target.model) {
        buffer_puts(out, "\"model\":");
        json_write_string(str_from(p->target.model), out);
        buffer_putc(out, ',');
    }
    buffer_puts(out, "\"prompt\":[");
    write_ids(p, STREAM_IDS + 1 + (uint64_t)which, shared, &first, out);
    write_ids(p, (uint64_t)1 << 32 | index, r->n_prompt - shared, &first, out);
    buffer_printf(out,
                  "],\"max_tokens\":%lld,\"temperature\":%s,\"seed\":%zu,\"ignore_eos\":true,"
                  "\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
                  (long long)r->n_output, temperature, index);
}

/* ---- all of them ------------------------------------------------------------------------- */

struct shared {
    const struct load_plan *plan;
    struct load_result *results;
    uint64_t began_ns;
    atomic_size_t next, n_done;
    atomic_bool stop;
};

static void wait_until(struct shared *s, double at_s) {
    enum { NAP_NS = 20000000 };
    while (!atomic_load(&s->stop)) {
        double left_s = at_s - (double)(os_now_ns() - s->began_ns) * 1e-9;
        if (left_s <= 0)
            return;
        os_sleep_ns(left_s * 1e9 < NAP_NS ? (uint64_t)(left_s * 1e9) : NAP_NS);
    }
}

static void run_requests(void *arg) {
    struct shared *s = arg;
    size_t i;
    while (!atomic_load(&s->stop) && (i = atomic_fetch_add(&s->next, 1)) < s->plan->n_requests) {
        struct load_result *r = &s->results[i];
        struct buffer body;
        buffer_init(&body, SIZE_MAX / 4);
        write_body(s->plan, i, r, &body);
        wait_until(s, r->planned_s);
        if (!atomic_load(&s->stop) && !body.failed) {
            r->sent_s = (double)(os_now_ns() - s->began_ns) * 1e-9;
            load_ask(&s->plan->target, &body, &r->answer);
        }
        buffer_release(&body);
        atomic_fetch_add(&s->n_done, 1);
    }
}

static void plan_requests(const struct load_plan *p, struct load_result *results) {
    double at_s = 0;
    for (size_t i = 0; i < p->n_requests; i++) {
        struct load_result *r = &results[i];
        r->sent_s = -1;
        r->n_prompt = load_length_draw(&p->prompt, p->seed, STREAM_PROMPT_LENGTH, i);
        r->n_output = load_length_draw(&p->output, p->seed, STREAM_OUTPUT_LENGTH, i);
        r->planned_s = at_s;
        /* Times between arrivals of a Poisson process are exponential. */
        if (p->rate > 0)
            at_s -= log1p(-rng_uniform(p->seed, STREAM_ARRIVAL, i)) / p->rate;
    }
}

static void wait_for_all(struct shared *s, bool (*stop)(void),
                         void (*on_progress)(void *user, double fraction), void *user) {
    enum { LOOK_NS = 50000000 };
    const size_t n = s->plan->n_requests;
    while (atomic_load(&s->n_done) < n && !atomic_load(&s->stop)) {
        if (stop())
            atomic_store(&s->stop, true);
        on_progress(user, (double)atomic_load(&s->n_done) / (double)n);
        os_sleep_ns(LOOK_NS);
    }
}

enum quern_status load_run(const struct load_plan *plan, bool (*stop)(void),
                           void (*on_progress)(void *user, double fraction), void *user,
                           struct load_run *out, struct quern_error *err) {
    struct shared s = {.plan = plan};
    const size_t n_threads =
        plan->concurrency < plan->n_requests ? plan->concurrency : plan->n_requests;
    s.results = calloc(plan->n_requests, sizeof *s.results);
    struct thread *threads = calloc(n_threads, sizeof *threads);
    enum quern_status status = s.results && threads ? QUERN_OK : error_nomem(err);
    if (!status)
        plan_requests(plan, s.results);
    s.began_ns = os_now_ns();
    for (size_t i = 0; !status && i < n_threads; i++)
        status = thread_start(&threads[i], "load", run_requests, &s, err);
    if (status)
        atomic_store(&s.stop, true);
    else
        wait_for_all(&s, stop, on_progress, user);
    for (size_t i = 0; threads && i < n_threads; i++)
        thread_join(&threads[i]);
    free(threads);
    *out = (struct load_run){s.results, (double)(os_now_ns() - s.began_ns) * 1e-9};
    if (status)
        load_run_release(out, plan->n_requests);
    return status;
}

void load_run_release(struct load_run *r, size_t n_requests) {
    for (size_t i = 0; r->results && i < n_requests; i++)
        load_times_release(&r->results[i].answer.pieces);
    free(r->results);
    *r = (struct load_run){0};
}
