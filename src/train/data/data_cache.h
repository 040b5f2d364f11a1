/* data_cache.h - examples as a file, in this machine's order of bytes:
 *
 *     "QUERNTOK", u64 version, u64 hash of what they were made from, u64 n_examples, u64 n_tokens,
 *     u64 n_cut, u64 n_skipped, u64 checksum of all that follows
 *     u64 starts[n_examples + 1]
 *     u32 tokens[n_tokens]
 */
#ifndef QUERN_TRAIN_DATA_CACHE_H
#define QUERN_TRAIN_DATA_CACHE_H

#include "train/data/data.h"

/* Whether a whole file made from the same (d->hash) was there. */
bool data_cache_read(const char *path, struct train_data *d);
enum quern_status data_cache_write(const char *path, const struct train_data *d,
                                   struct quern_error *err);

#endif
