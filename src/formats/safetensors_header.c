#include "formats/safetensors_header.h"

#include <stdlib.h>

#include "base/checked.h"
#include "base/map.h"
#include "text/json_reader.h"
#include "text/unicode.h"

/* A tensor while its place is still an offset from the start of the data. */
struct entry {
    struct tensor tensor;
    size_t begin, end;
};

struct parser {
    struct json_reader reader;
    struct arena *arena;
    const char *name;
    struct entry *entries;
    size_t n, capacity;
    struct map names;
    struct safetensors_meta *meta;
    bool has_meta;
    struct quern_error *err;
};

bool safetensors_name_ok(struct str name) {
    if (name.len == 0 || name.len > SAFETENSORS_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        if (c < 0x20 || c == 0x7f)
            return false;
        /* U+0080 to U+009F: to a terminal as good as an escape. */
        if (c == 0xc2 && i + 1 < name.len && (unsigned char)name.ptr[i + 1] < 0xa0)
            return false;
    }
    return true;
}

/* Untrusted text for a message: cut, and nothing a terminal would act on. */
static const char *printable(struct str s, char out[48]) {
    size_t n = s.len < 47 ? s.len : 47;
    for (size_t i = 0; i < n; i++)
        out[i] = s.ptr[i] > ' ' && s.ptr[i] < 0x7f ? s.ptr[i] : '?';
    out[n] = '\0';
    return out;
}

static enum quern_status syntax(struct parser *p) {
    return json_reader_error(&p->reader, p->name, p->err);
}

static enum quern_status unexpected(struct parser *p, enum json_token token, const char *where,
                                    const char *want) {
    if (token == JSON_TOKEN_ERROR)
        return syntax(p);
    return error_set(p->err, QUERN_ERR_FORMAT, "%s: %s must be %s", p->name, where, want);
}

