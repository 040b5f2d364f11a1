/* peft_write.c - writing an adapter's directory (peft_adapter.h). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/os.h"
#include "formats/peft_patterns.h"
#include "formats/safetensors_writer.h"
#include "text/json.h"

enum { CONFIG_BYTES_MAX = 16 << 20, PATH_BYTES = 4096 };

/* ---- checks ------------------------------------------------------------------------- */

static enum quern_status check_config(const struct peft_config *c, struct quern_error *err) {
    if (c->rank < 1 || c->rank > PEFT_RANK_MAX)
        return error_set(err, QUERN_ERR_ARG, "an adapter of rank %zu; expected 1 to %d", c->rank,
                         PEFT_RANK_MAX);
    if (!isfinite(c->alpha) || !isfinite(c->dropout) || c->dropout < 0 || c->dropout >= 1)
        return error_set(err, QUERN_ERR_ARG, "an adapter with alpha %g and dropout %g", c->alpha,
                         c->dropout);
    if (c->n_targets == 0 && !c->target_pattern && c->n_saved == 0)
        return error_set(err, QUERN_ERR_ARG, "an adapter without target modules");
    return QUERN_OK;
}

static enum quern_status check_module(struct peft_patterns *p, const struct peft_config *c,
                                      const struct peft_matrices *m, struct quern_error *err) {
    bool is_target = false;
    size_t rank = 0;
    enum quern_status status = peft_patterns_is_target(p, m->module, &is_target, err);
    if (!status)
        status = peft_patterns_rank(p, m->module, &rank, err);
    if (status)
        return status;
    if (!is_target)
        return error_set(err, QUERN_ERR_ARG, "adapter: %s is not one of its target modules",
                         m->module);
    if (m->rank != rank)
        return error_set(err, QUERN_ERR_ARG, "adapter: %s has rank %zu, its configuration says %zu",
                         m->module, m->rank, rank);
    if (!m->a || !m->b || !dtype_is_weight(m->dtype) || (m->magnitude != NULL) != c->use_dora)
        return error_set(err, QUERN_ERR_ARG, "adapter: %s lacks a matrix or has one too many",
                         m->module);
    return QUERN_OK;
}

static enum quern_status check_modules(const struct peft_config *c, const struct peft_matrices *m,
                                       size_t n, size_t n_saved, struct quern_error *err) {
    struct peft_patterns *patterns = NULL;
    enum quern_status status = check_config(c, err);
    if (!status && n + n_saved == 0)
        status = error_set(err, QUERN_ERR_ARG, "an adapter without a module");
    if (!status)
        status = peft_patterns_create(c, &patterns, err);
    for (size_t i = 0; i < n && !status; i++)
        status = check_module(patterns, c, &m[i], err);
    peft_patterns_destroy(patterns);
    return status;
}

/* ---- adapter_config.json -------------------------------------------------------------- */

static void put_string(struct buffer *b, const char *s) {
    if (s)
        json_write_string(str_from(s), b);
    else
        buffer_puts(b, "null");
}

static void put_strings(struct buffer *b, const char *const *s, size_t n) {
    buffer_puts(b, "[");
    for (size_t i = 0; i < n; i++) {
        buffer_puts(b, i ? ",\n    " : "\n    ");
        put_string(b, s[i]);
    }
    buffer_puts(b, n ? "\n  ]" : "]");
}

/* Whole numbers as such: r and most alphas. */
static void put_number(struct buffer *b, double x) {
    char text[40];
    if (x == floor(x) && fabs(x) < 1e15) {
        buffer_printf(b, "%.0f", x);
        return;
    }
    json_format_float(x, text);
    buffer_puts(b, text);
}

static void put_patterns(struct buffer *b, const struct peft_pattern *p, size_t n) {
    buffer_puts(b, "{");
    for (size_t i = 0; i < n; i++) {
        buffer_puts(b, i ? ",\n    " : "\n    ");
        put_string(b, p[i].key);
        buffer_puts(b, ": ");
        put_number(b, p[i].value);
    }
    buffer_puts(b, n ? "\n  }" : "}");
}

static void put_layers(struct buffer *b, const struct peft_config *c) {
    if (!c->layers) {
        buffer_puts(b, "null");
        return;
    }
    buffer_puts(b, "[");
    for (size_t i = 0; i < c->n_layers; i++)
        buffer_printf(b, "%s%zu", i ? ", " : "", c->layers[i]);
    buffer_puts(b, "]");
}

/* Keys that older versions of peft do not know: only where they say something. */
static void put_uncommon(struct buffer *b, const struct peft_config *c) {
    if (c->ensure_weight_tying)
        buffer_puts(b, "\n  \"ensure_weight_tying\": true,");
    if (!c->exclude_pattern && !c->n_excluded)
        return;
    buffer_puts(b, "\n  \"exclude_modules\": ");
    if (c->exclude_pattern)
        put_string(b, c->exclude_pattern);
    else
        put_strings(b, c->excluded, c->n_excluded);
    buffer_puts(b, ",");
}

