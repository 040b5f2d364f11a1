/* grammar.h - the intermediate representation of every grammar and its builder. A front end
 * (JSON Schema, regex, GBNF, ...) fills a builder; grammar_compile turns it into a grammar
 * that matchers (matcher.h) run.
 *
 * A grammar is context-free, over bytes:
 *   expressions   regular expressions over bytes, closed under or, and, not; identical ones
 *                 have the same id, so building one twice costs nothing
 *   symbols       terminals (an expression, or a token id) and rules (nonterminals)
 *   productions   rule -> symbol symbol ...
 * The language is exactly what that says: a text is accepted when SOME way of cutting it into
 * terminals derives it. There is no longest match, no priority and no implicit white space: a
 * keyword that must not be an identifier is written and(identifier, not(keyword)).
 * Terminals may be nullable, rules left-, right- or self-recursive and ambiguous. Put as much
 * as possible into one expression (a whole JSON number, a string with its quotes): terminals
 * are cheaper than rules.
 *
 * Errors are sticky: a constructor that fails (memory, a limit, a bad argument) remembers the
 * first failure in the builder and returns GRAMMAR_NONE; every constructor accepts
 * GRAMMAR_NONE and answers GRAMMAR_NONE. So a front end builds without checking and looks at
 * grammar_builder_status (or grammar_compile) once. In loops over untrusted input check
 * grammar_builder_failed to stop early.
 *
 * Threads: a builder belongs to one thread. A compiled grammar and all its matchers share
 * caches without a lock: one thread at a time, or a lock of the caller's. */
#ifndef QUERN_GRAMMAR_GRAMMAR_H
#define QUERN_GRAMMAR_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

typedef uint32_t expr_id;   /* a regular expression */
typedef uint32_t symbol_id; /* a terminal or a rule */

#define GRAMMAR_NONE UINT32_MAX
#define GRAMMAR_INF UINT32_MAX /* no upper bound of a repetition */

struct grammar_limits {
    size_t max_exprs;       /* nodes of expressions, those met while matching included */
    size_t max_symbols;     /* terminals and rules */
    size_t max_productions; /* total symbols on right-hand sides */
    size_t max_bytes;       /* memory of the grammar with its caches */
    uint64_t compile_fuel;  /* steps of grammar_compile */
    uint64_t step_fuel;     /* steps of one call of a matcher */
    uint32_t compile_ms;    /* until grammar_compile is done, from the builder's creation; 0: any */
};
/* What a server would use. */
struct grammar_limits grammar_default_limits(void);

struct grammar_builder;
/* limits NULL: the default ones. */
enum quern_status grammar_builder_create(const struct grammar_limits *limits,
                                         struct grammar_builder **out, struct quern_error *err);
void grammar_builder_destroy(struct grammar_builder *b); /* NULL is fine */
bool grammar_builder_failed(const struct grammar_builder *b);
/* QUERN_OK, or the first failure with its message. */
enum quern_status grammar_builder_status(const struct grammar_builder *b, struct quern_error *err);
/* For front ends: makes `code` with this message the builder's failure, unless it has one. */
enum quern_status grammar_builder_fail(struct grammar_builder *b, enum quern_status code,
                                       const char *fmt, ...) PRINTF_LIKE(3, 4);
/* What a front end's arena could not give. */
void grammar_builder_fail_arena(struct grammar_builder *b, const struct arena *a,
                                const char *name);

/* ---- expressions ---- */

