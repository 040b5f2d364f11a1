/* data_store.h - examples as token ids, found by number; they lie in memory, or in a file whose blocks
 * are kept for the next run. One thread adds at the end while others read what was there before.
 *
 * The file, in this machine's order of bytes:
 *     "QUERNTOK", u64 version, u64 hash of what the examples were made from
 *     blocks: u64 n_examples, n_words, n_cut, n_skipped, file, offset, line, checksum
 *             u32 lengths[n_examples], u32 words[n_words]
 * `file`, `offset` and `line` say where the text goes on after the block. A block counts when its
 * checksum is right, and so do all before it. */
#ifndef QUERN_TRAIN_DATA_STORE_H
#define QUERN_TRAIN_DATA_STORE_H

#include <stdatomic.h>

#include "base/data_file.h"

/* In the source: index of a file, offset in it, lines before it. */
struct data_place {
    size_t file;
    uint64_t offset;
    size_t line;
};

struct data_block {
    uint32_t *lengths, *words; /* own */
    size_t n_examples, n_words, lengths_capacity, words_capacity;
    size_t n_cut, n_skipped;
    struct data_place end;
};

void data_block_clear(struct data_block *b);
void data_block_release(struct data_block *b); /* zeroed is fine */
/* Room for n more words, to be filled by the caller; NULL: no memory. */
uint32_t *data_block_add(struct data_block *b, size_t n_words);

struct data_store_chunk;

struct data_store {
    struct data_store_chunk **chunks;
    atomic_size_t n;       /* examples */
    struct data_file file; /* fd -1: in memory */
    char *path;
    uint64_t end; /* of the file */
    uint32_t *words;
    size_t n_words, words_capacity;
    uint64_t hash;
};

/* Of a file that was made from the same, the good blocks are read, each given to fn; the rest is cut off.
 * path NULL: in memory, where nobody may read while something is added. */
enum quern_status data_store_open(struct data_store *s, const char *path, uint64_t hash,
                                  void (*fn)(void *ctx, const struct data_block *b), void *ctx,
                                  struct quern_error *err);
void data_store_close(struct data_store *s); /* zeroed is fine */
enum quern_status data_store_add(struct data_store *s, const struct data_block *b, struct quern_error *err);

size_t data_store_count(const struct data_store *s);
size_t data_store_length(const struct data_store *s, size_t i);
enum quern_status data_store_read(const struct data_store *s, size_t i, uint32_t *out,
                                  struct quern_error *err);

#endif
