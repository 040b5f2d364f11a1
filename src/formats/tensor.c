#include "formats/tensor.h"

#include "formats/gguf_blocks.h"

void tensor_copy_in_order(const struct tensor *t, void *dst) {
    const size_t rows = t->shape[0], bytes = t->size_bytes / rows;
    for (size_t r = 0; r < rows; r++)
        memcpy((char *)dst + r * bytes,
               (const char *)t->data + gguf_stored_row(r, rows, t->interleaved_heads) * bytes,
               bytes);
}
