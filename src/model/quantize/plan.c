#include "model/quantize/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INT8_GROUP = 128, INT4_GROUP = 64, SIDE_MULTIPLE = 16 };

static bool ends_with(const char *name, const char *suffix) {
    return str_ends_with(str_from(name), str_from(suffix));
}

static enum calibration_site site_of(const char *name) {
    if (ends_with(name, ".o_proj.weight"))
        return SITE_ATTENTION_OUT;
    if (ends_with(name, ".down_proj.weight"))
        return SITE_MLP_OUT;
    return strstr(name, ".self_attn.") ? SITE_ATTENTION_IN : SITE_MLP_IN;
}

/* "model.layers.7.mlp.experts.3.up_proj.weight" */
static void place(struct plan_entry *e) {
    unsigned layer = 0, expert = 0;
    const char *experts = strstr(e->spec.name, ".experts.");
    (void)sscanf(e->spec.name, "model.layers.%u.", &layer);
    if (experts)
        (void)sscanf(experts, ".experts.%u.", &expert);
    e->layer = layer;
    e->expert = expert;
    e->site = site_of(e->spec.name);
}

static enum quern_status add_copied(struct plan *p, struct plan_entry *e,
                                    const struct hf_config *config,
                                    const struct checkpoint *checkpoint, struct quern_error *err) {
    char name[TENSOR_LAYOUT_NAME_MAX];
    source_name(e->spec.name, p->prefix, name);
    e->copied = checkpoint_find(checkpoint, name);
    struct tensor_decl *d = &p->decls[p->n_decls];
    *d = (struct tensor_decl){.rank = e->spec.rank, .shape = {e->spec.shape[0], e->spec.shape[1]}};
    d->name = arena_strdup(&p->arena, name);
    if (!d->name)
        return error_nomem(err);
    if (e->copied && !e->copied->block_type && dtype_is_weight(e->copied->dtype)) {
        d->dtype = e->copied->dtype;
        bool same = e->copied->rank == e->spec.rank;
        for (int i = 0; same && i < e->spec.rank; i++)
            same = e->copied->shape[i] == e->spec.shape[i];
        if (!same)
            return error_set(err, QUERN_ERR_FORMAT,
                             "tensor \"%s\" has another shape than config.json says", name);
    } else if (e->spec.rank == 2) {
        struct matrix_source source;
        e->copied = NULL;
        d->dtype = DTYPE_BF16;
        enum quern_status st = matrix_source_open(checkpoint, config, p->prefix, &e->spec, &p->arena,
                                                  &source, err);
        if (st != QUERN_OK)
            return st;
    } else {
        return error_set(err, QUERN_ERR_FORMAT, "tensor \"%s\" is missing, or is not in F32, F16 or BF16", name);
    }
    p->n_decls++;
    return QUERN_OK;
}

static enum quern_status add_coded(struct plan *p, struct plan_entry *e, struct quern_error *err) {
    const size_t rows = e->spec.shape[0], cols = e->spec.shape[1];
    e->is_coded = true;
    e->layout = e->is_head ? p->head.layout : p->layout;
    e->group = e->is_head ? p->head_group : p->group;
    place(e);
    if (rows % SIDE_MULTIPLE || cols % SIDE_MULTIPLE)
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "matrix \"%s\" is [%zu, %zu]; sides are expected to be multiples of %d",
                         e->spec.name, rows, cols, SIDE_MULTIPLE);
    const size_t n = quantized_layout_declare(e->layout, e->base, rows, cols, e->group, &p->arena,
                                              p->decls + p->n_decls);
    if (!n)
        return error_nomem(err);
    p->n_decls += n;
    p->coded_elements += rows * cols;
    return QUERN_OK;
}

