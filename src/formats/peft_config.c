#include "formats/peft_config.h"

#include <math.h>
#include <string.h>

#include "formats/config_reader.h"

enum { LAYERS_MAX = 65536 };

/* ---- what is refused -------------------------------------------------------------------- */

/* Keys that, when they say something, change what the adapter computes or what it is added to. */
static const char *const foreign_keys[] = {
    "alora_invocation_tokens", /* weights only behind certain tokens */
    "arrow_config",            /* routes between adapters */
    "kasa_config",
    "layer_replication", /* repeats layers of the base */
    "lora_bias",
    "monteclora_config",
    "target_parameters", /* LoRA of tensors that are no linear layer's */
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
};

static bool says_something(const json_t *value) {
    if (!value || json_is_null(value) || json_is_false(value))
        return false;
    return !(json_is_array(value) && json_array_size(value) == 0) &&
           !(json_is_object(value) && json_object_size(value) == 0);
}

/* An initialization that also changed the base: the matrices alone say nothing about the published
 * one. */
static bool changes_base(const char *init) {
    static const char *const names[] = {"pissa", "olora", "loftq", "corda", "lora_ga"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(init, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static void check_supported(struct config_reader *r) {
    char shown[64];
    const char *type = config_string(r, "peft_type", NULL),
               *bias = config_string(r, "bias", "none");
    const json_t *init = json_object_get(r->object, "init_lora_weights");
    if (!r->status && !type)
        config_fail(r, QUERN_ERR_FORMAT,
                    "peft_type is missing: this is no adapter's configuration");
    else if (!r->status && strcmp(type, "LORA") != 0)
        config_fail(r, QUERN_ERR_UNSUPPORTED, "peft_type is \"%s\"; only LORA is supported",
                    config_printable(type, shown));
    if (!r->status && strcmp(bias, "none") != 0)
        config_fail(r, QUERN_ERR_UNSUPPORTED, "bias is \"%s\"; only \"none\" is supported",
                    config_printable(bias, shown));
    if (config_bool(r, "fan_in_fan_out", false))
        config_fail(r, QUERN_ERR_UNSUPPORTED,
                    "fan_in_fan_out is true; no model here has transposed weights");
    if (!r->status && json_is_string(init) && changes_base(json_string_value(init)))
        config_fail(r, QUERN_ERR_UNSUPPORTED,
                    "init_lora_weights is \"%s\", which changes the base model too; save it with "
                    "path_initial_model_for_weight_conversion to get an ordinary adapter",
                    config_printable(json_string_value(init), shown));
    for (size_t i = 0; i < sizeof foreign_keys / sizeof *foreign_keys; i++)
        if (says_something(json_object_get(r->object, foreign_keys[i])))
            config_fail(r, QUERN_ERR_UNSUPPORTED, "%s is set, which is not supported",
                        foreign_keys[i]);
}

/* ---- lists -------------------------------------------------------------------------------- */

static void *hold(struct config_reader *r, struct arena *arena, size_t n, size_t size) {
    void *p = r->status ? NULL : arena_calloc(arena, n ? n : 1, size);
    if (!p && !r->status)
        r->status = error_nomem(r->err);
    return p;
}

/* A list of names, or null. */
static const char *const *read_names(struct config_reader *r, struct arena *arena, const char *key,
                                     size_t *n) {
    json_t *list = config_container(r, key, JSON_ARRAY);
    *n = 0;
    if (!list)
        return NULL;
    if (json_array_size(list) > PEFT_TARGETS_MAX) {
        config_fail(r, QUERN_ERR_LIMIT, "%s has %zu entries, at most %d are read", key,
                    json_array_size(list), PEFT_TARGETS_MAX);
        return NULL;
    }
    const char **names = hold(r, arena, json_array_size(list), sizeof *names);
    for (size_t i = 0; names && i < json_array_size(list); i++) {
        names[i] = json_string_value(json_array_get(list, i));
        if (!names[i] || !*names[i]) {
            config_fail(r, QUERN_ERR_FORMAT, "%s: found %s, expected names", key,
                        names[i] ? "an empty one" : json_type_name(json_array_get(list, i)));
            return NULL;
        }
    }
    *n = json_array_size(list);
    return names;
}

static void read_targets(struct config_reader *r, struct arena *arena, struct peft_config *out) {
    const json_t *value = json_object_get(r->object, "target_modules");
    if (json_is_string(value))
        out->target_pattern = json_string_value(value);
    else
        out->targets = read_names(r, arena, "target_modules", &out->n_targets);
    if (!r->status && !out->target_pattern && out->n_targets == 0 && out->n_saved == 0)
        config_fail(r, QUERN_ERR_FORMAT, "target_modules is missing or empty");
}

static void read_excluded(struct config_reader *r, struct arena *arena, struct peft_config *out) {
    const json_t *value = json_object_get(r->object, "exclude_modules");
    if (json_is_string(value) && *json_string_value(value))
        out->exclude_pattern = json_string_value(value);
    else if (says_something(value) && !json_is_string(value))
        out->excluded = read_names(r, arena, "exclude_modules", &out->n_excluded);
}

/* A number, or a list of them. */
static void read_layers(struct config_reader *r, struct arena *arena, struct peft_config *out) {
    const json_t *value = json_object_get(r->object, "layers_to_transform");
    const bool is_list = json_is_array(value);
    const size_t n = is_list ? json_array_size(value) : 1;
    if (!says_something(value))
        return;
    if (n > LAYERS_MAX) {
        config_fail(r, QUERN_ERR_LIMIT, "layers_to_transform has %zu entries, at most %d are read",
                    n, LAYERS_MAX);
        return;
    }
    size_t *layers = hold(r, arena, n, sizeof *layers);
    for (size_t i = 0; layers && i < n; i++) {
        const json_t *layer = is_list ? json_array_get(value, i) : value;
        const json_int_t x = json_integer_value(layer);
        if (!json_is_integer(layer) || x < 0 || x >= LAYERS_MAX) {
            config_fail(r, QUERN_ERR_FORMAT, "layers_to_transform: found %s, expected layers",
                        json_is_integer(layer) ? "a number out of range" : json_type_name(layer));
            return;
        }
        layers[i] = (size_t)x;
    }
    out->layers = layers;
    out->n_layers = n;
}

static const struct peft_pattern *read_patterns(struct config_reader *r, struct arena *arena,
                                                const char *key, double min, double max, bool whole,
                                                size_t *n) {
    json_t *object = config_container(r, key, JSON_OBJECT), *value;
    const char *name;
    *n = 0;
    if (!object)
        return NULL;
    if (json_object_size(object) > PEFT_PATTERNS_MAX) {
        config_fail(r, QUERN_ERR_LIMIT, "%s has %zu entries, at most %d are read", key,
                    json_object_size(object), PEFT_PATTERNS_MAX);
        return NULL;
    }
    struct peft_pattern *patterns = hold(r, arena, json_object_size(object), sizeof *patterns);
    if (!patterns)
        return NULL;
    json_object_foreach(object, name, value) {
        const double x = json_number_value(value);
        if (!json_is_number(value) || !(x >= min && x <= max) || (whole && x != floor(x))) {
            config_fail(r, QUERN_ERR_FORMAT, "%s: found %s, expected %s", key,
                        json_is_number(value) ? "a number out of range" : json_type_name(value),
                        whole ? "ranks" : "numbers");
            return NULL;
        }
        patterns[(*n)++] = (struct peft_pattern){name, x};
    }
    return patterns;
}

enum quern_status peft_config_read(const json_t *object, const char *name, struct arena *arena,
                                   struct peft_config *out, struct quern_error *err) {
    /* Far beyond what anybody trains, near enough that products in float32 stay finite. */
    const double alpha_max = 1e9;
    struct config_reader r = {.object = object, .name = name, .err = err};
    *out = (struct peft_config){0};
    if (!json_is_object(object))
        return error_set(err, QUERN_ERR_FORMAT, "%s: found %s, expected an object", name,
                         json_type_name(object));
    check_supported(&r);
    out->rank = (size_t)config_int(&r, "r", 1, PEFT_RANK_MAX, 8);
    out->alpha = config_float(&r, "lora_alpha", -alpha_max, alpha_max, 8);
    out->dropout = config_float(&r, "lora_dropout", 0, 1, 0);
    out->use_rslora = config_bool(&r, "use_rslora", false);
    out->use_dora = config_bool(&r, "use_dora", false);
    out->ensure_weight_tying = config_bool(&r, "ensure_weight_tying", false);
    out->base_model = config_string(&r, "base_model_name_or_path", NULL);
    out->revision = config_string(&r, "revision", NULL);
    out->saved = read_names(&r, arena, "modules_to_save", &out->n_saved);
    read_targets(&r, arena, out);
    read_layers(&r, arena, out);
    read_excluded(&r, arena, out);
    out->ranks = read_patterns(&r, arena, "rank_pattern", 1, PEFT_RANK_MAX, true, &out->n_ranks);
    out->alphas =
        read_patterns(&r, arena, "alpha_pattern", -alpha_max, alpha_max, false, &out->n_alphas);
    return r.status;
}
