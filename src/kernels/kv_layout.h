/* kv_layout.h - how a block of the KV cache lies in memory: for each layer, for each KV head,
 *
 *     K, for f32 [P][32] float32, bf16 [P/2][32][2] bfloat16, int8 [P/4][32][4] codes + 128;
 *     int8 only: [32] float32, the scale of a position's K;
 *     V, for f32 [32][P] float32, bf16 [16][P][2] bfloat16, int8 [8][P][4] codes (two's complement);
 *     int8 only: [32] float32, the scale of a position's V
 *
 * with P = head_dim rounded up to a multiple of 16. Keys lie across positions, 1, 2 or 4
 * dimensions side by side: a register holds the same dimensions of 16 positions, and a query's
 * score is a lane of it. Values lie along the dimensions, 1, 2 or 4 positions side by side. So
 * neither product folds a register, and what lies side by side is what vdpbf16ps and vpdpbusd
 * take. */
#ifndef QUERN_KERNELS_KV_LAYOUT_H
#define QUERN_KERNELS_KV_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

/* Positions in a block; fixed, since attention walks whole blocks. */
enum { KV_BLOCK_TOKENS = 32 };

/* A code of int8 is in [-127, 127] and stands for code * scale; each head of each position has a
 * scale for K and one for V. */
enum kv_type { KV_F32 = 0, KV_BF16, KV_INT8, KV_TYPE_COUNT };

struct kv_layout {
    enum kv_type type;
    size_t n_layers, n_kv_heads, head_dim;
    size_t padded; /* P */
    /* Bytes: in a head's part, from its start (its K); from part to part. All are multiples of 64. */
    size_t k_scale_offset, v_offset, v_scale_offset;
    size_t head_bytes, layer_bytes, block_bytes;
};

const char *kv_type_name(enum kv_type type); /* "f32", "bf16", "int8" */
/* Of `type`'s name; false for another. */
bool kv_type_from_name(const char *name, enum kv_type *type);

/* `head_dim` is even. False when a block's size cannot be represented. */
bool kv_layout_init(struct kv_layout *l, enum kv_type type, size_t n_layers, size_t n_kv_heads,
                    size_t head_dim);

#endif
