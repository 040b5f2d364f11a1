/* checkpoint.h - the tensors of a model, whatever kind of files they are in: safetensors or GGUF.
 * Names are Hugging Face's, a tensor for each matrix, in either case. Immutable after opening,
 * shareable between threads. */
#ifndef QUERN_FORMATS_CHECKPOINT_H
#define QUERN_FORMATS_CHECKPOINT_H

#include "base/error.h"
#include "formats/tensor.h"

struct checkpoint;
struct safetensors;

/* `path`: a directory, a .safetensors or a .gguf file. */
enum quern_status checkpoint_open(const char *path, struct checkpoint **out,
                                  struct quern_error *err);
/* Takes over `st`, after a failure too. */
enum quern_status checkpoint_from_safetensors(struct safetensors *st, struct checkpoint **out,
                                              struct quern_error *err);
void checkpoint_close(struct checkpoint *c); /* NULL is fine */

/* The bytes at `p` will hardly be read again: the system may have the memory of whole pages of the
 * mapping among them. They read as before, from the file. Others may read them meanwhile. */
void checkpoint_forget(const struct checkpoint *c, const void *p, size_t bytes);

bool checkpoint_is_file(const struct checkpoint *c); /* false: made in memory */
size_t checkpoint_count(const struct checkpoint *c);
const struct tensor *checkpoint_at(const struct checkpoint *c, size_t i); /* file order */
const struct tensor *checkpoint_find(const struct checkpoint *c, const char *name); /* or NULL */
size_t checkpoint_file_count(const struct checkpoint *c);
size_t checkpoint_total_bytes(const struct checkpoint *c); /* of tensor data */
/* The safetensors behind it, or NULL: for what only they have. */
const struct safetensors *checkpoint_safetensors(const struct checkpoint *c);

#endif
