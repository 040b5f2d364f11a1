/* schema.h - the compiler of JSON Schema inside.
 *
 *   formulas   (formula.c) what must hold of a value: schemas and constants, closed under and, or,
 *              not; interned, so that equal ones have one id and recursion ends
 *   sets       (value_set.c) a formula worked out for each type of value: strings and numbers are
 *              expressions, arrays and objects a list of alternatives, each a conjunction of
 *              structural constraints whose members are formulas again
 *   expand*.c  keywords -> sets
 *   emit*.c    sets -> symbols of the grammar
 * Sets are closed under and, or, not; so `not`, `oneOf`, `if` need no method of their own. */
#ifndef QUERN_GRAMMAR_SCHEMA_H
#define QUERN_GRAMMAR_SCHEMA_H

#include "grammar/intern.h"
#include "grammar/schema/json_schema.h"
#include "grammar/schema/schema_json.h"
#include "text/json.h"

typedef uint32_t formula_id;
enum { FORMULA_TRUE, FORMULA_FALSE };

enum formula_kind {
    FORMULA_TRUTH, /* true or false */
    FORMULA_SCHEMA,
    FORMULA_VALUE,
    FORMULA_AND,
    FORMULA_OR,
    FORMULA_NOT,
};

struct value_set;

struct formula {
    enum formula_kind kind;
    const struct sj_node *node; /* of a schema or constant */
    const formula_id *args;     /* [n_args] of and, or, not */
    size_t n_args;
    const struct value_set *set; /* once expanded */
    symbol_id symbol;            /* once emitted; GRAMMAR_NONE before */
    bool expanding;
};

/* At least min and at most max elements from index `from` on satisfy f. */
struct contains {
    formula_id f;
    uint32_t from, min, max; /* max GRAMMAR_INF: no bound */
};

/* prefix[0], prefix[1], ..., then rest ... */
struct array_set {
    const formula_id *prefix;
    size_t n_prefix;
    formula_id rest;
    uint32_t min, max;
    const struct contains *contains;
    size_t n_contains;
    bool unique;
    uint32_t n_evaluated; /* leading elements that some keyword looked at; GRAMMAR_INF: all */
    formula_id evaluated; /* and elements that satisfy this */
};

struct property {
    struct str key;
    formula_id value; /* all that holds of it: the classes do not apply to it */
    bool required;
};

/* Keys that are no declared property. The classes of an object are disjoint and cover all
 * keys (declared ones included, where they do not matter). */
struct key_class {
    expr_id keys; /* over characters */
    formula_id value;
};

/* Some member has a key in `keys` and a value that satisfies `value`. */
struct some_member {
    expr_id keys;
    formula_id value;
};

struct object_set {
    const struct property *properties;
    size_t n_properties;
    const struct key_class *classes;
    size_t n_classes;
    uint32_t min, max;
    const struct some_member *some;
    size_t n_some;
    expr_id evaluated; /* keys that some keyword looked at */
};

struct value_set {
    bool null, truth[2]; /* truth[1]: true */
    expr_id number, string;
    const struct array_set *arrays;
    size_t n_arrays;
    const struct object_set *objects;
    size_t n_objects;
    unsigned loose; /* types of which more is in the set than should be (enum loose_type) */
};

enum loose_type {
    LOOSE_NUMBER = 1,
    LOOSE_STRING = 2,
    LOOSE_ARRAY = 4,
    LOOSE_OBJECT = 8,
    LOOSE_ALL = 15
};

enum schema_draft { DRAFT_4, DRAFT_6, DRAFT_7, DRAFT_2019, DRAFT_2020 };

struct resource {
    struct str uri; /* absolute, without fragment */
    const struct sj_node *root;
    enum schema_draft draft;
};

struct anchor {
    uint32_t resource;
    struct str name;
    const struct sj_node *node;
    bool dynamic;
};

/* What stands around parts. */
struct emit_style {
    symbol_id open_object, close_object, open_array, close_array, comma;
    expr_id colon;
    bool is_block; /* YAML's block style, at this depth */
    unsigned level;
};

enum { YAML_LEVELS_MAX = 12 };

struct schema {
    struct grammar_builder *b;
    const char *name; /* begins messages */
    const struct schema_options *options;
    struct buffer *report;
    struct arena arena;
    struct sj_pool pool;
    struct resource *resources;
    size_t n_resources, resources_capacity;
    struct anchor *anchors;
    size_t n_anchors, anchors_capacity;
    struct formula *formulas;
    size_t n_formulas, formulas_capacity;
    uint32_t *formula_table; /* open addressing, id + 1 */
    size_t formula_slots;
    const struct value_set *everything, *nothing;
    bool has_unevaluated; /* somewhere: what was evaluated must be known */
    int depth;
    struct emit_style style, flow_style; /* of YAML: the style of JSON in it */
    expr_id any_string;                  /* every sequence of characters */
    expr_id plain_strings;               /* what may stand between quotes */
    /* Of YAML: plain strings, characters of quoted ones, numbers, keys; and the symbols of
     * collections, by formula and depth. */
    expr_id yaml_plain, yaml_chars, yaml_number, yaml_key;
    struct pair_map blocks;
    struct budget blocks_budget;
};

/* Makes it the builder's failure, unless there is one. Returns NULL. */
void *schema_fail(struct schema *s, enum quern_status code, const char *fmt, ...) PRINTF_LIKE(3, 4);
void *schema_alloc(struct schema *s, size_t n, size_t size);
static inline bool schema_failed(const struct schema *s) {
    return grammar_builder_failed(s->b);
}
/* Reports a keyword that is not enforced; an error under the strict policy. The set it is missing
 * from must be marked as loose, so that its complement becomes no smaller than it should be. */
