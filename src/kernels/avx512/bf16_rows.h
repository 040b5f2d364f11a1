/* bf16_rows.h - matmul_bf16 (kernels.h) with 16 rows in the lanes of a register, weights in the file's own
 * layout. The file that includes it says what a step is:
 *     MAC2(s, w, x)        s = the two steps of 16 rows' pairs w with the pair in every lane of x
 *     MAC2_AT(s, w, p)     the same with the pair at p
 *     PANEL_TOKENS         tokens of a tile of 64 rows, at most 6
 * and gets bf16_products and bf16_bias.
 *
 * Few tokens: "strips" of 16 rows are transposed in registers on the way from memory. What it costs hides
 * behind memory. The next strip is fetched meanwhile, in the order in which it lies in memory: 16 rows
 * at a time would be 16 streams, and the hardware fetches ahead on fewer.
 *
 * More tokens than registers have room for beside a transposed block: "wide strips", whose blocks go
 * through the first-level cache; activations are transposed too, so that those of all tokens for a pair of
 * columns lie side by side.
 *
 * Many tokens: "panels" of 64 rows x PANEL_COLS columns are transposed once into scratch, where they stay in
 * the second-level cache while all tokens pass by; the first tile of tokens fetches the next panel.
 *
 * A row that does not begin at a cache line would make every load touch two. Where all rows lie
 * alike, the first block is cut so that the others do begin at one. The order of additions knows
 * nothing of blocks. */
#ifndef QUERN_KERNELS_AVX512_BF16_ROWS_H
#define QUERN_KERNELS_AVX512_BF16_ROWS_H

#include "kernels/avx512/avx512.h"
#include "kernels/avx512/transpose16.h"

enum {
    STRIP_ROWS = 16,
    BLOCK_COLS = 32, /* 64 bytes of a row */
    PANEL_ROWS = MATMUL_BF16_ROWS,
    PANEL_COLS = MATMUL_BF16_SCRATCH_BYTES / (PANEL_ROWS * 2),
    STRIP_TOKENS = 8,
    WIDE_TOKENS = 16, /* of a tile */
    WIDE_TILES = 2,
    WIDE_COLS = MATMUL_BF16_SCRATCH_BYTES / (WIDE_TOKENS * WIDE_TILES * 2),
};

/* Columns of the first block: up to a cache line, where that helps, or all of a block. */
static inline size_t first_block_cols(const unsigned char *row, size_t stride, size_t cols) {
    size_t past = (uintptr_t)row % 64;
    size_t n = stride % 64 == 0 && past % 4 == 0 ? (64 - past) / 2 : BLOCK_COLS;
    return n < cols ? n : cols;
}

static inline __mmask32 first_cols(size_t n) {
    return (__mmask32)((1ull << n) - 1);
}

/* ---- strips -------------------------------------------------------------------------- */

/* 16 rows (the last one again where there are fewer), a block of them in hand. */
#define LOAD_FOUR(q, i0, i1, i2, i3)                             \
    const __m512i w##i0 = _mm512_loadu_si512(q);                 \
    const __m512i w##i1 = _mm512_loadu_si512(q + stride);        \
    const __m512i w##i2 = _mm512_loadu_si512(q + 2 * stride);    \
    const __m512i w##i3 = _mm512_loadu_si512(q + stride3);
#define LOAD_ROWS                                                        \
    LOAD_FOUR(p, 0, 1, 2, 3) LOAD_FOUR(p4, 4, 5, 6, 7)                   \
    LOAD_FOUR(p8, 8, 9, 10, 11) LOAD_FOUR(p12, 12, 13, 14, 15)
/* Four pointers and two strides, and the compiler kept from making them sixteen, for which there are no
 * registers. */
#define DECLARE_ROWS                                                         \
    size_t stride3 = 3 * stride;                                             \
    const unsigned char *p4 = p + 4 * stride, *p8 = p + 8 * stride, *p12 = p + 12 * stride; \
    __asm__("" : "+r"(stride3), "+r"(p4), "+r"(p8), "+r"(p12));
