/* avx512amx_bf16.c - matmul_bf16 with AMX (tdpbf16ps). Needs AMX_TILE and AMX_BF16.
 *
 * Weights are the first operand, 16 rows by 32 columns as they lie in the file; activations are the second, for
 * which 16 tokens are transposed, pair by pair, once for many rows. Any number of tokens goes this way, so that the
 * order of a token's sum is one. Sums of a block of rows wait in scratch while the columns pass by in parts. */
#include <immintrin.h>
#include <string.h>

#include "kernels/avx512/transpose16.h"
#include "kernels/avx512amx/amx_tiles.h"
#include "kernels/avx512amx/avx512amx.h"

enum {
    SIDE = 16,           /* rows, tokens and pairs of a tile */
    STEP_COLS = 2 * SIDE,
    TILE_BYTES = 1024,
    TOKEN_TILES = 2,
    PART_COLS = 1024,
    PART_BYTES = PART_COLS / STEP_COLS * TILE_BYTES, /* of 16 tokens */
    BLOCK_ROWS = 448,
    SUMS_BYTES = BLOCK_ROWS / SIDE * TOKEN_TILES * TILE_BYTES,
    MOST_ROW_TILES = 4
};
_Static_assert(TOKEN_TILES * PART_BYTES + SUMS_BYTES + MOST_ROW_TILES * TILE_BYTES <= MATMUL_BF16_SCRATCH_BYTES,
               "scratch");

struct product {
    const struct matmul_bf16_args *a;
    size_t token, n_tokens; /* up to TOKEN_TILES tiles of tokens */
    size_t row, n_rows;     /* up to BLOCK_ROWS */
    size_t tile_rows;       /* 16, or all rows of the call */
    size_t col, n_cols;     /* of a part */
    unsigned char *x, *sums, *tails; /* in scratch */
};

/* The last tile ends with the block's last row, and may begin before the block: some rows are then computed
 * twice. */
static size_t row_of(const struct product *p, size_t tile) {
    const size_t r = tile * SIDE;
    return r + p->tile_rows <= p->n_rows ? r : p->n_rows - p->tile_rows;
}

static const unsigned char *weights_at(const struct product *p, size_t tile) {
    const struct matmul_bf16_args *a = p->a;
    return (const unsigned char *)a->w + ((p->row + row_of(p, tile)) * a->n_cols + p->col) * 2;
}

/* ---- activations -------------------------------------------------------------------------- */

#define LOAD_TOKEN(i)                                                                          \
    const __mmask16 m##i = i < n ? pairs : 0;                                                  \
    const __m512i w##i = _mm512_maskz_loadu_epi32(m##i, m##i ? x + i * p->a->x_stride : x);
#define STORE_PAIR(i) _mm512_store_si512(to + 64 * i, t##i);

/* 32 columns of n tokens become 16 lines of a pair of each. */
static void transpose(const struct product *p, unsigned char *to, const uint16_t *x, size_t n, size_t cols) {
    const size_t n_pairs = (cols + 1) / 2;
    const __mmask16 pairs = (__mmask16)(n_pairs < SIDE ? (1u << n_pairs) - 1 : 0xFFFF);
    EACH_16(LOAD_TOKEN)
    TRANSPOSE16
    EACH_16(STORE_PAIR)
}

static void prepare(const struct product *p) {
    for (size_t t = 0; t < p->n_tokens; t += SIDE) {
        const uint16_t *x = p->a->x + (p->token + t) * p->a->x_stride + p->col;
        unsigned char *to = p->x + t / SIDE * PART_BYTES;
        for (size_t k = 0; k < p->n_cols; k += STEP_COLS, to += TILE_BYTES)
            transpose(p, to, x + k, p->n_tokens - t < SIDE ? p->n_tokens - t : SIDE, p->n_cols - k);
    }
}

/* ---- tiles ---------------------------------------------------------------------------------- */

/* The last columns of a tile of rows, filled up with zeros. */
static void copy_tail(unsigned char *to, const struct product *p, const unsigned char *w, size_t cols) {
    memset(to, 0, TILE_BYTES);
    for (size_t r = 0; r < p->tile_rows; r++)
        memcpy(to + 64 * r, w + 2 * r * p->a->n_cols, 2 * cols);
}

static void load_sums(const struct product *p, unsigned char *const s[4]) {
    if (p->col == 0) {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
        return;
    }
    TILE_LOAD(0, s[0], 64);
    TILE_LOAD(1, s[1], 64);
    TILE_LOAD(2, s[2], 64);
    TILE_LOAD(3, s[3], 64);
}

static void store_sums(unsigned char *const s[4]) {
    TILE_STORE(0, s[0], 64);
    TILE_STORE(1, s[1], 64);
    TILE_STORE(2, s[2], 64);
    TILE_STORE(3, s[3], 64);
}

/* Two tiles of rows by two of tokens. */
static inline void step_2(const unsigned char *const w[2], size_t stride, const unsigned char *x) {
    TILE_LOAD(4, w[0], stride);
    TILE_LOAD(6, x, 64);
    TILE_DOT_BF16(0, 4, 6);
    TILE_LOAD(7, x + PART_BYTES, 64);
    TILE_DOT_BF16(1, 4, 7);
    TILE_LOAD(5, w[1], stride);
    TILE_DOT_BF16(2, 5, 6);
    TILE_DOT_BF16(3, 5, 7);
}

/* Four tiles of rows by one of tokens. */
static inline void step_4(const unsigned char *const w[4], size_t stride, const unsigned char *x) {
    TILE_LOAD(7, x, 64);
    TILE_LOAD(4, w[0], stride);
    TILE_DOT_BF16(0, 4, 7);
    TILE_LOAD(5, w[1], stride);
    TILE_DOT_BF16(1, 5, 7);
    TILE_LOAD(4, w[2], stride);
    TILE_DOT_BF16(2, 4, 7);
    TILE_LOAD(5, w[3], stride);
    TILE_DOT_BF16(3, 5, 7);
}

