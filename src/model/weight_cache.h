/* weight_cache.h - the matrices that loading makes, as a file: a later start maps it instead of making
 * them again.
 *
 * One file for a model and a choice of forms, DIR/NAME-KEY.weights (KEY is of the model's path and the
 * forms), in this machine's order of bytes:
 *     struct cache_header     sizes, fingerprint, checksum of header and records
 *     struct cache_record[n]  one a matrix, in the order of loading; its form, where its parts are, and
 *                             their checksum
 *     parts                   at multiples of 64 bytes: numbers as the kernels read them, code tables,
 *                             orders of columns
 * The fingerprint is of size, time and some kilobytes of every tensor's file, of config.json, and of
 * the layout's version. It is not of CPU or --math: the same bytes serve all.
 *
 * A file that is stale or damaged is passed over with one warning and replaced. Failing to write one is
 * a warning too. Everything read is checked, so that no content makes a kernel leave its memory. */
#ifndef QUERN_MODEL_WEIGHT_CACHE_H
#define QUERN_MODEL_WEIGHT_CACHE_H

#include "model/model.h"

struct weight_cache;

/* NULL when there is none to be had: a device that computes from memory of its own, a checkpoint that
 * is in no file, no room. `path` is the model's. */
struct weight_cache *weight_cache_open(const char *path, const struct model *m,
                                       const struct model_options *options);
/* All matrices taken from it stay valid until here. NULL is fine. */
void weight_cache_close(struct weight_cache *c);

/* The next matrix, which is to be [rows, cols], in *out. False: it must be made, and be given to
 * weight_cache_add. `fast`: activations may be rounded. */
bool weight_cache_take(struct weight_cache *c, struct model *m, size_t rows, size_t cols, bool fast,
                       struct weight *out);
void weight_cache_add(struct weight_cache *c, const struct weight *w);
/* Writes the file unless all came from it. */
void weight_cache_finish(struct weight_cache *c);

#endif