#define NEXT_BLOCK p += 64, p4 += 64, p8 += 64, p12 += 64
#define LOAD_SOME(i) \
    const __m512i w##i = _mm512_maskz_loadu_epi16(m, p + (i < rows ? i : rows - 1) * stride);
#define FETCH_LINE(i) fetch(ahead + i * 64);
#define KEEP(i) _mm512_store_si512(kept + i, t##i);

/* n <= 32 columns of up to 16 rows, transposed into kept[16]. */
static __attribute__((noinline)) void transpose_some(__m512i *kept, const unsigned char *p,
                                                     size_t stride, size_t rows, size_t n) {
    const __mmask32 m = first_cols(n);
    EACH_16(LOAD_SOME)
    TRANSPOSE16
    EACH_16(KEEP)
}

#define STRIP_DECLARE(t)                                   \
    const uint16_t *x##t = a->x + (token + t) * a->x_stride; \
    __m512 s##t = _mm512_setzero_ps();
#define STRIP_PAIR(t) MAC2_AT(s##t, kept[j], x##t + k + 2 * j);
/* Pair after pair, so that neighbouring instructions belong to different sums. */
#define STRIP_MAC(t) MAC2_AT(s##t, w, x##t + at);
#define STRIP_COLUMN_1(j) { const __m512i w = t##j; const size_t at = k + 2 * j; EACH_1(STRIP_MAC) }
#define STRIP_COLUMN_2(j) { const __m512i w = t##j; const size_t at = k + 2 * j; EACH_2(STRIP_MAC) }
#define STRIP_COLUMN_3(j) { const __m512i w = t##j; const size_t at = k + 2 * j; EACH_3(STRIP_MAC) }
#define STRIP_COLUMN_4(j) { const __m512i w = t##j; const size_t at = k + 2 * j; EACH_4(STRIP_MAC) }
#define STRIP_COLUMN_5(j) { const __m512i w = t##j; const size_t at = k + 2 * j; EACH_5(STRIP_MAC) }
#define STRIP_COLUMN_6(j) { const __m512i w = t##j; const size_t at = k + 2 * j; EACH_6(STRIP_MAC) }
#define STRIP_COLUMN_7(j) { const __m512i w = t##j; const size_t at = k + 2 * j; EACH_7(STRIP_MAC) }
#define STRIP_COLUMN_8(j) { const __m512i w = t##j; const size_t at = k + 2 * j; EACH_8(STRIP_MAC) }
#define STRIP_STORE(t) _mm512_mask_storeu_ps(a->y + (token + t) * a->y_stride + r, stored, s##t);

/* Rows [r, r + rows), tokens [token, token + T). */
#define DEFINE_STRIP(T)                                                                         \
    static void strip_##T(const struct matmul_bf16_args *a, size_t token, size_t r, size_t rows) { \
        const size_t stride = a->n_cols * 2, n = a->n_cols;                                     \
        const unsigned char *p = (const unsigned char *)a->w + r * stride;                      \
        const unsigned char *ahead = p + STRIP_ROWS * stride;                                   \
        const __mmask16 stored = first_lanes(rows);                                             \
        const bool whole = rows == STRIP_ROWS;                                                  \
        EACH_##T(STRIP_DECLARE) size_t k = 0;                                                   \
        size_t some = first_block_cols(p, stride, n);                                           \
        while (k < n) {                                                                         \
            if (whole && some == BLOCK_COLS) {                                                  \
                DECLARE_ROWS                                                                    \
                for (; k + BLOCK_COLS <= n; k += BLOCK_COLS, ahead += 1024) {                   \
                    EACH_16(FETCH_LINE)                                                         \
                    LOAD_ROWS                                                                   \
                    NEXT_BLOCK;                                                                 \
                    TRANSPOSE16                                                                 \
                    EACH_16(STRIP_COLUMN_##T)                                                   \
                }                                                                               \
            } else {                                                                            \
                __m512i kept[16];                                                               \
                transpose_some(kept, p, stride, rows, some);                                    \
                for (size_t j = 0; 2 * j < some; j++) {                                         \
                    EACH_##T(STRIP_PAIR)                                                        \
                }                                                                               \
                k += some, p += 2 * some;                                                       \
            }                                                                                   \
            some = n - k < BLOCK_COLS ? n - k : BLOCK_COLS;                                     \
        }                                                                                       \
        EACH_##T(STRIP_STORE)                                                                   \
    }

