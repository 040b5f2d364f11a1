/* load_run.h - many requests to a server at planned times, and how each went. */
#ifndef QUERN_CLI_LOAD_RUN_H
#define QUERN_CLI_LOAD_RUN_H

#include "cli/load_client.h"

/* Numbers of tokens: fixed, uniform between two, or normal around a mean. */
struct load_length {
    int64_t min, max;       /* uniform; the same: fixed */
    double mean, deviation; /* normal when deviation > 0, cut to [min, max] */
};

/* "128", "64-512" or "256~64" (mean and standard deviation). */
enum quern_status load_length_parse(const char *text, struct load_length *out,
                                    struct quern_error *err);
int64_t load_length_draw(const struct load_length *l, uint64_t seed, uint64_t stream,
                         uint64_t index);

struct load_plan {
    struct load_target target;
    size_t n_requests;
    size_t concurrency; /* most at once */
    double rate;        /* arrivals a second, Poisson; 0: the next as soon as one has ended */
    struct load_length prompt, output;
    int64_t shared_prefix, n_prefixes; /* tokens many prompts begin with, and how many beginnings */
    int64_t n_vocab;                   /* ids of prompts are below it */
    double temperature;
    uint64_t seed;
};

struct load_result {
    double planned_s, sent_s;   /* since the beginning */
    int64_t n_prompt, n_output; /* asked for */
    struct load_answer answer;
};

struct load_run {
    struct load_result *results; /* [plan->n_requests] */
    double wall_s;
};

/* Blocks until all have ended, or `stop` says so; then what was not sent has planned_s < 0. */
enum quern_status load_run(const struct load_plan *plan, bool (*stop)(void),
                           void (*on_progress)(void *user, double fraction), void *user,
                           struct load_run *out, struct quern_error *err);
void load_run_release(struct load_run *r, size_t n_requests);

#endif
