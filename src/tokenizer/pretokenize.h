/* pretokenize.h - cutting text into the words that byte pair encoding works on. */
#ifndef QUERN_TOKENIZER_PRETOKENIZE_H
#define QUERN_TOKENIZER_PRETOKENIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/str.h"
#include "tokenizer/pcre_splitter.h"

/* What becomes of the matches of a Split. */
enum split_behavior {
    SPLIT_ISOLATED, /* a word of their own */
    SPLIT_REMOVED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS, /* adjacent matches are one word */
};

enum stage_kind {
    STAGE_QWEN,         /* the hand-written scanner */
    STAGE_PCRE,         /* any other pattern */
    STAGE_PREFIX_SPACE, /* a space before words that begin with none */
};

struct pretokenizer_stage {
    enum stage_kind kind;
    enum split_behavior behavior;
    bool invert;                /* matches are what lies between the matches */
    int max_digits;             /* STAGE_QWEN */
    struct pcre_splitter *pcre; /* STAGE_PCRE */
};

enum { PRETOKENIZER_STAGES_MAX = 16 };

struct pretokenizer {
    struct pretokenizer_stage stages[PRETOKENIZER_STAGES_MAX];
    int n_stages;
    bool byte_level; /* tokenizer.json has a ByteLevel, as it must */
};

void pretokenizer_release(struct pretokenizer *p); /* zeroed is fine */
/* `pattern` as in tokenizer.json, `literal`: to be found as it stands. */
enum quern_status pretokenizer_add_split(struct pretokenizer *p, struct str pattern, bool literal,
                                         enum split_behavior behavior, bool invert,
                                         struct quern_error *err);
enum quern_status pretokenizer_add_prefix_space(struct pretokenizer *p, struct quern_error *err);

/* A place in a text. */
struct span {
    size_t begin, end;
};

struct spans {
    struct span *items;
    size_t n, capacity;
};

/* What one thread needs while it cuts. */
struct pretokenizer_state {
    struct pcre_scratch pcre;
    struct spans spans[2];
    struct buffer prefixed;
};
void pretokenizer_state_release(struct pretokenizer_state *s); /* zeroed is fine */

/* Receives each word in turn; `text` is what it lies in and stays readable meanwhile. */
typedef enum quern_status word_fn(void *ctx, struct str text, size_t begin, size_t end);

/* `text` is valid UTF-8. */
enum quern_status pretokenize(const struct pretokenizer *p, struct pretokenizer_state *s,
                              struct str text, word_fn *fn, void *ctx, struct quern_error *err);

#endif
