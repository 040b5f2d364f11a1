#include "kernels/kv_layout.h"

#include <string.h>

#include "base/checked.h"

static const struct {
    const char *name;
    size_t element_bytes, scale_bytes;
} types[KV_TYPE_COUNT] = {
    [KV_F32] = {"f32", 4, 0}, [KV_BF16] = {"bf16", 2, 0}, [KV_INT8] = {"int8", 1, sizeof(float)}};

const char *kv_type_name(enum kv_type type) {
    return (unsigned)type < KV_TYPE_COUNT ? types[type].name : "?";
}

bool kv_type_from_name(const char *name, enum kv_type *type) {
    for (int t = 0; t < KV_TYPE_COUNT; t++) {
        if (strcmp(name, types[t].name) == 0) {
            *type = (enum kv_type)t;
            return true;
        }
    }
    return false;
}

bool kv_layout_init(struct kv_layout *l, enum kv_type type, size_t n_layers, size_t n_kv_heads,
                    size_t head_dim) {
    struct kv_layout made = {
        .type = type, .n_layers = n_layers, .n_kv_heads = n_kv_heads, .head_dim = head_dim};
    size_t half, scales = KV_BLOCK_TOKENS * types[type].scale_bytes;
    if (!checked_add(head_dim, 15, &made.padded))
        return false;
    made.padded = made.padded / 16 * 16;
    if (!checked_mul(made.padded, KV_BLOCK_TOKENS * types[type].element_bytes, &made.k_scale_offset) ||
        !checked_add(made.k_scale_offset, scales, &half) ||
        !checked_mul(half, 2, &made.head_bytes) ||
        !checked_mul(made.head_bytes, n_kv_heads, &made.layer_bytes) ||
        !checked_mul(made.layer_bytes, n_layers, &made.block_bytes))
        return false;
    made.v_offset = half;
    made.v_scale_offset = half + made.k_scale_offset;
    *l = made;
    return true;
}
