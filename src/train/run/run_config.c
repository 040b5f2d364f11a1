#include "train/run/run_config.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"

enum kind { TEXT, TEXTS, SIZE, INTEGER, REAL, REAL32, BOOL, WORD, SPECIAL };

struct key {
    const char *name;
    enum kind kind;
    size_t offset; /* in struct run_config */
    double min, max;
    const char *words; /* WORD: in the order of the enum; SPECIAL: what it takes */
};

#define AT(field) offsetof(struct run_config, field)

static const struct key keys[] = {
    {"model_name_or_path", TEXT, AT(model), 0, 0, NULL},
    {"output_dir", TEXT, AT(output_dir), 0, 0, NULL},
    {"data", SPECIAL, 0, 0, 0, "file or list of files"},
    {"eval_data", TEXTS, AT(eval_data), 0, 0, NULL},
    {"stages", SPECIAL, 0, 0, 0, "list of objects"},
    {"method", WORD, AT(train.method), 0, 0, "full|lora|qlora"},
    {"num_train_epochs", REAL, AT(epochs), 1e-6, 1e6, NULL},
    {"max_steps", SPECIAL, 0, 0, 1e9, "integer"},
    {"per_device_train_batch_size", SIZE, AT(batch_size), 1, 65536, NULL},
    {"gradient_accumulation_steps", SIZE, AT(grad_accumulation), 1, 65536, NULL},
    {"seed", SPECIAL, 0, 0, 9007199254740992.0, "integer"},
    {"max_length", SIZE, AT(example.max_length), 2, 1 << 20, NULL},
    {"packing", BOOL, AT(order.packing), 0, 0, NULL},
    {"packing_window", SIZE, AT(order.window), 0, UINT32_MAX, NULL},
    {"dataset_streaming", BOOL, AT(streaming), 0, 0, NULL},
    {"order", WORD, AT(order.kind), 0, 0, "shuffled|windows|file"},
    {"row_tokens", SIZE, AT(order.row_tokens), 0, 1 << 20, NULL},
    {"thinking", WORD, AT(example.thinking), 0, 0, "mask_empty|keep|drop"},
    {"last_turns_only", BOOL, AT(example.last_turns), 0, 0, NULL},
    {"raw_prompts", BOOL, AT(example.raw), 0, 0, NULL},
    {"prompt_weight", SPECIAL, 0, 0, 0, "number or list of [first step, number]"},
    {"emphasis_weight", SPECIAL, 0, 0, 0, "number or list of [first step, number]"},
    {"emphasized_words", TEXTS, AT(emphasized), 0, 0, NULL},
    {"emphasized_after", TEXT, AT(emphasized_after), 0, 0, NULL},
    {"optim", WORD, AT(train.optimizer), 0, 0, "adamw|adamw_8bit|lion|adafactor|muon"},
    {"learning_rate", REAL32, AT(train.learning_rate), 0, 10, NULL},
    {"muon_learning_rate", REAL32, AT(train.muon_learning_rate), 0, 10, NULL},
    {"muon_momentum", REAL32, AT(train.muon_momentum), 0, 1, NULL},
    {"muon_weight_decay", REAL32, AT(train.muon_weight_decay), 0, 10, NULL},
    {"weight_decay", REAL32, AT(train.weight_decay), 0, 10, NULL},
    {"adam_beta1", REAL32, AT(train.beta1), 0, 1, NULL},
    {"adam_beta2", REAL32, AT(train.beta2), 0, 1, NULL},
    {"adam_epsilon", REAL32, AT(train.epsilon), 0, 1, NULL},
    {"max_grad_norm", REAL32, AT(train.max_grad_norm), 0, 1e9, NULL},
    {"neftune_noise_alpha", REAL32, AT(train.neftune_alpha), 0, 1e6, NULL},
    {"gradient_checkpointing", BOOL, AT(train.checkpointing), 0, 0, NULL},
    {"bf16", BOOL, AT(train.bf16), 0, 0, NULL},
    {"pack_weights", BOOL, AT(train.pack_weights), 0, 0, NULL},
    {"lr_scheduler_type", WORD, AT(stages[0].schedule.kind), 0, 0, "constant|linear|cosine|wsd"},
    {"warmup_steps", SIZE, AT(stages[0].schedule.warmup_steps), 0, 1e9, NULL},
    {"warmup_ratio", REAL, AT(stages[0].schedule.warmup_ratio), 0, 1, NULL},
    {"min_lr_ratio", REAL, AT(stages[0].schedule.min_ratio), 0, 1, NULL},
    {"decay_ratio", REAL, AT(stages[0].schedule.decay_ratio), 0, 1, NULL},
    {"r", SIZE, AT(train.lora.rank), 1, 4096, NULL},
    {"lora_alpha", REAL32, AT(train.lora.alpha), 0, 1e6, NULL},
    {"lora_dropout", REAL32, AT(train.lora.dropout), 0, 0.99, NULL},
    {"use_rslora", BOOL, AT(train.lora.use_rslora), 0, 0, NULL},
    {"use_dora", BOOL, AT(train.lora.use_dora), 0, 0, NULL},
    {"init_lora_weights", SPECIAL, 0, 0, 0, "true or \"pissa\""},
    {"loraplus_lr_ratio", REAL32, AT(train.lora.lr_ratio), 0, 1e6, NULL},
    {"target_modules", SPECIAL, 0, 0, 0, "\"all-linear\", expression or list of names"},
    {"exclude_modules", SPECIAL, 0, 0, 0, "expression or list of names"},
    {"modules_to_save", TEXTS, AT(saved), 0, 0, NULL},
    {"ensure_weight_tying", BOOL, AT(train.lora.tie_saved), 0, 0, NULL},
    {"rank_pattern", SPECIAL, 0, 0, 0, "object of expressions and ranks"},
    {"alpha_pattern", SPECIAL, 0, 0, 0, "object of expressions and numbers"},
    {"layers_to_transform", SPECIAL, 0, 0, 0, "integer or list"},
    {"logging_steps", SIZE, AT(logging_steps), 1, 1e9, NULL},
    {"eval_steps", SIZE, AT(eval_steps), 0, 1e9, NULL},
    {"save_steps", SIZE, AT(save_steps), 0, 1e9, NULL},
    {"save_total_limit", SIZE, AT(save_total_limit), 1, 1000, NULL},
    {"early_stopping_patience", SIZE, AT(patience), 0, 1e6, NULL},
    {"load_best_model_at_end", BOOL, AT(load_best), 0, 0, NULL},
    {"threads", INTEGER, AT(train.threads), 0, 1024, NULL},
};
enum { N_KEYS = sizeof keys / sizeof *keys };

