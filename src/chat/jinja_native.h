/* jinja_native.h - filters, tests, functions and methods written in C. */
#ifndef QUERN_CHAT_JINJA_NATIVE_H
#define QUERN_CHAT_JINJA_NATIVE_H

#include "base/str.h"
#include "chat/jinja_run.h"

struct jkwarg {
    struct str name;
    struct jvalue value;
};

struct jarguments {
    const struct jvalue *positional;
    size_t n;
    const struct jkwarg *keywords;
    size_t n_keywords;
};

enum { JNATIVE_PARAMETERS_MAX = 6 };

/* One call of a native. `arg` holds its parameters in the order of the table, JINJA_MISSING
 * where none was given; a native without a parameter list reads `all` itself. */
struct jnative_call {
    struct jvalue self; /* what the filter, test or method is applied to */
    struct jvalue arg[JNATIVE_PARAMETERS_MAX];
    const struct jarguments *all;
    const struct jnative *native;
    struct jvalue result;
    struct jlist *yielded; /* lazy filters: the items made before a failure, or NULL */
};

struct jnative {
    const char *name;
    /* Parameters separated by commas; those before "/" cannot be given by name, those
     * after "?" may be left out. NULL: the native reads call->all. */
    const char *parameters;
    bool (*run)(struct jinja_run *run, struct jnative_call *call);
    int data; /* distinguishes natives that share a function */
};

/* NULL when there is none of that name. */
const struct jnative *jinja_find_filter(struct str name);
const struct jnative *jinja_find_test(struct str name);
const struct jnative *jinja_find_global(struct str name);
/* The method `name` of v's type. *forbidden: the name exists in Python but a sandboxed
 * template may not use it. */
const struct jnative *jinja_find_method(struct jvalue v, struct str name, bool *forbidden);

/* The table's parts, by file. Each ends with a NULL name. The lazy filters are generators in
 * Jinja: their failures come when the result is read, if it ever is. */
extern const struct jnative jinja_text_filters[], jinja_list_filters[], jinja_lazy_filters[],
    jinja_value_filters[], jinja_string_methods[], jinja_string_methods_more[],
    jinja_dict_methods[], jinja_list_methods[], jinja_tests[];

bool jnative_call(struct jinja_run *run, const struct jnative *native, struct jvalue self,
                  const struct jarguments *all, struct jvalue *result);
/* A test's answer. */
bool jnative_test(struct jinja_run *run, const struct jnative *native, struct jvalue self,
                  const struct jarguments *all, bool *answer);

/* ---- reading parameters: the default when missing ---------------------------------------- */

bool jnative_int(struct jinja_run *run, const struct jnative_call *call, int i,
                 int64_t default_value, int64_t *out);
/* A string; *out.ptr is NULL when missing or None. */
bool jnative_text(struct jinja_run *run, const struct jnative_call *call, int i, struct str *out);
bool jnative_flag(const struct jnative_call *call, int i, bool default_value);
/* str(self) unless it is a string; keeps Markup (jinja2's soft_str). */
bool jnative_self_text(struct jinja_run *run, struct jnative_call *call, struct str *out);
/* An array of strings filled from a static set of texts: the result becomes text of self's
 * kind (a Markup stays one). */
bool jnative_return_text(struct jinja_run *run, struct jnative_call *call, struct str s);
bool jnative_return_buffer(struct jinja_run *run, struct jnative_call *call, struct buffer *b);
bool jnative_return_list(struct jnative_call *call, struct jlist *list);
/* A read-once iterator over the list. */
bool jnative_return_iterator(struct jinja_run *run, struct jnative_call *call, struct jlist *list,
                             const char *type_name);

/* environment.getitem along "a.b.0"; `attribute` is a string or an integer. */
bool jinja_lookup_path(struct jinja_run *run, struct jvalue item, struct jvalue attribute,
                       struct jvalue *out);

/* Lowers strings, leaves other values as they are. */
bool jinja_ignore_case(struct jinja_run *run, struct jvalue *v);
/* What an item is sorted by: itself or its attribute. */
bool jinja_sort_key(struct jinja_run *run, struct jvalue item, struct jvalue attribute,
                    bool case_sensitive, struct jvalue *key);

/* Stable sort by keys; `items` and `keys` have n entries. */
bool jinja_sort(struct jinja_run *run, struct jvalue *items, struct jvalue *keys, size_t n,
                bool reverse);

/* "%" and str.format(). */
bool jinja_format_percent(struct jinja_run *run, struct str format, struct jvalue args,
                          struct jvalue *out);
bool jinja_format_braces(struct jinja_run *run, struct str format, const struct jarguments *args,
                         struct jvalue *out);
void jinja_escape_html(struct str s, struct buffer *out);

#endif
