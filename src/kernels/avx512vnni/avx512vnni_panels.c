/* avx512vnni_panels.c - MATH_INT8 of QUANT_INT for more than a few tokens: a tile of up to six tokens passes
 * by a whole panel, group after group, its sums staying in the first-level cache; the panel, or as much of
 * it as fits beside the activations, stays in the second level for the next tile. Each tile fetches
 * its share of the panel to come, so that memory and arithmetic work at the same time.
 *
 * Four bits are unpacked once for all tokens. Where zeros differ, unpacked codes are signed with their
 * zeros off, and activations go in as bytes of 128 more (vpdpbusd wants one unsigned side): what that adds is
 * 128 times the sum of a row's codes, the same for all tokens. All in integers, so the bits are
 * those of any other way. */
#include "kernels/avx512vnni/avx512vnni_packed.h"

#include "kernels/avx512vnni/avx512vnni_dot.h"
#include "kernels/tables.h"

/* Of a slab: codes of 64 rows, 256 KB; sums of rows, where the other walk keeps those of tokens. */
enum {
    SLAB_COLS = PACKED_UNPACKED_BYTES / PACKED_ROWS,
    STEPPED_FROM = 13, STEPPED_TO = 36, /* tokens for which steps fetch */
    MINUS_GROUPS = PACKED_SUMS_BYTES / (PACKED_ROWS * 4),
};

/* One slab of a panel. Groups are `stride` bytes apart where codes are. */
struct slab {
    const struct packed_args *a;
    size_t panel, first, end; /* groups [first, end) */
    const unsigned char *codes;
    size_t codes_stride;
    const int32_t *minus; /* [groups][64]: -128 times the rows' sums; NULL: zeros are constant */
    /* What comes next in memory: each group of a tile fetches a run of lines, or each of its steps
     * two lines, of which the next step's differ by step_bytes. */
    const unsigned char *ahead;
    size_t run_bytes, step_bytes; /* one of them is 0 */
};

struct panel_tile {
    struct slab *s;
    size_t token, n_tokens;
    float *sums; /* [n_tokens][64] */
};
typedef void panel_tile_fn(const struct panel_tile *t);

/* ---- tiles ---------------------------------------------------------------------------------- */

static inline void fetch_later(const unsigned char *p) {
    _mm_prefetch((const char *)p, _MM_HINT_T1);
    _mm_prefetch((const char *)p + 64, _MM_HINT_T1);
}

static inline void fetch_run(struct slab *s) {
    const unsigned char *p = s->ahead, *end = p + s->run_bytes;
    for (; p < end; p += 64)
        _mm_prefetch((const char *)p, _MM_HINT_T1);
    s->ahead = p;
}

#define POINT(t) const int8_t *x##t = x + t * x_stride;
#define SUMS(t) __m512i s##t##0, s##t##1, s##t##2, s##t##3;
#define BEGIN_PLAIN(t) s##t##0 = s##t##1 = s##t##2 = s##t##3 = _mm512_set1_epi32(-w->zero * x_sum[t]);
#define BEGIN_SIGNED(t) s##t##0 = m0, s##t##1 = m1, s##t##2 = m2, s##t##3 = m3;
#define X_PLAIN(t) four_of(x##t + k)
#define X_SIGNED(t) _mm512_xor_si512(four_of(x##t + k), top)
#define DOTS_PLAIN(t)                            \
    {                                            \
        const __m512i v = X_PLAIN(t);            \
        s##t##0 = dot4(s##t##0, w0, v);          \
        s##t##1 = dot4(s##t##1, w1, v);          \
        s##t##2 = dot4(s##t##2, w2, v);          \
        s##t##3 = dot4(s##t##3, w3, v);          \
    }
#define DOTS_SIGNED(t)                           \
    {                                            \
        const __m512i v = X_SIGNED(t);           \
        s##t##0 = dot4(s##t##0, v, w0);          \
        s##t##1 = dot4(s##t##1, v, w1);          \
        s##t##2 = dot4(s##t##2, v, w2);          \
        s##t##3 = dot4(s##t##3, v, w3);          \
    }
