/* json_schema.c - the entry: read, index, expand, emit. */
#include "grammar/schema/json_schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "grammar/schema/number_expr.h"
#include "grammar/schema/set_parts.h"

enum { SCHEMA_BYTES_MAX = 1 << 20, ARENA_BYTES_MAX = 128 << 20, WAY_MAX = 64 };

void *schema_fail(struct schema *s, enum quern_status code, const char *fmt, ...) {
    char message[400];
    va_list args;
    if (schema_failed(s))
        return NULL;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    grammar_builder_fail(s->b, code, "%s: %s", s->name, message);
    return NULL;
}

void *schema_alloc(struct schema *s, size_t n, size_t size) {
    void *p = arena_calloc(&s->arena, n ? n : 1, size);
    const size_t left = s->arena.max_bytes - s->arena.used_bytes;
    if (!p && n < left / 2 / (size ? size : 1))
        schema_fail(s, QUERN_ERR_NOMEM, "out of memory");
    else if (!p)
        schema_fail(s, QUERN_ERR_LIMIT, "it takes more than %d MB to work out",
                    ARENA_BYTES_MAX >> 20);
    return p;
}

void schema_pointer(const struct sj_node *node, struct buffer *out) {
    const struct sj_node *way[WAY_MAX];
    int n = 0;
    for (; node && node->parent && n < WAY_MAX; node = node->parent)
        way[n++] = node;
    buffer_printf(out, "#");
    while (n-- > 0) {
        const struct sj_node *at = way[n];
        if (at->parent->kind == SJ_OBJECT) {
            buffer_printf(out, "/%.*s", STR_FMT(at->key));
            continue;
        }
        for (size_t i = 0; i < at->parent->n; i++)
            if (at->parent->items[i] == at)
                buffer_printf(out, "/%zu", i);
    }
}

void schema_report(struct schema *s, const struct sj_node *node, const char *keyword,
                   const char *why) {
    struct buffer where;
    buffer_init(&where, 1 << 16);
    if (node)
        schema_pointer(node, &where);
    const char *pointer = where.data ? where.data : "";
    if (s->options->policy == SCHEMA_STRICT)
        schema_fail(s, QUERN_ERR_UNSUPPORTED, "%s%s\"%s\" is not enforced: %s", pointer,
                    node ? ": " : "", keyword, why);
    else if (s->report)
        buffer_printf(s->report, "%s%s%s: %s\n", pointer, node ? "/" : "", keyword, why);
    buffer_release(&where);
}

static bool set_up(struct schema *s) {
    struct value_set *all = schema_alloc(s, 1, sizeof *all),
                     *none = schema_alloc(s, 1, sizeof *none);
    struct array_set *arrays = schema_alloc(s, 1, sizeof *arrays);
    struct object_set *objects = schema_alloc(s, 1, sizeof *objects);
    s->formulas = calloc(16, sizeof *s->formulas);
    if (!all || !none || !arrays || !objects || !s->formulas)
        return schema_fail(s, QUERN_ERR_NOMEM, "out of memory") != NULL;
    s->formulas_capacity = 16;
    s->n_formulas = 2;
    s->any_string = expr_chars_any(s->b);
    *arrays = array_all();
    *objects = object_all(s);
    *all = (struct value_set){.null = true,
                              .truth = {true, true},
                              .number = s->options->all_spellings ? number_domain(s->b)
                                                                  : number_plain(s->b),
                              .string = s->any_string,
                              .arrays = arrays,
                              .n_arrays = 1,
                              .objects = objects,
                              .n_objects = 1};
    none->number = none->string = SET_NO_TEXT;
    s->everything = s->formulas[FORMULA_TRUE].set = all;
    s->nothing = s->formulas[FORMULA_FALSE].set = none;
    s->formulas[FORMULA_TRUE].symbol = s->formulas[FORMULA_FALSE].symbol = GRAMMAR_NONE;
    emit_punctuation(s);
    if (s->options->yaml)
        yaml_set_up(s);
    return !schema_failed(s);
}

static void tear_down(struct schema *s) {
    arena_release(&s->arena);
    pair_map_release(&s->blocks);
    free(s->resources);
    free(s->anchors);
    free(s->formulas);
    free(s->formula_table);
}

static symbol_id build(struct schema *s, struct str text, const char *name, const json_t *parameters) {
    struct sj_node *root;
    struct quern_error why;
    if (text.len > SCHEMA_BYTES_MAX)
        schema_fail(s, QUERN_ERR_LIMIT, "it has %zu bytes, more than %d", text.len,
                    SCHEMA_BYTES_MAX);
    if (schema_failed(s) || !set_up(s))
        return GRAMMAR_NONE;
    if (sj_parse(&s->pool, text, name, &root, &why) != QUERN_OK) {
        grammar_builder_fail(s->b, why.code, "%s", why.message);
        return GRAMMAR_NONE;
    }
    schema_index(s, root, (struct str){"", 0}, DRAFT_2020);
    const formula_id f = formula_schema(s, root);
    if (s->options->yaml)
        return yaml_document(s, f);
    return parameters ? emit_parameters(s, f, parameters) : emit_formula(s, f);
}

static enum quern_status build_as(struct grammar_builder *b, struct str text, const char *name,
                                  const struct schema_options *options, const json_t *parameters,
                                  symbol_id *out, struct buffer *report, struct quern_error *err) {
    static const struct schema_options defaults;
    struct schema s = {.b = b,
                       .name = name,
                       .options = options ? options : &defaults,
                       .report = report};
    arena_init(&s.arena, ARENA_BYTES_MAX);
    s.pool.arena = &s.arena;
    s.blocks_budget.max = ARENA_BYTES_MAX;
    symbol_id symbol = build(&s, text, name, parameters);
    tear_down(&s);
    if (grammar_builder_failed(b))
        return grammar_builder_status(b, err);
    *out = symbol;
    return QUERN_OK;
}

enum quern_status json_schema_build(struct grammar_builder *b, struct str text, const char *name,
                                    const struct schema_options *options, symbol_id *out,
                                    struct buffer *report, struct quern_error *err) {
    return build_as(b, text, name, options, NULL, out, report, err);
}

enum quern_status json_schema_build_parameters(struct grammar_builder *b, struct str text,
                                               const char *name,
                                               const struct schema_options *options,
                                               symbol_id *out, struct buffer *report,
                                               struct quern_error *err) {
    json_t *schema = NULL;
    struct quern_error why;
    if (json_parse(text.ptr, text.len, name, &schema, &why) != QUERN_OK)
        grammar_builder_fail(b, why.code, "%s", why.message);
    enum quern_status st = schema ? build_as(b, text, name, options, schema, out, report, err)
                                  : grammar_builder_status(b, err);
    json_decref(schema);
    return st;
}
