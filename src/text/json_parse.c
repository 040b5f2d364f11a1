/* Text to jansson's values, by our own reader. jansson's parser is not used: when memory runs out
 * in it, version 2.14 drops characters from strings without an error. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "text/json.h"
#include "text/json_reader.h"

struct builder {
    struct json_reader reader;
    struct arena arena; /* unescaped strings, keys and numbers */
    const char *name;
    struct quern_error *err;
    enum quern_status status;
    json_t *root;
    json_t *open[JSON_DEPTH_MAX]; /* borrowed: each belongs to the one before it */
    const char *key;              /* of the value to come, in an object */
};

static void fail(struct builder *b, const char *problem) {
    b->reader.problem = problem;
    b->status = json_reader_error(&b->reader, b->name, b->err);
}

static void fail_nomem(struct builder *b) {
    b->status = error_nomem(b->err);
}

static json_t *integer(struct builder *b, const char *digits) {
    errno = 0;
    long long value = strtoll(digits, NULL, 10);
    if (errno == ERANGE) {
        fail(b, "overflow: integers have 64 bits");
        return NULL;
    }
    return json_integer(value);
}

static json_t *real(struct builder *b, const char *digits) {
    double value = number_parse(digits, NULL);
    if (!isfinite(value)) {
        fail(b, "overflow: the number is too large for a double");
        return NULL;
    }
    return json_real(value);
}

static json_t *number(struct builder *b) {
    struct str text = b->reader.value;
    char *digits = arena_strndup(&b->arena, text.ptr, text.len);
    if (!digits)
        return NULL;
    return strpbrk(digits, ".eE") ? real(b, digits) : integer(b, digits);
}

static json_t *value_of(struct builder *b, enum json_token token) {
    switch (token) {
    case JSON_TOKEN_OBJECT:
        return json_object();
    case JSON_TOKEN_ARRAY:
        return json_array();
    case JSON_TOKEN_STRING:
        return json_stringn_nocheck(b->reader.value.len ? b->reader.value.ptr : "",
                                    b->reader.value.len);
    case JSON_TOKEN_NUMBER:
        return number(b);
    case JSON_TOKEN_TRUE:
        return json_true();
    case JSON_TOKEN_FALSE:
        return json_false();
    default:
        return json_null();
    }
}

/* Puts a value into the innermost open container, or makes it the root. `depth`: containers
 * open around it. */
static void place(struct builder *b, json_t *value, int depth) {
    int failed = 0;
    if (depth == 0)
        b->root = value;
    else if (json_is_object(b->open[depth - 1]))
        failed = json_object_set_new_nocheck(b->open[depth - 1], b->key, value);
    else
        failed = json_array_append_new(b->open[depth - 1], value);
    if (failed)
        fail_nomem(b);
}

static void take_key(struct builder *b) {
    struct str key = b->reader.value;
    b->key = arena_strndup(&b->arena, key.ptr, key.len);
    if (!b->key)
        fail_nomem(b);
    else if (key.len && memchr(key.ptr, '\0', key.len))
        fail(b, "a NUL character in a key");
    else if (json_object_get(b->open[b->reader.depth - 1], b->key))
        fail(b, "duplicate object key");
}

static void take_value(struct builder *b, enum json_token token) {
    bool opens = token == JSON_TOKEN_OBJECT || token == JSON_TOKEN_ARRAY;
    int depth = b->reader.depth - opens;
    json_t *value = value_of(b, token);
    if (!value) {
        if (!b->status)
            fail_nomem(b);
        return;
    }
    place(b, value, depth);
    if (opens && !b->status)
        b->open[depth] = value;
}

static void take_error(struct builder *b) {
    const struct json_reader *r = &b->reader;
    bool too_deep = r->depth == JSON_DEPTH_MAX && r->p < r->end && (*r->p == '[' || *r->p == '{');
    b->status = json_reader_error(r, b->name, b->err);
    if (too_deep) {
        fail(b, "nested more than 64 deep");
        if (b->err)
            b->err->code = QUERN_ERR_LIMIT;
        b->status = QUERN_ERR_LIMIT;
    }
}

enum quern_status json_parse(const char *text, size_t len, const char *name, json_t **out,
                             struct quern_error *err) {
    _Static_assert((int)JSON_DEPTH_MAX == (int)JSON_READER_DEPTH_MAX, "the reader keeps the limit");
    struct builder b = {.name = name, .err = err};
    arena_init(&b.arena, 0);
    json_reader_init(&b.reader, (struct str){text, len}, &b.arena);
    enum json_token token;
    while (!b.status && (token = json_reader_next(&b.reader)) != JSON_TOKEN_END) {
        if (token == JSON_TOKEN_ERROR)
            take_error(&b);
        else if (token == JSON_TOKEN_KEY)
            take_key(&b);
        else if (token != JSON_TOKEN_OBJECT_END && token != JSON_TOKEN_ARRAY_END)
            take_value(&b, token);
    }
    arena_release(&b.arena);
    if (b.status)
        json_decref(b.root);
    else
        *out = b.root;
    return b.status;
}
