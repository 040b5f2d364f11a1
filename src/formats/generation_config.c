#include "base/os.h"
#include "formats/config_reader.h"
#include "formats/hf_config.h"

enum { GENERATION_FILE_MAX = 1 << 20, PATH_BYTES = 4096 };

static struct generation_config defaults(const struct hf_config *config) {
    struct generation_config g = {.top_p = 1, .typical_p = 1, .repetition_penalty = 1};
    g.bos_token_id = config->bos_token_id;
    g.pad_token_id = -1;
    g.n_eos = config->n_eos;
    for (int32_t i = 0; i < config->n_eos; i++)
        g.eos_token_ids[i] = config->eos_token_ids[i];
    return g;
}

/* transformers' defaults for sampling are temperature 1 and top_k 50; a greedy model gets
 * neutral ones, so that turning sampling on by hand starts from nothing. */
static void read_all(struct config_reader *r, int32_t vocab_size, struct generation_config *g) {
    g->do_sample = config_bool(r, "do_sample", false);
    g->temperature = (float)config_float(r, "temperature", 0, 1e4, 1);
    g->top_k = config_int(r, "top_k", 0, INT32_MAX, g->do_sample ? 50 : 0);
    g->top_p = (float)config_float(r, "top_p", 0, 1, 1);
    g->min_p = (float)config_float(r, "min_p", 0, 1, 0);
    g->typical_p = (float)config_float(r, "typical_p", 0, 1, 1);
    g->repetition_penalty = (float)config_float(r, "repetition_penalty", 1e-3, 1e3, 1);
    g->max_new_tokens = config_int(r, "max_new_tokens", 0, INT32_MAX, 0);
    g->bos_token_id = config_token_id(r, "bos_token_id", vocab_size, g->bos_token_id);
    g->pad_token_id = config_token_id(r, "pad_token_id", vocab_size, g->pad_token_id);
    config_token_ids(r, "eos_token_id", vocab_size, g->eos_token_ids, HF_CONFIG_EOS_MAX, &g->n_eos);
    if (!g->do_sample)
        g->temperature = 0;
}

enum quern_status generation_config_parse(const char *text, size_t len, const char *name,
                                          const struct hf_config *config,
                                          struct generation_config *out, struct quern_error *err) {
    json_t *root = NULL;
    enum quern_status status = json_parse(text, len, name, &root, err);
    if (status)
        return status;
    struct config_reader r = {root, name, err, QUERN_OK};
    struct generation_config g = defaults(config);
    if (json_is_object(root))
        read_all(&r, config->vocab_size, &g);
    else
        config_fail(&r, QUERN_ERR_FORMAT, "found %s, expected an object", json_type_name(root));
    json_decref(root);
    if (!r.status)
        *out = g;
    return r.status;
}

enum quern_status generation_config_load(const char *dir, const struct hf_config *config,
                                         struct generation_config *out, struct quern_error *err) {
    char path[PATH_BYTES];
    struct buffer text;
    enum quern_status status = os_path_join(path, sizeof path, dir, "generation_config.json", err);
    if (status)
        return status;
    if (!os_file_exists(path)) {
        *out = defaults(config);
        return QUERN_OK;
    }
    buffer_init(&text, GENERATION_FILE_MAX);
    status = os_read_regular(path, GENERATION_FILE_MAX, &text, err);
    if (!status)
        status =
            generation_config_parse(text.data ? text.data : "", text.len, path, config, out, err);
    buffer_release(&text);
    return status;
}