DEFINE_STRIP(1)
DEFINE_STRIP(2)
DEFINE_STRIP(3)
DEFINE_STRIP(4)
DEFINE_STRIP(5)
DEFINE_STRIP(6)
DEFINE_STRIP(7)
DEFINE_STRIP(8)

typedef void strip_fn(const struct matmul_bf16_args *a, size_t token, size_t r, size_t rows);
static strip_fn *const strip_tokens[] = {NULL,    strip_1, strip_2, strip_3, strip_4,
                                         strip_5, strip_6, strip_7, strip_8};

static void strips(const struct matmul_bf16_args *a) {
    for (size_t r = a->row_begin; r < a->row_end; r += STRIP_ROWS) {
        size_t rows = a->row_end - r < STRIP_ROWS ? a->row_end - r : STRIP_ROWS;
        for (size_t t = 0; t < a->n_tokens; t += STRIP_TOKENS) {
            size_t n = a->n_tokens - t < STRIP_TOKENS ? a->n_tokens - t : STRIP_TOKENS;
            strip_tokens[n](a, t, r, rows);
        }
    }
}

/* ---- wide strips ----------------------------------------------------------------------- */

/* Columns [col, col + cols) of rows [row, row + rows), n tokens from `token` on: x[j][i] is pair j of
 * token + i. Sums begin where those of the columns before ended: they lie in y. */
struct wide {
    const struct matmul_bf16_args *a;
    const __m512i *x; /* [pairs] */
    size_t token, n, row, rows, col, cols;
    bool ahead; /* fetch the strip after this one */
};

static void spread_tokens(__m512i *to, const struct wide *s) {
    const unsigned char *p = (const unsigned char *)(s->a->x + s->token * s->a->x_stride + s->col);
    const size_t cols = (s->cols + 1) / 2 * 2;
    for (size_t k = 0; k < cols; k += BLOCK_COLS, p += 64, to += 16)
        transpose_some(to, p, s->a->x_stride * 2, s->n, cols - k < BLOCK_COLS ? cols - k : BLOCK_COLS);
}

#define WIDE_LOAD(t)                                                                     \
    float *y##t = a->y + (s->token + t) * a->y_stride + s->row;                          \
    __m512 s##t = t < s->n && s->col > 0 ? _mm512_maskz_loadu_ps(stored, y##t) : _mm512_setzero_ps();
