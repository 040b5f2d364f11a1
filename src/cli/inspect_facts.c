#include "cli/inspect_facts.h"

#include <stdarg.h>
#include <stdio.h>

#include "api/gguf_parts.h"
#include "base/map.h"
#include "base/os.h"
#include "formats/gguf_config.h"
#include "model/kv_cache.h"
#include "model/rope.h"

enum { PATH_BYTES = 4096 };

const struct inspect_format inspect_formats[INSPECT_N_FORMATS] = {
    {"f32", 32, 32, NULL},
    {"bf16", 16, 16, NULL},
    {"int8", 8.5, 16, "8.5 bits a weight: a 16-bit scale for every 32"},
    {"int4", 4.5, 16, "4.5 bits a weight: a 16-bit scale for every 32"},
    {"nf4", 4.5, 16, "4.5 bits a weight: a 32-bit scale for every 64"},
};

static void add(struct inspect_facts *f, struct inspect_strings *list, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static void add(struct inspect_facts *f, struct inspect_strings *list, const char *fmt, ...) {
    char text[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    error_make_printable(text);
    if (list->n < INSPECT_KEPT_MAX) {
        const char *copy = arena_strdup(&f->arena, text);
        list->items[list->n] = copy ? copy : "out of memory";
    }
    list->n++;
}

static bool has_file(const char *dir, const char *name) {
    char path[PATH_BYTES];
    return !os_path_join(path, sizeof path, dir, name, NULL) && os_file_exists(path);
}

/* ---- the configuration ---------------------------------------------------------- */

static void derive(struct inspect_facts *f) {
    const struct hf_config *c = &f->config;
    struct tensor_layout walk;
    struct tensor_spec spec;
    f->n_params = hf_config_param_count(c, &f->n_active);
    for (tensor_layout_begin(&walk, c); tensor_layout_next(&walk, &spec);)
        if (spec.role == TENSOR_MATRIX)
            f->n_matrix_params += (int64_t)(spec.shape[0] * spec.shape[1]);
    for (int i = 0; i < INSPECT_N_FORMATS; i++)
        f->format_bytes[i] =
            ((double)f->n_matrix_params * inspect_formats[i].matrix_bits +
             (double)(f->n_params - f->n_matrix_params) * inspect_formats[i].other_bits) /
            8;
    f->max_context = (int32_t)rope_max_context(c);
    static const int32_t usual[] = {4096, 32768};
    for (int i = 0; i < 2; i++)
        if (usual[i] < f->max_context)
            f->contexts[f->n_contexts++] = usual[i];
    f->contexts[f->n_contexts++] = f->max_context;
    if (c->rope.type == ROPE_YARN)
        f->attention_factor = rope_yarn_attention_factor(&c->rope);
    if (c->quant.problem[0])
        add(f, &f->problems, "quantized by \"%s\": %s", c->quant.name, c->quant.problem);
}

/* ---- the weights ------------------------------------------------------------------ */

static void format_shape(int rank, const size_t *shape, char out[128]) {
    int at = snprintf(out, 128, "[");
    for (int i = 0; i < rank && at < 100; i++)
        at += snprintf(out + at, 128 - (size_t)at, "%s%zu", i ? ", " : "", shape[i]);
    snprintf(out + at, 128 - (size_t)at, "]");
}

/* A matrix in a quantized checkpoint's own form, without ".weight". False: there is none. */
static bool check_coded(struct inspect_facts *f, const struct tensor_spec *spec, const char *name,
                        struct map *seen) {
    const struct str all = str_from(name), suffix = STR_LIT(".weight");
    struct quantized_linear *l = NULL;
    struct quern_error err = {0};
    if (!f->config.has_quantization || spec->rank != 2 || !str_ends_with(all, suffix))
        return false;
    const char *base = arena_strndup(&f->arena, name, all.len - suffix.len);
    if (!base || quantized_linear_open(&f->config.quant, f->weights, base, spec->shape[0],
                                       spec->shape[1], &f->arena, &l, &err)) {
        add(f, &f->problems, "%s", base ? err.message : "out of memory");
        return true;
    }
    if (!l)
        return false;
    bool ok = map_put(seen, str_from(base), 0, NULL);
    for (size_t i = 0; i < l->n_parts; i++)
        ok &= map_put(seen, str_from(l->parts[i]->name), 0, NULL);
    if (!ok)
        add(f, &f->problems, "out of memory");
    f->n_coded++;
    return true;
}

/* Not asked for, and not worth a word. */
static bool is_harmless(const struct inspect_facts *f, const struct tensor *t, const struct map *seen) {
    struct str base;
    if (tensor_is_harmless_surplus(&f->config, str_from(t->name)))
        return true;
    return f->config.has_quantization && quantized_left_over(t, &base) && map_get(seen, base, NULL);
}

/* One tensor the architecture asks for. `seen` gets its name. */
static void check_tensor(struct inspect_facts *f, const struct tensor_spec *spec,
                         const char *prefix, struct map *seen) {
    const char *bare = spec->name;
    if (strncmp(bare, "model.", 6) == 0)
        bare += 6;
    char name[TENSOR_LAYOUT_NAME_MAX + 8], want[128], found[128];
    snprintf(name, sizeof name, "%s%s", bare == spec->name ? "" : prefix, bare);
    if (f->config.quant.problem[0] || check_coded(f, spec, name, seen))
        return;
    const struct tensor *t = checkpoint_find(f->weights, name);
    format_shape(spec->rank, spec->shape, want);
    if (!t) {
        add(f, &f->problems, "tensor %s %s is missing", name, want);
        return;
    }
    if (!map_put(seen, str_from(t->name), 0, NULL))
        add(f, &f->problems, "out of memory");
    bool same = t->rank == spec->rank;
    for (int i = 0; same && i < t->rank; i++)
        same = t->shape[i] == spec->shape[i];
    format_shape(t->rank, t->shape, found);
    if (!same)
        add(f, &f->problems, "%s: tensor %s has shape %s, expected %s", t->file, name, found, want);
    if (!dtype_is_weight(t->dtype) && !t->coded)
        add(f, &f->problems, "%s: tensor %s has type %s, expected F32, F16 or BF16", t->file, name,
            tensor_type_name(t));
}

static void compare_tensors(struct inspect_facts *f) {
    struct map seen = {0};
    struct tensor_layout walk;
    struct tensor_spec spec;
    const char *prefix = checkpoint_find(f->weights, "model.embed_tokens.weight") ||
                                 !checkpoint_find(f->weights, "embed_tokens.weight")
                             ? "model."
                             : "";
    for (tensor_layout_begin(&walk, &f->config); tensor_layout_next(&walk, &spec);)
        check_tensor(f, &spec, prefix, &seen);
    for (size_t i = 0; i < checkpoint_count(f->weights); i++) {
        const struct tensor *t = checkpoint_at(f->weights, i);
        uint32_t unused;
        struct str bare = str_from(t->name);
        if (!map_get(&seen, bare, &unused) && !is_harmless(f, t, &seen) && !f->config.quant.problem[0])
            add(f, &f->notes, "%s: tensor %s is not part of the architecture", t->file, t->name);
    }
    map_release(&seen);
}

static void count_type(struct inspect_facts *f, const struct tensor *t) {
    const char *name = tensor_type_name(t);
    int i = 0;
    while (i < f->n_types && strcmp(f->types[i].name, name) != 0)
        i++;
    if (i == INSPECT_TYPES_MAX)
        return;
    if (i == f->n_types)
        f->types[f->n_types++].name = name;
    f->types[i].n++;
}

/* In the order of enum dtype, types of blocks behind. */
static void count_types(struct inspect_facts *f) {
    for (int dtype = 0; dtype <= DTYPE_COUNT; dtype++)
        for (size_t i = 0; i < checkpoint_count(f->weights); i++) {
            const struct tensor *t = checkpoint_at(f->weights, i);
            if (t->block_type ? dtype == DTYPE_COUNT : (int)t->dtype == dtype)
                count_type(f, t);
        }
}

static void collect_weights(struct inspect_facts *f, const char *path) {
    struct quern_error err = {0};
    if (checkpoint_open(path, &f->weights, &err)) {
        add(f, &f->problems, "%s", err.message);
        return;
    }
    size_t unaligned = 0;
    for (size_t i = 0; i < checkpoint_count(f->weights); i++) {
        const struct tensor *t = checkpoint_at(f->weights, i);
        unaligned += (uintptr_t)t->data % dtype_size_bytes(t->dtype) != 0;
    }
    count_types(f);
    if (unaligned)
        add(f, &f->notes, "%zu tensors are not aligned in their file and will be copied",
            unaligned);
    if (f->has_config)
        compare_tensors(f);
}

/* ---- a directory ------------------------------------------------------------------ */

static void describe_tokenizer(struct inspect_facts *f, const char *source) {
    f->n_tokens = tokenizer_n_tokens(f->tokenizer);
    for (int32_t id = 0; id < f->n_tokens; id++) {
        f->n_added += tokenizer_is_added(f->tokenizer, id);
        f->n_special += tokenizer_is_special(f->tokenizer, id);
    }
    if (f->n_tokens > f->config.vocab_size)
        add(f, &f->problems, "%s has %d tokens, vocab_size is %d", source, (int)f->n_tokens,
            (int)f->config.vocab_size);
}

static void collect_tokenizer(struct inspect_facts *f, const char *dir) {
    struct quern_error err = {0};
    if (!has_file(dir, "tokenizer.json"))
        add(f, &f->missing, "tokenizer.json");
    else if (tokenizer_open(dir, &f->tokenizer, &err))
        add(f, &f->problems, "%s", err.message);
    else
        describe_tokenizer(f, "tokenizer.json");
    if (chat_template_open(dir, &f->chat, &err))
        add(f, &f->problems, "%s", err.message);
    else if (!f->chat)
        add(f, &f->missing, "chat template");
}

static void collect_generation(struct inspect_facts *f, const char *dir) {
    struct quern_error err = {0};
    f->has_generation = has_file(dir, "generation_config.json");
    if (!f->has_generation)
        add(f, &f->missing, "generation_config.json");
    if (generation_config_load(dir, &f->config, &f->generation, &err)) {
        f->has_generation = false;
        add(f, &f->problems, "%s", err.message);
    }
}

static enum quern_status collect_dir(struct inspect_facts *f, struct quern_error *err) {
    enum quern_status status = hf_config_load(f->path, &f->config, err);
    if (status)
        return status;
    f->has_config = true;
    derive(f);
    if (has_file(f->path, "model.safetensors") ||
        has_file(f->path, "model.safetensors.index.json") || has_file(f->path, "pytorch_model.bin"))
        collect_weights(f, f->path);
    else
        add(f, &f->missing, "weights (model.safetensors or model.safetensors.index.json)");
    collect_tokenizer(f, f->path);
    collect_generation(f, f->path);
    return QUERN_OK;
}

/* ---- a GGUF file -------------------------------------------------------------------- */

static enum quern_status collect_gguf(struct inspect_facts *f, struct quern_error *err) {
    struct gguf *g = NULL;
    struct quern_error own = {0};
    enum quern_status status = gguf_open(f->path, &g, err);
    if (!status)
        status = gguf_hf_config(g, &f->config, err);
    if (status) {
        gguf_close(g);
        return status;
    }
    f->has_config = true;
    derive(f);
    collect_weights(f, f->path);
    if (gguf_open_tokenizer(g, &f->tokenizer, &own))
        add(f, &f->problems, "%s", own.message);
    else
        describe_tokenizer(f, "the tokenizer");
    if (gguf_open_template(g, &f->chat, &own))
        add(f, &f->problems, "%s", own.message);
    else if (!f->chat)
        add(f, &f->missing, "chat template");
    f->has_generation = !gguf_generation_config(g, &f->config, &f->generation, &own);
    if (!f->has_generation)
        add(f, &f->problems, "%s", own.message);
    gguf_close(g);
    return QUERN_OK;
}

enum quern_status inspect_collect(const char *path, struct inspect_facts *f,
                                  struct quern_error *err) {
    *f = (struct inspect_facts){.path = path};
    arena_init(&f->arena, 0);
    if (os_is_dir(path))
        return collect_dir(f, err);
    if (!os_file_exists(path))
        return error_set(err, QUERN_ERR_IO, "%s: no such file or directory", path);
    if (gguf_is_file(path))
        return collect_gguf(f, err);
    if (str_ends_with(str_from(path), STR_LIT(".safetensors"))) {
        collect_weights(f, path);
        return QUERN_OK;
    }
    enum quern_status status = hf_config_load_path(path, &f->config, err);
    if (!status) {
        f->has_config = true;
        derive(f);
    }
    return status;
}

void inspect_release(struct inspect_facts *f) {
    checkpoint_close(f->weights);
    tokenizer_close(f->tokenizer);
    chat_template_close(f->chat);
    arena_release(&f->arena);
}

double inspect_kv_bytes(const struct inspect_facts *f, enum kv_type type) {
    size_t bytes = 0;
    (void)kv_cache_bytes(&f->config, type, KV_BLOCK_TOKENS, &bytes, NULL); /* 0: no such memory */
    return (double)bytes / KV_BLOCK_TOKENS;
}
