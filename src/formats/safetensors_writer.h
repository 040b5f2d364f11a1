/* safetensors_writer.h - writing a checkpoint as Hugging Face lays it out: model.safetensors, or
 * shards model-00001-of-0000K.safetensors and model.safetensors.index.json. The tensors are
 * declared first; their data then streams through in order, so that nothing is held in memory. */
#ifndef QUERN_FORMATS_SAFETENSORS_WRITER_H
#define QUERN_FORMATS_SAFETENSORS_WRITER_H

#include "base/error.h"
#include "formats/safetensors.h"

struct tensor_decl {
    const char *name;
    enum dtype dtype;
    int rank;
    size_t shape[SAFETENSORS_RANK_MAX];
};

struct safetensors_writer;

/* `dir` must exist. `decls` and their names are borrowed until the writer is destroyed. A shard
 * takes tensors while it stays within max_shard_bytes (a larger tensor gets one of its own); 0: all
 * in one file. Data is as aligned as the tensors' order leaves it: with one element type for all,
 * to that type. */
enum quern_status safetensors_writer_create(const char *dir, const struct tensor_decl *decls,
                                            size_t n, size_t max_shard_bytes,
                                            struct safetensors_writer **out,
                                            struct quern_error *err);

/* The same for files of another name: STEM.safetensors and so on. `stem` is borrowed as decls are. */
enum quern_status safetensors_writer_create_as(const char *dir, const char *stem,
                                               const struct tensor_decl *decls, size_t n,
                                               size_t max_shard_bytes,
                                               struct safetensors_writer **out,
                                               struct quern_error *err);

/* The next bytes of data, in pieces of any size. After a failure only destroy is allowed. */
enum quern_status safetensors_writer_write(struct safetensors_writer *w, const void *data,
                                           size_t size_bytes, struct quern_error *err);

/* Gives the files their names, once all data has come, and removes the index or the single file
 * of an earlier checkpoint that would hide the new one. */
enum quern_status safetensors_writer_finish(struct safetensors_writer *w, struct quern_error *err);

/* Removes everything that was not finished. NULL is fine. */
void safetensors_writer_destroy(struct safetensors_writer *w);

size_t safetensors_writer_total_bytes(const struct safetensors_writer *w);

#endif
