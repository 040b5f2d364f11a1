/* kv_layout.h - how a block of the KV cache lies in memory: [n_layers][2 (K,V)][n_kv_heads]
 * [KV_BLOCK_TOKENS][head_dim] float32. */
#ifndef QUERN_KERNELS_KV_LAYOUT_H
#define QUERN_KERNELS_KV_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

/* Positions in a block; fixed, since attention walks whole blocks. */
enum { KV_BLOCK_TOKENS = 32 };

enum kv_type { KV_F32 = 0, KV_TYPE_COUNT };

struct kv_layout {
    enum kv_type type;
    size_t n_layers, n_kv_heads, head_dim;
    size_t v_offset;    /* bytes from a layer's K to its V */
    size_t layer_bytes; /* from a layer's K to the next layer's K */
    size_t block_bytes;
};

const char *kv_type_name(enum kv_type type); /* "f32" */
/* False when a block's size cannot be represented. */
bool kv_layout_init(struct kv_layout *l, enum kv_type type, size_t n_layers, size_t n_kv_heads,
                    size_t head_dim);

#endif
