/* jinja_value.h - the values of templates: Python's, as far as templates can see them.
 *
 * Values are immutable except namespaces, so lists and strings share memory freely.
 * Everything lives in the arena of one render (struct jinja_run) or in memory that
 * outlives it (the caller's JSON, the template). */
#ifndef QUERN_CHAT_JINJA_VALUE_H
#define QUERN_CHAT_JINJA_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/str.h"
#include "text/json.h"

struct jinja_run;
struct jinja_frame;
struct jnode;
struct jloop;
struct jnative;

enum jkind {
    JINJA_MISSING = 0, /* an argument not given, a slot not set; templates never see it */
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_DICT,
    JINJA_RANGE,
    JINJA_VIEW,     /* dict.keys(), .values(), .items() */
    JINJA_ITERATOR, /* what map, select, reverse and their like return: read once */
    JINJA_NAMESPACE,
    JINJA_MACRO,
    JINJA_FUNCTION, /* of the environment: range, dict, ... */
    JINJA_METHOD,   /* a built-in method with its object */
    JINJA_LOOP,
};

/* How an undefined value came about; decides the message of its error. */
enum jundefined {
    JUNDEF_NAME = 0,  /* text: the variable */
    JUNDEF_ATTRIBUTE, /* text: the attribute; kind: of the object */
    JUNDEF_ELEMENT,   /* text: repr of the index; kind: of the object */
    JUNDEF_HINT,      /* text: the whole message */
};

struct jvalue {
    uint8_t kind; /* enum jkind */
    uint8_t flag; /* string: it is Markup; undefined: enum jundefined */
    uint8_t of;   /* undefined: kind of the object it was looked up in */
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct str text;    /* string, undefined */
        struct jlist *list; /* list, tuple */
        struct jdict *dict; /* dict, namespace */
        struct jrange *range;
        struct jview *view;
        struct jiterator *iterator;
        struct jmacro *macro;
        struct jmethod *method;
        struct jloop *loop;
        const struct jnative *function;
        const void *pointer; /* for identity */
    } as;
};

struct jlist {
    struct jvalue *items;
    size_t n;
};

struct jentry {
    struct jvalue key, value;
    uint64_t hash;
};

/* Insertion-ordered; `index` (open addressing, entry number + 1) exists above a few entries. */
struct jdict {
    struct jentry *entries;
    size_t n, capacity;
    uint32_t *index;
    size_t index_size; /* a power of two, or 0 */
};

struct jrange {
    int64_t start, stop, step;
    int64_t length;
};

/* Without signed overflow: the result fits for 0 <= i < length. */
static inline int64_t jrange_at(const struct jrange *range, int64_t i) {
    return (int64_t)((uint64_t)range->start + (uint64_t)i * (uint64_t)range->step);
}

enum jview_kind { JVIEW_KEYS, JVIEW_VALUES, JVIEW_ITEMS };
struct jview {
    struct jdict *dict;
    enum jview_kind kind;
};

struct jiterator {
    struct jlist *list;
    size_t position;
    const char *type_name; /* "generator", "list_reverseiterator" */
    const char *error;     /* what reading beyond the list raises, or NULL: the end */
};

struct jmacro {
    const struct jnode *node; /* NODE_MACRO or NODE_CALL_BLOCK */
    struct jinja_frame *closure;
};

struct jmethod {
    struct jvalue self;
    const struct jnative *native;
};

/* ---- making values: true, or false after jinja_fail --------------------------- */

static inline struct jvalue jvalue_none(void) {
    return (struct jvalue){.kind = JINJA_NONE};
}
static inline struct jvalue jvalue_bool(bool b) {
    return (struct jvalue){.kind = JINJA_BOOL, .as.boolean = b};
}
static inline struct jvalue jvalue_int(int64_t i) {
    return (struct jvalue){.kind = JINJA_INT, .as.integer = i};
}
static inline struct jvalue jvalue_float(double d) {
    return (struct jvalue){.kind = JINJA_FLOAT, .as.number = d};
}
static inline struct jvalue jvalue_string(struct str s) {
    return (struct jvalue){.kind = JINJA_STRING, .as.text = s};
}
static inline struct jvalue jvalue_undefined(enum jundefined how, struct str text) {
    return (struct jvalue){.kind = JINJA_UNDEFINED, .flag = (uint8_t)how, .as.text = text};
}
static inline struct jvalue jvalue_list(struct jlist *list) {
    return (struct jvalue){.kind = JINJA_LIST, .as.list = list};
}
static inline struct jvalue jvalue_dict(struct jdict *dict) {
    return (struct jvalue){.kind = JINJA_DICT, .as.dict = dict};
}

