#include "cli/load_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

/* ---- collecting ----------------------------------------------------------------------- */

static const struct {
    const char *name, *label;
} names[LOAD_N_SAMPLES] = {
    {"ttft_ms", "time to first token"},
    {"tpot_ms", "time per token after it"},
    {"itl_ms", "time between pieces"},
    {"e2e_ms", "whole request"},
};

static int by_value(const void *x, const void *y) {
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void add(struct load_sample *s, double seconds) {
    s->values[s->n++] = 1000 * seconds;
}

static void take_answer(const struct load_answer *a, struct load_report *out) {
    const struct load_times *t = &a->pieces;
    out->n_complete++;
    out->prompt_tokens += a->prompt_tokens;
    out->cached_tokens += a->cached_tokens;
    out->output_tokens += a->completion_tokens;
    add(&out->samples[LOAD_E2E], a->total_s);
    if (!t->n)
        return;
    add(&out->samples[LOAD_TTFT], t->at[0]);
    if (a->completion_tokens > 1)
        add(&out->samples[LOAD_TPOT],
            (t->at[t->n - 1] - t->at[0]) / (double)(a->completion_tokens - 1));
    for (size_t i = 1; i < t->n; i++)
        add(&out->samples[LOAD_ITL], t->at[i] - t->at[i - 1]);
}

static void take_result(const struct load_result *r, struct load_report *out) {
    if (r->sent_s < 0)
        return;
    out->n_sent++;
    if (r->sent_s - r->planned_s > out->late_s)
        out->late_s = r->sent_s - r->planned_s;
    if (r->answer.complete) {
        take_answer(&r->answer, out);
        return;
    }
    if (r->answer.http_status == 429 || r->answer.http_status == 503)
        out->n_refused++;
    else
        out->n_failed++;
    if (!out->first_problem[0])
        memcpy(out->first_problem, r->answer.problem, sizeof out->first_problem);
}

enum quern_status load_report_make(const struct load_plan *plan, const struct load_run *run,
                                   struct load_report *out, struct quern_error *err) {
    size_t n_pieces = 1;
    *out = (struct load_report){.wall_s = run->wall_s};
    for (size_t i = 0; i < plan->n_requests; i++)
        n_pieces += run->results[i].answer.pieces.n + 1;
    for (size_t k = 0; k < LOAD_N_SAMPLES; k++) {
        struct load_sample *s = &out->samples[k];
        *s = (struct load_sample){names[k].name, names[k].label, calloc(n_pieces, sizeof(double)),
                                  0};
        if (!s->values) {
            load_report_release(out);
            return error_nomem(err);
        }
    }
    for (size_t i = 0; i < plan->n_requests; i++)
        take_result(&run->results[i], out);
    if (plan->rate <= 0)
        out->late_s = 0;
    for (size_t k = 0; k < LOAD_N_SAMPLES; k++)
        qsort(out->samples[k].values, out->samples[k].n, sizeof(double), by_value);
    return QUERN_OK;
}

void load_report_release(struct load_report *r) {
    for (size_t k = 0; k < LOAD_N_SAMPLES; k++)
        free(r->samples[k].values);
    *r = (struct load_report){0};
}

/* The smallest value that the share p of all does not exceed. */
static double percentile(const struct load_sample *s, double p) {
    if (!s->n)
        return 0;
    size_t i = (size_t)(p * (double)s->n);
    return s->values[i < s->n ? i : s->n - 1];
}

static double mean(const struct load_sample *s) {
    double sum = 0;
    for (size_t i = 0; i < s->n; i++)
        sum += s->values[i];
    return s->n ? sum / (double)s->n : 0;
}

static double per_second(const struct load_report *r, size_t n) {
    return r->wall_s > 0 ? (double)n / r->wall_s : 0;
}

/* ---- the table --------------------------------------------------------------------------- */

void load_report_write_table(const struct load_report *r, struct buffer *out) {
    buffer_printf(out,
                  "%zu requests in %.2f s: %zu complete, %zu refused, %zu failed\n"
                  "  %.2f requests/s, %.1f output tokens/s, %.1f tokens/s in all\n"
                  "  %zu prompt tokens, %zu of them cached; %zu output tokens\n",
                  r->n_sent, r->wall_s, r->n_complete, r->n_refused, r->n_failed,
                  per_second(r, r->n_complete), per_second(r, r->output_tokens),
                  per_second(r, r->prompt_tokens + r->output_tokens), r->prompt_tokens,
                  r->cached_tokens, r->output_tokens);
    if (r->late_s > 0.01)
        buffer_printf(out,
                      "  sent up to %.3f s late: more --concurrency keeps up with the arrivals\n",
                      r->late_s);
    if (r->first_problem[0])
        buffer_printf(out, "  first failure: %s\n", r->first_problem);
    buffer_printf(out, "\n%-26s %9s %9s %9s %9s %9s %9s\n", "ms", "mean", "p50", "p90", "p95",
                  "p99", "max");
    for (size_t k = 0; k < LOAD_N_SAMPLES; k++) {
        const struct load_sample *s = &r->samples[k];
        buffer_printf(out, "%-26s %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f\n", s->label, mean(s),
                      percentile(s, 0.5), percentile(s, 0.9), percentile(s, 0.95),
                      percentile(s, 0.99), percentile(s, 1));
    }
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static json_t *sample_json(const struct load_sample *s) {
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:i}", "mean", mean(s), "p50",
                     percentile(s, 0.5), "p90", percentile(s, 0.9), "p95", percentile(s, 0.95),
                     "p99", percentile(s, 0.99), "max", percentile(s, 1), "n", (int)s->n);
}

