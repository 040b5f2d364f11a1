/* regex.h - the store of hash-consed regular expressions and their derivatives. */
#ifndef QUERN_GRAMMAR_REGEX_H
#define QUERN_GRAMMAR_REGEX_H

#include "grammar/grammar.h"
#include "grammar/intern.h"

enum re_kind {
    RE_NOTHING,
    RE_EMPTY,
    RE_ANYTHING,
    RE_BYTES,    /* content: four 64-bit words */
    RE_LITERAL,  /* content: 1 to RE_LITERAL_MAX bytes */
    RE_CONCAT,   /* a, b; a is no concat */
    RE_OR,       /* content: ids, ascending */
    RE_AND,      /* content: ids, ascending */
    RE_NOT,      /* a */
    RE_REPEAT,   /* a; min b, max c */
    RE_MULTIPLE, /* div a, rem b, wanted rem c */
    RE_JSON,     /* a; state b, value c (regex_derive.c) */
};

enum re_text {
    RE_BYTES_ONLY,
    RE_TEXT,      /* characters in UTF-8 */
    RE_CHARACTER, /* exactly one */
};

/* The fixed ids of the first three. */
enum { RE_ID_NOTHING, RE_ID_EMPTY, RE_ID_ANYTHING };
/* Flags in the state of RE_JSON. BMP: no escapes of two halves. */
enum { RE_JSON_USUAL = 8, RE_JSON_BMP = 256, RE_JSON_FLAGS = RE_JSON_USUAL | RE_JSON_BMP };
enum { RE_LITERAL_MAX = 32, RE_MAX_DEPTH = 2000 };

struct re_node {
    uint8_t kind;
    bool nullable;
    bool searchy;      /* whether it matches anything needs a search: and, not */
    uint8_t emptiness; /* 0 unknown, 1 matches something, 2 nothing */
    uint8_t text;      /* what is known of all its matches: enum re_text */
    uint16_t depth;
    uint32_t a, b, c; /* content: a is the offset in words, b the bytes */
    uint32_t way;       /* a guess of the bytes that are missing to a match */
    uint32_t partition; /* 1 + the bytes it tells apart first; 0: not asked yet */
};

/* Classes of bytes, numbered in the order of their first bytes. */
struct re_partition {
    uint8_t class_of[256], first[256];
    uint16_t n;
};

struct regex_store {
    struct re_node *nodes;
    size_t n, capacity, max_exprs;
    uint64_t *content;
    size_t n_content, content_capacity;
    struct id_table table;
    struct pair_map derivatives; /* (id, representative byte) -> id */
    struct u32s scratch;         /* a stack of temporary lists */
    struct re_partition *partitions; /* regex_classes.c */
    size_t n_partitions, partitions_capacity;
    struct id_table partition_table;
    struct pair_map meets; /* of two partitions: the one that both cut */
    struct budget budget;
    uint64_t fuel;
    uint64_t deadline_ns, asked; /* 0: none; times the clock was not looked at yet */
    uint8_t class_of[256]; /* bytes no expression tells apart share a class */
    uint8_t representative[256];
    uint16_t class_size[256];
    unsigned n_classes;
    expr_id any_text; /* every sequence of characters; 0: not made yet */
    bool failed, searching;
    struct quern_error error;
};

enum quern_status regex_store_init(struct regex_store *s, const struct grammar_limits *limits);
void regex_store_release(struct regex_store *s);
/* Remembers the first failure. Returns GRAMMAR_NONE. */
expr_id regex_fail(struct regex_store *s, enum quern_status code, const char *what);
/* Takes n of the fuel; false, and the store has failed, when it runs out. */
bool regex_burn(struct regex_store *s, uint64_t n);

expr_id re_bytes(struct regex_store *s, const uint64_t set[4]);
expr_id re_range(struct regex_store *s, unsigned lo, unsigned hi);
expr_id re_literal(struct regex_store *s, struct str text);
expr_id re_concat(struct regex_store *s, expr_id x, expr_id y);
expr_id re_nary(struct regex_store *s, enum re_kind kind, const expr_id *x, size_t n);
/* The same of the operands at scratch.v[base..], which stay there. */
expr_id re_nary_scratch(struct regex_store *s, enum re_kind kind, size_t base);
expr_id re_pair(struct regex_store *s, enum re_kind kind, expr_id x, expr_id y);
expr_id re_not(struct regex_store *s, expr_id x);
expr_id re_repeat(struct regex_store *s, expr_id x, uint32_t min, uint32_t max);
expr_id re_remainder(struct regex_store *s, uint32_t div, uint32_t rem, uint32_t wanted);
expr_id re_json(struct regex_store *s, expr_id x, uint32_t state, uint32_t value);
expr_id re_char_range(struct regex_store *s, uint32_t lo, uint32_t hi);

static inline bool re_nullable(const struct regex_store *s, expr_id x) {
    return s->nodes[x].nullable;
}
/* What may follow `byte` in the texts of x. */
expr_id re_derive(struct regex_store *s, expr_id x, unsigned byte);
/* What a node of RE_JSON reads next. */
enum re_json_reads { RE_JSON_READS_TEXT, RE_JSON_READS_ESCAPE, RE_JSON_READS_DIGITS };
enum re_json_reads re_json_reads(const struct re_node *n);
/* The bytes after which the n expressions x[0], x[stride], ... may differ. Valid until the next call
 * that makes partitions. NULL: the store has failed. */
const struct re_partition *re_local_classes(struct regex_store *s, const expr_id *x, size_t n,
                                            size_t stride);
/* The bytes with which texts of x begin, and perhaps others; all of them after so many steps. */
void re_first(const struct regex_store *s, expr_id x, uint64_t set[4], unsigned *steps);
/* Does x match nothing? *out is set; false when the store failed. */
bool re_is_nothing(struct regex_store *s, expr_id x, bool *out);

#endif
