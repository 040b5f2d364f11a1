/* avx512vnni_halves.c - MATH_INT8 for a few tokens more than a tile of 64 rows takes, as sequences decoded
 * side by side are: 32 rows by up to twelve tokens in 24 registers of sums, so that each code is read once and
 * memory hears of the next at an even pace. */
#include "kernels/avx512vnni/avx512vnni_packed.h"

#include "kernels/avx512vnni/avx512vnni_dot.h"
#include "kernels/tables.h"

enum {
    HALF_ROWS = PACKED_ROWS / 2,
    HALF_TOKENS = 12, /* of a tile */
    HALVES_FROM = 7, HALVES_TO = 2 * HALF_TOKENS,
    AHEAD_COLS = 128, /* so many columns are on their way from memory */
};

/* One group of half a panel. */
struct half_tile {
    const unsigned char *codes, *scales;
    const unsigned char *ahead; /* a line or two of each chunk there are fetched */
    const int8_t *x;            /* [tokens][x_stride] */
    const float *x_scale;
    const int32_t *x_sum;
    float *sums; /* [tokens][PACKED_ROWS] */
    size_t x_stride, n_cols;
    enum dtype number;
    int32_t zero;
    bool two_lines;
};
typedef void half_tile_fn(const struct half_tile *a);

/* Token t's activations: few enough pointers for the registers there are. */
#define AT_0 x0
#define AT_1 (x0 + n)
#define AT_2 (x0 + 2 * n)
#define AT_3 x3
#define AT_4 (x3 + n)
#define AT_5 (x3 + 2 * n)
#define AT_6 x6
#define AT_7 (x6 + n)
#define AT_8 (x6 + 2 * n)
#define AT_9 x9
#define AT_10 (x9 + n)
#define AT_11 (x9 + 2 * n)

