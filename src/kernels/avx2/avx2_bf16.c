/* avx2_bf16.c - fast bfloat16 products (matmul_bf16 of kernels.h) without the instruction: its two steps as
 * multiply-adds, in the processor's mode in which these flush subnormals as it does. Rows in the
 * lanes: panels of 16 rows are transposed into scratch, where all tokens find them. */
#include "kernels/avx2/avx2_bf16.h"

enum {
    PANEL_ROWS = 16,
    PANEL_PAIRS = MATMUL_BF16_SCRATCH_BYTES / (PANEL_ROWS * 4),
    PANEL_TOKENS = 4,
    BLOCK_PAIRS = 8,
};

/* ---- weights into lanes ------------------------------------------------------------ */

#define LOAD_ROW(i) const __m256i w##i = _mm256_loadu_si256((const void *)(p + i * stride));
#define PUT(i, v) _mm256_store_si256((void *)(to + i * PANEL_ROWS), v);

/* Eight pairs of eight rows. */
static inline void transpose8(uint32_t *to, const unsigned char *p, size_t stride) {
    EACH_8(LOAD_ROW)
    const __m256i a0 = _mm256_unpacklo_epi32(w0, w1), a1 = _mm256_unpackhi_epi32(w0, w1);
    const __m256i a2 = _mm256_unpacklo_epi32(w2, w3), a3 = _mm256_unpackhi_epi32(w2, w3);
    const __m256i a4 = _mm256_unpacklo_epi32(w4, w5), a5 = _mm256_unpackhi_epi32(w4, w5);
    const __m256i a6 = _mm256_unpacklo_epi32(w6, w7), a7 = _mm256_unpackhi_epi32(w6, w7);
    const __m256i b0 = _mm256_unpacklo_epi64(a0, a2), b1 = _mm256_unpackhi_epi64(a0, a2);
    const __m256i b2 = _mm256_unpacklo_epi64(a1, a3), b3 = _mm256_unpackhi_epi64(a1, a3);
    const __m256i b4 = _mm256_unpacklo_epi64(a4, a6), b5 = _mm256_unpackhi_epi64(a4, a6);
    const __m256i b6 = _mm256_unpacklo_epi64(a5, a7), b7 = _mm256_unpackhi_epi64(a5, a7);
    PUT(0, _mm256_permute2x128_si256(b0, b4, 0x20))
    PUT(1, _mm256_permute2x128_si256(b1, b5, 0x20))
    PUT(2, _mm256_permute2x128_si256(b2, b6, 0x20))
    PUT(3, _mm256_permute2x128_si256(b3, b7, 0x20))
    PUT(4, _mm256_permute2x128_si256(b0, b4, 0x31))
    PUT(5, _mm256_permute2x128_si256(b1, b5, 0x31))
    PUT(6, _mm256_permute2x128_si256(b2, b6, 0x31))
    PUT(7, _mm256_permute2x128_si256(b3, b7, 0x31))
}

/* Pairs [first, last) of one row, the last perhaps half a pair. */
static void spread_row(uint32_t *to, const unsigned char *row, size_t first, size_t last, size_t cols) {
    for (size_t j = first; j < last; j++) {
        uint32_t pair = 0;
        memcpy(&pair, row + 4 * j, 2 * j + 1 < cols ? 4 : 2);
        to[j * PANEL_ROWS] = pair;
    }
}

struct panel {
    const struct matmul_bf16_args *a;
    uint32_t *pairs; /* [n_pairs][PANEL_ROWS] */
    size_t row, rows, col, cols;
};

static void fill_panel(const struct panel *p) {
    const size_t stride = p->a->n_cols * 2, n_pairs = (p->cols + 1) / 2;
    const unsigned char *from = (const unsigned char *)p->a->w + p->row * stride + 2 * p->col;
    if (p->rows < PANEL_ROWS)
        memset(p->pairs, 0, n_pairs * PANEL_ROWS * sizeof *p->pairs);
    for (size_t g = 0; g < p->rows; g += 8) {
        size_t j = 0;
        if (g + 8 <= p->rows)
            for (; 2 * (j + BLOCK_PAIRS) <= p->cols; j += BLOCK_PAIRS)
                transpose8(p->pairs + j * PANEL_ROWS + g, from + g * stride + 4 * j, stride);
        for (size_t r = g; r < g + 8 && r < p->rows; r++)
            spread_row(p->pairs + r, from + r * stride, j, n_pairs, p->cols);
    }
}

/* ---- tokens ---------------------------------------------------------------------------- */

/* y of a token, or a copy where there are fewer rows than lanes. */
struct sums {
    float of[PANEL_ROWS];
};

static inline float *sums_of(const struct panel *p, size_t token, struct sums *copy, bool read) {
    float *y = p->a->y + token * p->a->y_stride + p->row;
    if (p->rows == PANEL_ROWS)
        return y;
    memset(copy, 0, sizeof *copy);
    if (read)
        memcpy(copy->of, y, p->rows * sizeof *y);
    return copy->of;
}

