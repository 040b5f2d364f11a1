/* Calling natives and what they share. */
#include "chat/jinja_native.h"

#include <string.h>

#include "chat/jinja_interp.h"
#include "chat/jinja_string.h"

/* ---- parameters ---------------------------------------------------------------------------------
 */

/* The next name of a parameter list; *text moves on. len 0 at the end. */
static struct str next_parameter(const char **text) {
    size_t n = strcspn(*text, ",");
    struct str name = {*text, n};
    *text += n + ((*text)[n] == ',');
    return name;
}

static const struct jkwarg *find_keyword(const struct jarguments *all, struct str name) {
    for (size_t i = 0; i < all->n_keywords; i++)
        if (str_eq(all->keywords[i].name, name))
            return &all->keywords[i];
    return NULL;
}

static bool bind(struct jinja_run *run, struct jnative_call *call) {
    const char *name = call->native->name, *rest = call->native->parameters;
    const struct jarguments *all = call->all;
    bool by_name = *rest != '/', optional = false;
    rest += !by_name;
    size_t n = 0, used = 0;
    for (struct str parameter = next_parameter(&rest); parameter.len;
         parameter = next_parameter(&rest), n++) {
        if (parameter.ptr[0] == '?') {
            optional = true;
            parameter = (struct str){parameter.ptr + 1, parameter.len - 1};
        }
        const struct jkwarg *keyword = by_name ? find_keyword(all, parameter) : NULL;
        call->arg[n] = (struct jvalue){.kind = JINJA_MISSING};
        if (n < all->n && keyword)
            return jinja_fail(run, "%s() got multiple values for '%.*s'", name, STR_FMT(parameter));
        if (n < all->n)
            call->arg[n] = all->positional[n];
        else if (keyword)
            call->arg[n] = keyword->value;
        else if (!optional)
            return jinja_fail(run, "%s() needs the argument '%.*s'", name, STR_FMT(parameter));
        used += keyword != NULL;
    }
    if (all->n > n)
        return jinja_fail(run, "%s() takes at most %zu arguments (%zu given)", name, n, all->n);
    if (used == all->n_keywords)
        return true;
    return jinja_fail(run, "%s() does not know the keyword argument '%.*s'", name,
                      STR_FMT(all->keywords[0].name));
}

static bool is_lazy(const struct jnative *native) {
    for (const struct jnative *lazy = jinja_lazy_filters; lazy->name; lazy++)
        if (lazy == native)
            return true;
    return false;
}

/* Turns the failure just recorded into one that comes when the iterator is read. */
static bool postpone_failure(struct jinja_run *run, struct jnative_call *call) {
    char *message = arena_strdup(&run->arena, run->error.message);
    struct jlist *list = call->yielded ? call->yielded : arena_calloc(&run->arena, 1, sizeof *list);
    if (!message || !list)
        return false;
    run->status = QUERN_OK;
    if (!jnative_return_iterator(run, call, list, "generator"))
        return false;
    call->result.as.iterator->error = message;
    return true;
}

bool jnative_call(struct jinja_run *run, const struct jnative *native, struct jvalue self,
                  const struct jarguments *all, struct jvalue *result) {
    struct jnative_call call = {.self = self, .all = all, .native = native};
    int eval_depth = run->eval_depth, call_depth = run->call_depth;
    if (!jinja_enter(run) || !jinja_charge(run, 1) || (native->parameters && !bind(run, &call)))
        return false;
    if (!native->run(run, &call) || run->status) {
        if (run->status != QUERN_ERR_TEMPLATE || !is_lazy(native) || !postpone_failure(run, &call))
            return false;
        run->call_depth = call_depth;
    }
    run->eval_depth = eval_depth;
    *result = call.result;
    return true;
}

bool jnative_test(struct jinja_run *run, const struct jnative *native, struct jvalue self,
                  const struct jarguments *all, bool *answer) {
    struct jvalue result;
    if (!jnative_call(run, native, self, all, &result))
        return false;
    *answer = jvalue_truth(result);
    return true;
}

