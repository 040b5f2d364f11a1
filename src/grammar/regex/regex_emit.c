#include "grammar/regex/regex_emit.h"

#include <stdlib.h>

#include "grammar/regex/regex_syntax.h"

struct emitter {
    struct grammar_builder *builder;
    expr_id *done; /* by node id; GRAMMAR_NONE: not yet */
};

static expr_id emit(struct emitter *e, const struct rx_node *x);

static expr_id emit_set(struct emitter *e, const struct rx_node *x) {
    struct char_range *ranges = malloc(x->n * sizeof *ranges);
    if (!ranges) {
        grammar_builder_fail(e->builder, QUERN_ERR_NOMEM, "out of memory");
        return GRAMMAR_NONE;
    }
    for (size_t i = 0; i < x->n; i++)
        ranges[i] = (struct char_range){(uint32_t)x->ranges[i].lo, (uint32_t)x->ranges[i].hi};
    expr_id id = expr_chars(e->builder, ranges, x->n, false);
    free(ranges);
    return id;
}

static expr_id emit_children(struct emitter *e, const struct rx_node *x) {
    struct grammar_builder *b = e->builder;
    expr_id *ids = malloc(x->n * sizeof *ids);
    if (!ids) {
        grammar_builder_fail(b, QUERN_ERR_NOMEM, "out of memory");
        return GRAMMAR_NONE;
    }
    for (size_t i = 0; i < x->n; i++)
        ids[i] = emit(e, x->children[i]);
    expr_id id = x->kind == RX_CONCAT ? expr_concat_n(b, ids, x->n)
                 : x->kind == RX_ALT  ? expr_or_n(b, ids, x->n)
                                      : expr_and_n(b, ids, x->n);
    free(ids);
    return id;
}

static expr_id emit_new(struct emitter *e, const struct rx_node *x) {
    struct grammar_builder *b = e->builder;
    switch (x->kind) {
    case RX_NEVER:
        return expr_nothing(b);
    case RX_EMPTY:
        return expr_empty(b);
    case RX_SET:
        return emit_set(e, x);
    case RX_CONCAT:
    case RX_ALT:
    case RX_AND:
        return emit_children(e, x);
    case RX_NOT:
        return expr_and(b, expr_not(b, emit(e, x->children[0])), expr_chars_any(b));
    case RX_REPEAT:
        return expr_repeat(b, emit(e, x->children[0]), x->min,
                           x->max == RX_UNBOUNDED ? GRAMMAR_INF : x->max);
    default:
        grammar_builder_fail(b, QUERN_ERR_ARG, "regex: an assertion was left unresolved");
        return GRAMMAR_NONE;
    }
}

/* The depth is bounded by RX_DEPTH_MAX. */
static expr_id emit(struct emitter *e, const struct rx_node *x) {
    if (grammar_builder_failed(e->builder))
        return GRAMMAR_NONE;
    if (e->done[x->id] == GRAMMAR_NONE)
        e->done[x->id] = emit_new(e, x);
    return e->done[x->id];
}

expr_id rx_emit(struct grammar_builder *b, const struct rx_pool *p, const struct rx_node *node) {
    struct emitter e = {.builder = b, .done = malloc(p->n_nodes * sizeof *e.done)};
    if (!e.done) {
        grammar_builder_fail(b, QUERN_ERR_NOMEM, "out of memory");
        return GRAMMAR_NONE;
    }
    for (uint32_t i = 0; i < p->n_nodes; i++)
        e.done[i] = GRAMMAR_NONE;
    expr_id id = emit(&e, node);
    free(e.done);
    return id;
}

enum quern_status expr_regex(struct grammar_builder *b, struct str pattern, unsigned flags,
                             expr_id *out, struct quern_error *err) {
    struct quern_error local = {0};
    struct rx_pool pool;
    const struct rx_node *node = NULL;
    enum quern_status status = rx_pool_init(&pool, 0, &local);
    if (!status)
        status = regex_compile(&pool, pattern, flags, &node, &local);
    if (status) {
        if (err)
            *err = local;
        else
            grammar_builder_fail(b, status, "%s", local.message);
        rx_pool_release(&pool);
        return status;
    }
    expr_id id = rx_emit(b, &pool, node);
    rx_pool_release(&pool);
    status = grammar_builder_status(b, err);
    if (!status)
        *out = id;
    return status;
}
