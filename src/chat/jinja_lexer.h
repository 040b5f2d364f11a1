/* jinja_lexer.h - template text to tokens, with Jinja's whitespace control as transformers
 * sets it: trim_blocks, lstrip_blocks, no keep_trailing_newline. */
#ifndef QUERN_CHAT_JINJA_LEXER_H
#define QUERN_CHAT_JINJA_LEXER_H

#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

enum jtoken_kind {
    JTOKEN_EOF = 0,
    JTOKEN_DATA,
    JTOKEN_VARIABLE_BEGIN,
    JTOKEN_VARIABLE_END,
    JTOKEN_BLOCK_BEGIN,
    JTOKEN_BLOCK_END,
    JTOKEN_NAME,
    JTOKEN_STRING,
    JTOKEN_INTEGER,
    JTOKEN_FLOAT,
    JTOKEN_ADD,
    JTOKEN_SUB,
    JTOKEN_DIV,
    JTOKEN_FLOORDIV,
    JTOKEN_MUL,
    JTOKEN_MOD,
    JTOKEN_POW,
    JTOKEN_TILDE,
    JTOKEN_LBRACKET,
    JTOKEN_RBRACKET,
    JTOKEN_LPAREN,
    JTOKEN_RPAREN,
    JTOKEN_LBRACE,
    JTOKEN_RBRACE,
    JTOKEN_EQ,
    JTOKEN_NE,
    JTOKEN_GT,
    JTOKEN_GE,
    JTOKEN_LT,
    JTOKEN_LE,
    JTOKEN_ASSIGN,
    JTOKEN_DOT,
    JTOKEN_COLON,
    JTOKEN_PIPE,
    JTOKEN_COMMA,
    JTOKEN_SEMICOLON,
};

struct jtoken {
    enum jtoken_kind kind;
    int line;
    struct str text; /* data, name, string (unescaped) */
    union {
        int64_t integer;
        double number;
    } as;
};

struct jtokens {
    struct jtoken *items; /* ends with JTOKEN_EOF */
    size_t n;
};

/* `source` is valid UTF-8; the tokens point into the arena. On failure *line is where. */
enum quern_status jinja_tokenize(struct arena *arena, struct str source, struct jtokens *out,
                                 int *line, struct quern_error *err);

/* "'+'", "name", "end of template": for messages. */
const char *jtoken_describe(enum jtoken_kind kind);

#endif
