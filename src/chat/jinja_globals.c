/* The functions templates find in their environment. */
#include <string.h>
#include <time.h>

#include "chat/jinja_native.h"

static bool range_argument(struct jinja_run *run, const struct jarguments *all, size_t i,
                           int64_t *out) {
    struct jvalue v = all->positional[i];
    if (v.kind != JINJA_INT && v.kind != JINJA_BOOL)
        return jinja_fail(run, "'%s' object cannot be interpreted as an integer",
                          jvalue_type_name(v));
    *out = v.kind == JINJA_BOOL ? v.as.boolean : v.as.integer;
    return true;
}

static uint64_t range_length(int64_t start, int64_t stop, int64_t step) {
    if (step > 0 ? start >= stop : start <= stop)
        return 0;
    uint64_t span = step > 0 ? (uint64_t)stop - (uint64_t)start : (uint64_t)start - (uint64_t)stop;
    uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    return (span - 1) / stride + 1;
}

static bool range(struct jinja_run *run, struct jnative_call *call) {
    const struct jarguments *all = call->all;
    int64_t start = 0, stop, step = 1;
    if (all->n_keywords || all->n == 0 || all->n > 3)
        return jinja_fail(run, "range() takes 1 to 3 positional arguments");
    if (!range_argument(run, all, all->n > 1, &stop) ||
        (all->n > 1 && !range_argument(run, all, 0, &start)) ||
        (all->n > 2 && !range_argument(run, all, 2, &step)))
        return false;
    if (step == 0)
        return jinja_fail(run, "range() step must not be zero");
    uint64_t length = range_length(start, stop, step);
    if (length > JINJA_RANGE_MAX)
        return jinja_fail(run, "range() gives more than %d numbers", JINJA_RANGE_MAX);
    struct jrange *made = jinja_alloc(run, 1, sizeof *made);
    if (!made)
        return false;
    *made = (struct jrange){start, stop, step, (int64_t)length};
    call->result = (struct jvalue){.kind = JINJA_RANGE, .as.range = made};
    return true;
}

/* dict(mapping or pairs, **more) */
static bool fill_dict(struct jinja_run *run, const struct jnative_call *call, struct jdict *dict) {
    const struct jarguments *all = call->all;
    if (all->n > 1)
        return jinja_fail(run, "%s() takes at most 1 positional argument", call->native->name);
    struct jvalue source = all->n ? all->positional[0] : jvalue_none();
    struct jlist *pairs = NULL;
    if (source.kind == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, source);
    if (source.kind == JINJA_DICT) {
        const struct jdict *from = source.as.dict;
        for (size_t i = 0; i < from->n; i++)
            if (!jdict_set(run, dict, from->entries[i].key, from->entries[i].value))
                return false;
    } else if (all->n && !jvalue_to_list(run, source, &pairs)) {
        return false;
    }
    for (size_t i = 0; pairs && i < pairs->n; i++) {
        struct jlist *pair;
        if (!jvalue_to_list(run, pairs->items[i], &pair))
            return false;
        if (pair->n != 2)
            return jinja_fail(run, "%s() needs pairs", call->native->name);
        if (!jdict_set(run, dict, pair->items[0], pair->items[1]))
            return false;
    }
    for (size_t i = 0; i < all->n_keywords; i++)
        if (!jdict_set(run, dict, jvalue_string(all->keywords[i].name), all->keywords[i].value))
            return false;
    return true;
}

static bool dict(struct jinja_run *run, struct jnative_call *call) {
    struct jdict *made = jdict_create(run, 0);
    call->result = jvalue_dict(made);
    return made && fill_dict(run, call, made);
}

static bool namespace(struct jinja_run *run, struct jnative_call *call) {
    struct jdict *made = jdict_create(run, 0);
    if (!made || !fill_dict(run, call, made))
        return false;
    for (size_t i = 0; i < made->n; i++) {
        struct jvalue name = made->entries[i].key;
        if (name.kind == JINJA_STRING && name.as.text.len && name.as.text.ptr[0] == '_')
            return jinja_fail(run, "namespace attributes may not start with an underscore: '%.*s'",
                              STR_FMT(name.as.text));
    }
    call->result = (struct jvalue){.kind = JINJA_NAMESPACE, .as.dict = made};
    return true;
}

static bool raise_exception(struct jinja_run *run, struct jnative_call *call) {
    struct str message;
    if (!jvalue_to_text(run, call->arg[0], &message))
        return false;
    return jinja_fail(run, "%.*s", STR_FMT(message));
}

static bool strftime_now(struct jinja_run *run, struct jnative_call *call) {
    enum { TEXT_BYTES = 4096 };
    struct str format;
    if (!jnative_text(run, call, 0, &format))
        return false;
    if (!format.ptr || memchr(format.ptr, '\0', format.len))
        return jinja_fail(run, "strftime_now() needs a format");
    time_t now = run->now ? (time_t)*run->now : time(NULL);
    struct tm local;
    if (!localtime_r(&now, &local))
        return jinja_fail(run, "strftime_now(): no local time");
    char *pattern = jinja_alloc(run, format.len + 2, 1), *text = jinja_alloc(run, TEXT_BYTES, 1);
    if (!pattern || !text)
        return false;
    /* strftime cannot tell "nothing" from "too long": one character more makes it certain */
    memcpy(pattern, format.ptr, format.len);
    memcpy(pattern + format.len, "x", 2);
    size_t n = strftime(text, TEXT_BYTES, pattern, &local);
    if (n == 0)
        return jinja_fail_with(run, QUERN_ERR_LIMIT, "strftime_now(): the date is too long");
    call->result = jvalue_string((struct str){text, n - 1});
    return true;
}

const struct jnative *jinja_find_global(struct str name) {
    static const struct jnative globals[] = {
        {"range", NULL, range, 0},
        {"dict", NULL, dict, 0},
        {"namespace", NULL, namespace, 0},
        {"raise_exception", "message", raise_exception, 0},
        {"strftime_now", "format", strftime_now, 0},
    };
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++)
        if (str_is(name, globals[i].name))
            return &globals[i];
    return NULL;
}