expr_id expr_nothing(struct grammar_builder *b);  /* the empty set: matches no text */
expr_id expr_empty(struct grammar_builder *b);    /* the empty text */
expr_id expr_anything(struct grammar_builder *b); /* every sequence of bytes */
/* One byte out of a set: bit c of set[c / 64]. */
expr_id expr_byte_set(struct grammar_builder *b, const uint64_t set[4]);
expr_id expr_byte_range(struct grammar_builder *b, unsigned lo, unsigned hi);
expr_id expr_literal(struct grammar_builder *b, struct str text);
expr_id expr_text(struct grammar_builder *b, const char *text); /* the same, of a C string */
expr_id expr_concat(struct grammar_builder *b, expr_id x, expr_id y);
expr_id expr_concat_n(struct grammar_builder *b, const expr_id *x, size_t n); /* 0: empty */
expr_id expr_or(struct grammar_builder *b, expr_id x, expr_id y);
expr_id expr_or_n(struct grammar_builder *b, const expr_id *x, size_t n); /* 0: nothing */
expr_id expr_and(struct grammar_builder *b, expr_id x, expr_id y);
expr_id expr_and_n(struct grammar_builder *b, const expr_id *x, size_t n); /* 0: anything */
/* Every sequence of BYTES that x does not match, invalid UTF-8 included; intersect with
 * expr_chars_any for text: and(not(x), chars_any). */
expr_id expr_not(struct grammar_builder *b, expr_id x);
/* min to max copies (GRAMMAR_INF: no bound); costs one node whatever the counts. */
expr_id expr_repeat(struct grammar_builder *b, expr_id x, uint32_t min, uint32_t max);
expr_id expr_optional(struct grammar_builder *b, expr_id x);
expr_id expr_star(struct grammar_builder *b, expr_id x);
expr_id expr_plus(struct grammar_builder *b, expr_id x);
/* x anywhere in valid UTF-8: chars_any x chars_any. */
expr_id expr_contains(struct grammar_builder *b, expr_id x);

/* Unicode: characters in UTF-8; surrogates are left out of every range. */
struct char_range {
    uint32_t lo, hi; /* inclusive, at most 10FFFF */
};
expr_id expr_char(struct grammar_builder *b, uint32_t code_point);
expr_id expr_char_range(struct grammar_builder *b, uint32_t lo, uint32_t hi);
/* One character of the union, or with `negated` one of all others. Any order, overlaps fine. */
expr_id expr_chars(struct grammar_builder *b, const struct char_range *ranges, size_t n,
                   bool negated);
expr_id expr_char_any(struct grammar_builder *b);  /* any one character */
expr_id expr_chars_any(struct grammar_builder *b); /* any sequence of characters */

/* Decimal digits whose value, after those of `rem`, is divisible: the strings s of [0-9]*
 * with (rem * 10^|s| + value(s)) mod div = 0. So expr_multiple_of(b, 3, 0) is every multiple of
 * 3, leading zeros and the empty text included (intersect to exclude them).
 * 1 <= div < 2^31, rem < div. */
expr_id expr_multiple_of(struct grammar_builder *b, uint32_t div, uint32_t rem);
/* The strings s of [0-9]* with value(s) mod div = rem. */
expr_id expr_remainder(struct grammar_builder *b, uint32_t div, uint32_t rem);

/* The JSON spellings, without quotes, of the texts that x matches: a character stands as itself
 * or as any of its escapes (\n, \u000a, \uD83D\uDE00), control characters, '"' and '\' only as
 * escapes. x must match valid UTF-8 only. So a pattern with minLength is
 *     json_escaped(and(pattern, repeat(char_any, min, INF)))
 * Lone surrogates have no UTF-8 and are not matched. */
expr_id expr_json_escaped(struct grammar_builder *b, expr_id x);
/* The same without needless escapes: what writers of JSON write. Printable ASCII stands as itself
 * but for \" and \\; so a fixed text has one spelling. Characters outside ASCII may be escaped. */
expr_id expr_json_usual(struct grammar_builder *b, expr_id x);
/* The same without \uD83D\uDE00, two escapes for one character: readers of YAML do not join them. */
expr_id expr_json_bmp(struct grammar_builder *b, expr_id x);

