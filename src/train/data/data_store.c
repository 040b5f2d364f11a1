#include "train/data/data_store.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/checksum.h"

enum { VERSION = 2, CHUNK = 1 << 14, CHUNKS_MAX = 1 << 18 };

/* Chunks never move, so that they can be read while others are added. */
struct data_store_chunk {
    uint64_t at[CHUNK]; /* in bytes of the file, or in words */
    uint32_t length[CHUNK];
};

struct file_header {
    char magic[8];
    uint64_t version, hash;
};

struct block_header {
    uint64_t n_examples, n_words, n_cut, n_skipped, file, offset, line, checksum;
};
_Static_assert(sizeof(struct block_header) == 64, "no padding in what is written");

static const char magic[8] = {'Q', 'U', 'E', 'R', 'N', 'T', 'O', 'K'};

/* ---- blocks ----------------------------------------------------------------------------------- */

static bool reserve(uint32_t **items, size_t wanted, size_t *capacity) {
    size_t n = *capacity ? *capacity : 1024, bytes;
    if (wanted <= *capacity)
        return true;
    while (n < wanted)
        if (!checked_mul(n, 2, &n))
            return false;
    uint32_t *grown = checked_mul(n, sizeof *grown, &bytes) ? realloc(*items, bytes) : NULL;
    if (!grown)
        return false;
    *items = grown;
    *capacity = n;
    return true;
}

void data_block_clear(struct data_block *b) {
    b->n_examples = b->n_words = b->n_cut = b->n_skipped = 0;
}

void data_block_release(struct data_block *b) {
    free(b->lengths);
    free(b->words);
    *b = (struct data_block){0};
}

uint32_t *data_block_add(struct data_block *b, size_t n_words) {
    size_t wanted;
    if (n_words > UINT32_MAX || !checked_add(b->n_words, n_words, &wanted) ||
        !reserve(&b->words, wanted, &b->words_capacity) ||
        !reserve(&b->lengths, b->n_examples + 1, &b->lengths_capacity))
        return NULL;
    b->lengths[b->n_examples++] = (uint32_t)n_words;
    b->n_words = wanted;
    return b->words + wanted - n_words;
}

/* ---- the index ---------------------------------------------------------------------------------- */

static enum quern_status add_to_index(struct data_store *s, const struct data_block *b, uint64_t at,
                                      uint64_t word, struct quern_error *err) {
    size_t n = atomic_load_explicit(&s->n, memory_order_relaxed);
    for (size_t i = 0; i < b->n_examples; i++, n++) {
        struct data_store_chunk **chunk = &s->chunks[n / CHUNK];
        if (n / CHUNK >= CHUNKS_MAX)
            return error_set(err, QUERN_ERR_LIMIT, "more than %zu examples", n);
        if (!*chunk)
            *chunk = malloc(sizeof **chunk);
        if (!*chunk)
            return error_nomem(err);
        (*chunk)->at[n % CHUNK] = at;
        (*chunk)->length[n % CHUNK] = b->lengths[i];
        at += b->lengths[i] * word;
    }
    atomic_store_explicit(&s->n, n, memory_order_release);
    return QUERN_OK;
}

size_t data_store_count(const struct data_store *s) {
    return atomic_load_explicit(&s->n, memory_order_acquire);
}

size_t data_store_length(const struct data_store *s, size_t i) {
    return s->chunks[i / CHUNK]->length[i % CHUNK];
}

enum quern_status data_store_read(const struct data_store *s, size_t i, uint32_t *out,
                                  struct quern_error *err) {
    const struct data_store_chunk *c = s->chunks[i / CHUNK];
    const size_t n = c->length[i % CHUNK];
    if (s->path)
        return data_file_read(&s->file, c->at[i % CHUNK], out, n * sizeof *out, err);
    memcpy(out, s->words + c->at[i % CHUNK], n * sizeof *out);
    return QUERN_OK;
}

/* ---- the file ------------------------------------------------------------------------------------- */

static uint64_t checksum_of(const struct data_store *s, const struct block_header *h,
                            const struct data_block *b) {
    uint64_t sum = checksum64(s->hash, h, offsetof(struct block_header, checksum));
    sum = checksum64(sum, b->lengths, b->n_examples * sizeof *b->lengths);
    return checksum64(sum, b->words, b->n_words * sizeof *b->words);
}

static bool has_size(const struct block_header *h, uint64_t left) {
    return h->n_examples <= left / sizeof(uint32_t) && h->n_words <= left / sizeof(uint32_t) &&
           (h->n_examples + h->n_words) * sizeof(uint32_t) <= left;
}

static bool lengths_fit(const struct data_block *b) {
    uint64_t sum = 0;
    for (size_t i = 0; i < b->n_examples; i++) {
        if (!b->lengths[i])
            return false;
        sum += b->lengths[i];
    }
    return sum == b->n_words;
}

