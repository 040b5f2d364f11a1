/* Values of GGUF as C's types. */
#include <string.h>

#include "formats/gguf.h"

const char *gguf_type_name(enum gguf_type type) {
    static const char *const names[GGUF_TYPE_COUNT] = {
        "uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
        "bool",  "string", "array",  "uint64", "int64",  "float64"};
    return names[type];
}

static uint64_t load(const unsigned char *p, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)p[i] << (8 * i);
    return value;
}

/* False for types that are no integers, and beyond int64_t. */
static bool load_integer(enum gguf_type type, const unsigned char *p, int64_t *out) {
    switch (type) {
    case GGUF_U8:
        *out = p[0];
        return true;
    case GGUF_I8:
        *out = (int8_t)p[0];
        return true;
    case GGUF_U16:
        *out = (int64_t)load(p, 2);
        return true;
    case GGUF_I16:
        *out = (int16_t)load(p, 2);
        return true;
    case GGUF_U32:
        *out = (int64_t)load(p, 4);
        return true;
    case GGUF_I32:
        *out = (int32_t)load(p, 4);
        return true;
    case GGUF_U64:
    case GGUF_I64:
        *out = (int64_t)load(p, 8);
        return type == GGUF_I64 || *out >= 0;
    default:
        return false;
    }
}

bool gguf_integer(const struct gguf_value *v, int64_t *out) {
    return v && load_integer(v->type, v->data, out);
}

bool gguf_number(const struct gguf_value *v, double *out) {
    int64_t integer;
    if (!v)
        return false;
    if (v->type == GGUF_F32) {
        uint32_t bits = (uint32_t)load(v->data, 4);
        float f;
        memcpy(&f, &bits, sizeof f);
        *out = (double)f;
        return true;
    }
    if (v->type == GGUF_F64) {
        uint64_t bits = load(v->data, 8);
        memcpy(out, &bits, sizeof *out);
        return true;
    }
    if (v->type == GGUF_U64) {
        *out = (double)load(v->data, 8);
        return true;
    }
    if (!gguf_integer(v, &integer))
        return false;
    *out = (double)integer;
    return true;
}

bool gguf_bool(const struct gguf_value *v, bool *out) {
    if (!v || v->type != GGUF_BOOL)
        return false;
    *out = v->data[0] != 0;
    return true;
}

bool gguf_string(const struct gguf_value *v, struct str *out) {
    if (!v || v->type != GGUF_STRING)
        return false;
    *out = (struct str){(const char *)v->data, v->size_bytes};
    return true;
}

bool gguf_next_string(const struct gguf_value *v, size_t *at, struct str *out) {
    if (!v || v->type != GGUF_ARRAY || v->item_type != GGUF_STRING || *at >= v->size_bytes)
        return false;
    /* Lengths were checked when the header was read. */
    size_t n = (size_t)load(v->data + *at, 8);
    *out = (struct str){(const char *)v->data + *at + 8, n};
    *at += 8 + n;
    return true;
}

bool gguf_is_integers(const struct gguf_value *v) {
    return v && v->type == GGUF_ARRAY &&
           (v->item_type <= GGUF_I32 || v->item_type == GGUF_U64 || v->item_type == GGUF_I64);
}

int64_t gguf_integer_item(const struct gguf_value *v, size_t i) {
    int64_t value = 0;
    const size_t bytes = v->size_bytes / v->n_items;
    /* What does not fit is no id, length or flag of anything. */
    return load_integer(v->item_type, v->data + i * bytes, &value) ? value : INT64_MAX;
}