json_t *load_report_json(const struct load_plan *plan, const struct load_report *r) {
    json_t *out = json_pack(
        "{s:{s:I, s:I, s:f, s:I, s:I}, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f}",
        "plan", "requests", (json_int_t)plan->n_requests, "concurrency",
        (json_int_t)plan->concurrency, "rate", plan->rate, "shared_prefix",
        (json_int_t)plan->shared_prefix, "seed", (json_int_t)plan->seed, "wall_s", r->wall_s,
        "sent", (json_int_t)r->n_sent, "complete", (json_int_t)r->n_complete, "refused",
        (json_int_t)r->n_refused, "failed", (json_int_t)r->n_failed, "prompt_tokens",
        (json_int_t)r->prompt_tokens, "cached_tokens", (json_int_t)r->cached_tokens,
        "output_tokens", (json_int_t)r->output_tokens, "requests_per_s",
        per_second(r, r->n_complete), "output_tokens_per_s", per_second(r, r->output_tokens),
        "tokens_per_s", per_second(r, r->prompt_tokens + r->output_tokens));
    for (size_t k = 0; out && k < LOAD_N_SAMPLES; k++)
        if (json_object_set_new(out, r->samples[k].name, sample_json(&r->samples[k]))) {
            json_decref(out);
            return NULL;
        }
    return out;
}

/* ---- curves ---------------------------------------------------------------------------------- */

enum { PANEL_WIDTH = 420, PANEL_HEIGHT = 240, MARGIN = 52, CURVE_POINTS = 200 };

static void svg_printf(struct buffer *out, const char *fmt, double a, double b) {
    char text[128];
    number_print(text, sizeof text, "%.1f,%.1f", a, b);
    buffer_printf(out, fmt, text);
}

static void write_curve(const struct load_sample *s, double left, double top, struct buffer *out) {
    const double width = PANEL_WIDTH - 2 * MARGIN, height = PANEL_HEIGHT - 2 * MARGIN;
    const double most = percentile(s, 1) > 0 ? percentile(s, 1) : 1;
    buffer_puts(out, "<polyline class=\"c\" points=\"");
    for (int i = 0; s->n && i <= CURVE_POINTS; i++) {
        double p = (double)i / CURVE_POINTS;
        svg_printf(out, "%s ", left + MARGIN + width * percentile(s, p) / most,
                   top + MARGIN + height * (1 - p));
    }
    buffer_puts(out, "\"/>\n");
}

static void write_text(double x, double y, const char *anchor, const char *text,
                       struct buffer *out) {
    char place[64];
    number_print(place, sizeof place, "x=\"%.1f\" y=\"%.1f\"", x, y);
    buffer_printf(out, "<text %s text-anchor=\"%s\">%s</text>\n", place, anchor, text);
}

static void write_panel(const struct load_sample *s, double left, double top, struct buffer *out) {
    const double width = PANEL_WIDTH - 2 * MARGIN, height = PANEL_HEIGHT - 2 * MARGIN;
    const double most = percentile(s, 1) > 0 ? percentile(s, 1) : 1;
    char text[96];
    for (int i = 0; i <= 4; i++) {
        double x = left + MARGIN + width * i / 4, y = top + MARGIN + height * i / 4;
        number_print(text, sizeof text,
                     "<path class=\"g\" d=\"M%.1f %.1fv%.1fM%.1f %.1fh%.1f\"/>\n", x, top + MARGIN,
                     height, left + MARGIN, y, width);
        buffer_puts(out, text);
        number_print(text, sizeof text, "%.3g", most * i / 4);
        write_text(x, top + PANEL_HEIGHT - MARGIN + 16, "middle", text, out);
        number_print(text, sizeof text, "%d %%", 100 - 25 * i);
        write_text(left + MARGIN - 6, y + 4, "end", text, out);
    }
    number_print(text, sizeof text, "%.2f / %.2f / %.2f ms", percentile(s, 0.5),
                 percentile(s, 0.95), percentile(s, 0.99));
    write_text(left + MARGIN, top + 18, "start", s->label, out);
    write_text(left + PANEL_WIDTH - MARGIN, top + 34, "end", text, out);
    write_text(left + MARGIN, top + 34, "start", "p50 / p95 / p99", out);
    write_curve(s, left, top, out);
}

void load_report_write_svg(const struct load_report *r, struct buffer *out) {
    char text[160];
    buffer_printf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
        "font-family=\"sans-serif\" font-size=\"12\">\n<style>\n"
        "svg { background: #fff } text { fill: #222 }\n"
        ".g { stroke: #ddd; fill: none } .c { stroke: #b4531f; stroke-width: 2; fill: none }\n"
        "@media (prefers-color-scheme: dark) { svg { background: #181818 } "
        "text { fill: #ddd } .g { stroke: #444 } .c { stroke: #e8935f } }\n</style>\n",
        2 * PANEL_WIDTH, 2 * PANEL_HEIGHT + 30);
    number_print(
        text, sizeof text,
        "%zu requests, %.2f a second, %.1f output tokens a second; share that took at most "
        "so many ms",
        r->n_complete, per_second(r, r->n_complete), per_second(r, r->output_tokens));
    write_text(MARGIN, 20, "start", text, out);
    for (size_t k = 0; k < LOAD_N_SAMPLES; k++)
        write_panel(&r->samples[k], (double)(k % 2) * PANEL_WIDTH,
                    30 + (double)(k / 2) * PANEL_HEIGHT, out);
    buffer_puts(out, "</svg>\n");
}