/* False: no good block begins here. */
static bool read_block(const struct data_store *s, uint64_t at, struct data_block *b) {
    struct block_header h;
    if (s->file.size_bytes - at < sizeof h || data_file_read(&s->file, at, &h, sizeof h, NULL))
        return false;
    at += sizeof h;
    if (!has_size(&h, s->file.size_bytes - at))
        return false;
    data_block_clear(b);
    if (!reserve(&b->lengths, (size_t)h.n_examples, &b->lengths_capacity) ||
        !reserve(&b->words, (size_t)h.n_words, &b->words_capacity))
        return false;
    b->n_examples = (size_t)h.n_examples;
    b->n_words = (size_t)h.n_words;
    b->n_cut = (size_t)h.n_cut;
    b->n_skipped = (size_t)h.n_skipped;
    b->end = (struct data_place){(size_t)h.file, h.offset, (size_t)h.line};
    const size_t lengths_bytes = b->n_examples * sizeof *b->lengths;
    return !data_file_read(&s->file, at, b->lengths, lengths_bytes, NULL) &&
           !data_file_read(&s->file, at + lengths_bytes, b->words, b->n_words * sizeof *b->words, NULL) &&
           lengths_fit(b) && checksum_of(s, &h, b) == h.checksum;
}

static uint64_t words_at(uint64_t block_at, const struct data_block *b) {
    return block_at + sizeof(struct block_header) + b->n_examples * sizeof *b->lengths;
}

static enum quern_status read_blocks(struct data_store *s, void (*fn)(void *ctx, const struct data_block *b),
                                     void *ctx, struct quern_error *err) {
    struct data_block b = {0};
    enum quern_status status = QUERN_OK;
    while (!status && read_block(s, s->end, &b)) {
        const uint64_t words = words_at(s->end, &b);
        status = add_to_index(s, &b, words, sizeof *b.words, err);
        if (!status)
            fn(ctx, &b);
        s->end = words + b.n_words * sizeof *b.words;
    }
    data_block_release(&b);
    return status;
}

static enum quern_status open_file(struct data_store *s, const char *path,
                                   void (*fn)(void *ctx, const struct data_block *b), void *ctx,
                                   struct quern_error *err) {
    struct file_header h = {.version = VERSION, .hash = s->hash}, there = {.version = 0};
    memcpy(h.magic, magic, sizeof magic);
    s->path = strdup(path);
    if (!s->path)
        return error_nomem(err);
    enum quern_status status = data_file_open_to_write(&s->file, s->path, err);
    if (status)
        return status;
    s->end = sizeof h;
    if (s->file.size_bytes >= sizeof h)
        status = data_file_read(&s->file, 0, &there, sizeof there, err);
    if (!status && memcmp(&h, &there, sizeof h) == 0)
        status = read_blocks(s, fn, ctx, err);
    else if (!status)
        status = data_file_write(&s->file, 0, &h, sizeof h, err);
    if (!status && s->file.size_bytes > s->end)
        status = data_file_truncate(&s->file, s->end, err);
    return status;
}

enum quern_status data_store_open(struct data_store *s, const char *path, uint64_t hash,
                                  void (*fn)(void *ctx, const struct data_block *b), void *ctx,
                                  struct quern_error *err) {
    *s = (struct data_store){.hash = hash, .file = {.fd = -1}};
    atomic_init(&s->n, 0);
    s->chunks = calloc(CHUNKS_MAX, sizeof *s->chunks);
    if (!s->chunks)
        return error_nomem(err);
    return path ? open_file(s, path, fn, ctx, err) : QUERN_OK;
}

void data_store_close(struct data_store *s) {
    for (size_t i = 0; s->chunks && i < CHUNKS_MAX && s->chunks[i]; i++)
        free(s->chunks[i]);
    free(s->chunks);
    if (s->path)
        data_file_close(&s->file);
    free(s->path);
    free(s->words);
    *s = (struct data_store){.file = {.fd = -1}};
}

enum quern_status data_store_add(struct data_store *s, const struct data_block *b, struct quern_error *err) {
    enum quern_status status;
    if (!s->path) {
        const size_t at = s->n_words;
        if (!reserve(&s->words, at + b->n_words, &s->words_capacity))
            return error_nomem(err);
        if (b->n_words)
            memcpy(s->words + at, b->words, b->n_words * sizeof *b->words);
        s->n_words += b->n_words;
        return add_to_index(s, b, at, 1, err);
    }
    struct block_header h = {.n_examples = b->n_examples,
                             .n_words = b->n_words,
                             .n_cut = b->n_cut,
                             .n_skipped = b->n_skipped,
                             .file = b->end.file,
                             .offset = b->end.offset,
                             .line = b->end.line};
    const uint64_t words = words_at(s->end, b);
    h.checksum = checksum_of(s, &h, b);
    status = data_file_write(&s->file, s->end, &h, sizeof h, err);
    if (!status)
        status = data_file_write(&s->file, s->end + sizeof h, b->lengths,
                                 b->n_examples * sizeof *b->lengths, err);
    if (!status)
        status = data_file_write(&s->file, words, b->words, b->n_words * sizeof *b->words, err);
    if (!status)
        status = add_to_index(s, b, words, sizeof *b->words, err);
    if (!status)
        s->end = words + b->n_words * sizeof *b->words;
    return status;
}
