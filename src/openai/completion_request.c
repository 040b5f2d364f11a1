#include "openai/completion_request.h"

#include <stdlib.h>

struct raw_completion {
    struct completion_request r;
    const json_t *prompt;
    int32_t max_tokens, logprobs, best_of;
    /* infill only */
    const char *input_prefix, *input_suffix, *middle;
    const json_t *input_extra;
    int32_t n_predict;
};

static const struct field_spec completion_specs[] = {
    GENERATION_FIELDS(struct raw_completion, r.generation),
    FIELD_OF(FIELD_ANY, "prompt", struct raw_completion, prompt),
    FIELD_NUMBER(FIELD_INT, "max_tokens", struct raw_completion, max_tokens, 0, INT32_MAX),
    FIELD_NUMBER(FIELD_INT, "logprobs", struct raw_completion, logprobs, 0, API_TOP_LOGPROBS_MAX),
    FIELD_NUMBER(FIELD_INT, "best_of", struct raw_completion, best_of, 1, API_N_MAX),
    FIELD_OF(FIELD_STRING, "suffix", struct raw_completion, r.suffix),
    FIELD_OF(FIELD_BOOL, "echo", struct raw_completion, r.echo),
    FIELD_LAST,
};

static const struct field_spec infill_specs[] = {
    GENERATION_FIELDS(struct raw_completion, r.generation),
    FIELD_OF(FIELD_STRING, "input_prefix", struct raw_completion, input_prefix),
    FIELD_OF(FIELD_STRING, "input_suffix", struct raw_completion, input_suffix),
    FIELD_OF(FIELD_STRING, "prompt", struct raw_completion, middle),
    FIELD_OF(FIELD_ARRAY, "input_extra", struct raw_completion, input_extra),
    FIELD_NUMBER(FIELD_INT, "n_predict", struct raw_completion, n_predict, -1, INT32_MAX),
    FIELD_NUMBER(FIELD_INT, "max_tokens", struct raw_completion, max_tokens, 1, INT32_MAX),
    FIELD_IGNORED("cache_prompt"),
    FIELD_IGNORED("samplers"),
    FIELD_LAST,
};

/* OpenAI's default of this endpoint, from the days of GPT-3. */
enum { DEFAULT_MAX_TOKENS = 16 };

static enum quern_status check_logprobs(struct raw_completion *raw,
                                        const struct api_context *context, struct api_error *err) {
    if (raw->logprobs < 0)
        return QUERN_OK;
    raw->r.logprobs = true;
    raw->r.generation.top_logprobs = raw->logprobs;
    if (raw->logprobs > context->limits->top_logprobs)
        return api_fail(err, API_VALUE, "logprobs",
                        "Invalid value for 'logprobs': %d is more than this server's limit of "
                        "%lld.",
                        raw->logprobs, (long long)context->limits->top_logprobs);
    if (raw->r.echo && raw->r.suffix && *raw->r.suffix)
        return api_fail(err, API_UNSUPPORTED, "echo",
                        "'echo' and 'logprobs' go together, but not with 'suffix'.");
    return QUERN_OK;
}

static enum quern_status finish_completion(struct raw_completion *raw,
                                           const struct api_context *context,
                                           struct api_error *err) {
    struct completion_request *r = &raw->r;
    /* What an answer of nothing is asked for are the prompt's log-probabilities. */
    r->prompt_only = raw->max_tokens == 0;
    r->generation.max_tokens = r->prompt_only ? 1 : raw->max_tokens;
    enum quern_status status = generation_params_finish(&r->generation, context, err);
    if (!status && r->prompt_only && !r->echo)
        status = api_fail(err, API_VALUE, "max_tokens",
                          "Invalid value for 'max_tokens': 0 is possible with 'echo' only.");
    if (!status)
        status = prompt_inputs_read(raw->prompt, "prompt", context->limits->inputs,
                                    context->n_vocab, &r->prompts, &r->n_prompts, err);
    if (!status)
        status = check_logprobs(raw, context, err);
    if (status)
        return status;
    if (raw->best_of && raw->best_of != r->generation.n)
        return api_fail(err, API_UNSUPPORTED, "best_of",
                        "Invalid value for 'best_of': this server returns every answer it makes; "
                        "leave it out or make it equal to 'n' (%d).",
                        r->generation.n);
    if (r->suffix && !*r->suffix)
        r->suffix = NULL;
    for (size_t i = 0; r->suffix && i < r->n_prompts; i++)
        if (!r->prompts[i].text.ptr)
            return api_fail(err, API_UNSUPPORTED, "suffix",
                            "'suffix' needs a prompt given as text.");
    return QUERN_OK;
}

enum quern_status completion_request_parse(const json_t *root, const struct api_context *context,
                                           struct completion_request *out, struct api_error *err) {
    struct raw_completion raw = {.max_tokens = DEFAULT_MAX_TOKENS, .logprobs = -1};
    generation_params_init(&raw.r.generation, context);
    enum quern_status status =
        fields_read(root, "", completion_specs, context->limits->ignore_unknown, &raw, err);
    if (!status)
        status = finish_completion(&raw, context, err);
    if (status)
        completion_request_release(&raw.r);
    else
        *out = raw.r;
    return status;
}

static enum quern_status finish_infill(struct raw_completion *raw,
                                       const struct api_context *context, struct api_error *err) {
    struct completion_request *r = &raw->r;
    r->generation.max_tokens = raw->max_tokens > 0  ? raw->max_tokens
                               : raw->n_predict > 0 ? raw->n_predict
                                                    : -1;
    enum quern_status status = generation_params_finish(&r->generation, context, err);
    if (status)
        return status;
    if (!raw->input_prefix || !raw->input_suffix) {
        const char *param = raw->input_prefix ? "input_suffix" : "input_prefix";
        return api_fail(err, API_MISSING, param, "Missing required parameter: '%s'.", param);
    }
    if (json_array_size(raw->input_extra))
        return api_fail(err, API_UNSUPPORTED, "input_extra",
                        "'input_extra' is not supported: put other files into 'input_prefix'.");
    if (raw->middle && *raw->middle)
        return api_fail(err, API_UNSUPPORTED, "prompt",
                        "'prompt' is not supported: the gap between 'input_prefix' and "
                        "'input_suffix' is filled from its beginning.");
    r->prompts = calloc(1, sizeof *r->prompts);
    if (!r->prompts)
        return api_nomem(err);
    r->n_prompts = 1;
    r->prompts->text = str_from(raw->input_prefix);
    r->suffix = raw->input_suffix;
    return QUERN_OK;
}

enum quern_status infill_request_parse(const json_t *root, const struct api_context *context,
                                       struct completion_request *out, struct api_error *err) {
    struct raw_completion raw = {.n_predict = -1};
    generation_params_init(&raw.r.generation, context);
    enum quern_status status =
        fields_read(root, "", infill_specs, context->limits->ignore_unknown, &raw, err);
    if (!status)
        status = finish_infill(&raw, context, err);
    if (status)
        completion_request_release(&raw.r);
    else
        *out = raw.r;
    return status;
}

void completion_request_release(struct completion_request *r) {
    generation_params_release(&r->generation);
    prompt_inputs_free(r->prompts, r->n_prompts);
    *r = (struct completion_request){0};
}