#define ADD(t, r)                                                                                 \
    {                                                                                             \
        const __m512 by = _mm512_mul_ps(scale, _mm512_set1_ps(x_scale[t]));                       \
        float *to = sums + t * PACKED_ROWS + 16 * r;                                              \
        _mm512_store_ps(to, _mm512_fmadd_ps(_mm512_cvtepi32_ps(s##t##r), by, _mm512_load_ps(to))); \
    }
#define ADD_0(t) ADD(t, 0)
#define ADD_1(t) ADD(t, 1)
#define ADD_2(t) ADD(t, 2)
#define ADD_3(t) ADD(t, 3)
#define END_ROWS(T, r)                                                        \
    {                                                                         \
        const __m512 scale = numbers_at(w->number, scales, 16 * r);           \
        EACH_##T(ADD_##r)                                                     \
    }
#define MINUS_PLAIN
#define MINUS_FEW
#define STEP_PLAIN
#define STEP_SIGNED
#define STEP_FEW fetch_later(ahead), ahead += s->step_bytes;
#define AHEAD_PLAIN
#define AHEAD_SIGNED
#define AHEAD_FEW const unsigned char *ahead = s->ahead;
#define DONE_PLAIN
#define DONE_SIGNED
#define DONE_FEW s->ahead = ahead;
#define RUN_PLAIN fetch_run(s);
#define RUN_SIGNED fetch_run(s);
#define RUN_FEW
#define BEGIN_FEW(t) BEGIN_PLAIN(t)
#define DOTS_FEW(t) DOTS_PLAIN(t)
#define MINUS_SIGNED                                                                        \
    const int32_t *minus = s->minus + (g - s->first) * PACKED_ROWS;                         \
    const __m512i m0 = _mm512_load_si512(minus), m1 = _mm512_load_si512(minus + 16);        \
    const __m512i m2 = _mm512_load_si512(minus + 32), m3 = _mm512_load_si512(minus + 48);   \
    const __m512i top = _mm512_set1_epi32((int32_t)0x80808080u);

#define DEFINE_PANEL(T, KIND)                                                                    \
    static void KIND##_##T(const struct panel_tile *tile) {                                      \
        struct slab *const s = tile->s;                                                          \
        const struct packed_matrix *const w = s->a->w;                                           \
        const struct packed_input *const in = s->a->x;                                           \
        const unsigned char *codes = s->codes;                                                   \
        AHEAD_##KIND                                                                             \
        float *const sums = tile->sums;                                                          \
        for (size_t g = s->first; g < s->end; g++, codes += s->codes_stride) {                   \
            const size_t x_stride = packed_input_cols(packed_group_cols(w, g));                  \
            const int8_t *x = (const int8_t *)in->x + packed_input_at(in, g) + tile->token * x_stride; \
            const float *x_scale = in->scale + g * in->n_tokens + tile->token;                   \
            const int32_t *x_sum = in->sum + g * in->n_tokens + tile->token;                     \
            const unsigned char *scales = packed_group_at(w, s->panel, g), *q = codes;           \
            const size_t cols = packed_padded_cols(w, g);                                        \
            (void)x_sum;                                                                         \
            RUN_##KIND MINUS_##KIND EACH_##T(POINT) EACH_##T(SUMS) EACH_##T(BEGIN_##KIND)                   \
            for (size_t k = 0; k < cols; k += 4, q += PACKED_CHUNK_BYTES) {                      \
                STEP_##KIND                                                                      \
                const __m512i w0 = load_codes(q), w1 = load_codes(q + 64);                       \
                const __m512i w2 = load_codes(q + 128), w3 = load_codes(q + 192);                \
                EACH_##T(DOTS_##KIND)                                                            \
            }                                                                                    \
            END_ROWS(T, 0) END_ROWS(T, 1) END_ROWS(T, 2) END_ROWS(T, 3)                          \
        }                                                                                        \
        DONE_##KIND                                                                              \
    }

DEFINE_PANEL(1, PLAIN)
DEFINE_PANEL(2, PLAIN)
DEFINE_PANEL(3, PLAIN)
DEFINE_PANEL(4, PLAIN)
DEFINE_PANEL(5, PLAIN)
DEFINE_PANEL(6, PLAIN)
DEFINE_PANEL(1, SIGNED)
DEFINE_PANEL(2, SIGNED)
DEFINE_PANEL(3, SIGNED)
DEFINE_PANEL(4, SIGNED)
DEFINE_PANEL(5, SIGNED)
DEFINE_PANEL(6, SIGNED)

DEFINE_PANEL(4, FEW)
DEFINE_PANEL(5, FEW)
DEFINE_PANEL(6, FEW)

static panel_tile_fn *const plain[] = {NULL, PLAIN_1, PLAIN_2, PLAIN_3, PLAIN_4, PLAIN_5, PLAIN_6};
static panel_tile_fn *const few_tokens[] = {NULL, NULL, NULL, NULL, FEW_4, FEW_5, FEW_6};
static panel_tile_fn *const with_zeros[] = {NULL,     SIGNED_1, SIGNED_2, SIGNED_3,
                                            SIGNED_4, SIGNED_5, SIGNED_6};

/* ---- unpacking -------------------------------------------------------------------------------- */

/* The zeros of 16 rows, each four times. */
static inline __m512i zero_bytes(const unsigned char *zeros, size_t row) {
    const __m512i each = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)(zeros + row)));
    return _mm512_mullo_epi32(each, _mm512_set1_epi32(0x01010101));
}