static bool parse_size(struct str digits, size_t *out) {
    size_t value = 0;
    if (digits.len == 0)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        char c = digits.ptr[i];
        if (c < '0' || c > '9' || !checked_mul(value, 10, &value) ||
            !checked_add(value, (size_t)(c - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

/* An array of at most `max` sizes; the JSON_TOKEN_ARRAY is still to come. */
static enum quern_status parse_sizes(struct parser *p, const char *tensor, const char *key,
                                     size_t *out, size_t max, size_t *n) {
    enum json_token token = json_reader_next(&p->reader);
    if (token == JSON_TOKEN_ERROR)
        return syntax(p);
    if (token != JSON_TOKEN_ARRAY)
        return error_set(p->err, QUERN_ERR_FORMAT, "%s: tensor %s: %s must be an array", p->name,
                         tensor, key);
    for (*n = 0;; (*n)++) {
        token = json_reader_next(&p->reader);
        if (token == JSON_TOKEN_ARRAY_END)
            return QUERN_OK;
        if (token == JSON_TOKEN_ERROR)
            return syntax(p);
        if (*n == max)
            return error_set(p->err, QUERN_ERR_UNSUPPORTED,
                             "%s: tensor %s: %s has more than %zu entries", p->name, tensor, key,
                             max);
        if (token != JSON_TOKEN_NUMBER || !parse_size(p->reader.value, &out[*n]))
            return error_set(p->err, QUERN_ERR_FORMAT,
                             "%s: tensor %s: %s must hold whole numbers from 0 to 2^64-1", p->name,
                             tensor, key);
    }
}

static enum quern_status parse_dtype(struct parser *p, const char *tensor, enum dtype *out) {
    enum json_token token = json_reader_next(&p->reader);
    if (token == JSON_TOKEN_ERROR)
        return syntax(p);
    if (token != JSON_TOKEN_STRING)
        return error_set(p->err, QUERN_ERR_FORMAT, "%s: tensor %s: dtype must be a string", p->name,
                         tensor);
    if (dtype_from_name(p->reader.value, out))
        return QUERN_OK;
    static const char *const newer[] = {"F4",          "F6_E2M3",     "F6_E3M2", "F8_E8M0",
                                        "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64"};
    char shown[48];
    for (size_t i = 0; i < sizeof newer / sizeof *newer; i++)
        if (str_is(p->reader.value, newer[i]))
            return error_set(p->err, QUERN_ERR_UNSUPPORTED,
                             "%s: tensor %s: element type %s is not supported", p->name, tensor,
                             newer[i]);
    return error_set(p->err, QUERN_ERR_FORMAT, "%s: tensor %s: unknown element type \"%s\"",
                     p->name, tensor, printable(p->reader.value, shown));
}

enum { HAS_DTYPE = 1, HAS_SHAPE = 2, HAS_OFFSETS = 4, HAS_ALL = 7 };

/* One member of a tensor's object, its key just read. Unknown keys are skipped, as the
 * reference does. */
static enum quern_status parse_field(struct parser *p, struct entry *e, unsigned *seen) {
    const char *tensor = e->tensor.name;
    struct str key = p->reader.value;
    unsigned field = str_is(key, "dtype")          ? HAS_DTYPE
                     : str_is(key, "shape")        ? HAS_SHAPE
                     : str_is(key, "data_offsets") ? HAS_OFFSETS
                                                   : 0;
    struct str skipped;
    if (!field)
        return json_reader_skip(&p->reader, &skipped) ? QUERN_OK : syntax(p);
    if (*seen & field)
        return error_set(p->err, QUERN_ERR_FORMAT, "%s: tensor %s: %.*s appears twice", p->name,
                         tensor, STR_FMT(key));
    *seen |= field;
    if (field == HAS_DTYPE)
        return parse_dtype(p, tensor, &e->tensor.dtype);
    size_t n;
    if (field == HAS_SHAPE) {
        enum quern_status status =
            parse_sizes(p, tensor, "shape", e->tensor.shape, SAFETENSORS_RANK_MAX, &n);
        if (!status)
            e->tensor.rank = (int)n;
        return status;
    }
    size_t offsets[2] = {0, 0};
    enum quern_status status = parse_sizes(p, tensor, "data_offsets", offsets, 2, &n);
    if (status)
        return status;
    if (n != 2)
        return error_set(p->err, QUERN_ERR_FORMAT,
                         "%s: tensor %s: data_offsets must be [begin, end]", p->name, tensor);
    e->begin = offsets[0];
    e->end = offsets[1];
    return QUERN_OK;
}

/* The size that shape and type ask for must be the one the offsets give. */
static enum quern_status check_size(struct parser *p, struct entry *e) {
    struct tensor *t = &e->tensor;
    size_t bytes = dtype_size_bytes(t->dtype);
    for (int i = 0; i < t->rank; i++)
        if (!checked_mul(bytes, t->shape[i], &bytes))
            return error_set(p->err, QUERN_ERR_FORMAT, "%s: tensor %s: its shape overflows",
                             p->name, t->name);
    if (e->begin > e->end)
        return error_set(p->err, QUERN_ERR_FORMAT,
                         "%s: tensor %s: data_offsets [%zu, %zu] end before they begin", p->name,
                         t->name, e->begin, e->end);
    if (e->end - e->begin != bytes)
        return error_set(p->err, QUERN_ERR_FORMAT,
                         "%s: tensor %s: data_offsets span %zu bytes, shape and dtype need %zu",
                         p->name, t->name, e->end - e->begin, bytes);
    t->size_bytes = bytes;
    return QUERN_OK;
}

static struct entry *add_entry(struct parser *p) {
    if (p->n == p->capacity) {
        size_t capacity = p->capacity ? p->capacity * 2 : 64;
        struct entry *grown = realloc(p->entries, capacity * sizeof *grown);
        if (!grown)
            return NULL;
        p->entries = grown;
        p->capacity = capacity;
    }
    struct entry *e = &p->entries[p->n++];
    *e = (struct entry){0};
    return e;
}

static enum quern_status parse_tensor(struct parser *p) {
    struct str name = p->reader.value;
    char shown[48];
    if (!safetensors_name_ok(name))
        return error_set(p->err, QUERN_ERR_FORMAT,
                         "%s: tensor name \"%s\" is empty, longer than %d bytes or has control "
                         "characters",
                         p->name, printable(name, shown), SAFETENSORS_NAME_MAX);
    if (p->n == SAFETENSORS_TENSORS_MAX)
        return error_set(p->err, QUERN_ERR_LIMIT, "%s: more than %d tensors", p->name,
                         SAFETENSORS_TENSORS_MAX);
    bool existed;
    struct entry *e = add_entry(p);
    char *copy = arena_strndup(p->arena, name.ptr, name.len);
    if (!e || !copy || !map_put(&p->names, (struct str){copy, name.len}, 0, &existed))
        return error_nomem(p->err);
    if (existed)
        return error_set(p->err, QUERN_ERR_FORMAT, "%s: tensor %s appears twice", p->name, copy);
    e->tensor.name = copy;
    enum json_token token = json_reader_next(&p->reader);
    if (token == JSON_TOKEN_ERROR)
        return syntax(p);
    if (token != JSON_TOKEN_OBJECT)
        return error_set(p->err, QUERN_ERR_FORMAT, "%s: tensor %s: must be an object", p->name,
                         copy);
    unsigned seen = 0;
    while ((token = json_reader_next(&p->reader)) == JSON_TOKEN_KEY) {
        enum quern_status status = parse_field(p, e, &seen);
        if (status)
            return status;
    }
    if (token != JSON_TOKEN_OBJECT_END)
        return syntax(p);
    if (seen != HAS_ALL)
        return error_set(p->err, QUERN_ERR_FORMAT, "%s: tensor %s: no %s", p->name, copy,
                         !(seen & HAS_DTYPE)   ? "dtype"
                         : !(seen & HAS_SHAPE) ? "shape"
                                               : "data_offsets");
    return check_size(p, e);
}

static enum quern_status parse_metadata(struct parser *p) {
    if (p->has_meta)
        return error_set(p->err, QUERN_ERR_FORMAT, "%s: __metadata__ appears twice", p->name);
    p->has_meta = true;
    enum json_token token = json_reader_next(&p->reader);
    if (token == JSON_TOKEN_NULL)
        return QUERN_OK;
    if (token != JSON_TOKEN_OBJECT)
        return unexpected(p, token, "__metadata__", "an object");
    while ((token = json_reader_next(&p->reader)) == JSON_TOKEN_KEY) {
        struct safetensors_meta *m = arena_alloc(p->arena, sizeof *m);
        char *key = arena_strndup(p->arena, p->reader.value.ptr, p->reader.value.len);
        token = json_reader_next(&p->reader);
        if (token != JSON_TOKEN_STRING)
            return unexpected(p, token, "every value of __metadata__", "a string");
        char *value = arena_strndup(p->arena, p->reader.value.ptr, p->reader.value.len);
        if (!m || !key || !value)
            return error_nomem(p->err);
        *m = (struct safetensors_meta){key, value, p->meta};
        p->meta = m;
    }
    return token == JSON_TOKEN_OBJECT_END ? QUERN_OK : syntax(p);
}

static enum quern_status parse_object(struct parser *p) {
    enum json_token token = json_reader_next(&p->reader);
    if (token != JSON_TOKEN_OBJECT)
        return unexpected(p, token, "the header", "an object");
    while ((token = json_reader_next(&p->reader)) == JSON_TOKEN_KEY) {
        enum quern_status status =
            str_is(p->reader.value, "__metadata__") ? parse_metadata(p) : parse_tensor(p);
        if (status)
            return status;
    }
    if (token != JSON_TOKEN_OBJECT_END || json_reader_next(&p->reader) != JSON_TOKEN_END)
        return syntax(p);
    return QUERN_OK;
}

static int by_place(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return strcmp(x->tensor.name, y->tensor.name);
}

/* Sorted by place, each tensor begins where the one before it ends, and the last ends at the
 * end of the file: nothing overlaps, nothing lies outside, nothing is hidden in holes. */
static enum quern_status check_places(struct parser *p, size_t data_bytes) {
    if (p->n)
        qsort(p->entries, p->n, sizeof *p->entries, by_place);
    size_t at = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct entry *e = &p->entries[i];
        if (e->begin != at)
            return error_set(
                p->err, QUERN_ERR_FORMAT, "%s: tensor %s: begins at byte %zu of the data, %s %zu",
                p->name, e->tensor.name, e->begin,
                e->begin > at ? "leaving a hole from" : "inside the tensor that ends at", at);
        at = e->end;
        if (at > data_bytes)
            return error_set(p->err, QUERN_ERR_FORMAT,
                             "%s: tensor %s: ends at byte %zu of the data, but the file holds only "
                             "%zu (truncated?)",
                             p->name, e->tensor.name, at, data_bytes);
    }
    if (at != data_bytes)
        return error_set(p->err, QUERN_ERR_FORMAT,
                         "%s: the tensors cover %zu bytes, but %zu follow the header", p->name, at,
                         data_bytes);
    return QUERN_OK;
}

static enum quern_status frame(const unsigned char *data, size_t size_bytes, const char *name,
                               struct str *json, struct quern_error *err) {
    if (size_bytes < 8)
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: %zu bytes is too short for a safetensors file (at least 8)", name,
                         size_bytes);
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | data[i];
    if (length > SAFETENSORS_HEADER_MAX)
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: header length %llu is over the limit of %d: not a safetensors file?",
                         name, (unsigned long long)length, SAFETENSORS_HEADER_MAX);
    if (length > size_bytes - 8)
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: header length %llu exceeds the file, which has %zu bytes after it "
                         "(truncated?)",
                         name, (unsigned long long)length, size_bytes - 8);
    *json = (struct str){(const char *)data + 8, (size_t)length};
    if (length == 0 || json->ptr[0] != '{')
        return error_set(err, QUERN_ERR_FORMAT, "%s: the header does not begin with '{'", name);
    if (!utf8_valid(*json))
        return error_set(err, QUERN_ERR_FORMAT, "%s: the header is not valid UTF-8", name);
    return QUERN_OK;
}

