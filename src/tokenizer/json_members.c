#include "tokenizer/json_members.h"

#include <stdint.h>

#include "text/json_reader.h"

char json_kind(struct str value) {
    char c = value.len ? value.ptr[0] : 'n';
    return (c >= '0' && c <= '9') || c == '-' ? '0' : c;
}

const char *json_kind_name(char kind) {
    switch (kind) {
    case '{':
        return "an object";
    case '[':
        return "an array";
    case '"':
        return "a string";
    case '0':
        return "a number";
    case 't':
    case 'f':
        return "a boolean";
    default:
        return "null";
    }
}

/* The readers below get no arena: walking over a value must not fail for want of memory, which
 * would look like its end. */
bool json_member(struct str object, const char *key, struct str *value) {
    struct json_reader r;
    bool found = false;
    json_reader_init(&r, object, NULL);
    if (json_reader_next(&r) == JSON_TOKEN_OBJECT)
        while (json_reader_next(&r) == JSON_TOKEN_KEY) {
            bool wanted = json_reader_value_is(&r, str_from(key));
            struct str text;
            if (!json_reader_skip(&r, &text))
                break;
            if (wanted) {
                *value = text;
                found = true;
            }
        }
    return found;
}

bool json_element(struct str array, size_t *at, struct str *value) {
    /* Behind the bracket or the last element. */
    const char *end = array.ptr + array.len;
    const char *p = array.ptr + (*at ? *at : 1);
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r' || *p == ','))
        p++;
    if (p >= end || *p == ']')
        return false;
    struct json_reader r;
    json_reader_init(&r, (struct str){p, (size_t)(end - p)}, NULL);
    bool ok = json_reader_next(&r) != JSON_TOKEN_ERROR;
    if (ok && r.depth)
        ok = json_reader_skip(&r, NULL);
    *value = (struct str){p, (size_t)(r.p - p)};
    *at = (size_t)(r.p - array.ptr);
    return ok;
}

bool json_text_value(struct arena *arena, struct str value, struct str *out) {
    struct json_reader r;
    json_reader_init(&r, value, arena);
    if (json_reader_next(&r) != JSON_TOKEN_STRING)
        return false;
    *out = r.value;
    return true;
}

bool json_id_value(struct str value, uint32_t *out) {
    uint64_t n = 0;
    if (value.len == 0 || value.len > 10)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(value.ptr[i] - '0');
    }
    if (n > INT32_MAX)
        return false;
    *out = (uint32_t)n;
    return true;
}

static enum quern_status member_of_kind(struct str object, const char *where, const char *key,
                                        const char *kinds, struct str *value,
                                        struct quern_error *err) {
    if (!json_member(object, key, value))
        return error_set(err, QUERN_ERR_FORMAT, "%s.%s is missing", where, key);
    char kind = json_kind(*value);
    for (const char *k = kinds; *k; k++)
        if (*k == kind)
            return QUERN_OK;
    return error_set(err, QUERN_ERR_FORMAT, "%s.%s is %s, expected %s", where, key,
                     json_kind_name(kind), json_kind_name(kinds[0]));
}

enum quern_status json_member_string(struct arena *arena, struct str object, const char *where,
                                     const char *key, struct str *out, struct quern_error *err) {
    struct str value;
    enum quern_status status = member_of_kind(object, where, key, "\"", &value, err);
    if (!status && !json_text_value(arena, value, out))
        status = error_nomem(err);
    return status;
}

enum quern_status json_member_bool(struct str object, const char *where, const char *key, bool *out,
                                   struct quern_error *err) {
    struct str value;
    enum quern_status status = member_of_kind(object, where, key, "tf", &value, err);
    if (!status)
        *out = value.ptr[0] == 't';
    return status;
}

enum quern_status json_member_id(struct str object, const char *where, const char *key,
                                 uint32_t *out, struct quern_error *err) {
    struct str value;
    enum quern_status status = member_of_kind(object, where, key, "0", &value, err);
    if (!status && !json_id_value(value, out))
        status =
            error_set(err, QUERN_ERR_FORMAT, "%s.%s is %.*s, expected a whole number from 0 to %d",
                      where, key, STR_FMT(value), INT32_MAX);
    return status;
}
