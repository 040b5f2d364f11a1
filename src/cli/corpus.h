/* corpus.h - the texts of files, counted for a tokenizer's training. */
#ifndef QUERN_CLI_CORPUS_H
#define QUERN_CLI_CORPUS_H

#include <stdbool.h>

#include "tokenizer/word_count.h"

struct corpus_options {
    bool whole_files; /* a text file is one text; else each of its lines is, with its end */
    void (*on_progress)(void *user, double fraction); /* of the files' bytes */
    void *user;
};

/* Files named .jsonl hold a JSON object a line: every text in it that a model would see or say is
 * counted, and tools and calls as they are rendered. Any other file is text. */
enum quern_status corpus_count(const char *const *paths, size_t n, const struct corpus_options *o,
                               struct word_counter *counter, struct quern_error *err);

#endif
