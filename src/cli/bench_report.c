#include "cli/bench_report.h"

#include <stdio.h>

#include "cli/cli_format.h"

static const char *const peak_names[PEAK_KINDS] = {"f32", "bf16", "int8"};

static double median(const struct bench_result *r) {
    return r->n % 2 ? r->seconds[r->n / 2]
                    : (r->seconds[r->n / 2 - 1] + r->seconds[r->n / 2]) / 2;
}

/* ---- text ---------------------------------------------------------------------- */

void bench_print_setting(const struct bench_setting *s) {
    char params[CLI_NUMBER_BYTES], bytes[CLI_NUMBER_BYTES];
    printf("%s: %s parameters, %s weights %s, KV cache %s, %d thread%s, %s, ready in %.1f s\n",
           s->model, cli_format_count(s->n_params, params), s->weights,
           cli_format_bytes((double)s->weight_bytes, bytes), s->kv_type, s->n_threads,
           s->n_threads == 1 ? "" : "s", s->cpu, s->load_seconds);
    printf("limits: ");
    if (s->limits.read_bytes_s > 0)
        printf("reading %.1f GB/s", s->limits.read_bytes_s * 1e-9);
    for (int k = 0; k < PEAK_KINDS; k++)
        if (s->limits.compute_ops_s[k] > 0)
            printf(", %s %.0f G%s/s", peak_names[k], s->limits.compute_ops_s[k] * 1e-9,
                   k == PEAK_INT8 ? "OP" : "FLOP");
    printf("\n%-34s %10s %8s %12s %10s %6s %10s %6s\n", "", "tok/s", "spread", "bytes/token",
           "GB/s", "share", "GOP/s", "share");
}

static void print_share(double rate, double limit) {
    if (limit > 0)
        printf(" %4.0f %%", 100 * rate / limit);
    else
        printf(" %6s", "");
}

void bench_print_result(const struct bench_setting *s, const struct bench_result *r) {
    const struct bench_test *t = &r->test;
    char name[96], bytes[CLI_NUMBER_BYTES];
    const double seconds = median(r);
    /* Half of what lies between the fastest and the slowest, of the median. */
    const double spread = (r->seconds[r->n - 1] - r->seconds[0]) / 2 / seconds;
    int at = snprintf(name, sizeof name, "%s %zu", t->n_prompt ? "prompt" : "decode",
                      t->n_prompt ? t->n_prompt : t->n_generate);
    if (t->depth)
        at += snprintf(name + at, sizeof name - (size_t)at, " after %zu", t->depth);
    if (t->batch > 1)
        snprintf(name + at, sizeof name - (size_t)at, ", %zu sequences", t->batch);
    printf("%-34s %10.2f %6.1f %% %12s %10.1f", name, r->work.tokens / seconds, 100 * spread,
           cli_format_bytes(r->work.bytes / r->work.tokens, bytes),
           r->work.bytes / seconds * 1e-9);
    print_share(r->work.bytes / seconds, s->limits.read_bytes_s);
    printf(" %10.0f", r->work.ops / seconds * 1e-9);
    print_share(r->work.ops / seconds, s->limits.compute_ops_s[s->arithmetic]);
    printf("\n");
    fflush(stdout);
}

/* ---- JSON ---------------------------------------------------------------------- */

static int put_real(json_t *o, const char *key, double value) {
    return json_object_set_new(o, key, json_real(value));
}

static int put_count(json_t *o, const char *key, size_t value) {
    return json_object_set_new(o, key, json_integer((json_int_t)value));
}

static json_t *unless(int failed, json_t *o) {
    if (!failed)
        return o;
    json_decref(o);
    return NULL;
}

static json_t *limits_json(const struct bench_limits *l) {
    json_t *o = json_object();
    int failed = put_real(o, "read_bytes_s", l->read_bytes_s);
    for (int k = 0; k < PEAK_KINDS; k++) {
        char key[32];
        snprintf(key, sizeof key, "%s_ops_s", peak_names[k]);
        failed |= put_real(o, key, l->compute_ops_s[k]);
    }
    return unless(failed, o);
}

json_t *bench_setting_json(const struct bench_setting *s) {
    json_t *o = json_object();
    int failed = json_object_set_new(o, "model", json_string(s->model)) |
                 json_object_set_new(o, "cpu", json_string(s->cpu)) |
                 json_object_set_new(o, "weights", json_string(s->weights)) |
                 json_object_set_new(o, "kv_type", json_string(s->kv_type)) |
                 json_object_set_new(o, "arithmetic", json_string(peak_names[s->arithmetic])) |
                 put_count(o, "threads", (size_t)s->n_threads) |
                 put_count(o, "parameters", (size_t)s->n_params) |
                 put_count(o, "weight_bytes", s->weight_bytes) |
                 put_real(o, "load_seconds", s->load_seconds) |
                 json_object_set_new(o, "limits", limits_json(&s->limits)) |
                 json_object_set_new(o, "results", json_array());
    return unless(failed, o);
}

json_t *bench_result_json(const struct bench_setting *s, const struct bench_result *r) {
    const struct bench_test *t = &r->test;
    const double seconds = median(r), bytes_s = r->work.bytes / seconds;
    const double ops_s = r->work.ops / seconds, peak = s->limits.compute_ops_s[s->arithmetic];
    json_t *o = json_object(), *all = json_array();
    int failed = 0;
    for (size_t i = 0; i < r->n; i++)
        failed |= json_array_append_new(all, json_real(r->seconds[i]));
    failed |= put_count(o, "prompt", t->n_prompt) | put_count(o, "generate", t->n_generate) |
              put_count(o, "batch", t->batch) | put_count(o, "depth", t->depth) |
              put_real(o, "tokens_s", r->work.tokens / seconds) |
              put_real(o, "bytes_per_token", r->work.bytes / r->work.tokens) |
              put_real(o, "bytes_s", bytes_s) | put_real(o, "ops_s", ops_s) |
              json_object_set_new(o, "seconds", all);
    if (s->limits.read_bytes_s > 0)
        failed |= put_real(o, "share_of_read", bytes_s / s->limits.read_bytes_s);
    if (peak > 0)
        failed |= put_real(o, "share_of_peak", ops_s / peak);
    return unless(failed, o);
}