/* A WORD is an enum, which compilers here hold as an unsigned int. */
_Static_assert(sizeof(enum train_method) == sizeof(unsigned), "enums are read as unsigned");

const char *run_config_key(size_t index, const char **takes) {
    static const char *const names[] = {
        [TEXT] = "text",   [TEXTS] = "file or list of files", [SIZE] = "integer",
        [INTEGER] = "integer", [REAL] = "number",             [REAL32] = "number",
        [BOOL] = "true or false"};
    if (index >= N_KEYS)
        return NULL;
    if (takes)
        *takes = keys[index].words ? keys[index].words : names[keys[index].kind];
    return keys[index].name;
}

static const char *key_name(const void *unused, size_t index) {
    (void)unused;
    return run_config_key(index, NULL);
}

/* ---- values of keys ----------------------------------------------------------------------- */

static enum quern_status wrong(const char *name, const char *key, const json_t *value,
                               const char *expected, struct quern_error *err) {
    return error_set(err, QUERN_ERR_FORMAT, "%s: %s is %s, expected %s", name, key,
                     json_type_name(value), expected);
}

static enum quern_status read_list(const char *name, const char *key, const json_t *value,
                                   struct run_list *out, struct quern_error *err) {
    out->n = 0;
    if (json_is_string(value)) {
        out->items[out->n++] = json_string_value(value);
        return QUERN_OK;
    }
    if (!json_is_array(value) || json_array_size(value) > RUN_LIST_MAX)
        return wrong(name, key, value, "a file or a list of at most 64", err);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        if (!json_is_string(item))
            return wrong(name, key, item, "file names", err);
        out->items[out->n++] = json_string_value(item);
    }
    return QUERN_OK;
}

