/* avx512amx_packed.c - MATH_INT8 with AMX: tiles of 16 tokens by 64 rows. Needs AMX_TILE and AMX_INT8.
 *
 * A chunk of a packed group, four columns of 64 rows, is four lines of what tdpbsud wants of its second
 * operand, so that tiles of codes are loaded from where they lie, or from where nibbles were unpacked
 * to. Sums are integers, so they are those of vpdpbusd; what follows is done in the same order.
 */
#include "kernels/avx512amx/amx_tiles.h"
#include "kernels/avx512bf16/avx512bf16.h"
#include "kernels/avx512vnni/avx512vnni_packed.h"
#include "kernels/tables.h"

enum { TOKENS = 16, STEP_COLS = 64, ROWS_OF_TILE = 16 };

/* 0 to 3: sums, [token][row]. 4: activations, [token][column]. 5 and 6: codes, [column / 4][row][4]. */
static const struct tile_config tile_shapes = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64},
    .rows = {TOKENS, TOKENS, TOKENS, TOKENS, TOKENS, STEP_COLS / 4, STEP_COLS / 4}};

/* ---- sixteen tokens ------------------------------------------------------------------------ */

/* The end of a group, for 16 rows of a token. */
static inline void add_group(const struct packed_tile *a, const int32_t *found, size_t t, size_t r) {
    const __m512 scale = _mm512_load_ps(a->numbers->scale + r);
    const __m512 by = _mm512_mul_ps(scale, _mm512_set1_ps(a->x_scale[t]));
    float *to = a->sums + t * PACKED_ROWS + r;
    __m512i sums = _mm512_load_si512(found + t * PACKED_ROWS + r);
    if (a->w->kind == QUANT_AFFINE) {
        const __m512 zero = _mm512_loadu_ps(a->numbers->zero.f + r);
        const __m512 sum = _mm512_set1_ps(a->x_scale[t] * (float)a->x_sum[t]);
        const __m512 y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), by, _mm512_loadu_ps(to));
        _mm512_storeu_ps(to, _mm512_fnmadd_ps(zero, sum, y));
        return;
    }
    const __m512i zero = a->w->zeros == ZEROS_CONSTANT ? _mm512_set1_epi32(a->w->zero)
                                                       : _mm512_loadu_si512(a->numbers->zero.i + r);
    sums = _mm512_sub_epi32(sums, _mm512_mullo_epi32(zero, _mm512_set1_epi32(a->x_sum[t])));
    _mm512_storeu_ps(to, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), by, _mm512_loadu_ps(to)));
}

static void tile_16(const struct packed_tile *a) {
    _Alignas(64) int32_t found[TOKENS * PACKED_ROWS];
    const int8_t *x = a->x;
    const unsigned char *q = a->codes;
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (size_t k = 0; k < a->n_cols; k += STEP_COLS, q += STEP_COLS / 4 * PACKED_CHUNK_BYTES) {
        TILE_LOAD(4, x + k, a->x_stride);
        TILE_LOAD(5, q, PACKED_CHUNK_BYTES);
        TILE_LOAD(6, q + 64, PACKED_CHUNK_BYTES);
        TILE_DOT(0, 4, 5);
        TILE_DOT(1, 4, 6);
        TILE_LOAD(5, q + 128, PACKED_CHUNK_BYTES);
        TILE_LOAD(6, q + 192, PACKED_CHUNK_BYTES);
        TILE_DOT(2, 4, 5);
        TILE_DOT(3, 4, 6);
    }
    TILE_STORE(0, found, PACKED_ROWS * 4);
    TILE_STORE(1, found + ROWS_OF_TILE, PACKED_ROWS * 4);
    TILE_STORE(2, found + 2 * ROWS_OF_TILE, PACKED_ROWS * 4);
    TILE_STORE(3, found + 3 * ROWS_OF_TILE, PACKED_ROWS * 4);
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t r = 0; r < PACKED_ROWS; r += 16)
            add_group(a, found, t, r);
}

/* ---- fewer ---------------------------------------------------------------------------------- */

static void several(const struct packed_tile *a, size_t n) {
    struct packed_tile part = *a;
    for (size_t i = 0; i < n; i += VNNI_TOKENS) {
        part.sums = a->sums + i * PACKED_ROWS;
        part.x = (const int8_t *)a->x + i * a->x_stride;
        part.x_scale = a->x_scale + i;
        part.x_sum = a->x_sum + i;
        avx512vnni_bytes[n - i < VNNI_TOKENS ? n - i : VNNI_TOKENS](&part);
        part.ahead = 0;
    }
}

#define DEFINE_SEVERAL(T) \
    static void several_##T(const struct packed_tile *a) { several(a, T); }
DEFINE_SEVERAL(1)
DEFINE_SEVERAL(2)
DEFINE_SEVERAL(3)
DEFINE_SEVERAL(4)
DEFINE_SEVERAL(5)
DEFINE_SEVERAL(6)
DEFINE_SEVERAL(7)
DEFINE_SEVERAL(8)
DEFINE_SEVERAL(9)
DEFINE_SEVERAL(10)
DEFINE_SEVERAL(11)
DEFINE_SEVERAL(12)
DEFINE_SEVERAL(13)
DEFINE_SEVERAL(14)
DEFINE_SEVERAL(15)

static packed_tile_fn *const tiles[TOKENS + 1] = {
    NULL,      several_1, several_2,  several_3,  several_4,  several_5,  several_6,  several_7, several_8,
    several_9, several_10, several_11, several_12, several_13, several_14, several_15, tile_16};

static void packed_int8(const struct packed_args *a) {
    static const struct packed_parts parts8 = {
        .dot = tiles, .n_tokens = TOKENS, .whole_tiles = true, .numbers = avx512_packed_numbers};
    static const struct packed_parts parts4 = {.dot = tiles, .n_tokens = TOKENS, .whole_tiles = true,
                                               .unpack = avx512vnni_unpack,
                                               .direct = avx512vnni_nibbles,
                                               .n_direct = VNNI_NIBBLES_TOKENS,
                                               .direct_most = VNNI_NIBBLES_MOST - 1,
                                               .numbers = avx512_packed_numbers};
    /* Tiles have one shape, and loading another costs more than it saves. */
    if (a->token_end - a->token_begin < TOKENS || a->w->group % STEP_COLS || a->w->cols % STEP_COLS) {
        avx512vnni_packed_int8(a);
        return;
    }
    begin_tiles(&tile_shapes);
    packed_tiles_matmul(a, a->w->bits == 8 ? &parts8 : &parts4);
    end_tiles();
}

const struct packed_kernels packed_avx512amx = {
    .prepare = {[MATH_EXACT] = avx512_prepare_exact, [MATH_INT8] = avx512_prepare_int8,
                [MATH_BF16] = avx512_prepare_bf16},
    .matmul = {[MATH_EXACT] = avx512_packed_exact, [MATH_INT8] = packed_int8,
               [MATH_BF16] = avx512bf16_packed},
};