bool jnative_int(struct jinja_run *run, const struct jnative_call *call, int i,
                 int64_t default_value, int64_t *out) {
    struct jvalue v = call->arg[i];
    *out = default_value;
    if (v.kind == JINJA_MISSING)
        return true;
    if (v.kind != JINJA_INT && v.kind != JINJA_BOOL)
        return jinja_fail(run, "%s() needs an integer, not %s", call->native->name,
                          jvalue_type_name(v));
    *out = v.kind == JINJA_BOOL ? v.as.boolean : v.as.integer;
    return true;
}

bool jnative_text(struct jinja_run *run, const struct jnative_call *call, int i, struct str *out) {
    struct jvalue v = call->arg[i];
    *out = (struct str){NULL, 0};
    if (v.kind == JINJA_MISSING || v.kind == JINJA_NONE)
        return true;
    if (v.kind != JINJA_STRING)
        return jinja_fail(run, "%s() needs a string, not %s", call->native->name,
                          jvalue_type_name(v));
    *out = v.as.text.ptr ? v.as.text : STR_LIT("");
    return true;
}

bool jnative_flag(const struct jnative_call *call, int i, bool default_value) {
    return call->arg[i].kind == JINJA_MISSING ? default_value : jvalue_truth(call->arg[i]);
}

bool jnative_self_text(struct jinja_run *run, struct jnative_call *call, struct str *out) {
    return jvalue_to_text(run, call->self, out) && jinja_charge_bytes(run, out->len);
}

bool jnative_return_text(struct jinja_run *run, struct jnative_call *call, struct str s) {
    (void)run;
    call->result = jvalue_string(s);
    call->result.flag = call->self.kind == JINJA_STRING && call->self.flag;
    return true;
}

bool jnative_return_buffer(struct jinja_run *run, struct jnative_call *call, struct buffer *b) {
    return jinja_take_buffer(run, b, &call->result) &&
           jnative_return_text(run, call, call->result.as.text);
}

bool jnative_return_list(struct jnative_call *call, struct jlist *list) {
    call->result = jvalue_list(list);
    return list != NULL;
}

bool jnative_return_iterator(struct jinja_run *run, struct jnative_call *call, struct jlist *list,
                             const char *type_name) {
    struct jiterator *it = list ? jinja_alloc(run, 1, sizeof *it) : NULL;
    if (!it)
        return false;
    *it = (struct jiterator){.list = list, .type_name = type_name};
    call->result = (struct jvalue){.kind = JINJA_ITERATOR, .as.iterator = it};
    return true;
}

/* ---- lookup by name
 * ------------------------------------------------------------------------------ */

static const struct jnative *find_in(const struct jnative *table, struct str name) {
    for (; table->name; table++)
        if (str_is(name, table->name))
            return table;
    return NULL;
}

const struct jnative *jinja_find_filter(struct str name) {
    const struct jnative *found = find_in(jinja_text_filters, name);
    found = found ? found : find_in(jinja_list_filters, name);
    found = found ? found : find_in(jinja_lazy_filters, name);
    return found ? found : find_in(jinja_value_filters, name);
}

const struct jnative *jinja_find_test(struct str name) {
    return find_in(jinja_tests, name);
}

static bool is_one_of(const char *const *names, struct str name) {
    for (; *names; names++)
        if (str_is(name, *names))
            return true;
    return false;
}

const struct jnative *jinja_find_method(struct jvalue v, struct str name, bool *forbidden) {
    static const char *const list_changes[] = {"append", "clear",  "pop",    "reverse", "insert",
                                               "sort",   "extend", "remove", NULL};
    static const char *const dict_changes[] = {"clear",      "pop",    "popitem",
                                               "setdefault", "update", NULL};
    const struct jnative *found;
    *forbidden = false;
    switch ((enum jkind)v.kind) {
    case JINJA_STRING:
        found = find_in(jinja_string_methods, name);
        return found ? found : find_in(jinja_string_methods_more, name);
    case JINJA_DICT:
        *forbidden = is_one_of(dict_changes, name);
        return find_in(jinja_dict_methods, name);
    case JINJA_LIST:
        *forbidden = is_one_of(list_changes, name);
        return find_in(jinja_list_methods, name);
    case JINJA_RANGE:
    case JINJA_TUPLE:
        found = find_in(jinja_list_methods, name);
        return found && strcmp(found->name, "copy") != 0 ? found : NULL;
    default:
        return NULL;
    }
}

