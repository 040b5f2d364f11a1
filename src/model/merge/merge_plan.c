#include "model/merge/merge_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usual[] = "model.", suffix[] = ".weight",
                  embedding[] = "model.embed_tokens.weight", head[] = "lm_head.weight";

struct planner {
    struct merge_plan *plan;
    const struct hf_config *config;
    const struct checkpoint *checkpoint;
    const struct merge_options *options;
    size_t modules_used[MERGE_ADAPTERS_MAX], saved_used[MERGE_ADAPTERS_MAX];
    struct quern_error *err;
};

/* ---- what adapters have for a tensor ------------------------------------------------------- */

/* Adapters of a model without its head lack "model.". */
static bool same_name(const char *mine, const char *tensor) {
    const size_t n = sizeof usual - 1;
    return strcmp(mine, tensor) == 0 ||
           (strncmp(tensor, usual, n) == 0 && strcmp(mine, tensor + n) == 0);
}

static const struct tensor *find_saved(const struct peft_adapter *a, const char *tensor) {
    for (size_t i = 0; i < peft_adapter_saved_count(a); i++)
        if (same_name(peft_saved_name(peft_adapter_saved_at(a, i)), tensor))
            return peft_adapter_saved_at(a, i);
    return NULL;
}

static const struct peft_module *find_module(const struct peft_adapter *a, const char *tensor) {
    char name[TENSOR_LAYOUT_NAME_MAX];
    const size_t len = strlen(tensor), tail = sizeof suffix - 1;
    if (len <= tail || strcmp(tensor + len - tail, suffix) != 0)
        return NULL;
    snprintf(name, sizeof name, "%.*s", (int)(len - tail), tensor);
    const struct peft_module *m = peft_adapter_find(a, name);
    if (!m && strncmp(name, usual, sizeof usual - 1) == 0)
        m = peft_adapter_find(a, name + sizeof usual - 1);
    return m;
}

static bool anybody_has(const struct merge_options *o, const char *tensor) {
    for (size_t i = 0; i < o->n_adapters; i++)
        if (find_saved(o->adapters[i].files, tensor) || find_module(o->adapters[i].files, tensor))
            return true;
    return false;
}

static enum quern_status take_saved(struct planner *p, struct merge_entry *e, size_t adapter,
                                    const struct tensor *t) {
    bool same = t->rank == e->spec.rank;
    for (int i = 0; same && i < t->rank; i++)
        same = t->shape[i] == e->spec.shape[i];
    if (!same)
        return error_set(p->err, QUERN_ERR_FORMAT,
                         "the adapter's \"%s\" has another shape than the model's", t->name);
    for (size_t i = 0; i < adapter; i++)
        if (e->modules[i])
            return error_set(p->err, QUERN_ERR_UNSUPPORTED,
                             "one adapter replaces \"%s\" and another changes it", e->spec.name);
    e->plain = t;
    e->changes = true;
    p->saved_used[adapter]++;
    p->plan->facts.n_replaced++;
    return QUERN_OK;
}

static enum quern_status take_module(struct planner *p, struct merge_entry *e, size_t adapter,
                                     const struct peft_module *m) {
    if (m->out != e->spec.shape[0] || m->in != e->spec.shape[1])
        return error_set(p->err, QUERN_ERR_FORMAT,
                         "the adapter's %s is for a matrix [%zu, %zu], the model's is [%zu, %zu]: "
                         "it was made for another model",
                         m->name, m->out, m->in, e->spec.shape[0], e->spec.shape[1]);
    p->plan->facts.n_changed += !e->changes;
    e->modules[adapter] = m;
    e->changes = true;
    p->modules_used[adapter]++;
    return QUERN_OK;
}

static enum quern_status take_changes(struct planner *p, struct merge_entry *e) {
    const bool linear = e->spec.role == TENSOR_MATRIX || e->spec.role == TENSOR_HEAD;
    enum quern_status st = QUERN_OK;
    for (size_t i = 0; i < p->options->n_adapters && st == QUERN_OK; i++) {
        const struct peft_adapter *a = p->options->adapters[i].files;
        const struct tensor *saved = find_saved(a, e->spec.name);
        const struct peft_module *m = linear ? find_module(a, e->spec.name) : NULL;
        if (saved)
            st = take_saved(p, e, i, saved);
        if (m && st == QUERN_OK)
            st = take_module(p, e, i, m);
    }
    return st;
}

/* ---- tensors -------------------------------------------------------------------------------- */

/* The base's own tensor, when all its elements are there. */
static const struct tensor *base_tensor(const struct planner *p, const struct tensor_spec *spec) {
    char name[TENSOR_LAYOUT_NAME_MAX];
    source_name(spec->name, p->plan->prefix, name);
    const struct tensor *t = checkpoint_find(p->checkpoint, name);
    if (!t || t->block_type || !dtype_is_weight(t->dtype) || t->rank != spec->rank)
        return NULL;
    for (int i = 0; i < t->rank; i++)
        if (t->shape[i] != spec->shape[i])
            return NULL;
    return t;
}

