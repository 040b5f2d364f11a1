/* avx512_packed.c - activations for packed matrices, and MATH_EXACT: 64 rows by up to six tokens in 24
 * registers of float32 sums. */
#include "kernels/avx512/avx512_packed.h"
#include "kernels/tables.h"

#define W KERNEL_LANES

/* ---- activations ------------------------------------------------------------------- */

/* Columns [first, first + n) of a token, in the matrix's order; n <= PACKED_GROUP_MAX. */
static const float *columns(const struct packed_prepare_args *a, size_t t, size_t first, size_t n,
                            float *room) {
    const float *x = a->x + t * a->x_stride;
    if (!a->col_order)
        return x + first;
    for (size_t c = 0; c < n; c++)
        room[c] = x[a->col_order[first + c]];
    return room;
}

static size_t group_cols(const struct packed_prepare_args *a, size_t g) {
    const size_t rest = a->cols - g * a->out->group;
    return rest < a->out->group ? rest : a->out->group;
}

void avx512_prepare_exact(const struct packed_prepare_args *a) {
    float room[PACKED_GROUP_MAX];
    for (size_t g = 0; g < a->out->n_groups; g++) {
        const size_t n = group_cols(a, g), stride = packed_input_cols(n);
        for (size_t t = a->token_begin; t < a->token_end; t++) {
            float *to = (float *)a->out->x + packed_input_at(a->out, g) + t * stride;
            memcpy(to, columns(a, t, g * a->out->group, n, room), n * sizeof *to);
            memset(to + n, 0, (stride - n) * sizeof *to);
        }
    }
}

static inline __mmask16 lanes_at(size_t i, size_t n) {
    return n - i < W ? first_lanes(n - i) : (__mmask16)0xFFFF;
}

static int32_t quantize(int8_t *to, const float *x, size_t n, size_t stride, struct int8_scale s) {
    const __m512 inverse = _mm512_set1_ps(s.inverse);
    __m512i sum = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += W) {
        const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes_at(i, n), x + i), inverse);
        const __m512i q = _mm512_cvtps_epi32(v);
        sum = _mm512_add_epi32(sum, q);
        _mm_mask_storeu_epi8(to + i, lanes_at(i, stride), _mm512_cvtepi32_epi8(q));
    }
    return _mm512_reduce_add_epi32(sum);
}

void avx512_prepare_int8(const struct packed_prepare_args *a) {
    const struct packed_input *in = a->out;
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    float room[PACKED_GROUP_MAX];
    for (size_t t = a->token_begin; t < a->token_end; t++) {
        for (size_t g = 0; g < in->n_groups; g++) {
            const size_t n = group_cols(a, g), stride = packed_input_cols(n);
            const float *x = columns(a, t, g * in->group, n, room);
            __m512i top = _mm512_setzero_si512();
            for (size_t i = 0; i < n; i += W) {
                const __m512i v = _mm512_maskz_loadu_epi32(lanes_at(i, n), x + i);
                top = _mm512_max_epu32(top, _mm512_and_si512(v, magnitude));
            }
            const struct int8_scale s = int8_scale_of(_mm512_reduce_max_epu32(top));
            int8_t *to = (int8_t *)in->x + packed_input_at(in, g) + t * stride;
            int32_t sum = 0;
            if (s.inverse > 0)
                sum = quantize(to, x, n, stride, s);
            else
                memset(to, 0, stride);
            in->scale[g * in->n_tokens + t] = s.scale;
            in->sum[g * in->n_tokens + t] = sum;
        }
    }
}

void avx512_packed_numbers(struct packed_numbers *to, const struct packed_tile *a) {
    const struct packed_matrix *w = a->w;
    for (size_t row = 0; row < PACKED_ROWS; row += W) {
        _mm512_store_ps(to->scale + row, numbers_at(w->number, a->scales, row));
        if (w->kind == QUANT_AFFINE)
            _mm512_store_ps(to->zero.f + row, numbers_at(w->number, a->zeros, row));
        else if (w->kind == QUANT_INT)
            _mm512_store_si512(to->zero.i + row, packed_int_zeros(w, a->zeros, row));
    }
}

/* ---- codes as floats ---------------------------------------------------------------- */

/* What turns the codes of 16 rows into floats. */
struct decoder {
    __m512 table;        /* 4 bits: float of code i in lane i; QUANT_INT with constant zeros: minus that */
    __m512 scale, zero;
    const float *code;
    bool by_row, affine; /* zeros of rows to take off; QUANT_AFFINE */
};

static struct decoder decoder_of(const struct packed_tile *a, size_t row) {
    const struct packed_matrix *w = a->w;
    struct decoder d = {.code = w->code, .affine = w->kind == QUANT_AFFINE};
    d.by_row = w->kind == QUANT_INT && (w->bits == 8 || w->zeros != ZEROS_CONSTANT);
    d.scale = numbers_at(w->number, a->scales, row);
    if (d.affine)
        d.zero = numbers_at(w->number, a->zeros, row);
    else if (d.by_row)
        d.zero = _mm512_cvtepi32_ps(packed_int_zeros(w, a->zeros, row));
    const __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    if (w->kind == QUANT_CODE)
        d.table = _mm512_loadu_ps(w->code);
    else
        d.table = _mm512_cvtepi32_ps(_mm512_sub_epi32(index, _mm512_set1_epi32(d.by_row ? 0 : w->zero)));
    return d;
}

static inline __m512 finish_value(const struct decoder *d, __m512 v) {
    if (d->affine)
        return _mm512_sub_ps(_mm512_mul_ps(d->scale, v), d->zero);
    return d->by_row ? _mm512_sub_ps(v, d->zero) : v;
}

