/* metrics.h - what a server counts, in Prometheus' text form. */
#ifndef QUERN_SERVER_METRICS_H
#define QUERN_SERVER_METRICS_H

#include <stdint.h>

#include "base/buffer.h"
#include "base/sync.h"
#include "openai/text_job.h"

enum { HISTOGRAM_BUCKETS_MAX = 24 };

struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS_MAX + 1]; /* the last: above all bounds */
    uint64_t count;
    double sum;
};

/* Of one model. */
struct model_metrics {
    struct histogram time_to_first_token, inter_token, e2e, queue_time;
    uint64_t prompt_tokens, cached_tokens, generation_tokens;
    uint64_t finished[QUERN_FINISH_ERROR + 1];
};

enum { METRICS_STATUS_MAX = 600 };

struct metrics {
    struct mutex lock;
    uint64_t responses[METRICS_STATUS_MAX]; /* by HTTP status */
    uint64_t clients_left;                  /* before their answer was complete */
};

enum quern_status metrics_init(struct metrics *m, struct quern_error *err);
void metrics_release(struct metrics *m);

void metrics_count_response(struct metrics *m, int status, bool client_left);
/* All choices of a job that ended. */
void metrics_count_job(struct metrics *m, struct model_metrics *of_model,
                       const struct text_job *job);

/* A request that generates nothing. */
void metrics_count_prompt(struct metrics *m, struct model_metrics *of_model, size_t n_tokens);

/* The families that have one value, or one histogram, a model. */
struct metrics_view {
    const char *model;
    struct model_metrics counted;
    struct quern_engine_stats stats;
    bool loaded;
};
void metrics_write_models(const struct metrics_view *views, size_t n, struct buffer *out);
void metrics_write_responses(struct metrics *m, struct buffer *out);
/* "# HELP", "# TYPE" and one value without labels. */
void metrics_write_value(const char *name, const char *type, const char *help, double value,
                         struct buffer *out);

#endif
