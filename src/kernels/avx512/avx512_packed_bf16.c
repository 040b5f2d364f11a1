/* avx512_packed_bf16.c - code books without vdpbf16ps. */
#include "kernels/avx512/avx512_packed.h"
#include "kernels/avx512/mac2_fma.h"

/* Twice as wide as needed: entries are gathered as 32 bits. */
struct book {
    uint32_t word[256];
};

static void book8_init(struct book *b, const float *code) {
    uint16_t word[256];
    avx512_to_bf16(word, code, 256);
    for (size_t i = 0; i < 256; i++)
        b->word[i] = word[i];
}

static inline __m512i pair_at(__m512i codes, unsigned shift, const struct book *b) {
    const __m512i byte = _mm512_set1_epi32(255);
    const __m512i q0 = _mm512_and_si512(_mm512_srli_epi32(codes, shift), byte);
    const __m512i q1 = _mm512_and_si512(_mm512_srli_epi32(codes, shift + 8), byte);
    const __m512i low = _mm512_i32gather_epi32(q0, b->word, 4), high = _mm512_i32gather_epi32(q1, b->word, 4);
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

static inline void look_up8(__m512i *first, __m512i *second, __m512i codes, const struct book *b) {
    *first = pair_at(codes, 0, b);
    *second = pair_at(codes, 16, b);
}

#include "kernels/avx512/bf16_packed.h"

void avx512_packed_bf16(const struct packed_args *a) {
    book_matmul(a);
}

void avx512_prepare_bf16(const struct packed_prepare_args *a) {
    float room[PACKED_GROUP_MAX];
    for (size_t g = 0; g < a->out->n_groups; g++) {
        const size_t n = packed_prepared_cols(a, g), stride = packed_input_cols(n);
        for (size_t t = a->token_begin; t < a->token_end; t++) {
            uint16_t *to = (uint16_t *)a->out->x + packed_input_at(a->out, g) + t * stride;
            avx512_to_bf16(to, packed_columns(a, t, g * a->out->group, n, room), n);
            memset(to + n, 0, (stride - n) * sizeof *to);
        }
    }
}
