/* generation_params.h - what every request that generates text has in common: sampling, stopping,
 * how many, how it is sent. */
#ifndef QUERN_OPENAI_GENERATION_PARAMS_H
#define QUERN_OPENAI_GENERATION_PARAMS_H

#include "openai/api_limits.h"
#include "openai/fields.h"
#include "quern.h"

/* What a request is read against. */
struct api_context {
    const struct api_limits *limits;
    struct quern_sampling defaults; /* the model's */
    int32_t n_vocab;                /* ids of logit_bias and prompts are below it */
};

struct generation_params {
    struct quern_sampling sampling; /* its logit_bias is owned */
    int64_t seed;                   /* INT64_MIN: none was given */
    int32_t max_tokens;             /* -1: as many as the context holds */
    int32_t n;
    int32_t top_logprobs;
    bool ignore_eos, stream, include_usage;
    const char *stop_strings[API_STOP_MAX];
    size_t n_stop_strings;
    int32_t stop_tokens[API_STOP_TOKENS_MAX];
    size_t n_stop_tokens;
    /* As they stand in the request, borrowed from it. */
    const char *model;
    const json_t *stop, *stop_token_ids, *logit_bias, *stream_options;
};

/* The rows of a table of fields for a `struct generation_params` at `m` in `type`. */
#define GENERATION_FIELDS(type, m)                                                                 \
    FIELD_OF(FIELD_STRING, "model", type, m.model),                                                \
        FIELD_NUMBER(FIELD_FLOAT, "temperature", type, m.sampling.temperature, 0, 2),              \
        FIELD_NUMBER(FIELD_INT, "top_k", type, m.sampling.top_k, -1, INT32_MAX),                   \
        FIELD_NUMBER(FIELD_FLOAT, "top_p", type, m.sampling.top_p, 0, 1),                          \
        FIELD_NUMBER(FIELD_FLOAT, "min_p", type, m.sampling.min_p, 0, 1),                          \
        FIELD_NUMBER(FIELD_FLOAT, "typical_p", type, m.sampling.typical_p, 0, 1),                  \
        FIELD_NUMBER(FIELD_FLOAT, "repetition_penalty", type, m.sampling.repetition_penalty, 0.01, \
                     100),                                                                         \
        FIELD_NUMBER(FIELD_FLOAT, "presence_penalty", type, m.sampling.presence_penalty, -2, 2),   \
        FIELD_NUMBER(FIELD_FLOAT, "frequency_penalty", type, m.sampling.frequency_penalty, -2, 2), \
        FIELD_NUMBER(FIELD_INT, "penalty_window", type, m.sampling.penalty_window, 0, INT32_MAX),  \
        FIELD_NUMBER(FIELD_FLOAT, "dry_multiplier", type, m.sampling.dry_multiplier, 0, 100),      \
        FIELD_NUMBER(FIELD_FLOAT, "dry_base", type, m.sampling.dry_base, 1, 100),                  \
        FIELD_NUMBER(FIELD_INT, "dry_allowed_length", type, m.sampling.dry_allowed_length, 0,      \
                     INT32_MAX),                                                                   \
        FIELD_NUMBER(FIELD_INT, "dry_window", type, m.sampling.dry_window, 0, INT32_MAX),          \
        FIELD_NUMBER(FIELD_FLOAT, "top_n_sigma", type, m.sampling.top_n_sigma, -1, 1000),          \
        FIELD_NUMBER(FIELD_FLOAT, "xtc_probability", type, m.sampling.xtc_probability, 0, 1),      \
        FIELD_NUMBER(FIELD_FLOAT, "xtc_threshold", type, m.sampling.xtc_threshold, 0, 1),          \
        FIELD_NUMBER(FIELD_INT64, "seed", type, m.seed, -0x1p63, 0x1p63),                          \
        FIELD_NUMBER(FIELD_INT, "n", type, m.n, 1, API_N_MAX),                                     \
        FIELD_OF(FIELD_ANY, "stop", type, m.stop),                                                 \
        FIELD_OF(FIELD_ARRAY, "stop_token_ids", type, m.stop_token_ids),                           \
        FIELD_OF(FIELD_OBJECT, "logit_bias", type, m.logit_bias),                                  \
        FIELD_OF(FIELD_BOOL, "ignore_eos", type, m.ignore_eos),                                    \
        FIELD_OF(FIELD_BOOL, "stream", type, m.stream),                                            \
        FIELD_OF(FIELD_OBJECT, "stream_options", type, m.stream_options), FIELD_IGNORED("user"),   \
        FIELD_IGNORED("store"), FIELD_IGNORED("metadata"), FIELD_IGNORED("service_tier"),          \
        FIELD_IGNORED("safety_identifier"), FIELD_IGNORED("prompt_cache_key"),                     \
        FIELD_IGNORED("prompt_cache_retention"), FIELD_IGNORED("verbosity")

void generation_params_init(struct generation_params *p, const struct api_context *context);
/* After fields_read: what stands in JSON is checked and put in its place. */
enum quern_status generation_params_finish(struct generation_params *p,
                                           const struct api_context *context,
                                           struct api_error *err);
void generation_params_release(struct generation_params *p); /* zeroed is fine */

/* The options of answer number `index` of n; `on_event` and the number of log-probabilities are
 * left to the caller. Borrows from p. */
struct quern_generate_options generation_params_options(const struct generation_params *p,
                                                        int32_t index);

/* A non-empty array of token ids below n_vocab; *ids is malloc'ed. */
enum quern_status token_array_read(const json_t *array, const char *param, int32_t n_vocab,
                                   int32_t **ids, size_t *n, struct api_error *err);

#endif
