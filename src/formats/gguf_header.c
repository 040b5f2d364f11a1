#include "formats/gguf_header.h"

#include <string.h>

#include "base/checked.h"
#include "formats/gguf_blocks.h"
#include "formats/safetensors_header.h"
#include "text/unicode.h"

enum {
    VERSION_MIN = 2,
    VERSION_MAX = 3,
    DIMENSIONS_MAX = 4,
    ALIGNMENT_DEFAULT = 32,
    ALIGNMENT_MAX = 1 << 20,
    KEY_MAX = 1024,
    /* Far beyond any model; they bound the memory that a large file can ask for. */
    VALUES_MAX = 1 << 16,
    TENSORS_MAX = 1 << 20,
    /* The shortest value: key of one byte, type, one byte; the shortest tensor: name of one byte,
     * one dimension. */
    VALUE_BYTES_MIN = 8 + 1 + 4 + 1,
    TENSOR_BYTES_MIN = 8 + 1 + 4 + 8 + 4 + 8,
};

/* Reads one thing after another; after the first failure every read gives zero. */
struct cursor {
    const unsigned char *begin, *p, *end;
    const char *name;
    struct arena *arena;
    struct quern_error *err;
    enum quern_status status;
};

static size_t left(const struct cursor *c) {
    return (size_t)(c->end - c->p);
}

static const unsigned char *take(struct cursor *c, size_t n, const char *what) {
    if (c->status)
        return NULL;
    if (n > left(c)) {
        c->status = error_set(c->err, QUERN_ERR_FORMAT,
                              "%s: %s at byte %zu has %zu bytes, but the file ends %zu bytes on",
                              c->name, what, (size_t)(c->p - c->begin), n, left(c));
        return NULL;
    }
    c->p += n;
    return c->p - n;
}