/* A list of n items, to be filled in. NULL after jinja_fail. */
struct jlist *jlist_create(struct jinja_run *run, size_t n);
/* A list that grows: items move, so keep no pointers. */
bool jlist_push(struct jinja_run *run, struct jlist *list, size_t *capacity, struct jvalue v);

struct jdict *jdict_create(struct jinja_run *run, size_t capacity);
/* Inserts or overwrites. Fails on unhashable keys. */
bool jdict_set(struct jinja_run *run, struct jdict *dict, struct jvalue key, struct jvalue value);
/* *found is NULL when the key is absent. Fails on unhashable keys. */
bool jdict_find(struct jinja_run *run, const struct jdict *dict, struct jvalue key,
                struct jvalue **found);
/* For string keys, which always hash. NULL when absent. */
struct jvalue *jdict_find_text(const struct jdict *dict, struct str key);

/* The tree of *json as values; strings stay in it. */
bool jvalue_from_json(struct jinja_run *run, const json_t *json, int depth, struct jvalue *out);

/* ---- what Python says about values ---------------------------------------------- */

const char *jvalue_type_name(struct jvalue v); /* "str", "dict", ... */
bool jvalue_truth(struct jvalue v);
bool jvalue_is_number(struct jvalue v);             /* bool, int or float */
double jvalue_to_double(struct jvalue v);           /* of a number */
bool jvalue_same(struct jvalue a, struct jvalue b); /* `is` */
bool jvalue_equal(struct jinja_run *run, struct jvalue a, struct jvalue b, bool *equal);
/* *order < 0, 0, > 0; 2 when a NaN is involved. Fails where Python raises TypeError. */
bool jvalue_compare(struct jinja_run *run, struct jvalue a, struct jvalue b, int *order);
/* *known is false for values without len(). */
bool jvalue_length(struct jinja_run *run, struct jvalue v, bool *known, size_t *length);
/* list(v): any iterable; fails with Python's message otherwise. Iterators are used up. */
bool jvalue_to_list(struct jinja_run *run, struct jvalue v, struct jlist **out);
bool jvalue_is_iterable(struct jvalue v);
bool jvalue_is_hashable(struct jinja_run *run, struct jvalue v); /* false also out of steps */
/* After the last item of an iterator: false when what made it failed there. */
bool jiterator_end(struct jinja_run *run, const struct jiterator *it);
/* `needle in haystack` */
bool jvalue_contains(struct jinja_run *run, struct jvalue haystack, struct jvalue needle,
                     bool *contains);

/* ---- text -------------------------------------------------------------------------- */

/* str(v) and repr(v), appended. Values nested too deeply fail. */
bool jvalue_write(struct jinja_run *run, struct jvalue v, struct buffer *out);
bool jvalue_write_repr(struct jinja_run *run, struct jvalue v, struct buffer *out);
/* str(v) in the arena; a string gives its own text. */
bool jvalue_to_text(struct jinja_run *run, struct jvalue v, struct str *out);
/* repr(v) in the arena, for messages; never fails (a placeholder at worst). */
struct str jvalue_repr_text(struct jinja_run *run, struct jvalue v);

struct jjson_style {
    bool ascii; /* ensure_ascii */
    bool sort_keys;
    bool indented;
    struct str indent; /* one level */
    struct str item_separator, key_separator;
};
bool jvalue_write_json(struct jinja_run *run, struct jvalue v, const struct jjson_style *style,
                       int depth, struct buffer *out);

#endif
