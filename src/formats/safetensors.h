/* safetensors.h - reading a checkpoint: one .safetensors file or a directory with
 * model.safetensors.index.json, mapped into memory.
 *
 * The file: u64 little-endian header length N, N bytes of JSON
 *     {"name": {"dtype": "BF16", "shape": [..], "data_offsets": [begin, end]}, "__metadata__":
 * {..}} then the data. Checked as the reference does: N <= 100 MB and inside the file, begin <=
 * end, end-begin = elements * size, tensors contiguous and covering the data exactly, no duplicate
 * names, offsets and products without overflow. The files are untrusted. */
#ifndef QUERN_FORMATS_SAFETENSORS_H
#define QUERN_FORMATS_SAFETENSORS_H

#include "base/error.h"
#include "formats/tensor.h"

enum { SAFETENSORS_RANK_MAX = TENSOR_RANK_MAX };

struct safetensors; /* immutable after opening, shareable between threads */

/* `path`: a directory or a .safetensors file. */
enum quern_status safetensors_open(const char *path, struct safetensors **out,
                                   struct quern_error *err);
void safetensors_close(struct safetensors *st); /* NULL is fine */

size_t safetensors_count(const struct safetensors *st);
const struct tensor *safetensors_at(const struct safetensors *st, size_t i); /* file order */
const struct tensor *safetensors_find(const struct safetensors *st, const char *name); /* or NULL */
bool safetensors_is_mapped(const struct safetensors *st); /* false: tensors made in memory */
size_t safetensors_file_count(const struct safetensors *st);
size_t safetensors_total_bytes(const struct safetensors *st); /* of tensor data */
/* A value of __metadata__ ("format"), or NULL. */
const char *safetensors_metadata(const struct safetensors *st, const char *key);

/* One file held in memory; what the fuzzer drives. data is borrowed. */
enum quern_status safetensors_parse(const unsigned char *data, size_t size_bytes, const char *name,
                                    struct safetensors **out, struct quern_error *err);

/* A checkpoint that lies in memory instead of files: tensors[n] (`name` and `file` are copied)
 * whose data lies in `memory`, from pages_alloc(memory_bytes). The memory is the checkpoint's from
 * here on, after a failure too. */
enum quern_status safetensors_from_memory(const struct tensor *tensors, size_t n, void *memory,
                                          size_t memory_bytes, struct safetensors **out,
                                          struct quern_error *err);

#endif
