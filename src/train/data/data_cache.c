#include "train/data/data_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/checksum.h"
#include "base/file_writer.h"

enum { VERSION = 1 };

struct header {
    char magic[8];
    uint64_t version, hash, n_examples, n_tokens, n_cut, n_skipped, checksum;
};
_Static_assert(sizeof(struct header) == 64, "starts follow it aligned");

static const char magic[8] = {'Q', 'U', 'E', 'R', 'N', 'T', 'O', 'K'};

static bool has_size(const struct header *h, size_t size) {
    size_t starts, tokens, all;
    return h->n_examples < SIZE_MAX && h->n_examples > 0 &&
           checked_mul((size_t)h->n_examples + 1, sizeof(uint64_t), &starts) &&
           checked_mul((size_t)h->n_tokens, sizeof(uint32_t), &tokens) &&
           checked_add(starts, tokens, &all) && checked_add(all, sizeof *h, &all) && all == size;
}

static bool starts_ascend(const uint64_t *starts, const struct header *h) {
    for (size_t i = 0; i < h->n_examples; i++)
        if (starts[i] >= starts[i + 1])
            return false;
    return starts[0] == 0 && starts[h->n_examples] == h->n_tokens;
}

bool data_cache_read(const char *path, struct train_data *d) {
    struct header h;
    struct os_map map;
    struct quern_error ignored;
    if (!os_file_exists(path) || os_map_open(&map, path, &ignored))
        return false;
    if (map.size_bytes < sizeof h)
        goto bad;
    memcpy(&h, map.data, sizeof h);
    const unsigned char *rest = map.data + sizeof h;
    if (memcmp(h.magic, magic, sizeof magic) != 0 || h.version != VERSION || h.hash != d->hash ||
        !has_size(&h, map.size_bytes) ||
        checksum64(h.hash, rest, map.size_bytes - sizeof h) != h.checksum)
        goto bad;
    const size_t starts_bytes = ((size_t)h.n_examples + 1) * sizeof *d->starts;
    d->starts = malloc(starts_bytes);
    if (!d->starts)
        goto bad;
    memcpy(d->starts, rest, starts_bytes);
    if (!starts_ascend(d->starts, &h)) {
        free(d->starts);
        d->starts = NULL;
        goto bad;
    }
    d->n_examples = (size_t)h.n_examples;
    d->n_tokens = (size_t)h.n_tokens;
    d->n_cut = (size_t)h.n_cut;
    d->n_skipped = (size_t)h.n_skipped;
    d->words = (const uint32_t *)(const void *)(rest + starts_bytes);
    d->map = map;
    return true;
bad:
    os_map_close(&map);
    return false;
}

enum quern_status data_cache_write(const char *path, const struct train_data *d,
                                   struct quern_error *err) {
    struct header h = {.version = VERSION,
                       .hash = d->hash,
                       .n_examples = d->n_examples,
                       .n_tokens = d->n_tokens,
                       .n_cut = d->n_cut,
                       .n_skipped = d->n_skipped};
    const size_t starts_bytes = (d->n_examples + 1) * sizeof *d->starts;
    const size_t tokens_bytes = d->n_tokens * sizeof *d->words;
    struct file_writer w = {.fd = -1};
    memcpy(h.magic, magic, sizeof magic);
    enum quern_status status = file_writer_init(&w, path, err);
    char *body = malloc(starts_bytes + tokens_bytes);
    if (!body)
        status = error_nomem(err);
    if (!status) {
        memcpy(body, d->starts, starts_bytes);
        memcpy(body + starts_bytes, d->words, tokens_bytes);
        h.checksum = checksum64(h.hash, body, starts_bytes + tokens_bytes);
        status = file_writer_write(&w, &h, sizeof h, err);
    }
    if (!status)
        status = file_writer_write(&w, body, starts_bytes + tokens_bytes, err);
    if (!status)
        status = file_writer_close(&w, err);
    if (!status)
        status = file_writer_publish(&w, err);
    file_writer_release(&w);
    free(body);
    return status;
}