#define BEGIN(t) __m512i s##t##0 = _mm512_set1_epi32(-a->zero * a->x_sum[t]), s##t##1 = s##t##0;
#define STEP(t)                             \
    {                                       \
        const __m512i v = four_of(AT_##t);  \
        s##t##0 = dot4(s##t##0, w0, v);     \
        s##t##1 = dot4(s##t##1, w1, v);     \
    }
#define ADD(t, r)                                                                                  \
    {                                                                                              \
        const __m512 by = _mm512_mul_ps(scale##r, _mm512_set1_ps(a->x_scale[t]));                  \
        float *to = a->sums + t * PACKED_ROWS + 16 * r;                                              \
        _mm512_store_ps(to, _mm512_fmadd_ps(_mm512_cvtepi32_ps(s##t##r), by, _mm512_load_ps(to))); \
    }
#define END(t) ADD(t, 0) ADD(t, 1)

#define EACH_9(M) EACH_8(M) M(8)
#define EACH_10(M) EACH_9(M) M(9)
#define EACH_11(M) EACH_10(M) M(10)
#define EACH_12(M) EACH_11(M) M(11)

#define DEFINE_HALF(T)                                                                           \
    static void half_##T(const struct half_tile *a) {                                            \
        const unsigned char *q = a->codes, *ahead = a->ahead, *also = ahead + (a->two_lines ? 64 : 0); \
        const size_t n = a->x_stride;                                                            \
        const int8_t *x0 = a->x, *x3 = x0 + 3 * n, *x6 = x3 + 3 * n, *x9 = x6 + 3 * n;           \
        (void)x9;                                                                                \
        EACH_##T(BEGIN)                                                                          \
        for (const unsigned char *end = q + a->n_cols * PACKED_ROWS; q < end; q += PACKED_CHUNK_BYTES) { \
            fetch(ahead), fetch(also);                                                           \
            ahead += PACKED_CHUNK_BYTES, also += PACKED_CHUNK_BYTES;                             \
            const __m512i w0 = load_codes(q), w1 = load_codes(q + 64);                           \
            EACH_##T(STEP)                                                                       \
            x0 += 4, x3 += 4, x6 += 4, x9 += 4;                                                  \
        }                                                                                        \
        const __m512 scale0 = numbers_at(a->number, a->scales, 0);                               \
        const __m512 scale1 = numbers_at(a->number, a->scales, 16);                              \
        EACH_##T(END)                                                                            \
    }

DEFINE_HALF(6)
DEFINE_HALF(7)
DEFINE_HALF(8)
DEFINE_HALF(9)
DEFINE_HALF(10)
DEFINE_HALF(11)
DEFINE_HALF(12)

static half_tile_fn *const tiles[HALF_TOKENS + 1] = {[6] = half_6,   [7] = half_7,   [8] = half_8,
                                                     [9] = half_9,   [10] = half_10, [11] = half_11,
                                                     [12] = half_12};

/* One group of a panel. What is fetched lies `distance` groups behind it. */
static void do_group(const struct packed_args *a, size_t panel, size_t g, size_t distance, float *sums) {
    const struct packed_matrix *w = a->w;
    const struct packed_input *in = a->x;
    const unsigned char *group = packed_group_at(w, panel, g), *codes = group + w->scales_bytes;
    const size_t tokens = a->token_end - a->token_begin, tile_count = tokens > HALF_TOKENS ? 2 : 1;
    struct half_tile t = {.n_cols = packed_padded_cols(w, g),
                          .x_stride = packed_input_cols(packed_group_cols(w, g)),
                          .ahead = codes + distance * w->group_bytes,
                          .number = w->number, .zero = w->zero, .two_lines = tile_count == 1};
    fetch(group + distance * w->group_bytes);
    fetch(group + distance * w->group_bytes + 64);
    for (size_t row = 0; row < PACKED_ROWS; row += HALF_ROWS) {
        t.scales = group + row * dtype_size_bytes(w->number);
        t.codes = codes + row * 4;
        for (size_t i = 0, token = a->token_begin; i < tile_count; i++) {
            const size_t n = (a->token_end - token) / (tile_count - i);
            t.x = (const int8_t *)in->x + packed_input_at(in, g) + token * t.x_stride;
            t.x_scale = in->scale + g * in->n_tokens + token;
            t.x_sum = in->sum + g * in->n_tokens + token;
            t.sums = sums + (token - a->token_begin) * PACKED_ROWS + row;
            tiles[n](&t);
            t.ahead += t.two_lines ? 128 : 64;
            token += n;
        }
    }
}

static void store(const struct packed_args *a, size_t panel, const float *sums) {
    const size_t row = panel * PACKED_ROWS;
    const size_t rows = a->w->rows - row < PACKED_ROWS ? a->w->rows - row : PACKED_ROWS;
    for (size_t t = a->token_begin; t < a->token_end; t++, sums += PACKED_ROWS) {
        float *y = a->y + t * a->y_stride + row;
        if (a->bias)
            for (size_t r = 0; r < rows; r++)
                y[r] = sums[r] + a->bias[row + r];
        else if (rows == PACKED_ROWS) /* a size that needs no loop */
            memcpy(y, sums, PACKED_ROWS * sizeof *y);
        else
            memcpy(y, sums, rows * sizeof *y);
    }
}

bool avx512vnni_halves(const struct packed_args *a) {
    const struct packed_matrix *w = a->w;
    const size_t tokens = a->token_end - a->token_begin;
    if (w->kind != QUANT_INT || w->bits != 8 || w->zeros != ZEROS_CONSTANT || tokens < HALVES_FROM ||
        tokens > HALVES_TO)
        return false;
    _Alignas(64) float sums[HALVES_TO * PACKED_ROWS];
    const size_t distance = (AHEAD_COLS + w->group - 1) / w->group;
    for (size_t panel = a->panel_begin; panel < a->panel_end; panel++) {
        for (size_t i = 0; i < tokens; i++)
            memset(sums + i * PACKED_ROWS, 0, PACKED_ROWS * sizeof *sums);
        for (size_t g = 0; g < w->n_groups; g++)
            do_group(a, panel, g, distance, sums);
        store(a, panel, sums);
    }
    return true;
}
