#include "kernels/kv_layout.h"

#include "base/checked.h"

const char *kv_type_name(enum kv_type type) {
    static const char *const names[KV_TYPE_COUNT] = {[KV_F32] = "f32"};
    return (unsigned)type < KV_TYPE_COUNT ? names[type] : "?";
}

bool kv_layout_init(struct kv_layout *l, enum kv_type type, size_t n_layers, size_t n_kv_heads,
                    size_t head_dim) {
    struct kv_layout made = {
        .type = type, .n_layers = n_layers, .n_kv_heads = n_kv_heads, .head_dim = head_dim};
    size_t row;
    if (!checked_mul(n_kv_heads, head_dim, &row) ||
        !checked_mul(row, KV_BLOCK_TOKENS * sizeof(float), &made.v_offset) ||
        !checked_mul(made.v_offset, 2, &made.layer_bytes) ||
        !checked_mul(made.layer_bytes, n_layers, &made.block_bytes))
        return false;
    *l = made;
    return true;
}
