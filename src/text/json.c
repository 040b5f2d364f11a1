#include "text/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/os.h"

static enum quern_status load(const char *path, bool regular, size_t max_bytes, json_t **out,
                              struct quern_error *err) {
    struct buffer text;
    buffer_init(&text, max_bytes);
    enum quern_status status = regular ? os_read_regular(path, max_bytes, &text, err)
                                       : os_read_file(path, max_bytes, &text, err);
    if (!status)
        status = json_parse(text.data, text.len, path, out, err);
    buffer_release(&text);
    return status;
}

enum quern_status json_load_path(const char *path, size_t max_bytes, json_t **out,
                                 struct quern_error *err) {
    return load(path, false, max_bytes, out, err);
}

enum quern_status json_load_regular(const char *path, size_t max_bytes, json_t **out,
                                    struct quern_error *err) {
    return load(path, true, max_bytes, out, err);
}

/* ---- typed members ------------------------------------------------------------ */

const char *json_type_name(const json_t *value) {
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
        return "integer";
    case JSON_REAL:
        return "number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

enum { FOUND_BYTES = 96 };

/* "string \"abc\"", "array", "integer 5": what a wrong member is. */
static void describe(const json_t *value, char out[FOUND_BYTES]) {
    const char *type = json_type_name(value);
    if (json_is_string(value)) {
        const char *s = json_string_value(value);
        snprintf(out, FOUND_BYTES, strlen(s) > 40 ? "%s \"%.40s...\"" : "%s \"%s\"", type, s);
    } else if (json_is_integer(value)) {
        snprintf(out, FOUND_BYTES, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        json_format_float(json_real_value(value), out);
    } else if (json_is_boolean(value)) {
        snprintf(out, FOUND_BYTES, "%s", json_is_true(value) ? "true" : "false");
    } else {
        snprintf(out, FOUND_BYTES, "%s", type);
    }
}

/* The member, or NULL when it is missing or null. */
static json_t *member(const json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static enum quern_status mismatch(const json_t *value, const char *name, const char *key,
                                  const char *expected, struct quern_error *err) {
    char found[FOUND_BYTES];
    describe(value, found);
    return error_set(err, QUERN_ERR_FORMAT, "%s: %s: found %s, expected %s", name, key, found,
                     expected);
}

enum quern_status json_get_int(const json_t *object, const char *name, const char *key, int64_t min,
                               int64_t max, int64_t default_value, int64_t *out,
                               struct quern_error *err) {
    const json_t *value = member(object, key);
    if (!value) {
        *out = default_value;
        return QUERN_OK;
    }
    bool whole = json_is_integer(value);
    int64_t n = whole ? (int64_t)json_integer_value(value) : 0;
    if (json_is_real(value)) {
        double d = json_real_value(value);
        /* 2^53: every whole double below it is exactly one integer */
        whole = floor(d) == d && fabs(d) <= 9007199254740992.0;
        n = whole ? (int64_t)d : 0;
    }
    if (!whole || n < min || n > max) {
        char expected[80];
        snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)min,
                 (long long)max);
        return mismatch(value, name, key, expected, err);
    }
    *out = n;
    return QUERN_OK;
}

enum quern_status json_get_float(const json_t *object, const char *name, const char *key,
                                 double min, double max, double default_value, double *out,
                                 struct quern_error *err) {
    const json_t *value = member(object, key);
    if (!value) {
        *out = default_value;
        return QUERN_OK;
    }
    double d = json_number_value(value);
    if (!json_is_number(value) || !(d >= min && d <= max)) {
        char low[40], high[40], expected[112];
        json_format_float(min, low);
        json_format_float(max, high);
        snprintf(expected, sizeof expected, "a number from %s to %s", low, high);
        return mismatch(value, name, key, expected, err);
    }
    *out = d;
    return QUERN_OK;
}

enum quern_status json_get_bool(const json_t *object, const char *name, const char *key,
                                bool default_value, bool *out, struct quern_error *err) {
    const json_t *value = member(object, key);
    if (value && !json_is_boolean(value))
        return mismatch(value, name, key, "true or false", err);
    *out = value ? json_is_true(value) : default_value;
    return QUERN_OK;
}

enum quern_status json_get_string(const json_t *object, const char *name, const char *key,
                                  const char *default_value, const char **out,
                                  struct quern_error *err) {
    const json_t *value = member(object, key);
    if (value && !json_is_string(value))
        return mismatch(value, name, key, "a string", err);
    const char *text = value ? json_string_value(value) : default_value;
    if (value && strlen(text) != json_string_length(value))
        return error_set(err, QUERN_ERR_FORMAT, "%s: %s: contains the character U+0000", name, key);
    *out = text;
    return QUERN_OK;
}

enum quern_status json_get_container(const json_t *object, const char *name, const char *key,
                                     json_type type, json_t **out, struct quern_error *err) {
    json_t *value = member(object, key);
    if (value && json_typeof(value) != type)
        return mismatch(value, name, key, type == JSON_ARRAY ? "an array" : "an object", err);
    *out = value;
    return QUERN_OK;
}

enum quern_status json_require(const json_t *object, const char *name, const char *key,
                               struct quern_error *err) {
    if (!json_is_object(object))
        return error_set(err, QUERN_ERR_FORMAT, "%s: found %s, expected an object", name,
                         json_type_name(object));
    if (!member(object, key))
        return error_set(err, QUERN_ERR_FORMAT, "%s: %s is missing", name, key);
    return QUERN_OK;
}