/* The largest group that divides all rows of the matrices in layers, or of the head. */
static size_t choose_group(const struct hf_config *config, enum quantized_layout layout, bool of_head) {
    struct tensor_layout walk;
    struct tensor_spec spec;
    size_t most = layout == LAYOUT_INT8 ? INT8_GROUP : INT4_GROUP;
    for (tensor_layout_begin(&walk, config); tensor_layout_next(&walk, &spec);)
        while (spec.role == (of_head ? TENSOR_EMBEDDING : TENSOR_MATRIX) && spec.shape[1] % most &&
               most > SIDE_MULTIPLE)
            most /= 2;
    return most;
}

static enum quern_status add_all(struct plan *p, bool coded, const struct hf_config *config,
                                 const struct checkpoint *checkpoint, struct quern_error *err) {
    struct tensor_layout walk;
    struct tensor_spec spec;
    enum quern_status st = QUERN_OK;
    for (tensor_layout_begin(&walk, config); st == QUERN_OK && tensor_layout_next(&walk, &spec);) {
        char name[TENSOR_LAYOUT_NAME_MAX];
        const bool is_head = spec.role == TENSOR_HEAD && p->head.is_coded;
        if ((spec.role == TENSOR_MATRIX || is_head) != coded)
            continue;
        /* Embedding checkpoints have no head. */
        if (spec.role == TENSOR_HEAD && !*p->prefix && !checkpoint_find(checkpoint, spec.name))
            continue;
        struct plan_entry *e = &p->entries[p->n++];
        e->spec = spec;
        e->is_head = is_head;
        source_name(spec.name, p->prefix, name);
        const size_t len = strlen(name), suffix = ends_with(name, ".weight") ? 7 : 0;
        snprintf(e->base, sizeof e->base, "%.*s", (int)(len - suffix), name);
        st = coded ? add_coded(p, e, err) : add_copied(p, e, config, checkpoint, err);
    }
    return st;
}

/* A head that is the embedding becomes a matrix of its own: others cannot look rows up in codes. */
static enum quern_status add_tied_head(struct plan *p, const struct hf_config *config,
                                       struct quern_error *err) {
    struct tensor_layout walk;
    struct tensor_spec spec;
    if (!p->head.is_coded || !config->tie_word_embeddings)
        return QUERN_OK;
    for (tensor_layout_begin(&walk, config); tensor_layout_next(&walk, &spec);) {
        if (spec.role != TENSOR_EMBEDDING)
            continue;
        struct plan_entry *e = &p->entries[p->n++];
        *e = (struct plan_entry){.spec = spec, .is_head = true};
        snprintf(e->base, sizeof e->base, "lm_head");
        return add_coded(p, e, err);
    }
    return QUERN_OK;
}

enum quern_status plan_init(struct plan *out, enum quantized_layout layout,
                            const struct quantized_head *head, const struct hf_config *config,
                            const struct checkpoint *checkpoint,
                            struct quern_error *err) {
    const size_t n = tensor_layout_count(config) + 1;
    *out = (struct plan){.prefix = "model.", .layout = layout, .head = *head};
    arena_init(&out->arena, 0);
    if (!checkpoint_find(checkpoint, "model.embed_tokens.weight") &&
        checkpoint_find(checkpoint, "embed_tokens.weight"))
        out->prefix = "";
    out->group = choose_group(config, layout, false);
    out->head_group = choose_group(config, head->layout, true);
    out->entries = calloc(n, sizeof *out->entries);
    out->decls = calloc(n, sizeof *out->decls * QUANTIZED_LAYOUT_PARTS_MAX);
    enum quern_status st = out->entries && out->decls ? QUERN_OK : error_nomem(err);
    if (st == QUERN_OK)
        st = add_all(out, false, config, checkpoint, err);
    if (st == QUERN_OK)
        st = add_all(out, true, config, checkpoint, err);
    if (st == QUERN_OK)
        st = add_tied_head(out, config, err);
    if (st != QUERN_OK)
        plan_release(out);
    return st;
}

void plan_release(struct plan *p) {
    free(p->entries);
    free(p->decls);
    arena_release(&p->arena);
    *p = (struct plan){0};
}
