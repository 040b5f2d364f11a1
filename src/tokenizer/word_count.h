/* word_count.h - how often each word of Qwen's pattern occurs in many texts: what training byte pair
 * encoding begins with. */
#ifndef QUERN_TOKENIZER_WORD_COUNT_H
#define QUERN_TOKENIZER_WORD_COUNT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"
#include "base/threads.h"

struct word_count {
    const unsigned char *bytes; /* lives as long as the counter */
    uint32_t len;
    uint32_t tag; /* of the hash */
    uint64_t count;
};

struct word_counter;

/* Works on the threads of `pool`, which must stay. */
enum quern_status word_counter_create(struct thread_pool *pool, struct word_counter **out,
                                      struct quern_error *err);
void word_counter_destroy(struct word_counter *c); /* NULL is fine */
/* A text's words are counted: no word crosses from one text to the next. Invalid UTF-8 becomes
 * U+FFFD, then the text its NFC. */
struct word_sink;
enum quern_status word_sink_add(struct word_sink *s, struct str text, struct quern_error *err);

/* Gives the texts of the index-th of n records to the sink; called by several threads at once. */
typedef enum quern_status word_texts_fn(void *user, size_t index, struct word_sink *sink,
                                        struct quern_error *err);
/* Of several failing records the first is reported. */
enum quern_status word_counter_add(struct word_counter *c, size_t n, word_texts_fn *texts,
                                   void *user, struct quern_error *err);
/* The words so far, in no order; the counter takes no more afterwards. */
enum quern_status word_counter_finish(struct word_counter *c, const struct word_count **words,
                                      size_t *n, struct quern_error *err);

#endif
