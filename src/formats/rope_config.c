#include "formats/rope_config.h"

#include <string.h>

static const struct {
    const char *name;
    enum rope_type type;
} rope_types[] = {
    {"default", ROPE_DEFAULT}, {"linear", ROPE_LINEAR},   {"yarn", ROPE_YARN},
    {"llama3", ROPE_LLAMA3},   {"dynamic", ROPE_DYNAMIC},
};
enum { N_ROPE_TYPES = sizeof rope_types / sizeof *rope_types };

const char *rope_type_name(enum rope_type type) {
    for (size_t i = 0; i < N_ROPE_TYPES; i++)
        if (rope_types[i].type == type)
            return rope_types[i].name;
    return "?";
}

static enum rope_type read_type(struct config_reader *r) {
    const char *name = config_string(r, "rope_type", NULL);
    if (!name)
        name = config_string(r, "type", "default");
    for (size_t i = 0; i < N_ROPE_TYPES; i++)
        if (strcmp(name, rope_types[i].name) == 0)
            return rope_types[i].type;
    char shown[64];
    config_fail(r, QUERN_ERR_UNSUPPORTED,
                "rope_type \"%s\" is not supported (default, linear, dynamic, yarn, llama3 are)",
                config_printable(name, shown));
    return ROPE_DEFAULT;
}

/* Newer files may hold one set of parameters for each kind of layer. */
static void refuse_nested(struct config_reader *r) {
    static const char *const kinds[] = {"full_attention", "sliding_attention"};
    for (size_t i = 0; i < 2; i++)
        if (config_has(r, kinds[i]))
            config_fail(r, QUERN_ERR_UNSUPPORTED,
                        "rope_parameters for each kind of layer (%s) are not supported", kinds[i]);
}

static void refuse_partial(struct config_reader *r) {
    double part = config_float(r, "partial_rotary_factor", 0, 1, 1);
    if (part != 1)
        config_fail(r, QUERN_ERR_UNSUPPORTED, "partial_rotary_factor %g is not supported, only 1",
                    part);
}

static void read_yarn(struct config_reader *r, struct rope_config *out) {
    out->attention_factor = config_float(r, "attention_factor", 0, 1e3, 0);
    /* As in transformers, 0 stands for the default. */
    out->beta_fast = config_float(r, "beta_fast", 0, 1e6, 32);
    out->beta_slow = config_float(r, "beta_slow", 0, 1e6, 1);
    if (out->beta_fast == 0)
        out->beta_fast = 32;
    if (out->beta_slow == 0)
        out->beta_slow = 1;
    out->mscale = config_float(r, "mscale", 0, 1e3, 0);
    out->mscale_all_dim = config_float(r, "mscale_all_dim", 0, 1e3, 0);
    out->truncate = config_bool(r, "truncate", true);
}

static void read_llama3(struct config_reader *r, struct rope_config *out) {
    out->low_freq_factor = config_float(r, "low_freq_factor", 1e-6, 1e6, 0);
    out->high_freq_factor = config_float(r, "high_freq_factor", 1e-6, 1e6, 0);
    if (out->high_freq_factor <= out->low_freq_factor)
        config_fail(r, QUERN_ERR_FORMAT,
                    "rope_type llama3 needs low_freq_factor (found %g) below high_freq_factor "
                    "(found %g)",
                    out->low_freq_factor, out->high_freq_factor);
}

static void read_scaling(struct config_reader *r, int32_t max_positions, struct rope_config *out) {
    refuse_nested(r);
    refuse_partial(r);
    out->theta = config_float(r, "rope_theta", 1, 1e12, out->theta);
    out->type = read_type(r);
    if (out->type == ROPE_DEFAULT)
        return;
    out->original_max_positions =
        config_int(r, "original_max_position_embeddings", 1, 1 << 30, out->original_max_positions);
    /* DeepSeek's form of YaRN: the factor follows from the two lengths. */
    bool implied = out->type == ROPE_YARN && !config_has(r, "factor");
    double factor = (double)max_positions / out->original_max_positions;
    out->factor = config_float(r, "factor", 1, 1e6, implied && factor >= 1 ? factor : 0);
    if (out->factor == 0)
        config_fail(r, QUERN_ERR_FORMAT, "rope_type %s needs a factor", rope_type_name(out->type));
    if (out->type == ROPE_YARN)
        read_yarn(r, out);
    else if (out->type == ROPE_LLAMA3)
        read_llama3(r, out);
}

void rope_config_read(struct config_reader *r, int32_t max_position_embeddings,
                      struct rope_config *out) {
    *out = (struct rope_config){.type = ROPE_DEFAULT, .factor = 1, .truncate = true};
    refuse_partial(r);
    out->theta = config_float(r, "rope_theta", 1, 1e12, 10000);
    out->original_max_positions =
        config_int(r, "original_max_position_embeddings", 1, 1 << 30, max_position_embeddings);
    /* transformers prefers the old key when it is there and not empty. */
    const char *key = "rope_scaling";
    const json_t *scaling = config_container(r, key, JSON_OBJECT);
    if (!scaling || json_object_size(scaling) == 0) {
        key = "rope_parameters";
        scaling = config_container(r, key, JSON_OBJECT);
    }
    if (r->status || !scaling)
        return;
    struct config_reader inner = {scaling, r->name, r->err, QUERN_OK};
    read_scaling(&inner, max_position_embeddings, out);
    r->status = inner.status;
    /* Phi's place for it, beside the parameters, wins over theirs in transformers. */
    out->original_max_positions =
        config_int(r, "original_max_position_embeddings", 1, 1 << 30, out->original_max_positions);
}
