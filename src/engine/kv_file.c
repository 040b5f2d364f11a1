#include "engine/kv_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/checked.h"
#include "base/checksum.h"
#include "base/file_writer.h"

static const char MAGIC[8] = {'Q', 'K', 'V', 'F', 'I', 'L', 'E', '1'};

enum {
    FIXED_BYTES = 8 + 16 + 8 + 4 + 4, /* up to the salt */
    CHECKSUM_BYTES = 8,
};

/* ---- numbers ------------------------------------------------------------------------ */

static void put(unsigned char *out, uint64_t value, int n_bytes) {
    for (int i = 0; i < n_bytes; i++)
        out[i] = (unsigned char)(value >> 8 * i);
}

static uint64_t get(const unsigned char *in, int n_bytes) {
    uint64_t value = 0;
    for (int i = 0; i < n_bytes; i++)
        value |= (uint64_t)in[i] << 8 * i;
    return value;
}

/* ---- writing -------------------------------------------------------------------------- */

static enum quern_status build_header(const struct kv_file_header *h, struct buffer *out,
                                      struct quern_error *err) {
    unsigned char fixed[FIXED_BYTES], word[8];
    const size_t salt_bytes = strlen(h->salt);
    memcpy(fixed, MAGIC, sizeof MAGIC);
    put(fixed + 8, h->fingerprint[0], 8);
    put(fixed + 16, h->fingerprint[1], 8);
    put(fixed + 24, h->block_bytes, 8);
    put(fixed + 32, h->n_tokens, 4);
    put(fixed + 36, salt_bytes, 4);
    buffer_append(out, fixed, sizeof fixed);
    buffer_append(out, h->salt, salt_bytes);
    for (size_t i = 0; i < h->n_tokens; i++) {
        put(word, (uint32_t)h->tokens[i], 4);
        buffer_append(out, word, 4);
    }
    if (out->failed)
        return buffer_status(out, "a header", err);
    put(word, checksum64(0, out->data, out->len), CHECKSUM_BYTES);
    buffer_append(out, word, CHECKSUM_BYTES);
    return buffer_status(out, "a header", err);
}

static enum quern_status write_blocks(struct file_writer *w, const struct kv_file_header *h,
                                      void (*read_block)(void *user, size_t i, void *data),
                                      void *user, struct quern_error *err) {
    const size_t n = kv_file_blocks(h->n_tokens), bytes = (size_t)h->block_bytes;
    unsigned char *sums = malloc(n * CHECKSUM_BYTES), *data = malloc(bytes);
    enum quern_status status = sums && data ? QUERN_OK : error_nomem(err);
    for (size_t i = 0; i < n && !status; i++) {
        read_block(user, i, data);
        put(sums + i * CHECKSUM_BYTES, checksum64(i, data, bytes), CHECKSUM_BYTES);
        status = file_writer_write(w, data, bytes, err);
    }
    if (!status)
        status = file_writer_write(w, sums, n * CHECKSUM_BYTES, err);
    free(sums);
    free(data);
    return status;
}

enum quern_status kv_file_write(const char *path, const struct kv_file_header *h,
                                void (*read_block)(void *user, size_t i, void *data), void *user,
                                struct quern_error *err) {
    struct buffer header;
    struct file_writer w;
    buffer_init(&header, FIXED_BYTES + KV_FILE_SALT_MAX + 4 * (size_t)KV_FILE_TOKENS_MAX + 8);
    enum quern_status status = build_header(h, &header, err);
    if (!status)
        status = file_writer_init(&w, path, err);
    if (!status) {
        status = file_writer_write(&w, header.data, header.len, err);
        if (!status)
            status = write_blocks(&w, h, read_block, user, err);
        if (!status)
            status = file_writer_close(&w, err);
        if (!status)
            status = file_writer_publish(&w, err);
        file_writer_release(&w);
    }
    buffer_release(&header);
    return status;
}

/* ---- reading ---------------------------------------------------------------------------- */

static enum quern_status broken(const struct data_file *f, const char *what,
                                struct quern_error *err) {
    return error_set(err, QUERN_ERR_FORMAT, "%s: %s", f->path, what);
}

