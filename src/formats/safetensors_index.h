/* safetensors_index.h - model.safetensors.index.json: which shard holds which tensor.
 *     {"metadata": {"total_size": N}, "weight_map": {"tensor": "model-00001-of-00004.safetensors"}}
 * Internal to formats. */
#ifndef QUERN_FORMATS_SAFETENSORS_INDEX_H
#define QUERN_FORMATS_SAFETENSORS_INDEX_H

#include "base/arena.h"
#include "base/error.h"
#include "base/map.h"
#include "base/str.h"

enum { SAFETENSORS_SHARDS_MAX = 4096 };

struct safetensors_index {
    struct map shard_of; /* tensor name to an index in shards */
    const char **names;  /* the tensors in the index's order; malloc'ed */
    size_t n_names, names_capacity;
    const char **shards; /* file names, sorted; malloc'ed */
    size_t n_shards;
};

/* Strings go to `arena`; `name` starts messages. Shard names are checked to be plain names
 * of files in the same directory. On failure *out is released. */
enum quern_status safetensors_index_parse(struct str json, const char *name, struct arena *arena,
                                          struct safetensors_index *out, struct quern_error *err);
void safetensors_index_release(struct safetensors_index *index);

#endif
