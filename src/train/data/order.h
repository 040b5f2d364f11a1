/* order.h - in which order examples are trained, and which of them share a row. A function of the
 * data, the options and the epoch alone, so that a run goes on where it stopped. */
#ifndef QUERN_TRAIN_ORDER_H
#define QUERN_TRAIN_ORDER_H

#include "train/data/data.h"
#include "train/data/row.h"

enum order_kind {
    ORDER_SHUFFLED, /* all examples shuffled; with packing, first fit decreasing within a window */
    ORDER_WINDOWS,  /* windows in the files' order; each sorted by length (ties by index), cut into rows of
                       at most row_tokens, every example counted as the row's longest; rows shuffled.
                       What the demo's recipe does: examples of like length share a row */
    ORDER_FILE,     /* as they come, for evaluation */
};

struct order_options {
    enum order_kind kind;
    bool packing;      /* several examples a row (ORDER_WINDOWS: always) */
    size_t row_tokens; /* most in a row; a longer example has one of its own */
    size_t window;     /* examples; 0: all */
    uint64_t seed;
};

struct order {
    uint32_t *examples;   /* of all rows */
    uint32_t *row_starts; /* [n_rows + 1] into examples */
    size_t n_rows;
};

enum quern_status order_make(const struct train_data *data, const struct order_options *options,
                             size_t epoch, struct order *out, struct quern_error *err);
/* A part of an epoch, for data that come little by little: rows before `from` are forgotten, those left move
 * to the front, and behind them come examples [first, first + n), as one window: shuffled, packed and
 * drawn among themselves. */
enum quern_status order_go_on(const struct train_data *data, const struct order_options *options,
                              size_t epoch, size_t first, size_t n, size_t from, struct order *o,
                              struct quern_error *err);
void order_release(struct order *o); /* zeroed is fine */

enum { LABEL_WORDS_MAX = 16, LABEL_OPENING_MAX = 16 };

/* Which tokens are labels besides those that the examples train, and of which kind. */
struct label_rules {
    bool prompts; /* the prompts' tokens too, as TRAIN_LABEL_PROMPT */
    /* But not the one after `opening`, what begins an answer: a chat template drops the thoughts of
     * earlier answers, and a model would learn to answer without. `thought` begins one that is there. */
    int32_t opening[LABEL_OPENING_MAX], thought;
    size_t n_opening; /* 0: no such rule */
    /* Trained tokens among `words` right after `after` are TRAIN_LABEL_EMPHASIZED. */
    int32_t after, words[LABEL_WORDS_MAX];
    size_t n_words; /* 0: no such rule */
};

/* Rows i .. i+n-1 as the training core takes them. */
struct row_set {
    struct train_row *rows;
    size_t n;
    int32_t *numbers; /* tokens and labels */
    uint8_t *flags;
    uint32_t *starts;
};
enum quern_status row_set_make(const struct train_data *data, const struct order *order, size_t i,
                               size_t n, const struct label_rules *rules, struct row_set *out,
                               struct quern_error *err);
void row_set_release(struct row_set *s); /* zeroed is fine */

#endif
