#include "formats/config_reader.h"

#include <stdarg.h>
#include <stdio.h>

int32_t config_int(struct config_reader *r, const char *key, int32_t min, int32_t max,
                   int32_t default_value) {
    int64_t value = default_value;
    if (!r->status)
        r->status = json_get_int(r->object, r->name, key, min, max, default_value, &value, r->err);
    return r->status ? default_value : (int32_t)value;
}

double config_float(struct config_reader *r, const char *key, double min, double max,
                    double default_value) {
    double value = default_value;
    if (!r->status)
        r->status =
            json_get_float(r->object, r->name, key, min, max, default_value, &value, r->err);
    return r->status ? default_value : value;
}

bool config_bool(struct config_reader *r, const char *key, bool default_value) {
    bool value = default_value;
    if (!r->status)
        r->status = json_get_bool(r->object, r->name, key, default_value, &value, r->err);
    return r->status ? default_value : value;
}

const char *config_string(struct config_reader *r, const char *key, const char *default_value) {
    const char *value = default_value;
    if (!r->status)
        r->status = json_get_string(r->object, r->name, key, default_value, &value, r->err);
    return r->status ? default_value : value;
}

json_t *config_container(struct config_reader *r, const char *key, json_type type) {
    json_t *value = NULL;
    if (!r->status)
        r->status = json_get_container(r->object, r->name, key, type, &value, r->err);
    return r->status ? NULL : value;
}

bool config_has(const struct config_reader *r, const char *key) {
    const json_t *value = json_object_get(r->object, key);
    return value && !json_is_null(value);
}

static void add_id(struct config_reader *r, const char *key, const json_t *value,
                   int32_t vocab_size, int32_t *ids, int32_t max, int32_t *n) {
    if (!json_is_integer(value)) {
        config_fail(r, QUERN_ERR_FORMAT, "%s: found %s, expected token ids", key,
                    json_type_name(value));
        return;
    }
    json_int_t id = json_integer_value(value);
    if (id < 0 || id >= vocab_size)
        return;
    for (int32_t i = 0; i < *n; i++)
        if (ids[i] == id)
            return;
    if (*n == max)
        config_fail(r, QUERN_ERR_LIMIT, "%s: more than %d ids", key, (int)max);
    else
        ids[(*n)++] = (int32_t)id;
}

void config_token_ids(struct config_reader *r, const char *key, int32_t vocab_size, int32_t *ids,
                      int32_t max, int32_t *n) {
    if (r->status || !config_has(r, key))
        return;
    const json_t *value = json_object_get(r->object, key);
    *n = 0;
    if (!json_is_array(value)) {
        add_id(r, key, value, vocab_size, ids, max, n);
        return;
    }
    for (size_t i = 0; !r->status && i < json_array_size(value); i++)
        add_id(r, key, json_array_get(value, i), vocab_size, ids, max, n);
}

int32_t config_token_id(struct config_reader *r, const char *key, int32_t vocab_size,
                        int32_t default_value) {
    /* Llama files may hold a list here; its first id counts. */
    int32_t ids[16], n = 0;
    if (!config_has(r, key))
        return default_value;
    config_token_ids(r, key, vocab_size, ids, 16, &n);
    return n ? ids[0] : -1;
}

void config_fail(struct config_reader *r, enum quern_status code, const char *fmt, ...) {
    if (r->status)
        return;
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    r->status = error_set(r->err, code, "%s: %s", r->name, text);
}

const char *config_printable(const char *text, char out[64]) {
    size_t n = 0;
    for (; n < 63 && text[n]; n++)
        out[n] = text[n] >= ' ' && text[n] < 0x7f ? text[n] : '?';
    out[n] = '\0';
    return out;
}
