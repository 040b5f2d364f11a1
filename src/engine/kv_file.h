/* kv_file.h - keys and values of one conversation in a file. All integers are little-endian:
 *
 *     "QKVFILE1"                        8 bytes
 *     fingerprint                       u64 x 2: of model and settings
 *     block_bytes                       u64
 *     n_tokens                          u32, > 0
 *     salt_bytes                        u32
 *     salt                              salt_bytes
 *     tokens                            i32 x n_tokens
 *     checksum of all the above         u64
 *     blocks                            block_bytes x ceil(n_tokens / 32)
 *     checksums of the blocks           u64 x the same number
 *
 * Checksums are base/checksum.h's. A file is believed only so far: its length must be exactly what
 * the header says, the header's checksum and each block's must be right, and the tokens must be the
 * ones asked for. Contents of blocks are numbers, never sizes: at worst they are wrong. Checksums
 * find accidents; against others who write into the directory only its permissions help. */
#ifndef QUERN_ENGINE_KV_FILE_H
#define QUERN_ENGINE_KV_FILE_H

#include <stdint.h>

#include "base/data_file.h"
#include "base/error.h"

enum { KV_FILE_BLOCK_TOKENS = 32, KV_FILE_SALT_MAX = 1088, KV_FILE_TOKENS_MAX = 1 << 24 };

struct kv_file_header {
    uint64_t fingerprint[2];
    uint64_t block_bytes;
    uint32_t n_tokens;
    char *salt;      /* own */
    int32_t *tokens; /* own, [n_tokens] */
    uint64_t data_offset, total_bytes;
};

static inline size_t kv_file_blocks(uint32_t n_tokens) {
    return ((size_t)n_tokens + KV_FILE_BLOCK_TOKENS - 1) / KV_FILE_BLOCK_TOKENS;
}

/* Writes the file beside its name and renames it. `read_block` fills data[block_bytes]. */
enum quern_status kv_file_write(const char *path, const struct kv_file_header *h,
                                void (*read_block)(void *user, size_t i, void *data), void *user,
                                struct quern_error *err);

/* Reads and checks everything but the blocks. On failure nothing is held. */
enum quern_status kv_file_open(const char *path, struct data_file *f, struct kv_file_header *h,
                               struct quern_error *err);
void kv_file_header_release(struct kv_file_header *h); /* zeroed is fine */
/* Block i of an open file to data[block_bytes], checked. */
enum quern_status kv_file_read_block(const struct data_file *f, const struct kv_file_header *h,
                                     size_t i, void *data, struct quern_error *err);

#endif
