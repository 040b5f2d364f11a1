/* weight_cache_file.h - reading and writing the file of weight_cache.h. */
#ifndef QUERN_MODEL_WEIGHT_CACHE_FILE_H
#define QUERN_MODEL_WEIGHT_CACHE_FILE_H

#include "base/arena.h"
#include "base/os.h"
#include "device/device.h"

/* Goes up with every change of the file, of quant/packed.h's layout, or of what quantizers give. */
enum { CACHE_VERSION = 1, CACHE_PATH_BYTES = 4096 };

struct cache_fingerprint {
    uint64_t word[2];
};

struct cache_record;

struct cache_file {
    struct os_map map;
    const struct cache_record *records;
    size_t n_records;
    const char *path; /* borrowed */
};

/* QUERN_ERR_FORMAT: damaged, cut off, or of another fingerprint. `path` must live as long. */
enum quern_status cache_file_open(struct cache_file *f, const char *path,
                                  const struct cache_fingerprint *expected, struct quern_error *err);
void cache_file_close(struct cache_file *f); /* zeroed is fine */

/* Matrix i, which must be [rows, cols] and whole by its checksum. *packed, from `arena`, is not NULL for
 * a coded one; its math is still to be chosen. */
enum quern_status cache_file_weight(const struct cache_file *f, size_t i, size_t rows, size_t cols,
                                    struct arena *arena, struct weight *out,
                                    struct packed_matrix **packed, struct quern_error *err);

/* Under another name first; see base/file_writer.h. */
enum quern_status cache_file_write(const char *path, const struct cache_fingerprint *fingerprint,
                                   const struct weight *weights, size_t n, struct quern_error *err);

#endif