void schema_report(struct schema *s, const struct sj_node *schema_node, const char *keyword,
                   const char *why);
void schema_pointer(const struct sj_node *node, struct buffer *out);

/* ---- schema_refs.c ---- */
/* Finds resources, anchors and drafts of a document whose base is `uri`. */
void schema_index(struct schema *s, struct sj_node *root, struct str uri, enum schema_draft draft);
/* What $ref means in `node`; NULL, and the status set, when it cannot be found. */
const struct sj_node *schema_resolve(struct schema *s, const struct sj_node *node, struct str ref);
/* The same for $dynamicRef; NULL without failure when only the way here decides. */
const struct sj_node *schema_resolve_dynamic(struct schema *s, const struct sj_node *node,
                                             struct str ref);
static inline enum schema_draft schema_draft(const struct schema *s, const struct sj_node *node) {
    return s->resources[node->resource].draft;
}

/* ---- formula.c ---- */
formula_id formula_schema(struct schema *s, const struct sj_node *node); /* NULL: true */
formula_id formula_value(struct schema *s, const struct sj_node *node);
formula_id formula_and(struct schema *s, formula_id x, formula_id y);
formula_id formula_or(struct schema *s, formula_id x, formula_id y);
formula_id formula_not(struct schema *s, formula_id x);
const struct value_set *formula_expand(struct schema *s, formula_id f);

/* ---- value_set.c ---- */
const struct value_set *set_and(struct schema *s, const struct value_set *x,
                                const struct value_set *y);
const struct value_set *set_or(struct schema *s, const struct value_set *x,
                               const struct value_set *y);
const struct value_set *set_not(struct schema *s, const struct value_set *x);
bool set_is_nothing(const struct value_set *x);
/* A set that holds nothing but the one array or object alternative. */
const struct value_set *set_of_array(struct schema *s, const struct array_set *a);
const struct value_set *set_of_object(struct schema *s, const struct object_set *o);
/* Everything, but of arrays (objects) only this alternative. */
const struct value_set *set_if_array(struct schema *s, const struct array_set *a);
const struct value_set *set_if_object(struct schema *s, const struct object_set *o);
struct array_set array_all(void);
struct object_set object_all(struct schema *s);
/* What must hold of the value at `key`. */
formula_id object_value_at(struct schema *s, const struct object_set *o, struct str key,
                           bool *required);
/* Do the two surely have no value in common? */
bool set_disjoint(struct schema *s, const struct value_set *x, const struct value_set *y);

/* ---- expand.c, expand_structure.c ---- */
const struct value_set *expand_schema(struct schema *s, const struct sj_node *node);
const struct value_set *expand_value(struct schema *s, const struct sj_node *node);
const struct value_set *expand_array_keywords(struct schema *s, const struct sj_node *node);
const struct value_set *expand_object_keywords(struct schema *s, const struct sj_node *node);
const struct value_set *expand_unevaluated(struct schema *s, const struct sj_node *node,
                                           const struct value_set *x);
const struct value_set *expand_string_keywords(struct schema *s, const struct sj_node *node);
const struct value_set *expand_number_keywords(struct schema *s, const struct sj_node *node);

const struct value_set *set_loose(struct schema *s, const struct value_set *x, unsigned types);
/* The texts `pattern` occurs in. False, and reported, when it cannot be had. */
bool expand_pattern(struct schema *s, const struct sj_node *node, const char *keyword,
                    struct str pattern, expr_id *out);
/* The number at `keyword`; false when it is not there. */
bool expand_count(struct schema *s, const struct sj_node *node, const char *keyword, uint32_t *out);

/* ---- schema_format.c ---- */
/* The texts of a format, over characters. False, and reported, for a format we do not know. */
bool schema_format(struct schema *s, const struct sj_node *node, struct str name, expr_id *out);

/* ---- emit.c, emit_array.c, emit_object.c ---- */
symbol_id emit_formula(struct schema *s, formula_id f);
symbol_id emit_array(struct schema *s, const struct array_set *a);
symbol_id emit_object(struct schema *s, const struct object_set *o);
/* How the members of an object are written. */
struct object_spelling {
    symbol_id separator; /* GRAMMAR_NONE: nothing between members */
    symbol_id (*key)(struct schema *s, expr_id characters, const char *name);
    /* `key` is empty for keys that are not declared. */
    symbol_id (*value)(struct schema *s, const struct object_spelling *spelling, formula_id f,
                       struct str key);
    const void *user;
};
/* The members alone, without what stands around an object. */
symbol_id emit_members(struct schema *s, const struct object_set *o,
                       const struct object_spelling *spelling);
/* Gives `rule` a production for each way to write a value of the set, strings left out if so asked. */
void emit_alternatives(struct schema *s, const struct value_set *x, bool strings, symbol_id rule);
/* emit_parameters.c: the object as Qwen3-Coder writes a call's parameters. */
symbol_id emit_parameters(struct schema *s, formula_id f, const json_t *schema);
void emit_punctuation(struct schema *s);
expr_id emit_scalars(struct schema *s, const struct value_set *x);
const char *emit_scalar_name(const struct schema *s, const struct value_set *x);
/* A value within a collection: of a member, or of an element. */
symbol_id emit_part(struct schema *s, formula_id f, bool member);
/* A terminal: a key out of `characters` in quotes, and the colon. */
symbol_id emit_key(struct schema *s, expr_id characters, const char *name);

/* ---- emit_yaml.c ---- */
void yaml_set_up(struct schema *s);
symbol_id yaml_part(struct schema *s, formula_id f, bool member);
symbol_id yaml_document(struct schema *s, formula_id f);

#endif
