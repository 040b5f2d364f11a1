#include "chat/jinja_run.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

static bool record(struct jinja_run *run, enum quern_status status, const char *fmt, va_list args) {
    if (run->status == QUERN_OK) {
        vsnprintf(run->error.message, sizeof run->error.message, fmt, args);
        run->error.code = status;
        run->status = status;
    }
    return false;
}

bool jinja_fail(struct jinja_run *run, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    record(run, QUERN_ERR_TEMPLATE, fmt, args);
    va_end(args);
    return false;
}

bool jinja_fail_with(struct jinja_run *run, enum quern_status status, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    record(run, status, fmt, args);
    va_end(args);
    return false;
}

/* jinja2.utils.object_type_repr */
static const char *object_name(enum jkind kind, char out[40]) {
    if (kind == JINJA_NONE)
        return "None";
    snprintf(out, 40, "%s object", jvalue_type_name((struct jvalue){.kind = (uint8_t)kind}));
    return out;
}

bool jinja_fail_undefined(struct jinja_run *run, struct jvalue v) {
    char object[40];
    switch ((enum jundefined)v.flag) {
    case JUNDEF_NAME:
        return jinja_fail(run, "'%.*s' is undefined", STR_FMT(v.as.text));
    case JUNDEF_ATTRIBUTE:
        return jinja_fail(run, "'%s' has no attribute '%.*s'",
                          object_name((enum jkind)v.of, object), STR_FMT(v.as.text));
    case JUNDEF_ELEMENT:
        return jinja_fail(run, "%s has no element %.*s", object_name((enum jkind)v.of, object),
                          STR_FMT(v.as.text));
    case JUNDEF_HINT:
        break;
    }
    return jinja_fail(run, "%.*s", STR_FMT(v.as.text));
}

bool jinja_charge(struct jinja_run *run, size_t steps) {
    if (run->status)
        return false;
    if (steps > (size_t)run->steps_left) {
        run->steps_left = 0;
        return jinja_fail_with(run, QUERN_ERR_LIMIT, "the template takes more than %d steps",
                               JINJA_STEPS_MAX);
    }
    run->steps_left -= (int64_t)steps;
    return true;
}

bool jinja_charge_bytes(struct jinja_run *run, size_t bytes) {
    return jinja_charge(run, bytes / JINJA_BYTES_PER_STEP);
}

void *jinja_alloc(struct jinja_run *run, size_t n, size_t size) {
    size_t total;
    if (!checked_mul(n, size, &total) || total > JINJA_MEMORY_BYTES_MAX) {
        jinja_fail_with(run, QUERN_ERR_LIMIT, "the template takes more than %d bytes of memory",
                        JINJA_MEMORY_BYTES_MAX);
        return NULL;
    }
    if (!jinja_charge_bytes(run, total))
        return NULL;
    void *p = arena_alloc(&run->arena, total);
    if (p)
        return p;
    if (run->arena.used_bytes + total + 64 > run->arena.max_bytes)
        jinja_fail_with(run, QUERN_ERR_LIMIT, "the template takes more than %d bytes of memory",
                        JINJA_MEMORY_BYTES_MAX);
    else
        jinja_fail_with(run, QUERN_ERR_NOMEM, "out of memory");
    return NULL;
}

static bool too_long(struct jinja_run *run) {
    return jinja_fail_with(run, QUERN_ERR_LIMIT, "a string is longer than %d bytes",
                           JINJA_OUTPUT_BYTES_MAX);
}

bool jinja_copy_string(struct jinja_run *run, struct str s, struct jvalue *out) {
    if (s.len > JINJA_OUTPUT_BYTES_MAX)
        return too_long(run);
    char *copy = jinja_alloc(run, s.len, 1);
    if (!copy)
        return false;
    if (s.len)
        memcpy(copy, s.ptr, s.len);
    *out = jvalue_string((struct str){copy, s.len});
    return true;
}

bool jinja_check_buffer(struct jinja_run *run, const struct buffer *buffer) {
    if (buffer->failed == QUERN_ERR_LIMIT)
        return too_long(run);
    if (buffer->failed)
        return jinja_fail_with(run, QUERN_ERR_NOMEM, "out of memory");
    return true;
}

bool jinja_take_buffer(struct jinja_run *run, struct buffer *buffer, struct jvalue *out) {
    bool ok = !run->status && jinja_check_buffer(run, buffer) &&
              jinja_copy_string(run, buffer_str(buffer), out);
    buffer_release(buffer);
    return ok;
}