#define WIDE_MAC(t) MAC2_AT(s##t, w, x + t);
#define WIDE_STORE(t)   \
    if (t < s->n)       \
        _mm512_mask_storeu_ps(y##t, stored, s##t);

/* In order of memory, row after row of the next strip's columns. */
#define WIDE_FETCH                                  \
    if (s->ahead) {                                 \
        EACH_16(FETCH_LINE)                         \
        ahead += 1024;                              \
        if (--run == 0) {                           \
            run = (s->cols + 511) / 512;            \
            row_ahead += stride, ahead = row_ahead; \
        }                                           \
    }

#define DEFINE_WIDE(T)                                                                        \
    static void wide_##T(const struct wide *s) {                                              \
        const struct matmul_bf16_args *a = s->a;                                              \
        const size_t stride = a->n_cols * 2;                                                  \
        const unsigned char *p = (const unsigned char *)a->w + s->row * stride + 2 * s->col;  \
        const unsigned char *row_ahead = p + STRIP_ROWS * stride, *ahead = row_ahead;         \
        const uint32_t *x = (const uint32_t *)s->x;                                           \
        const __mmask16 stored = first_lanes(s->rows);                                        \
        size_t run = (s->cols + 511) / 512;                                                   \
        size_t some = first_block_cols(p, stride, s->cols);                                   \
        EACH_##T(WIDE_LOAD) for (size_t k = 0; k < s->cols; p += 2 * some, k += some,         \
                                 some = s->cols - k < BLOCK_COLS ? s->cols - k : BLOCK_COLS) { \
            __m512i kept[16];                                                                 \
            WIDE_FETCH                                                                        \
            if (s->rows == STRIP_ROWS && some == BLOCK_COLS) {                                \
                DECLARE_ROWS                                                                  \
                LOAD_ROWS                                                                     \
                TRANSPOSE16                                                                   \
                EACH_16(KEEP)                                                                 \
            } else {                                                                          \
                transpose_some(kept, p, stride, s->rows, some);                               \
            }                                                                                 \
            for (size_t j = 0; 2 * j < some; j++, x += 16) {                                  \
                const __m512i w = kept[j];                                                    \
                EACH_##T(WIDE_MAC)                                                            \
            }                                                                                 \
        }                                                                                     \
        EACH_##T(WIDE_STORE)                                                                  \
    }

#define EACH_10(M) EACH_8(M) M(8) M(9)
#define EACH_12(M) EACH_10(M) M(10) M(11)
#define EACH_14(M) EACH_12(M) M(12) M(13)
DEFINE_WIDE(8)
DEFINE_WIDE(10)
DEFINE_WIDE(12)
DEFINE_WIDE(14)
DEFINE_WIDE(16)

typedef void wide_fn(const struct wide *s);
/* By half the number of tokens. */
static wide_fn *const wide_tokens[] = {NULL,   wide_8,  wide_8,  wide_8, wide_8,
                                       wide_10, wide_12, wide_14, wide_16};

static void wide_strips(const struct matmul_bf16_args *a) {
    const size_t tiles = (a->n_tokens + WIDE_TOKENS - 1) / WIDE_TOKENS;
    struct wide tile[WIDE_TILES];
    for (size_t col = 0; col < a->n_cols; col += WIDE_COLS) {
        size_t cols = a->n_cols - col < WIDE_COLS ? a->n_cols - col : WIDE_COLS;
        for (size_t i = 0, token = 0; i < tiles; token += tile[i].n, i++) {
            __m512i *x = (__m512i *)a->scratch + i * (WIDE_COLS / 2);
            tile[i] = (struct wide){.a = a, .x = x, .token = token, .col = col, .cols = cols};
            tile[i].n = (a->n_tokens - token + tiles - i - 1) / (tiles - i);
            spread_tokens(x, &tile[i]);
        }
        for (size_t r = a->row_begin; r < a->row_end; r += STRIP_ROWS) {
            for (size_t i = 0; i < tiles; i++) {
                tile[i].row = r;
                tile[i].rows = a->row_end - r < STRIP_ROWS ? a->row_end - r : STRIP_ROWS;
                tile[i].ahead = i == 0 && r + STRIP_ROWS < a->row_end;
                wide_tokens[(tile[i].n + 1) / 2](&tile[i]);
            }
        }
    }
}

/* ---- panels ---------------------------------------------------------------------------- */

/* Columns [col, col + cols) of rows [row, row + rows), transposed: pair j of the 64 rows is
 * pairs[4j .. 4j + 3]. The tokens' tiles fetch lines of what comes next, `ahead` and on: runs of
 * ahead_run lines of one row, then ahead_skip bytes on. */
struct panel {
    const struct matmul_bf16_args *a;
    __m512i *pairs;
    size_t row, rows, col, cols;
    const unsigned char *ahead;
    size_t ahead_run, ahead_skip;
};

