/* avx512bf16_packed.c - code books with vdpbf16ps. Needs BF16 and VBMI. */
#include "kernels/avx512/avx512_packed.h"
#include "kernels/avx512bf16/avx512bf16.h"
#include "kernels/avx512bf16/mac2.h"
#include "kernels/tables.h"

/* The low and the high bytes of 256 bfloat16, four registers each; the upper half is often the lower with the
 * other sign, and then half the look-ups do. */
struct book {
    __m512i low[4], high[4];
    bool symmetric;
};

static bool is_nan(uint16_t h) {
    return (h & 0x7fff) > 0x7f80;
}

static void book8_init(struct book *b, const float *code) {
    uint16_t word[256];
    unsigned char low[256], high[256];
    avx512_to_bf16(word, code, 256);
    b->symmetric = true;
    for (size_t i = 0; i < 256; i++) {
        low[i] = (unsigned char)word[i], high[i] = (unsigned char)(word[i] >> 8);
        const uint16_t other = word[i ^ 128];
        if ((word[i] ^ other) != 0x8000 && !(is_nan(word[i]) && is_nan(other)))
            b->symmetric = false;
    }
    for (size_t i = 0; i < 4; i++) {
        b->low[i] = _mm512_loadu_si512(low + 64 * i);
        b->high[i] = _mm512_loadu_si512(high + 64 * i);
    }
}

enum { XOR_OF_AND = 0x78 }; /* a ^ (b & c) */

/* Bytes 4r .. 4r + 3 of `codes` are columns 0 .. 3 of row r: *first gets the pairs of columns 0 and 1. */
static inline void look_up8(__m512i *first, __m512i *second, __m512i codes, const struct book *b) {
    __m512i low = _mm512_permutex2var_epi8(b->low[0], codes, b->low[1]);
    __m512i high = _mm512_permutex2var_epi8(b->high[0], codes, b->high[1]);
    if (b->symmetric) {
        high = _mm512_ternarylogic_epi32(high, codes, _mm512_set1_epi8((char)0x80), XOR_OF_AND);
    } else {
        const __mmask64 upper = _mm512_movepi8_mask(codes);
        low = _mm512_mask_blend_epi8(upper, low, _mm512_permutex2var_epi8(b->low[2], codes, b->low[3]));
        high = _mm512_mask_blend_epi8(upper, high, _mm512_permutex2var_epi8(b->high[2], codes, b->high[3]));
    }
    const __m512 front = _mm512_castsi512_ps(_mm512_unpacklo_epi8(low, high));
    const __m512 back = _mm512_castsi512_ps(_mm512_unpackhi_epi8(low, high));
    *first = _mm512_castps_si512(_mm512_shuffle_ps(front, back, 0x88));
    *second = _mm512_castps_si512(_mm512_shuffle_ps(front, back, 0xDD));
}

#include "kernels/avx512/bf16_packed.h"

void avx512bf16_packed(const struct packed_args *a) {
    book_matmul(a);
}

const struct packed_kernels packed_avx512bf16 = {
    .prepare = {[MATH_EXACT] = avx512_prepare_exact, [MATH_INT8] = avx512_prepare_int8,
                [MATH_BF16] = avx512_prepare_bf16},
    .matmul = {[MATH_EXACT] = avx512_packed_exact, [MATH_INT8] = avx512vnni_packed_int8,
               [MATH_BF16] = avx512bf16_packed},
};
