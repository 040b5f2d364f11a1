/* completion_request.h - /v1/completions and /infill: raw text continued. */
#ifndef QUERN_OPENAI_COMPLETION_REQUEST_H
#define QUERN_OPENAI_COMPLETION_REQUEST_H

#include "openai/generation_params.h"

/* A text, or token ids. */
struct prompt_input {
    struct str text; /* borrowed; ptr NULL when ids are given */
    int32_t *ids;    /* own */
    size_t n_ids;
};

/* A string, an array of strings, an array of ids or an array of arrays of ids; at least one. Ids
 * are checked against n_vocab. */
enum quern_status prompt_inputs_read(const json_t *value, const char *param, int64_t max_inputs,
                                     int32_t n_vocab, struct prompt_input **out, size_t *n,
                                     struct api_error *err);
void prompt_inputs_free(struct prompt_input *inputs, size_t n);

struct completion_request {
    struct generation_params generation;
    struct prompt_input *prompts; /* own */
    size_t n_prompts;
    const char *suffix; /* what follows the gap to be filled; NULL: nothing does */
    bool echo, logprobs;
    bool prompt_only; /* no answer is wanted: max_tokens 0 */
};

/* `root` must outlive *out. On failure nothing is held. */
enum quern_status completion_request_parse(const json_t *root, const struct api_context *context,
                                           struct completion_request *out, struct api_error *err);
/* {"input_prefix", "input_suffix", "prompt", ...} as llama.cpp's /infill has them. */
enum quern_status infill_request_parse(const json_t *root, const struct api_context *context,
                                       struct completion_request *out, struct api_error *err);
void completion_request_release(struct completion_request *r); /* zeroed is fine */

#endif