static enum quern_status read_word(const char *name, const struct key *k, const char *word,
                                   unsigned *out, struct quern_error *err) {
    unsigned index = 0;
    const size_t len = word ? strlen(word) : 0;
    for (const char *p = k->words; word; index++) {
        const size_t n = strcspn(p, "|");
        if (n == len && memcmp(p, word, n) == 0) {
            *out = index;
            return QUERN_OK;
        }
        if (!p[n])
            break;
        p += n + 1;
    }
    return error_set(err, QUERN_ERR_FORMAT, "%s: %s is %s%s%s, expected %s", name, k->name,
                     word ? "\"" : "", word ? word : "no text", word ? "\"" : "", k->words);
}

/* TRL's names for what have shorter ones here. */
static const char *plain_word(const char *word) {
    static const char *const same[][2] = {{"adamw_torch", "adamw"},
                                          {"adamw_torch_fused", "adamw"},
                                          {"adamw_hf", "adamw"},
                                          {"adamw_bnb_8bit", "adamw_8bit"},
                                          {"lion_32bit", "lion"},
                                          {"constant_with_warmup", "constant"},
                                          {"cosine_with_min_lr", "cosine"},
                                          {"warmup_stable_decay", "wsd"}};
    for (size_t i = 0; word && i < sizeof same / sizeof *same; i++)
        if (strcmp(word, same[i][0]) == 0)
            return same[i][1];
    return word;
}

static enum quern_status read_key(const json_t *json, const char *name, const struct key *k,
                                  struct run_config *out, struct quern_error *err) {
    char *at = (char *)out + k->offset;
    const json_t *value = json_object_get(json, k->name);
    int64_t integer = 0;
    double real = 0;
    enum quern_status status = QUERN_OK;
    if (!value || json_is_null(value))
        return QUERN_OK;
    switch (k->kind) {
    case TEXT:
        return json_get_string(json, name, k->name, NULL, (const char **)(void *)at, err);
    case TEXTS:
        return read_list(name, k->name, value, (struct run_list *)(void *)at, err);
    case SIZE:
    case INTEGER:
        status = json_get_int(json, name, k->name, (int64_t)k->min, (int64_t)k->max, 0, &integer, err);
        if (!status && k->kind == SIZE)
            *(size_t *)(void *)at = (size_t)integer;
        else if (!status)
            *(int *)(void *)at = (int)integer;
        return status;
    case REAL:
    case REAL32:
        status = json_get_float(json, name, k->name, k->min, k->max, 0, &real, err);
        if (!status && k->kind == REAL)
            *(double *)(void *)at = real;
        else if (!status)
            *(float *)(void *)at = (float)real;
        return status;
    case BOOL:
        return json_get_bool(json, name, k->name, false, (bool *)(void *)at, err);
    case WORD:
        return read_word(name, k, plain_word(json_string_value(value)), (unsigned *)(void *)at, err);
    case SPECIAL:
        break;
    }
    return QUERN_OK;
}

/* ---- keys of their own ------------------------------------------------------------------------ */

static enum quern_status read_weights(const json_t *json, const char *name, const char *key,
                                      struct run_weights *out, struct quern_error *err) {
    const json_t *value = json_object_get(json, key);
    const size_t n = json_array_size(value);
    if (!value)
        return QUERN_OK;
    if (json_is_number(value) && json_number_value(value) >= 0) {
        out->at[0].weight = json_number_value(value);
        out->n = 1;
        return QUERN_OK;
    }
    if (!n || n > RUN_WEIGHTS_MAX)
        return wrong(name, key, value, "a number or a short list", err);
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(value, i);
        const json_t *first = json_array_get(pair, 0), *weight = json_array_get(pair, 1);
        if (!json_is_integer(first) || json_integer_value(first) < 0 || !json_is_number(weight) ||
            json_number_value(weight) < 0)
            return wrong(name, key, pair, "[first step, weight]", err);
        out->at[i].first_step = (size_t)json_integer_value(first);
        out->at[i].weight = json_number_value(weight);
    }
    out->n = n;
    return QUERN_OK;
}

