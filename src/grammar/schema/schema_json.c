/* schema_json.c - reading schemas. */
#include "grammar/schema/schema_json.h"

#include <stdlib.h>

#include "grammar/schema/decimal.h"
#include "text/json.h"
#include "text/json_reader.h"

/* Containers being filled; their children are collected on one stack. */
struct frame {
    struct sj_node *node;
    size_t first;
};

struct parser {
    struct sj_pool *pool;
    struct json_reader reader;
    struct sj_node **stack;
    size_t n, capacity;
    struct frame frames[JSON_READER_DEPTH_MAX];
    int depth;
};

static struct sj_node *new_node(struct parser *p, enum sj_kind kind, struct str key) {
    struct sj_node *node = arena_calloc(p->pool->arena, 1, sizeof *node);
    if (!node)
        return NULL;
    node->kind = kind;
    node->key = key;
    node->id = p->pool->n_nodes++;
    node->parent = p->depth ? p->frames[p->depth - 1].node : NULL;
    return node;
}

static bool push(struct parser *p, struct sj_node *node) {
    if (p->n == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 64;
        struct sj_node **grown = realloc(p->stack, capacity * sizeof *grown);
        if (!grown)
            return false;
        p->stack = grown;
        p->capacity = capacity;
    }
    p->stack[p->n++] = node;
    return true;
}

/* Of a repeated key the last member stays, at the place of the first. */
static size_t drop_repeated(struct sj_node **items, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = 0;
        while (at < kept && !str_eq(items[at]->key, items[i]->key))
            at++;
        items[at] = items[i];
        if (at == kept)
            kept++;
    }
    return kept;
}

enum { REPEATED_KEYS_SEARCHED = 4096 };

static bool close_container(struct parser *p) {
    struct frame *f = &p->frames[--p->depth];
    size_t n = p->n - f->first;
    struct sj_node **from = p->stack + f->first;
    if (f->node->kind == SJ_OBJECT && n <= REPEATED_KEYS_SEARCHED)
        n = drop_repeated(from, n);
    f->node->items = arena_alloc(p->pool->arena, n * sizeof *from);
    if (!f->node->items)
        return false;
    if (n)
        memcpy(f->node->items, from, n * sizeof *from);
    f->node->n = n;
    p->n = f->first;
    return true;
}

static const enum sj_kind kind_of[] = {
    [JSON_TOKEN_OBJECT] = SJ_OBJECT, [JSON_TOKEN_ARRAY] = SJ_ARRAY, [JSON_TOKEN_STRING] = SJ_STRING,
    [JSON_TOKEN_NUMBER] = SJ_NUMBER, [JSON_TOKEN_TRUE] = SJ_TRUE,   [JSON_TOKEN_FALSE] = SJ_FALSE,
    [JSON_TOKEN_NULL] = SJ_NULL,
};

/* False: out of memory. */
static bool add_value(struct parser *p, enum json_token token, struct str key,
                      struct sj_node **root) {
    struct sj_node *node = new_node(p, kind_of[token], key);
    if (!node)
        return false;
    node->text = p->reader.value;
    if (node->kind == SJ_NUMBER) {
        node->text.ptr = arena_strndup(p->pool->arena, p->reader.value.ptr, p->reader.value.len);
        if (!node->text.ptr)
            return false;
    }
    if (p->depth == 0)
        *root = node;
    else if (!push(p, node))
        return false;
    if (node->kind == SJ_OBJECT || node->kind == SJ_ARRAY)
        p->frames[p->depth++] = (struct frame){node, p->n};
    return true;
}

static bool copy_key(struct parser *p, struct str *key) {
    key->len = p->reader.value.len;
    key->ptr = arena_strndup(p->pool->arena, p->reader.value.ptr, key->len);
    return key->ptr != NULL;
}