/* 16 rows of a group: signed codes less their zeros; -128 times the sums of these. */
static void unpack_signed(unsigned char *out, int32_t *minus, const unsigned char *q, size_t cols,
                          __m512i zero) {
    const __m512i low = _mm512_set1_epi8(15), ones = _mm512_set1_epi8(1);
    __m512i sum = _mm512_setzero_si512();
    for (size_t k = 0; k < cols; k += 8, q += PACKED_CHUNK_BYTES, out += 2 * PACKED_CHUNK_BYTES) {
        const __m512i v = _mm512_loadu_si512(q);
        const __m512i l = _mm512_sub_epi8(_mm512_and_si512(v, low), zero);
        const __m512i h = _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi32(v, 4), low), zero);
        sum = dot4(dot4(sum, ones, l), ones, h);
        _mm512_store_si512(out, l);
        _mm512_store_si512(out + PACKED_CHUNK_BYTES, h);
    }
    _mm512_store_si512(minus, _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sum, 7)));
}

static void unpack_plain(unsigned char *out, const unsigned char *q, size_t cols) {
    const __m512i low = _mm512_set1_epi8(15);
    for (size_t k = 0; k < cols; k += 8, q += PACKED_CHUNK_BYTES, out += 2 * PACKED_CHUNK_BYTES) {
        for (size_t i = 0; i < PACKED_CHUNK_BYTES; i += 64) {
            const __m512i v = _mm512_loadu_si512(q + i);
            _mm512_store_si512(out + i, _mm512_and_si512(v, low));
            _mm512_store_si512(out + PACKED_CHUNK_BYTES + i,
                               _mm512_and_si512(_mm512_srli_epi32(v, 4), low));
        }
    }
}

static void unpack_slab(const struct slab *s, unsigned char *out, int32_t *minus) {
    const struct packed_matrix *w = s->a->w;
    for (size_t g = s->first; g < s->end; g++, out += s->codes_stride, minus += PACKED_ROWS) {
        const unsigned char *zeros = packed_group_at(w, s->panel, g) + w->scales_bytes;
        const size_t cols = packed_group_cols(w, g);
        if (w->zeros == ZEROS_CONSTANT) {
            unpack_plain(out, zeros, cols);
            continue;
        }
        for (size_t row = 0; row < PACKED_ROWS; row += 16)
            unpack_signed(out + 4 * row, minus + row, zeros + w->zeros_bytes + 4 * row, cols,
                          zero_bytes(zeros, row));
    }
}

/* ---- the walk ---------------------------------------------------------------------------------- */

static void load_sums(float *sums, const struct slab *s, size_t token, size_t n, size_t rows) {
    memset(sums, 0, n * PACKED_ROWS * sizeof *sums);
    if (s->first == 0)
        return;
    for (size_t i = 0; i < n; i++)
        memcpy(sums + i * PACKED_ROWS,
               s->a->y + (token + i) * s->a->y_stride + s->panel * PACKED_ROWS, rows * sizeof *sums);
}