double run_weight_at(const struct run_weights *w, size_t step, double otherwise) {
    double weight = otherwise;
    for (size_t i = 0; i < w->n; i++)
        if (step >= w->at[i].first_step)
            weight = w->at[i].weight;
    return weight;
}

/* A list of names; a text is an expression over whole names. */
static enum quern_status read_modules(const json_t *json, const char *name, const char *key,
                                      struct run_list *names, const char **pattern,
                                      struct quern_error *err) {
    const json_t *value = json_object_get(json, key);
    if (!value || json_is_null(value))
        return QUERN_OK;
    if (!json_is_string(value))
        return read_list(name, key, value, names, err);
    *pattern = json_string_value(value);
    return QUERN_OK;
}

static enum quern_status read_layers(const json_t *json, const char *name, struct run_config *out,
                                     struct quern_error *err) {
    const json_t *layers = json_object_get(json, "layers_to_transform");
    const size_t n = json_is_integer(layers) ? 1 : json_array_size(layers);
    if (!layers || json_is_null(layers))
        return QUERN_OK;
    if (!n || n > RUN_LIST_MAX)
        return wrong(name, "layers_to_transform", layers, "a layer or a list of at most 64", err);
    for (size_t i = 0; i < n; i++) {
        const json_t *layer = json_is_integer(layers) ? layers : json_array_get(layers, i);
        if (!json_is_integer(layer) || json_integer_value(layer) < 0)
            return wrong(name, "layers_to_transform", layer, "numbers of layers", err);
        out->layers[i] = (size_t)json_integer_value(layer);
    }
    out->train.lora.layers = out->layers;
    out->train.lora.n_layers = n;
    return QUERN_OK;
}

/* To `to`, which has room. */
static enum quern_status read_pattern(const json_t *object, const char *name, const char *key, double min,
                                      double max, struct peft_pattern *to, struct quern_error *err) {
    const char *expression;
    json_t *value;
    size_t n = 0;
    json_object_foreach((json_t *)(uintptr_t)object, expression, value) {
        const double x = json_number_value(value);
        if (!json_is_number(value) || x < min || x > max || (min > 0 && !json_is_integer(value)))
            return wrong(name, key, value, min > 0 ? "ranks from 1 to 4096" : "numbers", err);
        to[n++] = (struct peft_pattern){expression, x};
    }
    return QUERN_OK;
}

static enum quern_status read_patterns(const json_t *json, const char *name, struct run_config *out,
                                       struct quern_error *err) {
    const json_t *ranks = json_object_get(json, "rank_pattern");
    const json_t *alphas = json_object_get(json, "alpha_pattern");
    const size_t n_ranks = json_object_size(ranks), n_alphas = json_object_size(alphas);
    struct train_lora_options *lora = &out->train.lora;
    if (ranks && !json_is_object(ranks) && !json_is_null(ranks))
        return wrong(name, "rank_pattern", ranks, "an object", err);
    if (alphas && !json_is_object(alphas) && !json_is_null(alphas))
        return wrong(name, "alpha_pattern", alphas, "an object", err);
    out->patterns = calloc(n_ranks + n_alphas + 1, sizeof *out->patterns);
    if (!out->patterns)
        return error_nomem(err);
    lora->ranks = out->patterns;
    lora->n_ranks = n_ranks;
    lora->alphas = out->patterns + n_ranks;
    lora->n_alphas = n_alphas;
    enum quern_status status = read_pattern(ranks, name, "rank_pattern", 1, 4096, out->patterns, err);
    if (!status)
        status = read_pattern(alphas, name, "alpha_pattern", 0, 1e6, out->patterns + n_ranks, err);
    return status;
}

static enum quern_status read_targets(const json_t *json, const char *name, struct run_config *out,
                                      struct quern_error *err) {
    struct train_lora_options *lora = &out->train.lora;
    enum quern_status status =
        read_modules(json, name, "target_modules", &out->targets, &lora->target_pattern, err);
    if (!status)
        status = read_modules(json, name, "exclude_modules", &out->excluded, &lora->exclude_pattern, err);
    if (!status)
        status = read_layers(json, name, out, err);
    lora->targets = out->targets.n ? out->targets.items : NULL;
    lora->n_targets = out->targets.n;
    lora->excluded = out->excluded.items;
    lora->n_excluded = out->excluded.n;
    lora->saved = out->saved.items;
    lora->n_saved = out->saved.n;
    return status ? status : read_patterns(json, name, out, err);
}

