/* formula.c - interned conditions on a value. */
#include <stdlib.h>

#include "grammar/intern.h"
#include "grammar/schema/schema.h"

enum { FORMULAS_MAX = 200000, EXPAND_DEPTH_MAX = 200 };

static uint32_t hash_formula(const struct formula *f) {
    uint32_t head[2] = {(uint32_t)f->kind, f->node ? f->node->id : UINT32_MAX};
    uint32_t h = intern_hash(head, sizeof head, 7);
    return f->n_args ? intern_hash(f->args, f->n_args * sizeof *f->args, h) : h;
}

static bool same_formula(const struct formula *a, const struct formula *b) {
    return a->kind == b->kind && a->node == b->node && a->n_args == b->n_args &&
           (a->n_args == 0 || memcmp(a->args, b->args, a->n_args * sizeof *a->args) == 0);
}

static bool grow_table(struct schema *s) {
    size_t slots = s->formula_slots ? 2 * s->formula_slots : 256;
    uint32_t *table = calloc(slots, sizeof *table);
    if (!table)
        return false;
    for (size_t i = 0; i < s->n_formulas; i++) {
        size_t at = hash_formula(&s->formulas[i]) & (slots - 1);
        while (table[at])
            at = (at + 1) & (slots - 1);
        table[at] = (uint32_t)i + 1;
    }
    free(s->formula_table);
    s->formula_table = table;
    s->formula_slots = slots;
    return true;
}

static bool grow_formulas(struct schema *s) {
    if (s->n_formulas == s->formulas_capacity) {
        size_t capacity = s->formulas_capacity ? 2 * s->formulas_capacity : 128;
        struct formula *grown = realloc(s->formulas, capacity * sizeof *grown);
        if (!grown)
            return false;
        s->formulas = grown;
        s->formulas_capacity = capacity;
    }
    return 2 * (s->n_formulas + 1) <= s->formula_slots || grow_table(s);
}

static formula_id intern(struct schema *s, struct formula f) {
    if (schema_failed(s))
        return FORMULA_FALSE;
    if (!grow_formulas(s)) {
        schema_fail(s, QUERN_ERR_NOMEM, "out of memory");
        return FORMULA_FALSE;
    }
    size_t at = hash_formula(&f) & (s->formula_slots - 1);
    for (; s->formula_table[at]; at = (at + 1) & (s->formula_slots - 1))
        if (same_formula(&s->formulas[s->formula_table[at] - 1], &f))
            return s->formula_table[at] - 1;
    if (s->n_formulas == FORMULAS_MAX) {
        schema_fail(s, QUERN_ERR_LIMIT, "the schema needs more than %d combinations of its parts",
                    FORMULAS_MAX);
        return FORMULA_FALSE;
    }
    if (f.n_args) {
        formula_id *args = schema_alloc(s, f.n_args, sizeof *args);
        if (!args)
            return FORMULA_FALSE;
        memcpy(args, f.args, f.n_args * sizeof *args);
        f.args = args;
    }
    f.symbol = GRAMMAR_NONE;
    s->formulas[s->n_formulas] = f;
    s->formula_table[at] = (uint32_t)s->n_formulas + 1;
    return (formula_id)s->n_formulas++;
}

formula_id formula_schema(struct schema *s, const struct sj_node *node) {
    if (!node || node->kind == SJ_TRUE || (node->kind == SJ_OBJECT && node->n == 0))
        return FORMULA_TRUE;
    if (node->kind == SJ_FALSE)
        return FORMULA_FALSE;
    return intern(s, (struct formula){.kind = FORMULA_SCHEMA, .node = node});
}

formula_id formula_value(struct schema *s, const struct sj_node *node) {
    return intern(s, (struct formula){.kind = FORMULA_VALUE, .node = node});
}

formula_id formula_not(struct schema *s, formula_id x) {
    if (x <= FORMULA_FALSE)
        return x == FORMULA_TRUE ? FORMULA_FALSE : FORMULA_TRUE;
    if (s->formulas[x].kind == FORMULA_NOT)
        return s->formulas[x].args[0];
    return intern(s, (struct formula){.kind = FORMULA_NOT, .args = &x, .n_args = 1});
}

