#include "openai/generation_params.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"

void generation_params_init(struct generation_params *p, const struct api_context *context) {
    *p = (struct generation_params){
        .sampling = context->defaults,
        .seed = INT64_MIN,
        .max_tokens = -1,
        .n = 1,
    };
    p->sampling.logit_bias = NULL;
    p->sampling.n_logit_bias = 0;
}

void generation_params_release(struct generation_params *p) {
    free((void *)(uintptr_t)p->sampling.logit_bias);
    *p = (struct generation_params){0};
}

/* ---- stop ------------------------------------------------------------------ */

static enum quern_status add_stop(struct generation_params *p, const json_t *value,
                                  const char *param, const struct api_limits *limits,
                                  struct api_error *err) {
    const char *text = NULL;
    enum quern_status status = fields_string(value, param, &text, err);
    if (status)
        return status;
    if (!*text)
        return api_fail(err, API_VALUE, param, "Invalid value for '%s': the string is empty.",
                        param);
    if (strlen(text) > (size_t)limits->stop_bytes)
        return api_fail(err, API_VALUE, param,
                        "Invalid value for '%s': a stop string has %zu bytes, at most %lld are "
                        "allowed.",
                        param, strlen(text), (long long)limits->stop_bytes);
    p->stop_strings[p->n_stop_strings++] = text;
    return QUERN_OK;
}

static enum quern_status read_stop(struct generation_params *p, const struct api_limits *limits,
                                   struct api_error *err) {
    if (!p->stop || json_is_string(p->stop))
        return p->stop ? add_stop(p, p->stop, "stop", limits, err) : QUERN_OK;
    if (!json_is_array(p->stop))
        return api_fail(err, API_TYPE, "stop",
                        "Invalid type for 'stop': expected a string or an array of strings, but "
                        "got %s.",
                        json_type_name(p->stop));
    size_t n = json_array_size(p->stop);
    if (n > API_STOP_MAX || n > (size_t)limits->stop)
        return api_fail(err, API_VALUE, "stop",
                        "Invalid value for 'stop': %zu strings, at most %lld are allowed.", n,
                        (long long)limits->stop);
    for (size_t i = 0; i < n; i++) {
        enum quern_status status = add_stop(p, json_array_get(p->stop, i), "stop", limits, err);
        if (status)
            return status;
    }
    return QUERN_OK;
}

/* ---- token ids --------------------------------------------------------------- */

static enum quern_status read_id(const json_t *value, const char *param, int32_t n_vocab,
                                 int32_t *out, struct api_error *err) {
    if (!json_is_integer(value))
        return api_fail(err, API_TYPE, param,
                        "Invalid type for '%s': expected token ids, but got %s.", param,
                        json_type_name(value));
    json_int_t id = json_integer_value(value);
    if (id < 0 || id >= n_vocab)
        return api_fail(err, API_VALUE, param,
                        "Invalid value for '%s': %lld is no token id; they are 0 to %d.", param,
                        (long long)id, n_vocab - 1);
    *out = (int32_t)id;
    return QUERN_OK;
}

enum quern_status token_array_read(const json_t *array, const char *param, int32_t n_vocab,
                                   int32_t **ids, size_t *n, struct api_error *err) {
    size_t count = json_array_size(array);
    if (!count)
        return api_fail(err, API_VALUE, param, "Invalid value for '%s': the array is empty.",
                        param);
    int32_t *out = malloc(count * sizeof *out);
    if (!out)
        return api_nomem(err);
    for (size_t i = 0; i < count; i++) {
        enum quern_status status = read_id(json_array_get(array, i), param, n_vocab, &out[i], err);
        if (status) {
            free(out);
            return status;
        }
    }
    *ids = out;
    *n = count;
    return QUERN_OK;
}

static enum quern_status read_stop_tokens(struct generation_params *p, int32_t n_vocab,
                                          struct api_error *err) {
    size_t n = json_array_size(p->stop_token_ids);
    if (n > API_STOP_TOKENS_MAX)
        return api_fail(err, API_VALUE, "stop_token_ids",
                        "Invalid value for 'stop_token_ids': %zu ids, at most %d are allowed.", n,
                        API_STOP_TOKENS_MAX);
    for (size_t i = 0; i < n; i++) {
        enum quern_status status = read_id(json_array_get(p->stop_token_ids, i), "stop_token_ids",
                                           n_vocab, &p->stop_tokens[i], err);
        if (status)
            return status;
    }
    p->n_stop_tokens = n;
    return QUERN_OK;
}