static inline __m512 value8(const struct decoder *d, __m512i codes, unsigned column) {
    const __m512i q = _mm512_and_si512(_mm512_srli_epi32(codes, 8 * column), _mm512_set1_epi32(255));
    if (d->code)
        return _mm512_i32gather_ps(q, d->code, 4);
    return finish_value(d, _mm512_cvtepi32_ps(q));
}

static inline unsigned shift_of(enum quant_kind kind, unsigned c) {
    return 4 * (kind == QUANT_CODE ? c / 2 + c % 2 * 4 : c % 4 * 2 + c / 4);
}

static inline __m512 value4(const struct decoder *d, __m512i codes, unsigned shift) {
    /* The look-up takes the low four bits of a lane. */
    return finish_value(d, _mm512_permutexvar_ps(_mm512_srli_epi32(codes, shift), d->table));
}

/* Floats [n_cols][64]. */
static void unpack8(void *to, const struct packed_tile *a) {
    for (size_t row = 0; row < PACKED_ROWS; row += W) {
        const struct decoder d = decoder_of(a, row);
        const unsigned char *q = (const unsigned char *)a->codes + 4 * row;
        float *out = (float *)to + row;
        for (size_t c = 0; c < a->n_cols; c += 4, q += PACKED_CHUNK_BYTES, out += 4 * PACKED_ROWS) {
            const __m512i v = _mm512_loadu_si512(q);
            for (unsigned j = 0; j < 4; j++)
                _mm512_storeu_ps(out + j * PACKED_ROWS, value8(&d, v, j));
        }
    }
}

static void unpack4(void *to, const struct packed_tile *a) {
    for (size_t row = 0; row < PACKED_ROWS; row += W) {
        const struct decoder d = decoder_of(a, row);
        const unsigned char *q = (const unsigned char *)a->codes + 4 * row;
        float *out = (float *)to + row;
        for (size_t c = 0; c < a->n_cols; c += 8, q += PACKED_CHUNK_BYTES, out += 8 * PACKED_ROWS) {
            const __m512i v = _mm512_loadu_si512(q);
            for (unsigned j = 0; j < 8; j++)
                _mm512_storeu_ps(out + j * PACKED_ROWS, value4(&d, v, shift_of(a->w->kind, j)));
        }
    }
}

/* ---- tiles -------------------------------------------------------------------------- */

static inline void add_group(const struct packed_tile *a, size_t t, size_t row, __m512 sum) {
    float *to = a->sums + t * PACKED_ROWS + row;
    const __m512 y = _mm512_loadu_ps(to);
    if (a->w->kind == QUANT_AFFINE)
        _mm512_storeu_ps(to, _mm512_add_ps(y, sum));
    else
        _mm512_storeu_ps(to, _mm512_fmadd_ps(sum, numbers_at(a->w->number, a->scales, row), y));
}

#define DECLARE(t)                                                           \
    const float *x##t = (const float *)a->x + t * a->x_stride;               \
    __m512 s##t##0 = _mm512_setzero_ps(), s##t##1 = _mm512_setzero_ps();     \
    __m512 s##t##2 = _mm512_setzero_ps(), s##t##3 = _mm512_setzero_ps();
#define STEP(t)                                      \
    {                                                \
        const __m512 x = _mm512_set1_ps(x##t[k]);    \
        s##t##0 = _mm512_fmadd_ps(x, w0, s##t##0);   \
        s##t##1 = _mm512_fmadd_ps(x, w1, s##t##1);   \
        s##t##2 = _mm512_fmadd_ps(x, w2, s##t##2);   \
        s##t##3 = _mm512_fmadd_ps(x, w3, s##t##3);   \
    }
#define FINISH(t)                       \
    add_group(a, t, 0, s##t##0);        \
    add_group(a, t, 16, s##t##1);       \
    add_group(a, t, 32, s##t##2);       \
    add_group(a, t, 48, s##t##3);

#define DEFINE_FLOATS(T)                                                                    \
    static void floats_##T(const struct packed_tile *a) {                                   \
        const float *w = a->codes;                                                          \
        EACH_##T(DECLARE) for (size_t k = 0; k < a->n_cols; k++, w += PACKED_ROWS) {        \
            const __m512 w0 = load_once(w), w1 = load_once(w + 16);                         \
            const __m512 w2 = load_once(w + 32), w3 = load_once(w + 48);                    \
            EACH_##T(STEP)                                                                  \
        }                                                                                   \
        EACH_##T(FINISH)                                                                    \
    }

DEFINE_FLOATS(1)
DEFINE_FLOATS(2)
DEFINE_FLOATS(3)
DEFINE_FLOATS(4)
DEFINE_FLOATS(5)
DEFINE_FLOATS(6)

static packed_tile_fn *const floats[] = {NULL,     floats_1, floats_2, floats_3,
                                         floats_4, floats_5, floats_6};

void avx512_packed_exact(const struct packed_args *a) {
    static const struct packed_parts parts8 = {.dot = floats, .n_tokens = 6, .unpack = unpack8};
    static const struct packed_parts parts4 = {.dot = floats, .n_tokens = 6, .unpack = unpack4};
    packed_tiles_matmul(a, a->w->bits == 8 ? &parts8 : &parts4);
}

const struct packed_kernels packed_avx512 = {
    .prepare = {[MATH_EXACT] = avx512_prepare_exact, [MATH_INT8] = avx512_prepare_int8},
    .matmul = {[MATH_EXACT] = avx512_packed_exact, [MATH_INT8] = avx2_packed_int8},
};
