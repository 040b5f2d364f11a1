/* packed_input.c - where prepared activations lie; the same for all tables. */
#include "kernels/packed_kernels.h"

static size_t element_bytes(enum packed_math math) {
    return math == MATH_EXACT ? sizeof(float) : math == MATH_INT8 ? 1 : 2;
}

static size_t aligned(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

static size_t x_bytes(const struct packed_matrix *m, size_t n_tokens) {
    const size_t last = packed_group_cols(m, m->n_groups - 1);
    const size_t cols = (m->n_groups - 1) * packed_input_cols(m->group) + packed_input_cols(last);
    return aligned(n_tokens * cols * element_bytes(m->math));
}

static size_t numbers_bytes(const struct packed_matrix *m, size_t n_tokens) {
    return m->math == MATH_INT8 ? aligned(n_tokens * m->n_groups * sizeof(float)) : 0;
}

size_t packed_input_bytes(const struct packed_matrix *m, size_t n_tokens) {
    return x_bytes(m, n_tokens) + 2 * numbers_bytes(m, n_tokens);
}

struct packed_input packed_input_place(const struct packed_matrix *m, size_t n_tokens, void *memory) {
    char *at = memory;
    struct packed_input in = {.math = m->math, .n_tokens = n_tokens, .group = m->group,
                              .n_groups = m->n_groups, .x = at};
    if (m->math == MATH_INT8) {
        at += x_bytes(m, n_tokens);
        in.scale = (float *)(void *)at;
        in.sum = (int32_t *)(void *)(at + numbers_bytes(m, n_tokens));
    }
    return in;
}

bool packed_same_input(const struct packed_matrix *a, const struct packed_matrix *b) {
    return a->math == b->math && a->cols == b->cols && a->group == b->group &&
           a->col_order == b->col_order;
}