static uint64_t read_uint(struct cursor *c, size_t bytes, const char *what) {
    const unsigned char *p = take(c, bytes, what);
    uint64_t value = 0;
    for (size_t i = 0; p && i < bytes; i++)
        value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static struct str read_string(struct cursor *c, const char *what) {
    uint64_t n = read_uint(c, 8, what);
    const unsigned char *p = take(c, n > SIZE_MAX ? SIZE_MAX : (size_t)n, what);
    return p ? (struct str){(const char *)p, (size_t)n} : (struct str){0};
}

/* How many of `what` follow, each of which takes at least `least` bytes. */
static size_t read_count(struct cursor *c, size_t least, const char *what) {
    uint64_t n = read_uint(c, 8, what);
    if (!c->status && n > left(c) / least)
        c->status = error_set(c->err, QUERN_ERR_FORMAT,
                              "%s: %s is %llu, more than the %zu bytes that follow can hold",
                              c->name, what, (unsigned long long)n, left(c));
    return c->status ? 0 : (size_t)n;
}

static void fail(struct cursor *c, enum quern_status code, const char *what, struct str which,
                 const char *problem) {
    if (!c->status)
        c->status = error_set(c->err, code, "%s: %s \"%.*s\" %s", c->name, what,
                              (int)(which.len < 100 ? which.len : 100), which.ptr, problem);
}

/* ---- values ------------------------------------------------------------------------------ */

/* 0 for strings and arrays. */
static size_t scalar_bytes(enum gguf_type type) {
    static const unsigned char bytes[GGUF_TYPE_COUNT] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
        [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8};
    return bytes[type];
}

static enum gguf_type read_type(struct cursor *c, struct str key) {
    uint64_t type = read_uint(c, 4, "a value's type");
    if (!c->status && type >= GGUF_TYPE_COUNT)
        fail(c, QUERN_ERR_FORMAT, "value", key, "is of an unknown type");
    return c->status ? GGUF_U8 : (enum gguf_type)type;
}

/* The items must be gone through once, since their lengths say where the array ends. */
static void read_items(struct cursor *c, struct gguf_value *v) {
    v->item_type = read_type(c, v->key);
    if (v->item_type == GGUF_ARRAY)
        fail(c, QUERN_ERR_UNSUPPORTED, "value", v->key, "is an array of arrays");
    const size_t bytes = scalar_bytes(v->item_type);
    v->n_items = read_count(c, bytes ? bytes : 8, "an array's count");
    v->data = c->p;
    if (bytes)
        take(c, v->n_items * bytes, "an array");
    for (size_t i = 0; !bytes && !c->status && i < v->n_items; i++)
        read_string(c, "a string of an array");
    v->size_bytes = (size_t)(c->p - v->data);
}

static void read_value(struct cursor *c, struct gguf_value *v) {
    v->key = read_string(c, "a key");
    if (!c->status && (v->key.len == 0 || v->key.len > KEY_MAX || !utf8_valid(v->key)))
        fail(c, QUERN_ERR_FORMAT, "key", v->key, "is empty, longer than 1024 bytes or no UTF-8");
    v->type = read_type(c, v->key);
    if (v->type == GGUF_ARRAY) {
        read_items(c, v);
    } else if (v->type == GGUF_STRING) {
        struct str text = read_string(c, "a string");
        v->data = (const unsigned char *)text.ptr;
        v->size_bytes = text.len;
    } else {
        v->size_bytes = scalar_bytes(v->type);
        v->data = take(c, v->size_bytes, "a value");
    }
}

static void read_values(struct cursor *c, struct gguf_header *h, size_t n) {
    h->values = arena_calloc(c->arena, n, sizeof *h->values);
    if (!c->status && !h->values)
        c->status = error_nomem(c->err);
    while (!c->status && h->n_values < n) {
        struct gguf_value *v = &h->values[h->n_values];
        bool existed = false;
        read_value(c, v);
        if (!c->status && !map_put(&h->by_key, v->key, (uint32_t)h->n_values, &existed))
            c->status = error_nomem(c->err);
        if (existed)
            fail(c, QUERN_ERR_FORMAT, "key", v->key, "is there twice");
        h->n_values++;
    }
}

static size_t read_alignment(struct cursor *c, const struct gguf_header *h) {
    uint32_t i;
    int64_t alignment = ALIGNMENT_DEFAULT;
    struct str key = STR_LIT("general.alignment");
    if (!map_get(&h->by_key, key, &i))
        return ALIGNMENT_DEFAULT;
    if (!gguf_integer(&h->values[i], &alignment) || alignment < 1 || alignment > ALIGNMENT_MAX ||
        (alignment & (alignment - 1)))
        fail(c, QUERN_ERR_FORMAT, "value", key, "is no power of two up to 2^20");
    return c->status ? ALIGNMENT_DEFAULT : (size_t)alignment;
}

/* ---- tensors ------------------------------------------------------------------------------ */

static void read_name(struct cursor *c, struct tensor *t) {
    struct str name = read_string(c, "a tensor's name");
    if (c->status)
        return;
    if (!utf8_valid(name) || !safetensors_name_ok(name)) {
        fail(c, QUERN_ERR_FORMAT, "tensor name", name,
             "is empty, too long, no UTF-8 or holds control characters");
        return;
    }
    t->name = arena_strndup(c->arena, name.ptr, name.len);
    if (!t->name)
        c->status = error_nomem(c->err);
}

/* The file counts dimensions from the innermost. */
static void read_shape(struct cursor *c, struct tensor *t) {
    const struct str name = str_from(t->name);
    uint64_t rank = read_uint(c, 4, "a tensor's dimensions");
    if (!c->status && (rank < 1 || rank > DIMENSIONS_MAX))
        fail(c, QUERN_ERR_FORMAT, "tensor", name, "has no dimensions or more than 4");
    for (size_t i = 0; !c->status && i < rank; i++) {
        uint64_t n = read_uint(c, 8, "a tensor's dimension");
        if (!c->status && (n == 0 || n > INT64_MAX))
            fail(c, QUERN_ERR_FORMAT, "tensor", name, "has a dimension of 0 or beyond 2^63");
        t->shape[rank - 1 - i] = (size_t)n;
    }
    t->rank = c->status ? 0 : (int)rank;
}

static void read_tensor(struct cursor *c, struct gguf_tensor *out, size_t *offset) {
    struct tensor *t = &out->tensor;
    size_t elements = 1;
    read_name(c, t);
    read_shape(c, t);
    out->type = (uint32_t)read_uint(c, 4, "a tensor's type");
    *offset = (size_t)read_uint(c, 8, "a tensor's offset");
    if (c->status)
        return;
    const struct str name = str_from(t->name);
    const struct ggml_type *type = ggml_type_find(out->type);
    if (!type) {
        c->status = error_set(c->err, QUERN_ERR_UNSUPPORTED, "%s: tensor \"%s\" has type %u, which "
                              "is unknown", c->name, t->name, (unsigned)out->type);
        return;
    }
    t->dtype = type->dtype;
    t->block_type = type->elements > 1 ? type->name : NULL;
    for (int i = 0; i < t->rank; i++)
        if (!checked_mul(elements, t->shape[i], &elements))
            fail(c, QUERN_ERR_FORMAT, "tensor", name, "has more elements than can be counted");
    if (!c->status && t->shape[t->rank - 1] % type->elements)
        c->status = error_set(c->err, QUERN_ERR_FORMAT,
                              "%s: tensor \"%s\" has rows of %zu elements, which are no multiple "
                              "of the %zu in a block of %s",
                              c->name, t->name, t->shape[t->rank - 1], type->elements, type->name);
    if (!checked_mul(elements / type->elements, type->block_bytes, &t->size_bytes))
        fail(c, QUERN_ERR_FORMAT, "tensor", name, "has more bytes than can be counted");
}

/* In the order of the file each tensor begins at the first multiple of the alignment after the
 * one before, as ggml demands: no two share bytes, and none lies outside. */
static void place(struct cursor *c, struct gguf_header *h, const size_t *offsets,
                  size_t alignment) {
    const size_t head = (size_t)(c->p - c->begin), total = (size_t)(c->end - c->begin);
    size_t start, expected = 0;
    if (!checked_add(head, alignment - 1, &start))
        start = total;
    start -= start % alignment;
    for (size_t i = 0; !c->status && i < h->n_tensors; i++) {
        struct tensor *t = &h->tensors[i].tensor;
        if (offsets[i] != expected) {
            c->status = error_set(c->err, QUERN_ERR_FORMAT,
                                  "%s: tensor \"%s\" has offset %zu, expected %zu", c->name,
                                  t->name, offsets[i], expected);
            return;
        }
        size_t begin, end;
        if (!checked_add(start, expected, &begin) || !checked_add(begin, t->size_bytes, &end) ||
            end > total) {
            c->status = error_set(c->err, QUERN_ERR_FORMAT,
                                  "%s: tensor \"%s\" has %zu bytes from byte %zu of the data, but "
                                  "the file has %zu bytes of data",
                                  c->name, t->name, t->size_bytes, expected,
                                  total > start ? total - start : 0);
            return;
        }
        t->data = c->begin + begin;
        h->data_bytes += t->size_bytes;
        /* Cannot overflow: the tensor lies inside the file. */
        expected += (t->size_bytes + alignment - 1) / alignment * alignment;
    }
}

static void read_tensors(struct cursor *c, struct gguf_header *h, size_t n) {
    const size_t alignment = read_alignment(c, h);
    h->tensors = arena_calloc(c->arena, n, sizeof *h->tensors);
    size_t *offsets = arena_calloc(c->arena, n, sizeof *offsets);
    const char *slash = strrchr(c->name, '/');
    const char *file = arena_strdup(c->arena, slash ? slash + 1 : c->name);
    if (!c->status && (!h->tensors || !offsets || !file))
        c->status = error_nomem(c->err);
    while (!c->status && h->n_tensors < n) {
        struct gguf_tensor *t = &h->tensors[h->n_tensors];
        read_tensor(c, t, &offsets[h->n_tensors++]);
        t->tensor.file = file;
    }
    place(c, h, offsets, alignment);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static void read_start(struct cursor *c) {
    const unsigned char *magic = take(c, 4, "the magic number");
    uint64_t version = read_uint(c, 4, "the version");
    if (!c->status && memcmp(magic, "GGUF", 4) != 0)
        c->status = error_set(c->err, QUERN_ERR_FORMAT, "%s: the file does not begin with GGUF",
                              c->name);
    if (!c->status && version && !(version & 0xffff))
        c->status = error_set(c->err, QUERN_ERR_UNSUPPORTED,
                              "%s: the file is big-endian, only little-endian GGUF is read",
                              c->name);
    if (!c->status && (version < VERSION_MIN || version > VERSION_MAX))
        c->status = error_set(c->err, QUERN_ERR_UNSUPPORTED,
                              "%s: GGUF version %u is not supported (2 and 3 are)", c->name,
                              (unsigned)version);
}

enum quern_status gguf_header_parse(const unsigned char *data, size_t size_bytes, const char *name,
                                    struct arena *arena, struct gguf_header *out,
                                    struct quern_error *err) {
    static const unsigned char nothing[1];
    if (!size_bytes)
        data = nothing;
    struct cursor c = {data, data, data + size_bytes, name, arena, err, QUERN_OK};
    struct gguf_header h = {0};
    read_start(&c);
    uint64_t n_tensors = read_uint(&c, 8, "the number of tensors");
    size_t n_values = read_count(&c, VALUE_BYTES_MIN, "the number of values");
    if (!c.status && n_tensors > left(&c) / TENSOR_BYTES_MIN)
        c.status = error_set(err, QUERN_ERR_FORMAT,
                             "%s: the number of tensors is %llu, more than the %zu bytes that "
                             "follow can hold",
                             name, (unsigned long long)n_tensors, left(&c));
    if (!c.status && (n_values > VALUES_MAX || n_tensors > TENSORS_MAX))
        c.status = error_set(err, QUERN_ERR_LIMIT,
                             "%s: %zu values and %llu tensors, at most %d and %d are read", name,
                             n_values, (unsigned long long)n_tensors, VALUES_MAX, TENSORS_MAX);
    if (!c.status && !map_init(&h.by_key, 64))
        c.status = error_nomem(err);
    if (!c.status)
        read_values(&c, &h, n_values);
    if (!c.status)
        read_tensors(&c, &h, (size_t)n_tensors);
    if (c.status) {
        gguf_header_release(&h);
        return c.status;
    }
    *out = h;
    return QUERN_OK;
}

void gguf_header_release(struct gguf_header *h) {
    map_release(&h->by_key);
}