enum quern_status sj_parse(struct sj_pool *pool, struct str text, const char *name,
                           struct sj_node **out, struct quern_error *err) {
    struct parser p = {.pool = pool};
    struct sj_node *root = NULL;
    struct str key = {NULL, 0};
    enum quern_status st = QUERN_OK;
    char *copy = arena_strndup(pool->arena, text.ptr, text.len);
    if (!copy)
        return error_nomem(err);
    json_reader_init(&p.reader, (struct str){copy, text.len}, pool->arena);
    for (;;) {
        enum json_token token = json_reader_next(&p.reader);
        bool ok = true;
        if (token == JSON_TOKEN_END)
            break;
        if (token == JSON_TOKEN_ERROR) {
            st = json_reader_error(&p.reader, name, err);
            break;
        }
        if (token == JSON_TOKEN_KEY)
            ok = copy_key(&p, &key);
        else if (token == JSON_TOKEN_OBJECT_END || token == JSON_TOKEN_ARRAY_END)
            ok = close_container(&p);
        else {
            ok = add_value(&p, token, key, &root);
            key = (struct str){NULL, 0};
        }
        if (!ok) {
            st = error_nomem(err);
            break;
        }
    }
    free(p.stack);
    if (st == QUERN_OK)
        *out = root;
    return st;
}

const struct sj_node *sj_get_str(const struct sj_node *object, struct str key) {
    if (!sj_is(object, SJ_OBJECT))
        return NULL;
    for (size_t i = 0; i < object->n; i++)
        if (str_eq(object->items[i]->key, key))
            return object->items[i];
    return NULL;
}

const struct sj_node *sj_get(const struct sj_node *object, const char *key) {
    return sj_get_str(object, str_from(key));
}

bool sj_is(const struct sj_node *n, enum sj_kind kind) {
    return n && n->kind == kind;
}

bool sj_count(const struct sj_node *n, uint32_t *out) {
    struct decimal d;
    return sj_is(n, SJ_NUMBER) && decimal_parse(n->text, &d) && decimal_to_count(&d, out);
}

static bool same_object(const struct sj_node *a, const struct sj_node *b) {
    for (size_t i = 0; i < a->n; i++) {
        const struct sj_node *other = sj_get_str(b, a->items[i]->key);
        if (!other || !sj_equal(a->items[i], other))
            return false;
    }
    return true;
}

/* Recursion is bounded by the depth of what was parsed. */
bool sj_equal(const struct sj_node *a, const struct sj_node *b) {
    if (a->kind != b->kind || a->n != b->n)
        return false;
    switch (a->kind) {
    case SJ_STRING:
        return str_eq(a->text, b->text);
    case SJ_NUMBER: {
        struct decimal x, y;
        return decimal_parse(a->text, &x) && decimal_parse(b->text, &y) && decimal_equal(&x, &y);
    }
    case SJ_ARRAY:
        for (size_t i = 0; i < a->n; i++)
            if (!sj_equal(a->items[i], b->items[i]))
                return false;
        return true;
    case SJ_OBJECT:
        return same_object(a, b);
    default:
        return true;
    }
}

/* Recursion is bounded by the depth of what was parsed. */
void sj_write(const struct sj_node *n, struct buffer *out) {
    static const char *const words[] = {"null", "false", "true"};
    if (n->kind <= SJ_TRUE) {
        buffer_puts(out, words[n->kind]);
    } else if (n->kind == SJ_NUMBER) {
        buffer_append(out, n->text.ptr, n->text.len);
    } else if (n->kind == SJ_STRING) {
        json_write_string(n->text, out);
    } else {
        const bool object = n->kind == SJ_OBJECT;
        buffer_puts(out, object ? "{" : "[");
        for (size_t i = 0; i < n->n; i++) {
            if (i > 0)
                buffer_puts(out, ", ");
            if (object) {
                json_write_string(n->items[i]->key, out);
                buffer_puts(out, ": ");
            }
            sj_write(n->items[i], out);
        }
        buffer_puts(out, object ? "}" : "]");
    }
}
