/* json_reader.h - a strict pull parser over a JSON text in memory, for files of many
 * megabytes (tokenizer.json) where a tree would cost more than the reading. No
 * recursion; no allocation except for strings with escapes. */
#ifndef QUERN_TEXT_JSON_READER_H
#define QUERN_TEXT_JSON_READER_H

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

enum json_token {
    JSON_TOKEN_END = 0, /* of the text */
    JSON_TOKEN_ERROR,   /* see json_reader_error */
    JSON_TOKEN_OBJECT,
    JSON_TOKEN_OBJECT_END,
    JSON_TOKEN_ARRAY,
    JSON_TOKEN_ARRAY_END,
    JSON_TOKEN_KEY,
    JSON_TOKEN_STRING,
    JSON_TOKEN_NUMBER,
    JSON_TOKEN_TRUE,
    JSON_TOKEN_FALSE,
    JSON_TOKEN_NULL,
};

enum { JSON_READER_DEPTH_MAX = 64 };

struct json_reader {
    const char *start, *p, *end;
    struct arena *arena; /* unescaped strings live here; NULL: escapes stay, unchecked */
    struct str value;    /* text of the last key, string (unescaped) or number */
    const char *problem; /* static text, set with JSON_TOKEN_ERROR */
    bool no_memory;      /* the problem is the arena's */
    unsigned char stack[JSON_READER_DEPTH_MAX]; /* '{' or '[' */
    int depth;
    unsigned char state; /* what may come next */
};

void json_reader_init(struct json_reader *r, struct str text, struct arena *arena);
enum json_token json_reader_next(struct json_reader *r);
/* Call after OBJECT, ARRAY or KEY: skips to the end of that value (for a KEY: of its value)
 * and returns its text, a valid JSON text of its own, in *text (may be NULL). After a scalar
 * it returns r->value. False on a syntax error. */
bool json_reader_skip(struct json_reader *r, struct str *text);
/* Whether the last key or string spells `text`, for a reader without arena. Allocates nothing. */
bool json_reader_value_is(const struct json_reader *r, struct str text);
/* "NAME: line L, column C: PROBLEM"; QUERN_ERR_NOMEM when the arena had no room, else
 * QUERN_ERR_FORMAT. */
enum quern_status json_reader_error(const struct json_reader *r, const char *name,
                                    struct quern_error *err);

#endif