static void store_sums(const float *sums, const struct slab *s, size_t token, size_t n, size_t rows) {
    const size_t row = s->panel * PACKED_ROWS;
    for (size_t i = 0; i < n; i++, sums += PACKED_ROWS) {
        float *y = s->a->y + (token + i) * s->a->y_stride + row;
        if (s->a->bias && s->end == s->a->w->n_groups)
            for (size_t r = 0; r < rows; r++)
                y[r] = sums[r] + s->a->bias[row + r];
        else if (rows == PACKED_ROWS) /* a size that needs no loop */
            memcpy(y, sums, PACKED_ROWS * sizeof *y);
        else
            memcpy(y, sums, rows * sizeof *y);
    }
}

static void all_tokens(struct slab *s) {
    _Alignas(64) float sums[VNNI_TOKENS * PACKED_ROWS];
    const struct packed_args *a = s->a;
    const size_t rows_left = a->w->rows - s->panel * PACKED_ROWS;
    const size_t rows = rows_left < PACKED_ROWS ? rows_left : PACKED_ROWS;
    const size_t tokens = a->token_end - a->token_begin;
    const size_t tiles = (tokens + VNNI_TOKENS - 1) / VNNI_TOKENS;
    panel_tile_fn *const *fn = s->minus ? with_zeros : s->step_bytes ? few_tokens : plain;
    for (size_t i = 0, token = a->token_begin; i < tiles; i++) {
        const size_t n = (a->token_end - token) / (tiles - i);
        const struct panel_tile tile = {.s = s, .token = token, .n_tokens = n, .sums = sums};
        load_sums(sums, s, token, n, rows);
        fn[n](&tile);
        store_sums(sums, s, token, n, rows);
        token += n;
    }
}

/* The slab after this one. Steps are even, but cost something where there is little to fetch for each. */
static void aim_ahead(struct slab *s, size_t most) {
    const struct packed_matrix *w = s->a->w;
    const bool same = s->end < w->n_groups;
    const size_t first = same ? s->end : 0, panel = s->panel + !same;
    s->ahead = s->codes;
    if (panel >= s->a->panel_end)
        return;
    const size_t n = w->n_groups - first < most ? w->n_groups - first : most;
    const size_t tokens = s->a->token_end - s->a->token_begin;
    const size_t groups = (tokens + VNNI_TOKENS - 1) / VNNI_TOKENS * (s->end - s->first);
    const size_t steps = groups * packed_padded_cols(w, s->first) / 4, bytes = n * w->group_bytes;
    s->ahead = packed_group_at(w, panel, first);
    if (!s->minus && tokens <= STEPPED_TO)
        s->step_bytes = (bytes + steps - 1) / steps;
    else
        s->run_bytes = (bytes / 64 + groups) / groups * 64;
}

bool avx512vnni_panels(const struct packed_args *a) {
    const struct packed_matrix *w = a->w;
    const size_t tokens = a->token_end - a->token_begin;
    const bool signed_codes = w->bits == 4 && w->zeros == ZEROS_U8;
    const size_t few = w->bits == 4 ? VNNI_NIBBLES_MOST : STEPPED_FROM - 1;
    if (w->kind != QUANT_INT || tokens <= few || (w->zeros != ZEROS_CONSTANT && !signed_codes))
        return false;
    const size_t cols = packed_input_cols(w->group);
    const size_t most = SLAB_COLS / cols < MINUS_GROUPS ? SLAB_COLS / cols : MINUS_GROUPS;
    int32_t *const minus = (int32_t *)(void *)((char *)a->scratch + PACKED_UNPACKED_BYTES);
    for (size_t panel = a->panel_begin; panel < a->panel_end; panel++) {
        for (size_t first = 0, n; first < w->n_groups; first += n) {
            n = w->n_groups - first < most ? w->n_groups - first : most;
            struct slab s = {.a = a, .panel = panel, .first = first, .end = first + n};
            if (w->bits == 4) {
                s.codes = a->scratch;
                s.codes_stride = cols * PACKED_ROWS;
                s.minus = signed_codes ? minus : NULL;
                unpack_slab(&s, a->scratch, minus);
            } else {
                s.codes = packed_group_at(w, panel, first) + w->scales_bytes;
                s.codes_stride = w->group_bytes;
            }
            aim_ahead(&s, most);
            all_tokens(&s);
        }
    }
    return true;
}
