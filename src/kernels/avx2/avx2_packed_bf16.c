/* avx2_packed_bf16.c - MATH_BF16 of packed_kernels.h without vdpbf16ps: 16 rows (two registers) by up to four
 * tokens, in the processor's mode in which multiply-adds flush subnormals. */
#include "kernels/avx2/avx2_bf16.h"
#include "kernels/avx2/avx2_packed.h"

/* ---- code books ------------------------------------------------------------------------ */

struct book {
    uint32_t word[256];
    unsigned char low[16], high[16]; /* bytes of the first 16 */
};

static void book_init(struct book *b, const float *code, size_t n) {
    for (size_t i = 0; i < n; i++)
        b->word[i] = f32_to_bf16(code[i]);
    for (size_t i = 0; i < 16; i++)
        b->low[i] = (unsigned char)b->word[i], b->high[i] = (unsigned char)(b->word[i] >> 8);
}

/* Pairs [n / 2][64]. */
static void unpack4(void *to, const struct packed_tile *a) {
    const struct book *b = a->table;
    const __m256i low = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)b->low));
    const __m256i high = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)b->high));
    const __m256i nibble = _mm256_set1_epi16(15), byte = _mm256_set1_epi16(255);
    const unsigned char *q = a->codes;
    uint32_t *out = to;
    for (size_t k = 0; k < a->n_cols; k += 8, q += PACKED_CHUNK_BYTES, out += 4 * PACKED_ROWS) {
        for (size_t row = 0; row < PACKED_ROWS; row += HALF_LANES) {
            __m256i v = _mm256_loadu_si256((const void *)(q + 4 * row));
            for (size_t j = 0; j < 4; j++, v = _mm256_srli_epi32(v, 4)) {
                const __m256i index = _mm256_and_si256(v, nibble);
                const __m256i l = _mm256_and_si256(_mm256_shuffle_epi8(low, index), byte);
                const __m256i h = _mm256_slli_epi16(_mm256_shuffle_epi8(high, index), 8);
                _mm256_storeu_si256((void *)(out + j * PACKED_ROWS + row), _mm256_or_si256(l, h));
            }
        }
    }
}

static void unpack8(void *to, const struct packed_tile *a) {
    const struct book *b = a->table;
    const __m256i byte = _mm256_set1_epi32(255);
    const unsigned char *q = a->codes;
    uint32_t *out = to;
    for (size_t k = 0; k < a->n_cols; k += 4, q += PACKED_CHUNK_BYTES, out += 2 * PACKED_ROWS) {
        for (size_t row = 0; row < PACKED_ROWS; row += HALF_LANES) {
            __m256i v = _mm256_loadu_si256((const void *)(q + 4 * row)), w[4];
            for (size_t j = 0; j < 4; j++, v = _mm256_srli_epi32(v, 8))
                w[j] = _mm256_i32gather_epi32((const int *)b->word, _mm256_and_si256(v, byte), 4);
            for (size_t j = 0; j < 2; j++)
                _mm256_storeu_si256((void *)(out + j * PACKED_ROWS + row),
                                    _mm256_or_si256(w[2 * j], _mm256_slli_epi32(w[2 * j + 1], 16)));
        }
    }
}

/* ---- tiles ------------------------------------------------------------------------------ */

static inline void end_group(const struct packed_tile *a, size_t t, size_t row, __m256 sum) {
    float *to = a->sums + t * PACKED_ROWS + row;
    const __m256 scale = numbers_at(a->w->number, a->scales, row);
    _mm256_storeu_ps(to, _mm256_fmadd_ps(sum, scale, _mm256_loadu_ps(to)));
}

#define DECLARE(t)                                                        \
    const uint16_t *x##t = (const uint16_t *)a->x + t * a->x_stride;      \
    __m256 l##t = _mm256_setzero_ps(), h##t = l##t;
#define STEP(t)                                                           \
    {                                                                     \
        const __m256i x = pair_of(x##t + 2 * j);                          \
        const __m256 xu = upper(x), xl = lower(x);                        \
        l##t = _mm256_fmadd_ps(wll, xl, _mm256_fmadd_ps(wlu, xu, l##t));  \
        h##t = _mm256_fmadd_ps(whl, xl, _mm256_fmadd_ps(whu, xu, h##t));  \
    }
#define END(t)                       \
    end_group(a, t, row, l##t);      \
    end_group(a, t, row + 8, h##t);

#define DEFINE_BOOK(T)                                                                  \
    static void book_##T(const struct packed_tile *a) {                                 \
        const size_t chunk = packed_chunk_cols(a->w->bits);                             \
        const size_t n_pairs = (a->n_cols + chunk - 1) / chunk * chunk / 2;             \
        for (size_t row = 0; row < PACKED_ROWS; row += 16) {                            \
            const uint32_t *w = (const uint32_t *)a->codes + row;                       \
            EACH_##T(DECLARE)                                                           \
            for (size_t j = 0; j < n_pairs; j++, w += PACKED_ROWS) {                    \
                const __m256i wl = _mm256_loadu_si256((const void *)w);                 \
                const __m256i wh = _mm256_loadu_si256((const void *)(w + 8));           \
                const __m256 wlu = upper(wl), wll = lower(wl);                          \
                const __m256 whu = upper(wh), whl = lower(wh);                          \
                EACH_##T(STEP)                                                          \
            }                                                                           \
            EACH_##T(END)                                                               \
        }                                                                               \
    }

DEFINE_BOOK(1)
DEFINE_BOOK(2)
DEFINE_BOOK(3)
DEFINE_BOOK(4)

static packed_tile_fn *const book_tiles[] = {NULL, book_1, book_2, book_3, book_4};

/* ---- the call --------------------------------------------------------------------------- */

/* Apart, so that no arithmetic moves out of the mode it is meant for. */
static __attribute__((noinline)) void products(const struct packed_args *a,
                                               const struct packed_parts *parts) {
    packed_tiles_matmul(a, parts);
}

void avx2_packed_bf16(const struct packed_args *a) {
    struct book book;
    const bool bytes = a->w->bits == 8;
    const struct packed_parts parts = {
        .dot = book_tiles, .n_tokens = 4, .unpack = bytes ? unpack8 : unpack4, .table = &book};
    struct packed_args without_bias = *a;
    without_bias.bias = NULL;
    book_init(&book, a->w->code, bytes ? 256 : 16);
    const struct flushing f = flush_begin();
    products(&without_bias, &parts);
    flush_end(f);
    packed_add_bias(a);
}

void avx2_prepare_bf16(const struct packed_prepare_args *a) {
    float room[PACKED_GROUP_MAX];
    for (size_t g = 0; g < a->out->n_groups; g++) {
        const size_t n = packed_prepared_cols(a, g), stride = packed_input_cols(n);
        for (size_t t = a->token_begin; t < a->token_end; t++)
            avx2_to_bf16((uint16_t *)a->out->x + packed_input_at(a->out, g) + t * stride,
                         packed_columns(a, t, g * a->out->group, n, room), stride);
    }
}