/* Tiles of rows from `tile` on, `some` of them; of those that are none the last one is computed again. */
static void several_rows(const struct product *p, size_t tile, size_t some) {
    const bool two = p->n_tokens > SIDE;
    const unsigned char *w[MOST_ROW_TILES];
    unsigned char *s[4];
    for (size_t i = 0; i < MOST_ROW_TILES; i++) {
        const size_t of_sums = tile + (two ? i / 2 < some ? i / 2 : some - 1 : i < some ? i : some - 1);
        w[i] = weights_at(p, tile + (i < some ? i : some - 1));
        s[i] = p->sums + (two ? 2 * of_sums + i % 2 : of_sums) * TILE_BYTES;
    }
    load_sums(p, s);
    const unsigned char *x = p->x;
    size_t k = 0, stride = p->a->n_cols * 2;
    for (; k + STEP_COLS <= p->n_cols; k += STEP_COLS, x += TILE_BYTES) {
        if (two)
            step_2(w, stride, x);
        else
            step_4(w, stride, x);
        for (size_t i = 0; i < MOST_ROW_TILES; i++)
            w[i] += 2 * STEP_COLS;
    }
    if (k < p->n_cols) {
        for (size_t i = 0; i < MOST_ROW_TILES; i++) {
            copy_tail(p->tails + i * TILE_BYTES, p, w[i], p->n_cols - k);
            w[i] = p->tails + i * TILE_BYTES;
        }
        if (two)
            step_2(w, 64, x);
        else
            step_4(w, 64, x);
    }
    store_sums(s);
}

/* ---- results --------------------------------------------------------------------------------- */

#define LOAD_ROW(i) const __m512i w##i = _mm512_load_si512(sums + 64 * i);
#define STORE_TOKEN(i)                                                                        \
    if (i < n)                                                                                \
        _mm512_mask_storeu_ps(y + i * stride, rows, _mm512_add_ps(_mm512_castsi512_ps(t##i), bias));
#define STORE_PLAIN(i)                                                                        \
    if (i < n)                                                                                \
        _mm512_mask_storeu_ps(y + i * stride, rows, _mm512_castsi512_ps(t##i));

/* Sums [row][token] of n tokens to y; rows not computed are not stored. */
static void store_tile(const struct product *p, const unsigned char *sums, size_t row, size_t token, size_t n) {
    const __mmask16 rows = (__mmask16)((1u << p->tile_rows) - 1);
    const size_t stride = p->a->y_stride;
    float *y = p->a->y + token * stride + row;
    EACH_16(LOAD_ROW)
    TRANSPOSE16
    if (p->a->bias) {
        const __m512 bias = _mm512_maskz_loadu_ps(rows, p->a->bias + row);
        EACH_16(STORE_TOKEN)
    } else {
        EACH_16(STORE_PLAIN)
    }
}

static void store(const struct product *p, size_t n_tiles) {
    const size_t token_tiles = (p->n_tokens + SIDE - 1) / SIDE;
    for (size_t i = 0; i < n_tiles; i++) {
        for (size_t t = 0; t < token_tiles; t++) {
            const size_t rest = p->n_tokens - t * SIDE;
            store_tile(p, p->sums + (i * token_tiles + t) * TILE_BYTES, p->row + row_of(p, i),
                       p->token + t * SIDE, rest < SIDE ? rest : SIDE);
        }
    }
}

static void block_of_rows(struct product *p, size_t *prepared) {
    const size_t n_tiles = (p->n_rows + SIDE - 1) / SIDE, most = p->n_tokens > SIDE ? 2 : MOST_ROW_TILES;
    p->col = 0;
    do {
        const size_t rest = p->a->n_cols - p->col;
        p->n_cols = rest < PART_COLS ? rest : PART_COLS;
        if (*prepared != p->col)
            prepare(p);
        *prepared = p->col;
        for (size_t i = 0; i < n_tiles; i += most)
            several_rows(p, i, n_tiles - i < most ? n_tiles - i : most);
        p->col += p->n_cols;
    } while (p->col < p->a->n_cols);
    store(p, n_tiles);
}

void avx512amx_matmul_bf16(const struct matmul_bf16_args *a) {
    const size_t rows = a->row_end - a->row_begin;
    struct product p = {.a = a, .tile_rows = rows < SIDE ? rows : SIDE, .x = a->scratch};
    p.sums = p.x + TOKEN_TILES * PART_BYTES;
    p.tails = p.sums + SUMS_BYTES;
    if (rows == 0)
        return;
    struct tile_config config = {.palette = 1};
    for (size_t i = 0; i < 8; i++) { /* 0 to 3: sums, [row][token]; 4 and 5: weights; 6 and 7: activations */
        config.row_bytes[i] = 64;
        config.rows[i] = (uint8_t)(i < 6 ? p.tile_rows : SIDE);
    }
    begin_tiles(&config);
    for (p.token = 0; p.token < a->n_tokens; p.token += p.n_tokens) {
        const size_t left = a->n_tokens - p.token;
        size_t prepared = SIZE_MAX;
        p.n_tokens = left < TOKEN_TILES * SIDE ? left : TOKEN_TILES * SIDE;
        for (p.row = a->row_begin; p.row < a->row_end; p.row += p.n_rows) {
            const size_t some = a->row_end - p.row;
            p.n_rows = some < BLOCK_ROWS ? some : BLOCK_ROWS;
            block_of_rows(&p, &prepared);
        }
    }
    end_tiles();
}