/* Does x match the empty text? False for GRAMMAR_NONE. */
bool expr_nullable(const struct grammar_builder *b, expr_id x);
/* Does x match no text at all, is x within y, do they share a text? Exact; costs fuel from
 * max_fuel, and is an error (QUERN_ERR_LIMIT) beyond it. */
enum quern_status expr_is_nothing(struct grammar_builder *b, expr_id x, uint64_t max_fuel,
                                  bool *out, struct quern_error *err);
/* Does x match this text? For checking enums, constants and examples while building. */
enum quern_status expr_matches(struct grammar_builder *b, expr_id x, struct str text, bool *out,
                               struct quern_error *err);

/* ---- symbols ---- */

/* Names are for messages ("the value of \"age\""); NULL is fine; copied. */

/* A terminal. Identical expressions give the same symbol, which keeps the first name. */
symbol_id grammar_terminal(struct grammar_builder *b, expr_id x, const char *name);
/* terminal(expr_literal(text)), named after the text. */
symbol_id grammar_literal(struct grammar_builder *b, const char *text);
/* Exactly this token, e.g. </think>. The bytes of its spelling never match it, nor does an
 * ordinary token; where the spelling should do as well, write alternatives. Meant for added
 * tokens: an ordinary token named here is read as this terminal wherever it may stand, and
 * as text only elsewhere. */
symbol_id grammar_token(struct grammar_builder *b, int32_t token, const char *name);

/* A rule without productions yet, so that rules can refer to each other. */
symbol_id grammar_rule(struct grammar_builder *b, const char *name);
/* rule -> rhs[0] ... rhs[n-1]; n = 0: the empty text. A rule has as many productions as were
 * added; one without any is an error of grammar_compile. */
void grammar_produce(struct grammar_builder *b, symbol_id rule, const symbol_id *rhs, size_t n);
/* The same for up to four symbols, GRAMMAR_NONE not allowed: produce2(b, r, x, y). */
void grammar_produce1(struct grammar_builder *b, symbol_id rule, symbol_id x);
void grammar_produce2(struct grammar_builder *b, symbol_id rule, symbol_id x, symbol_id y);
void grammar_produce3(struct grammar_builder *b, symbol_id rule, symbol_id x, symbol_id y,
                      symbol_id z);

/* Anonymous rules. Identical calls of empty, optional and repeat give the same symbol. */
symbol_id grammar_empty(struct grammar_builder *b);
symbol_id grammar_sequence(struct grammar_builder *b, const symbol_id *x, size_t n);
symbol_id grammar_sequence2(struct grammar_builder *b, symbol_id x, symbol_id y);
symbol_id grammar_sequence3(struct grammar_builder *b, symbol_id x, symbol_id y, symbol_id z);
symbol_id grammar_alternatives(struct grammar_builder *b, const symbol_id *x, size_t n);
symbol_id grammar_alternatives2(struct grammar_builder *b, symbol_id x, symbol_id y);
symbol_id grammar_optional(struct grammar_builder *b, symbol_id x);
/* min to max copies; O(log max) rules. */
symbol_id grammar_repeat(struct grammar_builder *b, symbol_id x, uint32_t min, uint32_t max);
/* min to max copies of x with `separator` between them. */
symbol_id grammar_separated(struct grammar_builder *b, symbol_id x, symbol_id separator,
                            uint32_t min, uint32_t max);

void grammar_start(struct grammar_builder *b, symbol_id start);

/* ---- compiling ---- */

struct grammar;

/* Takes the builder's contents; the builder may then only be destroyed. Refused, by the name
 * of the symbol: a rule without productions, a grammar that matches nothing, what passes the
 * limits. Unreachable rules and alternatives that can match nothing are dropped. */
enum quern_status grammar_compile(struct grammar_builder *b, struct grammar **out,
                                  struct quern_error *err);
/* Matchers must be gone. NULL is fine. */
void grammar_destroy(struct grammar *g);
/* Memory held now, caches included. */
size_t grammar_bytes(struct grammar *g);

#endif