#define DECLARE(t)                                                                \
    struct sums copy##t;                                                          \
    const uint16_t *x##t = p->a->x + (token + t) * p->a->x_stride + p->col;       \
    float *y##t = sums_of(p, token + t, &copy##t, p->col > 0);                    \
    __m256 l##t = p->col ? _mm256_loadu_ps(y##t) : _mm256_setzero_ps();           \
    __m256 h##t = p->col ? _mm256_loadu_ps(y##t + 8) : _mm256_setzero_ps();
#define STEP(t)                                                                   \
    {                                                                             \
        const __m256i x = pair_of(x##t + 2 * j);                                  \
        const __m256 xu = upper(x), xl = lower(x);                                \
        l##t = _mm256_fmadd_ps(wll, xl, _mm256_fmadd_ps(wlu, xu, l##t));          \
        h##t = _mm256_fmadd_ps(whl, xl, _mm256_fmadd_ps(whu, xu, h##t));          \
    }
#define STORE(t)                                                                  \
    _mm256_storeu_ps(y##t, l##t);                                                 \
    _mm256_storeu_ps(y##t + 8, h##t);                                             \
    if (y##t == copy##t.of)                                                       \
        memcpy(p->a->y + (token + t) * p->a->y_stride + p->row, y##t, p->rows * sizeof(float));

#define DEFINE_PANEL(T)                                                           \
    static void panel_##T(const struct panel *p, size_t token) {                  \
        const size_t n_pairs = (p->cols + 1) / 2;                                 \
        const uint32_t *w = p->pairs;                                             \
        EACH_##T(DECLARE)                                                         \
        for (size_t j = 0; j < n_pairs; j++, w += PANEL_ROWS) {                   \
            const __m256i wl = _mm256_load_si256((const void *)w);                \
            const __m256i wh = _mm256_load_si256((const void *)(w + 8));          \
            const __m256 wlu = upper(wl), wll = lower(wl);                        \
            const __m256 whu = upper(wh), whl = lower(wh);                        \
            EACH_##T(STEP)                                                        \
        }                                                                         \
        EACH_##T(STORE)                                                           \
    }

DEFINE_PANEL(1)
DEFINE_PANEL(2)
DEFINE_PANEL(3)
DEFINE_PANEL(4)

typedef void panel_fn(const struct panel *p, size_t token);
static panel_fn *const panel_tokens[] = {NULL, panel_1, panel_2, panel_3, panel_4};

/* Apart, so that no arithmetic moves out of the mode it is meant for. */
static __attribute__((noinline)) void products(const struct matmul_bf16_args *a) {
    struct panel p = {.a = a, .pairs = a->scratch};
    for (p.row = a->row_begin; p.row < a->row_end; p.row += p.rows) {
        p.rows = a->row_end - p.row < PANEL_ROWS ? a->row_end - p.row : PANEL_ROWS;
        p.col = 0;
        do { /* once also without columns: y is then zero */
            p.cols = a->n_cols - p.col < 2 * PANEL_PAIRS ? a->n_cols - p.col : 2 * PANEL_PAIRS;
            fill_panel(&p);
            for (size_t t = 0, n; t < a->n_tokens; t += n) {
                n = a->n_tokens - t < PANEL_TOKENS ? a->n_tokens - t : PANEL_TOKENS;
                panel_tokens[n](&p, t);
            }
            p.col += p.cols;
        } while (p.col < a->n_cols);
    }
}

void avx2_matmul_bf16_pairs(const struct matmul_bf16_args *a) {
    const struct flushing f = flush_begin();
    products(a);
    flush_end(f);
    for (size_t t = 0; a->bias && t < a->n_tokens; t++)
        for (size_t r = a->row_begin; r < a->row_end; r++)
            a->y[t * a->y_stride + r] += a->bias[r];
}

void avx2_to_bf16(uint16_t *y, const float *x, size_t n) {
    const __m256i half = _mm256_set1_epi32(0x7FFF), one = _mm256_set1_epi32(1);
    size_t i = 0;
    for (; i + HALF_LANES <= n; i += HALF_LANES) {
        const __m256 v = _mm256_loadu_ps(x + i);
        const __m256i bits = _mm256_castps_si256(v), top = _mm256_srli_epi32(bits, 16);
        const __m256i round = _mm256_add_epi32(half, _mm256_and_si256(top, one));
        const __m256i near = _mm256_srli_epi32(_mm256_add_epi32(bits, round), 16);
        const __m256i nan = _mm256_or_si256(top, _mm256_set1_epi32(0x40));
        const __m256 is_nan = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
        const __m256i h = _mm256_blendv_epi8(near, nan, _mm256_castps_si256(is_nan));
        const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(h, h), 0x08);
        _mm_storeu_si128((void *)(y + i), _mm256_castsi256_si128(packed));
    }
    for (; i < n; i++)
        y[i] = f32_to_bf16(x[i]);
}
