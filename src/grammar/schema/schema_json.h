/* schema_json.h - a JSON text as a tree that keeps what a schema needs and json_t loses: the
 * spelling of numbers, the order of keys. Of a repeated key the last value counts. Everything
 * lives in the arena. */
#ifndef QUERN_GRAMMAR_SCHEMA_JSON_H
#define QUERN_GRAMMAR_SCHEMA_JSON_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/str.h"

enum sj_kind { SJ_NULL, SJ_FALSE, SJ_TRUE, SJ_NUMBER, SJ_STRING, SJ_ARRAY, SJ_OBJECT };

struct sj_node {
    enum sj_kind kind;
    struct str text;   /* of a string, unescaped; of a number, as written */
    struct str key;    /* of a member of an object */
    uint32_t id;       /* counted from 0 in one pool */
    uint32_t resource; /* which schema resource it belongs to (schema_refs.h) */
    const struct sj_node *parent;
    size_t n;
    struct sj_node **items; /* [n] elements or members, in order */
};

/* Counts the nodes of all texts read into it. */
struct sj_pool {
    struct arena *arena;
    uint32_t n_nodes;
};

/* Nesting beyond JSON_READER_DEPTH_MAX is an error. `name` begins the message. */
enum quern_status sj_parse(struct sj_pool *pool, struct str text, const char *name,
                           struct sj_node **out, struct quern_error *err);

/* The member, or NULL; also NULL when `object` is none. */
const struct sj_node *sj_get(const struct sj_node *object, const char *key);
const struct sj_node *sj_get_str(const struct sj_node *object, struct str key);
bool sj_is(const struct sj_node *n, enum sj_kind kind); /* false for NULL */
/* A whole number from 0 to UINT32_MAX - 1, however it is written ("2.0", "1e2"). */
bool sj_count(const struct sj_node *n, uint32_t *out);
/* Equal as JSON values: 1 = 1.0, members in any order. */
bool sj_equal(const struct sj_node *a, const struct sj_node *b);

/* As Python's json.dumps(value, ensure_ascii=False) does, but numbers as they were written. */
void sj_write(const struct sj_node *n, struct buffer *out);

#endif