/* OpenAI's range of a bias; -100 "should result in a ban". */
static const double BIAS_MAX = 100;

static enum quern_status read_bias(const char *key, const json_t *value, int32_t n_vocab,
                                   struct quern_logit_bias *out, struct api_error *err) {
    char *end = NULL;
    errno = 0;
    long long id = strtoll(key, &end, 10);
    if (end == key || *end || errno || id < 0 || id >= n_vocab)
        return api_fail(err, API_VALUE, "logit_bias",
                        "Invalid key in 'logit_bias': \"%s\" is no token id; they are 0 to %d.",
                        key, n_vocab - 1);
    double bias = json_number_value(value);
    if (!json_is_number(value) || !(bias >= -BIAS_MAX && bias <= BIAS_MAX))
        return api_fail(err, API_VALUE, "logit_bias",
                        "Invalid value in 'logit_bias' for token %lld: expected a number from "
                        "%g to %g.",
                        id, -BIAS_MAX, BIAS_MAX);
    *out = (struct quern_logit_bias){(int32_t)id, (float)bias};
    return QUERN_OK;
}

static enum quern_status read_logit_bias(struct generation_params *p,
                                         const struct api_context *context, struct api_error *err) {
    size_t n = json_object_size(p->logit_bias);
    if (n > (size_t)context->limits->logit_bias)
        return api_fail(err, API_VALUE, "logit_bias",
                        "Invalid value for 'logit_bias': %zu entries, at most %lld are allowed.", n,
                        (long long)context->limits->logit_bias);
    if (!n)
        return QUERN_OK;
    struct quern_logit_bias *biases = calloc(n, sizeof *biases);
    if (!biases)
        return api_nomem(err);
    p->sampling.logit_bias = biases;
    p->sampling.n_logit_bias = n;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)p->logit_bias, key, value) {
        enum quern_status status = read_bias(key, value, context->n_vocab, biases++, err);
        if (status)
            return status;
    }
    return QUERN_OK;
}

/* ---- the whole ------------------------------------------------------------------ */

static enum quern_status read_stream_options(struct generation_params *p, struct api_error *err) {
    static const struct field_spec specs[] = {
        FIELD_OF(FIELD_BOOL, "include_usage", struct generation_params, include_usage),
        FIELD_IGNORED("include_obfuscation"),
        FIELD_IGNORED("continuous_usage_stats"),
        FIELD_LAST,
    };
    if (!p->stream_options)
        return QUERN_OK;
    if (!p->stream)
        return api_fail(err, API_VALUE, "stream_options",
                        "The 'stream_options' parameter is only allowed when 'stream' is true.");
    return fields_read(p->stream_options, "stream_options.", specs, false, p, err);
}

enum quern_status generation_params_finish(struct generation_params *p,
                                           const struct api_context *context,
                                           struct api_error *err) {
    const struct api_limits *limits = context->limits;
    if (p->n > limits->n)
        return api_fail(err, API_VALUE, "n",
                        "Invalid value for 'n': %d is more than this server's limit of %lld.", p->n,
                        (long long)limits->n);
    if (p->sampling.top_k < 0)
        p->sampling.top_k = 0;
    /* Without a seed every request has another one; it is drawn here so that n answers, which
     * count up from it, differ. */
    p->sampling.seed = p->seed == INT64_MIN ? os_random() : (uint64_t)p->seed;
    enum quern_status status = read_stop(p, limits, err);
    if (!status)
        status = read_stop_tokens(p, context->n_vocab, err);
    if (!status)
        status = read_logit_bias(p, context, err);
    return status ? status : read_stream_options(p, err);
}

struct quern_generate_options generation_params_options(const struct generation_params *p,
                                                        int32_t index) {
    struct quern_generate_options o = {
        .sampling = p->sampling,
        .max_tokens = p->max_tokens > 0 ? p->max_tokens : 0,
        .stop_tokens = p->stop_tokens,
        .n_stop_tokens = p->n_stop_tokens,
        .stop_strings = p->stop_strings,
        .n_stop_strings = p->n_stop_strings,
        .ignore_eos = p->ignore_eos,
        .n_top_logprobs = -1,
    };
    o.sampling.seed += (uint64_t)index;
    return o;
}