/* The sorted union of two operand lists; *opposite when one holds what the other denies. */
static size_t merge(const formula_id *a, size_t n, const formula_id *b, size_t m, formula_id *out) {
    size_t i = 0, j = 0, k = 0;
    while (i < n || j < m) {
        if (j == m || (i < n && a[i] < b[j]))
            out[k++] = a[i++];
        else if (i == n || b[j] < a[i])
            out[k++] = b[j++];
        else {
            out[k++] = a[i++];
            j++;
        }
    }
    return k;
}

static bool has_opposites(const struct schema *s, const formula_id *args, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct formula *f = &s->formulas[args[i]];
        if (f->kind != FORMULA_NOT)
            continue;
        for (size_t j = 0; j < n; j++)
            if (args[j] == f->args[0])
                return true;
    }
    return false;
}

static formula_id combine(struct schema *s, enum formula_kind kind, formula_id x, formula_id y) {
    const formula_id neutral = kind == FORMULA_AND ? FORMULA_TRUE : FORMULA_FALSE;
    const formula_id absorbing = kind == FORMULA_AND ? FORMULA_FALSE : FORMULA_TRUE;
    if (schema_failed(s) || x == absorbing || y == absorbing)
        return absorbing;
    if (x == neutral || x == y)
        return y;
    if (y == neutral)
        return x;
    const struct formula *f = &s->formulas[x], *g = &s->formulas[y];
    const formula_id *a = f->kind == kind ? f->args : &x, *b = g->kind == kind ? g->args : &y;
    size_t n = f->kind == kind ? f->n_args : 1, m = g->kind == kind ? g->n_args : 1;
    formula_id *args = schema_alloc(s, n + m, sizeof *args);
    if (!args)
        return FORMULA_FALSE;
    size_t k = merge(a, n, b, m, args);
    if (has_opposites(s, args, k))
        return absorbing;
    return intern(s, (struct formula){.kind = kind, .args = args, .n_args = k});
}

formula_id formula_and(struct schema *s, formula_id x, formula_id y) {
    return combine(s, FORMULA_AND, x, y);
}

formula_id formula_or(struct schema *s, formula_id x, formula_id y) {
    return combine(s, FORMULA_OR, x, y);
}

static const struct value_set *expand_args(struct schema *s, struct formula f) {
    const struct value_set *set = formula_expand(s, f.args[0]);
    for (size_t i = 1; i < f.n_args && set; i++) {
        const struct value_set *next = formula_expand(s, f.args[i]);
        set = next ? (f.kind == FORMULA_AND ? set_and : set_or)(s, set, next) : NULL;
    }
    return set;
}

const struct value_set *formula_expand(struct schema *s, formula_id id) {
    if (schema_failed(s))
        return NULL;
    struct formula f = s->formulas[id];
    if (f.set)
        return f.set;
    if (f.expanding)
        return schema_fail(s, QUERN_ERR_FORMAT,
                           "a schema refers to itself without a step into an "
                           "array or object");
    if (++s->depth > EXPAND_DEPTH_MAX)
        return schema_fail(s, QUERN_ERR_LIMIT, "schemas refer to each other more than %d deep",
                           EXPAND_DEPTH_MAX);
    s->formulas[id].expanding = true;
    switch (f.kind) {
    case FORMULA_TRUTH:
        f.set = id == FORMULA_TRUE ? s->everything : s->nothing;
        break;
    case FORMULA_SCHEMA:
        f.set = expand_schema(s, f.node);
        break;
    case FORMULA_VALUE:
        f.set = expand_value(s, f.node);
        break;
    case FORMULA_AND:
    case FORMULA_OR:
        f.set = expand_args(s, f);
        break;
    case FORMULA_NOT: {
        const struct value_set *x = formula_expand(s, f.args[0]);
        f.set = x ? set_not(s, x) : NULL;
    }
    }
    s->depth--;
    s->formulas[id].expanding = false;
    s->formulas[id].set = f.set;
    return f.set;
}
