#include "server/metrics.h"

#include "base/number.h"
#include "text/json.h"

/* Seconds; the last is 0: the end. */
static const double first_token_bounds[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08,
                                            0.1,   0.25,  0.5,  0.75, 1,    2.5,  5,
                                            7.5,   10,    20,   40,   80,   0};
static const double inter_token_bounds[] = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 0};
static const double request_bounds[] = {0.05, 0.1, 0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5, 10,
                                        15,   20,  30,  40,  50,  60, 120, 240, 480, 0};

enum quern_status metrics_init(struct metrics *m, struct quern_error *err) {
    *m = (struct metrics){0};
    return mutex_init(&m->lock, err);
}

void metrics_release(struct metrics *m) {
    mutex_release(&m->lock);
}

/* ---- counting -------------------------------------------------------------------- */

static void observe(struct histogram *h, const double *bounds, double value, uint64_t times) {
    size_t i = 0;
    while (bounds[i] > 0 && value > bounds[i])
        i++;
    h->buckets[i] += times;
    h->count += times;
    h->sum += value * (double)times;
}

void metrics_count_response(struct metrics *m, int status, bool client_left) {
    mutex_lock(&m->lock);
    if (status > 0 && status < METRICS_STATUS_MAX)
        m->responses[status]++;
    if (client_left)
        m->clients_left++;
    mutex_unlock(&m->lock);
}

static void count_choice(struct model_metrics *of, const struct quern_request_result *r) {
    const struct quern_usage *u = &r->usage;
    of->prompt_tokens += u->prompt_tokens;
    of->cached_tokens += u->cached_tokens;
    of->generation_tokens += u->completion_tokens;
    if ((unsigned)r->finish <= QUERN_FINISH_ERROR)
        of->finished[r->finish]++;
    observe(&of->queue_time, request_bounds, u->queue_ms / 1000, 1);
    observe(&of->e2e, request_bounds, u->total_ms / 1000, 1);
    if (u->completion_tokens)
        observe(&of->time_to_first_token, first_token_bounds, (u->queue_ms + u->prefill_ms) / 1000,
                1);
    if (u->completion_tokens > 1)
        observe(&of->inter_token, inter_token_bounds,
                u->decode_ms / 1000 / (double)(u->completion_tokens - 1), u->completion_tokens - 1);
}

void metrics_count_job(struct metrics *m, struct model_metrics *of, const struct text_job *job) {
    mutex_lock(&m->lock);
    for (size_t i = 0; i < job->n_choices; i++)
        if (job->choices[i].ended)
            count_choice(of, &job->choices[i].result);
    mutex_unlock(&m->lock);
}

void metrics_count_prompt(struct metrics *m, struct model_metrics *of, size_t n_tokens) {
    mutex_lock(&m->lock);
    of->prompt_tokens += n_tokens;
    mutex_unlock(&m->lock);
}

/* ---- writing ------------------------------------------------------------------------ */

static void write_double(double value, struct buffer *out) {
    char text[40];
    number_print(text, sizeof text, "%.15g", value);
    buffer_puts(out, text);
}

