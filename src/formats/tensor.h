/* tensor.h - a tensor as a file holds it. */
#ifndef QUERN_FORMATS_TENSOR_H
#define QUERN_FORMATS_TENSOR_H

#include <stddef.h>

#include "quant/dtype.h"
#include "quant/quantized.h"

enum { TENSOR_RANK_MAX = 8 };

struct tensor {
    const char *name;
    enum dtype dtype; /* DTYPE_U8 for a type of blocks */
    int rank;
    size_t shape[TENSOR_RANK_MAX]; /* outermost first; of elements also in a type of blocks */
    const void *data;              /* in the mapping; may be unaligned */
    size_t size_bytes;
    const char *file; /* base name, for messages */

    /* GGUF's types of blocks: their name ("Q4_K"), and how to read the matrix; NULL when nobody
     * can. Both NULL: the elements are of type dtype, one after another. */
    const char *block_type;
    const struct quant_source *coded;
    /* Not 0: a plain tensor whose rows stand in another order, those of each of so many heads with
     * their halves interleaved; tensor_copy_in_order undoes that. (`coded` does it by itself.) */
    size_t interleaved_heads;
};

/* The data of a plain tensor with interleaved heads in Hugging Face's order, to
 * dst[t->size_bytes]. */
void tensor_copy_in_order(const struct tensor *t, void *dst);

static inline const char *tensor_type_name(const struct tensor *t) {
    return t->block_type ? t->block_type : dtype_name(t->dtype);
}

#endif
