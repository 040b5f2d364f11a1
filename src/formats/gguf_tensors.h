/* gguf_tensors.h - the tensors of a GGUF file under Hugging Face's names, one for each matrix:
 * "blk.0.attn_q.weight" is "model.layers.0.self_attn.q_proj.weight", a tensor of all experts of a
 * layer is one for each expert. Tensors that are no part of the supported architectures keep
 * their names. Internal to formats. */
#ifndef QUERN_FORMATS_GGUF_TENSORS_H
#define QUERN_FORMATS_GGUF_TENSORS_H

#include "base/arena.h"
#include "base/map.h"
#include "formats/gguf.h"

struct gguf_tensors {
    struct arena arena;
    struct tensor *tensors;
    size_t n, capacity;
    struct map by_name;
};

/* `g` must outlive them. */
enum quern_status gguf_tensors_init(struct gguf_tensors *out, const struct gguf *g,
                                    struct quern_error *err);
void gguf_tensors_release(struct gguf_tensors *t); /* zeroed is fine */

#endif