static enum quern_status take_tensors(struct parser *p, const unsigned char *data,
                                      struct safetensors_header *out) {
    struct tensor *tensors = malloc((p->n ? p->n : 1) * sizeof *tensors);
    if (!tensors)
        return error_nomem(p->err);
    for (size_t i = 0; i < p->n; i++) {
        tensors[i] = p->entries[i].tensor;
        tensors[i].data = data + p->entries[i].begin;
    }
    out->tensors = tensors;
    out->n = p->n;
    out->meta = p->meta;
    return QUERN_OK;
}

enum quern_status safetensors_header_parse(const unsigned char *data, size_t size_bytes,
                                           const char *name, struct arena *arena,
                                           struct safetensors_header *out,
                                           struct quern_error *err) {
    struct str json;
    enum quern_status status = frame(data, size_bytes, name, &json, err);
    if (status)
        return status;
    struct parser p = {.arena = arena, .name = name, .err = err};
    struct arena unescaped;
    arena_init(&unescaped, 0);
    json_reader_init(&p.reader, json, &unescaped);
    *out = (struct safetensors_header){.data_bytes = size_bytes - 8 - json.len};
    status = map_init(&p.names, 64) ? parse_object(&p) : error_nomem(err);
    if (!status)
        status = check_places(&p, out->data_bytes);
    if (!status)
        status = take_tensors(&p, data + 8 + json.len, out);
    free(p.entries);
    map_release(&p.names);
    arena_release(&unescaped);
    return status;
}

void safetensors_header_release(struct safetensors_header *h) {
    free(h->tensors);
    *h = (struct safetensors_header){0};
}
