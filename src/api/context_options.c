#include "api/context_options.h"

#include "text/unicode.h"

enum { DEFAULT_CONTEXT = 4096 };

enum quern_status choose_context(const struct hf_config *c, int32_t asked, size_t *out,
                                 struct quern_error *err) {
    const size_t most = rope_max_context(c);
    if (asked < 0 || (size_t)asked > most)
        return error_set(err, QUERN_ERR_ARG,
                         "a context of %d tokens was asked for, the model takes 1 to %zu",
                         (int)asked, most);
    *out = asked > 0 ? (size_t)asked : most < DEFAULT_CONTEXT ? most : DEFAULT_CONTEXT;
    return QUERN_OK;
}

bool wants_yarn(const struct hf_config *c, enum quern_yarn yarn, int32_t expected,
                size_t n_context) {
    if (yarn != QUERN_YARN_AUTO)
        return yarn == QUERN_YARN_ALWAYS;
    const size_t used = expected > 0 ? (size_t)expected : n_context;
    return used > rope_original_context(c);
}

int32_t tokens_known(const quern_model *model) {
    const int32_t width = model->model->config.vocab_size;
    const int32_t known = model->tokenizer ? tokenizer_n_tokens(model->tokenizer) : width;
    return known < width ? known : width;
}

enum quern_status check_yarn(enum quern_yarn yarn, struct quern_error *err) {
    if ((unsigned)yarn <= QUERN_YARN_NEVER)
        return QUERN_OK;
    return error_set(err, QUERN_ERR_ARG, "yarn is %d, expected %d to %d", (int)yarn,
                     QUERN_YARN_AUTO, QUERN_YARN_NEVER);
}

enum quern_status check_stop_strings(const struct quern_generate_options *o,
                                     struct quern_error *err) {
    for (size_t i = 0; o->stop_strings && i < o->n_stop_strings; i++)
        if (o->stop_strings[i] && !utf8_valid(str_from(o->stop_strings[i])))
            return error_set(err, QUERN_ERR_ARG, "stop_strings[%zu] is not valid UTF-8", i);
    return QUERN_OK;
}