/* ---- paths and sorting
 * ------------------------------------------------------------------------------ */

static bool all_digits(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    return s.len > 0 && s.len < 18;
}

bool jinja_lookup_path(struct jinja_run *run, struct jvalue item, struct jvalue attribute,
                       struct jvalue *out) {
    *out = item;
    if (attribute.kind == JINJA_NONE || attribute.kind == JINJA_MISSING)
        return true;
    if (attribute.kind != JINJA_STRING)
        return jinja_get_item(run, item, attribute, out);
    struct str path = attribute.as.text;
    for (size_t at = 0; at <= path.len;) {
        size_t dot = jstring_find(path, STR_LIT("."), at);
        struct str part = jstring_slice(path, at, dot == JSTRING_NONE ? path.len : dot);
        struct jvalue index = jvalue_string(part);
        if (all_digits(part)) {
            int64_t n = 0;
            for (size_t i = 0; i < part.len; i++)
                n = n * 10 + (part.ptr[i] - '0');
            index = jvalue_int(n);
        }
        struct jvalue next;
        if (!jinja_get_item(run, *out, index, &next))
            return false;
        *out = next;
        if (dot == JSTRING_NONE)
            break;
        at = dot + 1;
    }
    return true;
}

/* Merges the sorted halves [from, middle) and [middle, to) of `order` through `spare`. */
static bool merge(struct jinja_run *run, const struct jvalue *keys, size_t *order, size_t *spare,
                  size_t from, size_t middle, size_t to, bool reverse) {
    size_t a = from, b = middle;
    for (size_t i = from; i < to; i++) {
        bool take_right = a == middle;
        if (a < middle && b < to) {
            int sign;
            if (!jinja_charge(run, 1) ||
                !jvalue_compare(run, keys[order[b]], keys[order[a]], &sign))
                return false;
            take_right = reverse ? sign == 1 : sign == -1;
        }
        spare[i] = take_right ? order[b++] : order[a++];
    }
    memcpy(order + from, spare + from, (to - from) * sizeof *order);
    return true;
}

bool jinja_sort(struct jinja_run *run, struct jvalue *items, struct jvalue *keys, size_t n,
                bool reverse) {
    size_t *order = jinja_alloc(run, n, 2 * sizeof *order);
    struct jvalue *sorted = jinja_alloc(run, n, 2 * sizeof *sorted);
    if (!order || !sorted)
        return false;
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    for (size_t width = 1; width < n; width *= 2)
        for (size_t from = 0; from + width < n; from += 2 * width) {
            size_t to = from + 2 * width < n ? from + 2 * width : n;
            if (!merge(run, keys, order, order + n, from, from + width, to, reverse))
                return false;
        }
    for (size_t i = 0; i < n; i++) {
        sorted[i] = items[order[i]];
        sorted[n + i] = keys[order[i]];
    }
    if (n) {
        memcpy(items, sorted, n * sizeof *items);
        memcpy(keys, sorted + n, n * sizeof *keys);
    }
    return true;
}

bool jinja_ignore_case(struct jinja_run *run, struct jvalue *v) {
    struct buffer out;
    if (v->kind != JINJA_STRING)
        return true;
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    jstring_change_case(v->as.text, JCASE_LOWER, &out);
    return jinja_take_buffer(run, &out, v);
}

bool jinja_sort_key(struct jinja_run *run, struct jvalue item, struct jvalue attribute,
                    bool case_sensitive, struct jvalue *key) {
    return jinja_lookup_path(run, item, attribute, key) &&
           (case_sensitive || jinja_ignore_case(run, key));
}