/* The keys every version of peft knows, in the order in which it writes them. */
static void put_config(struct buffer *b, const struct peft_config *c) {
    char dropout[40];
    json_format_float(c->dropout, dropout);
    buffer_puts(b, "{\n  \"alpha_pattern\": ");
    put_patterns(b, c->alphas, c->n_alphas);
    buffer_puts(b, ",\n  \"auto_mapping\": null,\n  \"base_model_name_or_path\": ");
    put_string(b, c->base_model);
    buffer_puts(b, ",\n  \"bias\": \"none\",");
    put_uncommon(b, c);
    buffer_puts(
        b, "\n  \"fan_in_fan_out\": false,\n  \"inference_mode\": true,"
           "\n  \"init_lora_weights\": true,\n  \"layers_pattern\": null,"
           "\n  \"layers_to_transform\": ");
    put_layers(b, c);
    buffer_puts(b, ",\n  \"lora_alpha\": ");
    put_number(b, c->alpha);
    buffer_printf(b, ",\n  \"lora_dropout\": %s,\n  \"modules_to_save\": ", dropout);
    if (c->n_saved)
        put_strings(b, c->saved, c->n_saved);
    else
        buffer_puts(b, "null");
    buffer_printf(b, ",\n  \"peft_type\": \"LORA\",\n  \"r\": %zu,\n  \"rank_pattern\": ", c->rank);
    put_patterns(b, c->ranks, c->n_ranks);
    buffer_puts(b, ",\n  \"revision\": ");
    put_string(b, c->revision);
    buffer_puts(b, ",\n  \"target_modules\": ");
    if (c->target_pattern)
        put_string(b, c->target_pattern);
    else
        put_strings(b, c->targets, c->n_targets);
    buffer_printf(
        b, ",\n  \"task_type\": \"CAUSAL_LM\",\n  \"use_dora\": %s,\n  \"use_rslora\": %s\n}\n",
        c->use_dora ? "true" : "false", c->use_rslora ? "true" : "false");
}

static enum quern_status write_config(const char *dir, const struct peft_config *c,
                                      struct quern_error *err) {
    char path[PATH_BYTES];
    struct buffer b;
    buffer_init(&b, CONFIG_BYTES_MAX);
    put_config(&b, c);
    enum quern_status status = buffer_status(&b, "adapter_config.json", err);
    if (!status)
        status = os_path_join(path, sizeof path, dir, "adapter_config.json", err);
    if (!status)
        status = os_write_file(path, b.data, b.len, err);
    buffer_release(&b);
    return status;
}

/* ---- adapter_model.safetensors ---------------------------------------------------------- */

struct piece {
    const void *data;
    size_t size_bytes;
};

/* All tensors, in the order in which they are written. */
struct plan {
    struct arena arena;
    struct tensor_decl *decls;
    struct piece *pieces;
    size_t n;
};

static bool add(struct plan *p, const char *module, const char *suffix, enum dtype dtype, int rank,
                const size_t *shape, const void *data) {
    static const char prefix[] = "base_model.model.";
    const size_t size = sizeof prefix + strlen(module) + strlen(suffix);
    char *name = arena_alloc(&p->arena, size);
    struct tensor_decl *d = &p->decls[p->n];
    size_t bytes = dtype_size_bytes(dtype);
    if (!name)
        return false;
    snprintf(name, size, "%s%s%s", prefix, module, suffix);
    *d = (struct tensor_decl){.name = name, .dtype = dtype, .rank = rank};
    for (int i = 0; i < rank; i++) {
        d->shape[i] = shape[i];
        bytes *= shape[i]; /* of an array that exists */
    }
    p->pieces[p->n++] = (struct piece){data, bytes};
    return true;
}

static enum quern_status plan_init(struct plan *p, const struct peft_matrices *m, size_t n,
                                   const struct peft_saved_module *saved, size_t n_saved,
                                   struct quern_error *err) {
    const size_t most = 3 * n + n_saved;
    arena_init(&p->arena, 0);
    p->decls = arena_calloc(&p->arena, most, sizeof *p->decls);
    p->pieces = arena_calloc(&p->arena, most, sizeof *p->pieces);
    bool ok = p->decls && p->pieces;
    for (size_t i = 0; i < n && ok; i++) {
        const size_t a[] = {m[i].rank, m[i].in}, b[] = {m[i].out, m[i].rank};
        ok = add(p, m[i].module, ".lora_A.weight", m[i].dtype, 2, a, m[i].a) &&
             add(p, m[i].module, ".lora_B.weight", m[i].dtype, 2, b, m[i].b);
        if (ok && m[i].magnitude)
            ok = add(p, m[i].module, ".lora_magnitude_vector", m[i].dtype, 1, &m[i].out,
                     m[i].magnitude);
    }
    for (size_t i = 0; i < n_saved && ok; i++)
        ok = add(p, saved[i].module, ".weight", saved[i].dtype, saved[i].rank, saved[i].shape,
                 saved[i].data);
    return ok ? QUERN_OK : error_nomem(err);
}

static enum quern_status write_tensors(const char *dir, const struct plan *p,
                                       struct quern_error *err) {
    struct safetensors_writer *w = NULL;
    enum quern_status status =
        safetensors_writer_create_as(dir, "adapter_model", p->decls, p->n, 0, &w, err);
    for (size_t i = 0; i < p->n && !status; i++)
        status = safetensors_writer_write(w, p->pieces[i].data, p->pieces[i].size_bytes, err);
    if (!status)
        status = safetensors_writer_finish(w, err);
    safetensors_writer_destroy(w);
    return status;
}

enum quern_status peft_adapter_write(const char *dir, const struct peft_config *config,
                                     const struct peft_matrices *matrices, size_t n,
                                     const struct peft_saved_module *saved, size_t n_saved,
                                     struct quern_error *err) {
    struct plan plan = {0};
    enum quern_status status = check_modules(config, matrices, n, n_saved, err);
    if (!status)
        status = plan_init(&plan, matrices, n, saved, n_saved, err);
    if (!status)
        status = os_make_dir(dir, err);
    if (!status)
        status = write_tensors(dir, &plan, err);
    if (!status)
        status = write_config(dir, config, err);
    arena_release(&plan.arena);
    return status;
}