static enum quern_status read_init(const json_t *json, const char *name, struct run_config *out,
                                   struct quern_error *err) {
    const json_t *value = json_object_get(json, "init_lora_weights");
    if (!value || json_is_true(value))
        return QUERN_OK;
    if (!json_is_string(value) || strcmp(json_string_value(value), "pissa") != 0)
        return wrong(name, "init_lora_weights", value, "true or \"pissa\"", err);
    out->train.lora.init = TRAIN_LORA_PISSA;
    return QUERN_OK;
}

static enum quern_status read_stage(const json_t *json, const char *name, struct run_stage *out,
                                    struct quern_error *err) {
    static const char *const known[] = {"data",         "max_steps",   "seed", "learning_rate_scale",
                                        "warmup_steps", "decay_ratio", NULL};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            return error_set(err, QUERN_ERR_FORMAT, "%s: a stage knows no \"%s\"", name, key);
    }
    int64_t steps, seed, warmup;
    enum quern_status status = json_get_int(json, name, "max_steps", 0, 1000000000,
                                            (int64_t)out->max_steps, &steps, err);
    if (!status)
        status = json_get_int(json, name, "seed", 0, INT64_C(1) << 53, (int64_t)out->seed, &seed, err);
    if (!status)
        status = json_get_int(json, name, "warmup_steps", 0, 1000000000,
                              (int64_t)out->schedule.warmup_steps, &warmup, err);
    if (!status)
        status = json_get_float(json, name, "learning_rate_scale", 0, 1000, 1, &out->schedule.scale,
                                err);
    if (!status)
        status = json_get_float(json, name, "decay_ratio", 0, 1, out->schedule.decay_ratio,
                                &out->schedule.decay_ratio, err);
    if (status)
        return status;
    out->max_steps = (size_t)steps;
    out->seed = (uint64_t)seed;
    out->schedule.warmup_steps = (size_t)warmup;
    value = json_object_get(json, "data");
    return value ? read_list(name, "data", value, &out->data, err) : QUERN_OK;
}

static enum quern_status read_stages(const json_t *json, const char *name, struct run_config *out,
                                     struct quern_error *err) {
    struct run_stage base = out->stages[0];
    const json_t *list = json_object_get(json, "stages");
    const size_t n = json_array_size(list);
    enum quern_status status = QUERN_OK;
    int64_t steps = 0, seed = 0;
    const json_t *data = json_object_get(json, "data");
    /* TRL's max_steps is -1 where epochs decide. */
    if (!status)
        status = json_get_int(json, name, "max_steps", -1, 1000000000, 0, &steps, err);
    if (!status)
        status = json_get_int(json, name, "seed", 0, INT64_C(1) << 53, 42, &seed, err);
    if (!status && data)
        status = read_list(name, "data", data, &base.data, err);
    if (status)
        return status;
    base.max_steps = steps > 0 ? (size_t)steps : 0;
    base.seed = out->train.seed = out->order.seed = (uint64_t)seed;
    if (list && (!json_is_array(list) || !n || n > RUN_STAGES_MAX))
        return wrong(name, "stages", list, "a list of 1 to 16", err);
    out->n_stages = list ? n : 1;
    for (size_t i = 0; i < out->n_stages && !status; i++) {
        out->stages[i] = base;
        if (list)
            status = read_stage(json_array_get(list, i), name, &out->stages[i], err);
        if (!status && !out->stages[i].data.n)
            status = error_set(err, QUERN_ERR_FORMAT, "%s: no data", name);
    }
    return status;
}

/* ---- the whole ----------------------------------------------------------------------------------- */

