/* load_report.h - what a run of requests shows: a table, JSON, curves as SVG. */
#ifndef QUERN_CLI_LOAD_REPORT_H
#define QUERN_CLI_LOAD_REPORT_H

#include "cli/load_run.h"
#include "text/json.h"

/* Sorted measurements, in milliseconds. */
struct load_sample {
    const char *name, *label;
    double *values; /* [n] own */
    size_t n;
};

enum { LOAD_TTFT, LOAD_TPOT, LOAD_ITL, LOAD_E2E, LOAD_N_SAMPLES };

struct load_report {
    struct load_sample samples[LOAD_N_SAMPLES];
    size_t n_sent, n_complete, n_refused, n_failed; /* refused: HTTP 429 and 503 */
    size_t prompt_tokens, cached_tokens, output_tokens;
    double wall_s, late_s; /* the most a request was sent after its time */
    char first_problem[200];
};

enum quern_status load_report_make(const struct load_plan *plan, const struct load_run *run,
                                   struct load_report *out, struct quern_error *err);
void load_report_release(struct load_report *r);

void load_report_write_table(const struct load_report *r, struct buffer *out);
json_t *load_report_json(const struct load_plan *plan, const struct load_report *r);
/* One panel for each measurement: the share of requests or tokens that took at most so long. */
void load_report_write_svg(const struct load_report *r, struct buffer *out);

#endif