/* The sizes in the header, and whether the file is as long as they say. */
static enum quern_status read_sizes(const struct data_file *f, const unsigned char *fixed,
                                    struct kv_file_header *h, size_t *salt_bytes,
                                    struct quern_error *err) {
    if (memcmp(fixed, MAGIC, sizeof MAGIC) != 0)
        return broken(f, "is not a file of keys and values", err);
    h->fingerprint[0] = get(fixed + 8, 8);
    h->fingerprint[1] = get(fixed + 16, 8);
    h->block_bytes = get(fixed + 24, 8);
    h->n_tokens = (uint32_t)get(fixed + 32, 4);
    *salt_bytes = (size_t)get(fixed + 36, 4);
    size_t blocks_bytes, total;
    const size_t n_blocks = kv_file_blocks(h->n_tokens);
    if (h->n_tokens == 0 || h->n_tokens > KV_FILE_TOKENS_MAX || *salt_bytes > KV_FILE_SALT_MAX ||
        h->block_bytes > SIZE_MAX || !checked_mul((size_t)h->block_bytes, n_blocks, &blocks_bytes))
        return broken(f, "has sizes out of range", err);
    h->data_offset = FIXED_BYTES + *salt_bytes + 4 * (uint64_t)h->n_tokens + CHECKSUM_BYTES;
    if (!checked_add((size_t)h->data_offset + n_blocks * CHECKSUM_BYTES, blocks_bytes, &total) ||
        total != f->size_bytes)
        return broken(f, "is not as long as its header says", err);
    h->total_bytes = total;
    return QUERN_OK;
}

static enum quern_status read_texts(const struct data_file *f, const unsigned char *fixed,
                                    size_t salt_bytes, struct kv_file_header *h,
                                    struct quern_error *err) {
    const size_t n = (size_t)h->data_offset;
    unsigned char *all = malloc(n);
    h->salt = malloc(salt_bytes + 1);
    h->tokens = malloc((size_t)h->n_tokens * sizeof *h->tokens);
    enum quern_status status = all && h->salt && h->tokens ? QUERN_OK : error_nomem(err);
    if (!status)
        status = data_file_read(f, 0, all, n, err);
    if (!status &&
        (memcmp(all, fixed, FIXED_BYTES) != 0 ||
         get(all + n - CHECKSUM_BYTES, CHECKSUM_BYTES) != checksum64(0, all, n - CHECKSUM_BYTES) ||
         memchr(all + FIXED_BYTES, 0, salt_bytes)))
        status = broken(f, "has a header that does not match its checksum", err);
    if (!status) {
        memcpy(h->salt, all + FIXED_BYTES, salt_bytes);
        h->salt[salt_bytes] = '\0';
        for (size_t i = 0; i < h->n_tokens; i++)
            h->tokens[i] = (int32_t)(uint32_t)get(all + FIXED_BYTES + salt_bytes + 4 * i, 4);
    }
    free(all);
    return status;
}

enum quern_status kv_file_open(const char *path, struct data_file *f, struct kv_file_header *h,
                               struct quern_error *err) {
    unsigned char fixed[FIXED_BYTES];
    size_t salt_bytes = 0;
    *h = (struct kv_file_header){0};
    enum quern_status status = data_file_open(f, path, err);
    if (status)
        return status;
    status = data_file_read(f, 0, fixed, sizeof fixed, err);
    if (!status)
        status = read_sizes(f, fixed, h, &salt_bytes, err);
    if (!status)
        status = read_texts(f, fixed, salt_bytes, h, err);
    if (status) {
        data_file_close(f);
        kv_file_header_release(h);
    }
    return status;
}

void kv_file_header_release(struct kv_file_header *h) {
    free(h->salt);
    free(h->tokens);
    *h = (struct kv_file_header){0};
}

enum quern_status kv_file_read_block(const struct data_file *f, const struct kv_file_header *h,
                                     size_t i, void *data, struct quern_error *err) {
    const size_t n_blocks = kv_file_blocks(h->n_tokens);
    unsigned char sum[CHECKSUM_BYTES];
    enum quern_status status =
        data_file_read(f, h->data_offset + i * h->block_bytes, data, (size_t)h->block_bytes, err);
    if (!status)
        status = data_file_read(f, h->data_offset + n_blocks * h->block_bytes + i * CHECKSUM_BYTES,
                                sum, sizeof sum, err);
    if (!status && get(sum, CHECKSUM_BYTES) != checksum64(i, data, (size_t)h->block_bytes))
        status = broken(f, "has a block that does not match its checksum", err);
    return status;
}