#define PUT(i) _mm512_store_si512(to + 4 * i, t##i);

static void fill_strip(__m512i *to, const unsigned char *p, size_t stride, size_t rows, size_t cols) {
    size_t some = first_block_cols(p, stride, cols);
    while (cols > 0) {
        if (rows == STRIP_ROWS && some == BLOCK_COLS) {
            DECLARE_ROWS
            for (; cols >= BLOCK_COLS; cols -= BLOCK_COLS, NEXT_BLOCK, to += 64) {
                LOAD_ROWS
                TRANSPOSE16
                EACH_16(PUT)
            }
        } else {
            __m512i kept[16];
            transpose_some(kept, p, stride, rows, some);
            for (size_t j = 0; 2 * j < some; j++)
                to[4 * j] = kept[j];
            cols -= some, p += 2 * some, to += 4 * (some / 2);
        }
        some = cols < BLOCK_COLS ? cols : BLOCK_COLS;
    }
}

static void fill_panel(const struct panel *p) {
    const size_t stride = p->a->n_cols * 2;
    for (size_t g = 0; g < 4; g++) {
        /* Rows beyond the last are the last once more; they are computed and not stored. */
        size_t first = STRIP_ROWS * g < p->rows ? STRIP_ROWS * g : p->rows - 1;
        size_t rows = p->rows - first < STRIP_ROWS ? p->rows - first : STRIP_ROWS;
        const unsigned char *from = (const unsigned char *)p->a->w + (p->row + first) * stride + 2 * p->col;
        fill_strip(p->pairs + g, from, stride, rows, p->cols);
    }
}

#define PANEL_DECLARE(t)                                                     \
    const uint16_t *x##t = a->x + (token + t) * a->x_stride + panel->col;    \
    float *y##t = a->y + (token + t) * a->y_stride + panel->row;             \
    __m512 s##t##0 = _mm512_maskz_loadu_ps(panel->col ? m0 : 0, y##t);       \
    __m512 s##t##1 = _mm512_maskz_loadu_ps(panel->col ? m1 : 0, y##t + 16);  \
    __m512 s##t##2 = _mm512_maskz_loadu_ps(panel->col ? m2 : 0, y##t + 32);  \
    __m512 s##t##3 = _mm512_maskz_loadu_ps(panel->col ? m3 : 0, y##t + 48);