static void family(const char *name, const char *type, const char *help, struct buffer *out) {
    buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_write_value(const char *name, const char *type, const char *help, double value,
                         struct buffer *out) {
    family(name, type, help, out);
    buffer_printf(out, "%s ", name);
    write_double(value, out);
    buffer_putc(out, '\n');
}

static void labelled(const char *name, const char *model, double value, struct buffer *out) {
    buffer_printf(out, "%s{model=", name);
    json_write_string(str_from(model), out);
    buffer_puts(out, "} ");
    write_double(value, out);
    buffer_putc(out, '\n');
}

static void write_histogram(const char *name, const char *model, const struct histogram *h,
                            const double *bounds, struct buffer *out) {
    uint64_t sum = 0;
    for (size_t i = 0;; i++) {
        sum += h->buckets[i];
        buffer_printf(out, "%s_bucket{model=", name);
        json_write_string(str_from(model), out);
        buffer_puts(out, ",le=\"");
        if (bounds[i] > 0)
            write_double(bounds[i], out);
        else
            buffer_puts(out, "+Inf");
        buffer_printf(out, "\"} %llu\n", (unsigned long long)sum);
        if (!(bounds[i] > 0))
            break;
    }
    struct buffer full;
    buffer_init(&full, 256);
    buffer_printf(&full, "%s_sum", name);
    labelled(full.data ? full.data : "", model, h->sum, out);
    buffer_clear(&full);
    buffer_printf(&full, "%s_count", name);
    labelled(full.data ? full.data : "", model, (double)h->count, out);
    buffer_release(&full);
}

/* A value of struct metrics_view, for one row a model. */
struct value_row {
    const char *name, *type, *help;
    double (*get)(const struct metrics_view *v);
};

#define GETTER(fn, expression)                       \
    static double fn(const struct metrics_view *v) { \
        return (double)(expression);                 \
    }
GETTER(get_loaded, v->loaded)
GETTER(get_running, v->stats.n_prefilling + v->stats.n_decoding + v->stats.n_paused)
GETTER(get_waiting, v->stats.n_waiting)
GETTER(get_kv, v->stats.kv_blocks ? (double)(v->stats.kv_blocks - v->stats.kv_blocks_free -
                                             v->stats.kv_blocks_cached) /
                                        (double)v->stats.kv_blocks
                                  : 0)
GETTER(get_kv_free, v->stats.kv_blocks_free)
GETTER(get_kv_cached, v->stats.kv_blocks_cached)
GETTER(get_kv_blocks, v->stats.kv_blocks)
GETTER(get_queries, v->stats.prefix_queries)
GETTER(get_hits, v->stats.prefix_hits)
GETTER(get_prompt, v->counted.prompt_tokens)
GETTER(get_cached, v->counted.cached_tokens)
GETTER(get_generated, v->counted.generation_tokens)
GETTER(get_drafted, v->stats.drafted_tokens)
GETTER(get_accepted, v->stats.accepted_tokens)
GETTER(get_refused, v->stats.n_refused)
GETTER(get_preempted, v->stats.n_preempted)
GETTER(get_steps, v->stats.n_steps)
GETTER(get_idle, v->stats.idle_ms / 1000)

static const struct value_row rows[] = {
    {"quern_model_loaded", "gauge", "1 while the model is in memory", get_loaded},
    {"quern_requests_running", "gauge", "requests being computed", get_running},
    {"quern_requests_waiting", "gauge", "requests in the queue", get_waiting},
    {"quern_kv_cache_usage_ratio", "gauge",
     "share of the key/value blocks that running requests "
     "hold",
     get_kv},
    {"quern_kv_cache_blocks", "gauge", "key/value blocks in all", get_kv_blocks},
    {"quern_kv_cache_blocks_free", "gauge", "key/value blocks that hold nothing", get_kv_free},
    {"quern_kv_cache_blocks_cached", "gauge", "key/value blocks kept for reuse", get_kv_cached},
    {"quern_prefix_cache_queries_total", "counter", "prompts looked up in the prefix cache",
     get_queries},
    {"quern_prefix_cache_hits_total", "counter", "prompts of which a part was found", get_hits},
    {"quern_prompt_tokens_total", "counter", "tokens of prompts answered", get_prompt},
    {"quern_prompt_tokens_cached_total", "counter", "of them found computed", get_cached},
    {"quern_generation_tokens_total", "counter", "tokens generated", get_generated},
    {"quern_spec_decode_draft_tokens_total", "counter", "tokens guessed", get_drafted},
    {"quern_spec_decode_accepted_tokens_total", "counter", "guesses that held", get_accepted},
    {"quern_requests_refused_total", "counter", "requests refused because the queue was full",
     get_refused},
    {"quern_preemptions_total", "counter", "requests put aside for want of memory", get_preempted},
    {"quern_engine_steps_total", "counter", "forward passes", get_steps},
    {"quern_engine_step_age_seconds", "gauge", "time since the last step while there is work",
     get_idle},
};

static void write_finished(const struct metrics_view *views, size_t n, struct buffer *out) {
    static const char *const reasons[] = {"stop",     "length",  "cancelled",
                                          "deadline", "stalled", "error"};
    family("quern_requests_finished_total", "counter", "answers by how they ended", out);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof reasons / sizeof reasons[0]; k++) {
            buffer_puts(out, "quern_requests_finished_total{model=");
            json_write_string(str_from(views[i].model), out);
            buffer_printf(out, ",reason=\"%s\"} %llu\n", reasons[k],
                          (unsigned long long)views[i].counted.finished[k]);
        }
}

void metrics_write_models(const struct metrics_view *views, size_t n, struct buffer *out) {
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        family(rows[k].name, rows[k].type, rows[k].help, out);
        for (size_t i = 0; i < n; i++)
            labelled(rows[k].name, views[i].model, rows[k].get(&views[i]), out);
    }
    write_finished(views, n, out);
    const struct {
        const char *name, *help;
        size_t offset;
        const double *bounds;
    } histograms[] = {
        {"quern_time_to_first_token_seconds", "from submission to the first token",
         offsetof(struct model_metrics, time_to_first_token), first_token_bounds},
        {"quern_inter_token_latency_seconds", "time between tokens, a request's mean",
         offsetof(struct model_metrics, inter_token), inter_token_bounds},
        {"quern_e2e_request_latency_seconds", "from submission to the last token",
         offsetof(struct model_metrics, e2e), request_bounds},
        {"quern_request_queue_time_seconds", "time in the queue",
         offsetof(struct model_metrics, queue_time), request_bounds},
    };
    for (size_t k = 0; k < sizeof histograms / sizeof histograms[0]; k++) {
        family(histograms[k].name, "histogram", histograms[k].help, out);
        for (size_t i = 0; i < n; i++)
            write_histogram(histograms[k].name, views[i].model,
                            (const void *)((const char *)&views[i].counted + histograms[k].offset),
                            histograms[k].bounds, out);
    }
}

void metrics_write_responses(struct metrics *m, struct buffer *out) {
    family("quern_http_responses_total", "counter", "responses by HTTP status", out);
    mutex_lock(&m->lock);
    for (int i = 0; i < METRICS_STATUS_MAX; i++)
        if (m->responses[i])
            buffer_printf(out, "quern_http_responses_total{status=\"%d\"} %llu\n", i,
                          (unsigned long long)m->responses[i]);
    uint64_t left = m->clients_left;
    mutex_unlock(&m->lock);
    metrics_write_value("quern_http_clients_left_total", "counter",
                        "clients that left before their answer was complete", (double)left, out);
}
