/* prompt_input.c - the four forms a prompt or an input may have. */
#include <stdlib.h>
#include <string.h>

#include "openai/completion_request.h"

static enum quern_status wrong(const json_t *value, const char *param, struct api_error *err) {
    return api_fail(err, API_TYPE, param,
                    "Invalid type for '%s': expected a string, an array of strings, an array of "
                    "token ids or an array of those, but got %s.",
                    param, json_type_name(value));
}

static enum quern_status read_one(const json_t *value, const char *param, int32_t n_vocab,
                                  struct prompt_input *out, struct api_error *err) {
    if (json_is_string(value)) {
        out->text = (struct str){json_string_value(value), json_string_length(value)};
        return QUERN_OK;
    }
    if (!json_is_array(value))
        return wrong(value, param, err);
    return token_array_read(value, param, n_vocab, &out->ids, &out->n_ids, err);
}

/* An array of numbers is one input, any other array holds one in each entry. */
static bool is_one(const json_t *value) {
    return !json_is_array(value) || json_is_number(json_array_get(value, 0));
}

enum quern_status prompt_inputs_read(const json_t *value, const char *param, int64_t max_inputs,
                                     int32_t n_vocab, struct prompt_input **out, size_t *n,
                                     struct api_error *err) {
    if (!value)
        return api_fail(err, API_MISSING, param, "Missing required parameter: '%s'.", param);
    size_t count = is_one(value) ? 1 : json_array_size(value);
    if (!count || count > (size_t)max_inputs)
        return api_fail(err, API_VALUE, param,
                        "Invalid value for '%s': %zu entries, expected 1 to %lld.", param, count,
                        (long long)max_inputs);
    struct prompt_input *inputs = calloc(count, sizeof *inputs);
    if (!inputs)
        return api_nomem(err);
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; !status && i < count; i++)
        status = read_one(is_one(value) ? value : json_array_get(value, i), param, n_vocab,
                          &inputs[i], err);
    if (status) {
        prompt_inputs_free(inputs, count);
        return status;
    }
    *out = inputs;
    *n = count;
    return QUERN_OK;
}

void prompt_inputs_free(struct prompt_input *inputs, size_t n) {
    for (size_t i = 0; inputs && i < n; i++)
        free(inputs[i].ids);
    free(inputs);
}