#define PANEL_STEP(t)                                          \
    {                                                          \
        __m512i x = _mm512_set1_epi32(load_pair(x##t + 2 * j)); \
        __asm__("" : "+v"(x));                                 \
        MAC2(s##t##0, w0, x);                                  \
        MAC2(s##t##1, w1, x);                                  \
        MAC2(s##t##2, w2, x);                                  \
        MAC2(s##t##3, w3, x);                                  \
    }
#define PANEL_STORE(t)                               \
    _mm512_mask_storeu_ps(y##t, m0, s##t##0);        \
    _mm512_mask_storeu_ps(y##t + 16, m1, s##t##1);   \
    _mm512_mask_storeu_ps(y##t + 32, m2, s##t##2);   \
    _mm512_mask_storeu_ps(y##t + 48, m3, s##t##3);

static inline __mmask16 lanes_of(size_t rows, size_t from) {
    return rows <= from ? 0 : rows - from < 16 ? first_lanes(rows - from) : (__mmask16)0xFFFF;
}

/* The sums begin where those of the columns before ended: they lie in y. */
#define DEFINE_PANEL(T)                                                                      \
    static void panel_##T(const struct panel *panel, size_t token) {                         \
        const struct matmul_bf16_args *a = panel->a;                                         \
        const __m512i *w = panel->pairs;                                                     \
        const __mmask16 m0 = lanes_of(panel->rows, 0), m1 = lanes_of(panel->rows, 16);       \
        const __mmask16 m2 = lanes_of(panel->rows, 32), m3 = lanes_of(panel->rows, 48);      \
        const unsigned char *ahead = panel->ahead;                                           \
        size_t run = panel->ahead_run, n_pairs = (panel->cols + 1) / 2;                      \
        EACH_##T(PANEL_DECLARE)                                                              \
        for (size_t j = 0; j < n_pairs; j++, w += 4) {                                       \
            if (ahead) {                                                                     \
                fetch(ahead), fetch(ahead + 64), fetch(ahead + 128), fetch(ahead + 192);     \
                ahead += 256;                                                                \
                if (--run == 0) {                                                            \
                    run = panel->ahead_run;                                                  \
                    ahead += panel->ahead_skip;                                              \
                }                                                                            \
            }                                                                                \
            __m512i w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];                              \
            __asm__("" : "+v"(w0), "+v"(w1), "+v"(w2), "+v"(w3));                            \
            EACH_##T(PANEL_STEP)                                                             \
        }                                                                                    \
        EACH_##T(PANEL_STORE)                                                                \
    }

DEFINE_PANEL(1)
DEFINE_PANEL(2)
DEFINE_PANEL(3)
DEFINE_PANEL(4)
DEFINE_PANEL(5)
DEFINE_PANEL(6)

typedef void panel_fn(const struct panel *panel, size_t token);
static panel_fn *const panel_tokens[] = {NULL, panel_1, panel_2, panel_3, panel_4, panel_5, panel_6};

/* All tokens over one panel, in tiles as equal as can be. */
static void multiply_panel(struct panel *p) {
    size_t n_tokens = p->a->n_tokens, tiles = (n_tokens + PANEL_TOKENS - 1) / PANEL_TOKENS;
    for (size_t i = 0, t = 0; i < tiles; i++) {
        size_t n = (n_tokens - t) / (tiles - i);
        panel_tokens[n](p, t);
        p->ahead = NULL;
        t += n;
    }
}

/* What comes after the panel: the next columns of its rows, else the next rows. */
static void aim_ahead(struct panel *p, size_t cols) {
    const struct matmul_bf16_args *a = p->a;
    const size_t stride = a->n_cols * 2;
    const bool same_rows = p->col + p->cols < a->n_cols;
    p->ahead = NULL;
    if (cols % 128 != 0 || (!same_rows && p->row + PANEL_ROWS >= a->row_end))
        return;
    p->ahead = (const unsigned char *)a->w +
               (same_rows ? p->row * stride + 2 * (p->col + p->cols) : (p->row + PANEL_ROWS) * stride);
    p->ahead_run = cols / 128;
    p->ahead_skip = stride - 2 * cols;
}

static void panels(const struct matmul_bf16_args *a) {
    struct panel p = {.a = a, .pairs = a->scratch};
    for (p.row = a->row_begin; p.row < a->row_end; p.row += PANEL_ROWS) {
        p.rows = a->row_end - p.row < PANEL_ROWS ? a->row_end - p.row : PANEL_ROWS;
        for (p.col = 0; p.col < a->n_cols; p.col += p.cols) {
            p.cols = a->n_cols - p.col < PANEL_COLS ? a->n_cols - p.col : PANEL_COLS;
            fill_panel(&p);
            aim_ahead(&p, p.cols);
            multiply_panel(&p);
        }
    }
}

/* ---- the call ------------------------------------------------------------------------------ */

static void bf16_bias(const struct matmul_bf16_args *a) {
    for (size_t t = 0; a->bias && t < a->n_tokens; t++) {
        float *y = a->y + t * a->y_stride;
        for (size_t r = a->row_begin; r < a->row_end; r++)
            y[r] += a->bias[r];
    }
}

static void bf16_products(const struct matmul_bf16_args *a) {
    if (a->n_tokens <= STRIP_TOKENS || a->n_cols == 0)
        strips(a);
    else if (a->n_tokens <= WIDE_TOKENS * WIDE_TILES)
        wide_strips(a);
    else
        panels(a);
}

#endif
