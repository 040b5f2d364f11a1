#include "openai/fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PARAM_BYTES = 96 };

static const struct field_spec *find(const struct field_spec *specs, const char *name) {
    for (; specs->kind != FIELD_END; specs++)
        if (strcmp(specs->name, name) == 0)
            return specs;
    return NULL;
}

static enum quern_status wrong_type(const json_t *value, const char *param, const char *expected,
                                    struct api_error *err) {
    return api_fail(err, API_TYPE, param, "Invalid type for '%s': expected %s, but got %s.", param,
                    expected, json_type_name(value));
}

enum quern_status fields_string(const json_t *value, const char *param, const char **out,
                                struct api_error *err) {
    if (!json_is_string(value))
        return wrong_type(value, param, "a string", err);
    if (strlen(json_string_value(value)) != json_string_length(value))
        return api_fail(err, API_VALUE, param, "Invalid value for '%s': it contains U+0000.",
                        param);
    *out = json_string_value(value);
    return QUERN_OK;
}

/* Written so that NaN would fail. */
static enum quern_status check_range(const struct field_spec *spec, double value, const char *param,
                                     struct api_error *err) {
    if (value >= spec->min && value <= spec->max)
        return QUERN_OK;
    return api_fail(err, API_VALUE, param,
                    "Invalid value for '%s': %.17g is not between %.17g and %.17g.", param, value,
                    spec->min, spec->max);
}

static enum quern_status store_integer(const struct field_spec *spec, const json_t *value,
                                       const char *param, void *field, struct api_error *err) {
    int64_t n;
    if (json_is_integer(value)) {
        n = json_integer_value(value);
    } else if (json_is_real(value) && fabs(json_real_value(value)) < 0x1p53 &&
               floor(json_real_value(value)) == json_real_value(value)) {
        n = (int64_t)json_real_value(value);
    } else {
        return wrong_type(value, param, "an integer", err);
    }
    enum quern_status status = check_range(spec, (double)n, param, err);
    if (status)
        return status;
    if (spec->kind == FIELD_INT64)
        *(int64_t *)field = n;
    else
        *(int32_t *)field = (int32_t)n;
    return QUERN_OK;
}

static enum quern_status store(const struct field_spec *spec, const json_t *value,
                               const char *param, void *field, struct api_error *err) {
    enum quern_status status;
    switch (spec->kind) {
    case FIELD_FLOAT:
        if (!json_is_number(value))
            return wrong_type(value, param, "a number", err);
        status = check_range(spec, json_number_value(value), param, err);
        if (!status)
            *(float *)field = (float)json_number_value(value);
        return status;
    case FIELD_INT:
    case FIELD_INT64:
        return store_integer(spec, value, param, field, err);
    case FIELD_BOOL:
        if (!json_is_boolean(value))
            return wrong_type(value, param, "a boolean", err);
        *(bool *)field = json_is_true(value);
        return QUERN_OK;
    case FIELD_STRING:
        return fields_string(value, param, field, err);
    case FIELD_ARRAY:
        if (!json_is_array(value))
            return wrong_type(value, param, "an array", err);
        break;
    case FIELD_OBJECT:
        if (!json_is_object(value))
            return wrong_type(value, param, "an object", err);
        break;
    case FIELD_IGNORE:
    case FIELD_END:
        return QUERN_OK;
    case FIELD_ANY:
        break;
    }
    *(const json_t **)field = value;
    return QUERN_OK;
}

enum quern_status fields_read(const json_t *object, const char *path,
                              const struct field_spec *specs, bool ignore_unknown, void *out,
                              struct api_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        char param[PARAM_BYTES];
        snprintf(param, sizeof param, "%s%s", path, key);
        const struct field_spec *spec = find(specs, key);
        if (!spec && ignore_unknown)
            continue;
        if (!spec)
            return api_fail(err, API_UNKNOWN, param, "Unknown parameter: '%s'.", param);
        if (json_is_null(value))
            continue;
        enum quern_status status = store(spec, value, param, (char *)out + spec->offset, err);
        if (status)
            return status;
    }
    return QUERN_OK;
}
