/* added_tokens.h - tokens beside the model's vocabulary, found in the text before anything
 * else happens to it. */
#ifndef QUERN_TOKENIZER_ADDED_TOKENS_H
#define QUERN_TOKENIZER_ADDED_TOKENS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

struct added_token {
    struct str spelling; /* this and the next two: in the tokenizer's arena */
    struct str pattern;  /* looked for in the text: normalized tokens' spelling in normal form */
    struct str decoded;  /* what decoding makes of it */
    int32_t id;
    bool special, single_word, lstrip, rstrip, normalized;
};

/* Patterns in the order of their bytes: a search narrows down a range of them, byte by byte,
 * as it would walk down a trie. */
struct added_set {
    const struct added_token **tokens; /* [n], sorted by pattern */
    uint32_t n;
    uint32_t first[257]; /* patterns beginning with byte b: tokens[first[b], first[b + 1]) */
    int only_first;      /* the one byte that all of them begin with, or -1 */
};

/* Keeps those of tokens[n] whose `normalized` is as given. Two equal patterns are an error. */
enum quern_status added_set_init(struct added_set *set, const struct added_token *tokens, size_t n,
                                 bool normalized, struct quern_error *err);
void added_set_release(struct added_set *set); /* zeroed is fine */

/* A piece of text: an added token, or what stands between two of them. */
struct added_piece {
    const struct added_token *token; /* NULL: ordinary text */
    size_t begin, end;
};

/* Where in the text the search is. A zeroed one is at the start. */
struct added_cursor {
    size_t search;  /* matches before it were looked at */
    size_t emitted; /* pieces up to here were handed out */
    size_t spaces_begin, spaces_end; /* the run of spaces that rstrip last took */
    bool has_held;
    struct added_piece held; /* a token, waiting for the text before it to be handed out */
};

/* The next piece; false at the end. Together the pieces are the text (only a token with rstrip
 * may overlap the token after it). */
bool added_set_next(const struct added_set *set, struct str text, struct added_cursor *cursor,
                    struct added_piece *piece);

#endif