static void set_defaults(struct run_config *c) {
    *c = (struct run_config){
        .json = c->json,
        .epochs = 1,
        .batch_size = 1,
        .grad_accumulation = 8,
        .example = {.max_length = 1024},
        .order = {.kind = ORDER_SHUFFLED, .packing = true, .window = 4096},
        .train = {.method = TRAIN_LORA,
                  .lora = {.rank = 16, .alpha = 32, .lr_ratio = 1},
                  .muon_learning_rate = 0.02f,
                  .beta1 = 0.9f,
                  .beta2 = 0.999f,
                  .epsilon = 1e-8f,
                  .muon_momentum = 0.95f,
                  .max_grad_norm = 1,
                  .bf16 = true,
                  .pack_weights = true},
        .save_steps = 500,
        .save_total_limit = 2,
        .logging_steps = 1,
    };
    c->stages[0].schedule = (struct schedule){
        .kind = SCHEDULE_LINEAR, .scale = 1, .warmup_ratio = 0.03, .decay_ratio = 0.2};
}

static enum quern_status check_keys(const json_t *json, const char *name, struct quern_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value) {
        size_t i = 0;
        while (i < N_KEYS && strcmp(keys[i].name, key) != 0)
            i++;
        if (i < N_KEYS)
            continue;
        const char *nearest = nearest_name(str_from(key), key_name, NULL);
        return error_set(err, QUERN_ERR_FORMAT, "%s: \"%s\" is no key%s%s%s", name, key,
                         nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                         nearest ? "\"?" : "");
    }
    return QUERN_OK;
}

static enum quern_status complete(struct run_config *c, const char *name, struct quern_error *err) {
    if (!c->model || !c->output_dir)
        return error_set(err, QUERN_ERR_FORMAT, "%s: no %s", name,
                         c->model ? "output_dir" : "model_name_or_path");
    if (c->train.learning_rate <= 0)
        c->train.learning_rate = c->train.method == TRAIN_FULL ? 2e-5f : 2e-4f;
    if (c->emphasized.n && (!c->emphasized_after || !c->emphasis_weight.n))
        return error_set(err, QUERN_ERR_FORMAT, "%s: emphasized_words without %s", name,
                         c->emphasized_after ? "emphasis_weight" : "emphasized_after");
    if (c->emphasized.n > LABEL_WORDS_MAX)
        return error_set(err, QUERN_ERR_FORMAT, "%s: %zu emphasized_words, at most %d", name,
                         c->emphasized.n, LABEL_WORDS_MAX);
    for (size_t i = 0; c->streaming && i < c->n_stages; i++)
        if (!c->stages[i].max_steps)
            return error_set(err, QUERN_ERR_FORMAT,
                             "%s: dataset_streaming without max_steps: how many steps an epoch has is known "
                             "when it ends",
                             name);
    if (c->streaming && !c->order.window)
        return error_set(err, QUERN_ERR_FORMAT, "%s: dataset_streaming takes a packing_window above 0", name);
    if (!c->order.row_tokens)
        c->order.row_tokens = c->example.max_length;
    if ((c->patience || c->load_best) && !c->eval_data.n)
        return error_set(err, QUERN_ERR_FORMAT, "%s: %s without eval_data", name,
                         c->patience ? "early_stopping_patience" : "load_best_model_at_end");
    return QUERN_OK;
}

enum quern_status run_config_parse(json_t *json, const char *name, struct run_config *out,
                                   struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    out->json = json;
    set_defaults(out);
    if (!json_is_object(json))
        status = error_set(err, QUERN_ERR_FORMAT, "%s: found %s, expected an object", name,
                           json_type_name(json));
    if (!status)
        status = check_keys(json, name, err);
    for (size_t i = 0; i < N_KEYS && !status; i++)
        status = read_key(json, name, &keys[i], out, err);
    if (!status)
        status = read_weights(json, name, "prompt_weight", &out->prompt_weight, err);
    if (!status)
        status = read_weights(json, name, "emphasis_weight", &out->emphasis_weight, err);
    if (!status)
        status = read_targets(json, name, out, err);
    if (!status)
        status = read_init(json, name, out, err);
    if (!status)
        status = read_stages(json, name, out, err);
    if (!status)
        status = complete(out, name, err);
    if (status)
        run_config_release(out);
    return status;
}

void run_config_release(struct run_config *c) {
    json_decref(c->json);
    free(c->patterns);
    *c = (struct run_config){0};
}