static enum quern_status find_source(struct planner *p, struct merge_entry *e, enum dtype *dtype) {
    struct matrix_source source;
    if (!e->plain)
        e->plain = base_tensor(p, &e->read_as);
    if (e->plain) {
        *dtype = e->plain->dtype;
        return QUERN_OK;
    }
    if (e->spec.rank != 2)
        return error_set(p->err, QUERN_ERR_FORMAT,
                         "tensor \"%s\" is missing, or has another shape or type than expected",
                         e->spec.name);
    enum quern_status st = matrix_source_open(p->checkpoint, p->config, p->plan->prefix,
                                              &e->read_as, &p->plan->arena, &source, p->err);
    *dtype = source.coded ? DTYPE_BF16 : source.dtype;
    p->plan->facts.n_decoded += st == QUERN_OK && source.coded;
    return st;
}

static enum quern_status add(struct planner *p, const struct tensor_spec *spec,
                             const struct tensor_spec *read_as) {
    struct merge_plan *plan = p->plan;
    struct merge_entry *e = &plan->entries[plan->n];
    struct tensor_decl *d = &plan->decls[plan->n];
    char name[TENSOR_LAYOUT_NAME_MAX];
    *e = (struct merge_entry){.spec = *spec, .read_as = *read_as};
    *d = (struct tensor_decl){.rank = spec->rank, .shape = {spec->shape[0], spec->shape[1]}};
    source_name(spec->name, plan->prefix, name);
    d->name = arena_strdup(&plan->arena, name);
    enum quern_status st = d->name ? take_changes(p, e) : error_nomem(p->err);
    if (st == QUERN_OK)
        st = find_source(p, e, &d->dtype);
    if (p->options->has_dtype)
        d->dtype = p->options->dtype;
    plan->n += st == QUERN_OK;
    return st;
}

/* A tied model whose head or embedding is changed alone gets a head of its own: tied again, the one
 * would be lost in the other. peft's ensure_weight_tying says that a changed embedding is meant for
 * both. */
static bool must_untie(const struct planner *p) {
    const bool changes_head = anybody_has(p->options, head);
    bool changes_embedding = anybody_has(p->options, embedding);
    for (size_t i = 0; i < p->options->n_adapters; i++)
        if (peft_adapter_config(p->options->adapters[i].files)->ensure_weight_tying &&
            find_saved(p->options->adapters[i].files, embedding))
            changes_embedding = false;
    return p->config->tie_word_embeddings && (changes_head || changes_embedding);
}

static enum quern_status add_all(struct planner *p) {
    struct tensor_layout walk;
    struct tensor_spec spec, first = {.rank = 0};
    enum quern_status st = QUERN_OK;
    for (tensor_layout_begin(&walk, p->config);
         st == QUERN_OK && tensor_layout_next(&walk, &spec);) {
        /* Embedding checkpoints have no head. */
        if (spec.role == TENSOR_HEAD && !*p->plan->prefix &&
            !checkpoint_find(p->checkpoint, spec.name))
            continue;
        if (spec.role == TENSOR_EMBEDDING)
            first = spec;
        st = add(p, &spec, &spec);
    }
    if (st != QUERN_OK || !must_untie(p))
        return st;
    spec = first;
    spec.role = TENSOR_HEAD;
    snprintf(spec.name, sizeof spec.name, "%s", head);
    p->plan->facts.untied = true;
    return add(p, &spec, &first);
}

static bool is_used(const struct merge_plan *plan, size_t adapter, const struct peft_module *m) {
    for (size_t i = 0; i < plan->n; i++)
        if (plan->entries[i].modules[adapter] == m)
            return true;
    return false;
}

/* What has no place would be lost without a word. */
static enum quern_status check_all_used(const struct planner *p) {
    for (size_t i = 0; i < p->options->n_adapters; i++) {
        const struct peft_adapter *a = p->options->adapters[i].files;
        if (p->saved_used[i] < peft_adapter_saved_count(a))
            return error_set(p->err, QUERN_ERR_FORMAT,
                             "the adapter saves a module whole that the model does not have "
                             "(\"%s\" is among %zu)",
                             peft_saved_name(peft_adapter_saved_at(a, 0)),
                             peft_adapter_saved_count(a));
        for (size_t k = 0; p->modules_used[i] < peft_adapter_count(a) && k < peft_adapter_count(a);
             k++)
            if (!is_used(p->plan, i, peft_adapter_at(a, k)))
                return error_set(p->err, QUERN_ERR_FORMAT,
                                 "the adapter has weights for %s, which is no linear layer of the "
                                 "model",
                                 peft_adapter_at(a, k)->name);
    }
    return QUERN_OK;
}

enum quern_status merge_plan_init(struct merge_plan *out, const struct hf_config *config,
                                  const struct checkpoint *checkpoint,
                                  const struct merge_options *options, struct quern_error *err) {
    struct planner p = {
        .plan = out, .config = config, .checkpoint = checkpoint, .options = options, .err = err};
    const size_t n = tensor_layout_count(config) + 1;
    *out = (struct merge_plan){.prefix = usual};
    arena_init(&out->arena, 0);
    if (!checkpoint_find(checkpoint, embedding) &&
        checkpoint_find(checkpoint, embedding + sizeof usual - 1))
        out->prefix = "";
    out->entries = calloc(n, sizeof *out->entries);
    out->decls = calloc(n, sizeof *out->decls);
    enum quern_status st = out->entries && out->decls ? add_all(&p) : error_nomem(err);
    if (st == QUERN_OK)
        st = check_all_used(&p);
    if (st != QUERN_OK)
        merge_plan_release(out);
    return st;
}

void merge_plan_release(struct merge_plan *p) {
    free(p->entries);
    free(p->decls);
    arena_release(&p->arena);
    *p = (struct merge_plan){0};
}
