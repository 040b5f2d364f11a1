#include "quant/quantizer.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/vector_clones.h"

enum {
    INT8_GROUP = 128,
    INT4_GROUP = 64,
    NF4_BLOCK = 64,
    NF4_NESTED = 256,
    FP8_BLOCK = 128,
    LANES = 16,
    GROUP_MOST = 128,
};

/* ---- numbers ---------------------------------------------------------------------------- */

/* The nearest integer, ties to even, of |x| < 2^22: adding 1.5 * 2^23 leaves no room for fractions. */
static inline float nearest_integer(float x) {
    return (x + 12582912.0f) - 12582912.0f;
}

/* NaN becomes `low`. */
static inline float clamp(float x, float low, float high) {
    return x > low ? (x < high ? x : high) : low;
}

static float bf16_nearest(float x) {
    return bf16_to_f32(f32_to_bf16(x));
}

/* The least bfloat16 that is not below x >= 0. */
static float bf16_above(float x) {
    const uint16_t h = f32_to_bf16(x);
    return bf16_to_f32(h) < x ? bf16_to_f32((uint16_t)(h + 1)) : bf16_to_f32(h);
}

VECTOR_CLONES
static float largest(const float *x, size_t n) {
    float most = 0;
    for (size_t i = 0; i < n; i++) {
        const float m = fabsf(x[i]);
        most = m > most ? m : most;
    }
    return most;
}

uint8_t f32_to_e4m3(float f) {
    const uint8_t sign = signbit(f) ? 0x80 : 0;
    const float m = fabsf(f);
    if (isnan(f))
        return sign | 0x7f;
    if (m >= 448.0f)
        return sign | 0x7e;
    if (m < 0x1p-6f) /* subnormal: units of 2^-9 */
        return (uint8_t)(sign | (uint8_t)nearest_integer(m * 0x1p9f));
    uint32_t bits;
    memcpy(&bits, &m, sizeof bits);
    bits += 0x7ffff + (bits >> 20 & 1);
    bits = (bits >> 20) - ((127 - 7) << 3);
    return (uint8_t)(sign | (bits > 0x7e ? 0x7e : bits));
}

float e4m3_to_f32(uint8_t e) {
    const float sign = e & 0x80 ? -1.0f : 1.0f;
    const int exponent = e >> 3 & 15, fraction = e & 7;
    if ((e & 0x7f) == 0x7f)
        return NAN;
    if (exponent == 0)
        return sign * (float)fraction * 0x1p-9f;
    return sign * ldexpf((float)(8 + fraction), exponent - 10);
}

/* ---- integers --------------------------------------------------------------------------- */

VECTOR_CLONES
static void int8_group(const float *x, size_t n, uint8_t *q, float *scale) {
    const float s = bf16_above(largest(x, n) / 127.0f);
    const float inverse = s > 0 ? 1.0f / s : 0;
    for (size_t i = 0; i < n; i++)
        q[i] = (uint8_t)(clamp(nearest_integer(x[i] * inverse), -127.0f, 127.0f) + 128.0f);
    *scale = s;
}

void quantize_int8_group(const float *x, size_t n, uint8_t *q, float *scale) {
    int8_group(x, n, q, scale);
}

/* sums of d * x and d * d, where d = q - zero are the codes that a scale gives. */
struct fit {
    float dx, dd;
};

/* Sixteen sums side by side, so that a compiler makes vectors of them. */
VECTOR_CLONES
static struct fit fit_of(const float *x, size_t n, float inverse, float zero) {
    float dx[LANES] = {0}, dd[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            const float d = clamp(nearest_integer(x[i + j] * inverse), -zero, 15.0f - zero);
            dx[j] += d * x[i + j];
            dd[j] += d * d;
        }
    }
    for (size_t j = 0; i < n; i++, j++) {
        const float d = clamp(nearest_integer(x[i] * inverse), -zero, 15.0f - zero);
        dx[j] += d * x[i];
        dd[j] += d * d;
    }
    struct fit f = {0, 0};
    for (size_t j = 0; j < LANES; j++) {
        f.dx += dx[j];
        f.dd += dd[j];
    }
    return f;
}

VECTOR_CLONES
static void int4_group(const float *x, size_t n, uint8_t *q, float *scale, float *zero) {
    static const float ranges[] = {1.0f, 0.95f, 0.9f, 0.85f, 0.8f, 0.74f};
    float low = 0, high = 0, gain = 0;
    for (size_t i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    *scale = 0;
    *zero = 0;
    for (size_t k = 0; k < sizeof ranges / sizeof *ranges; k++) {
        const float s = (high - low) * ranges[k] / 15.0f;
        if (!(s >= 0x1p-126f))
            break;
        const float z = clamp(nearest_integer(-low * ranges[k] / s), 0, 15);
        const struct fit f = fit_of(x, n, 1.0f / s, z);
        const float fitted = f.dd > 0 ? bf16_nearest(f.dx / f.dd) : 0;
        /* The squared error is sum(x^2) - gain. */
        const float here = fitted * (2.0f * f.dx - fitted * f.dd);
        if (here > gain) {
            gain = here;
            *scale = fitted;
            *zero = z;
        }
    }
    const float inverse = *scale > 0 ? 1.0f / *scale : 0;
    for (size_t i = 0; i < n; i++)
        q[i] = (uint8_t)(clamp(nearest_integer(x[i] * inverse), -*zero, 15.0f - *zero) + *zero);
}

void quantize_int4_group(const float *x, size_t n, uint8_t *q, float *scale, float *zero) {
    int4_group(x, n, q, scale, zero);
}

/* ---- NF4 -------------------------------------------------------------------------------- */

const float nf4_code[16] = {-1.0f,
                            -0.6961928009986877f,
                            -0.5250730514526367f,
                            -0.39491748809814453f,
                            -0.28444138169288635f,
                            -0.18477343022823334f,
                            -0.09105003625154495f,
                            0.0f,
                            0.07958029955625534f,
                            0.16093020141124725f,
                            0.24611230194568634f,
                            0.33791524171829224f,
                            0.44070982933044434f,
                            0.5626170039176941f,
                            0.7229568362236023f,
                            1.0f};

VECTOR_CLONES
static void nf4_block(const float *x, size_t n, uint8_t *q, float *absmax) {
    float border[15];
    for (size_t k = 0; k < 15; k++)
        border[k] = (nf4_code[k] + nf4_code[k + 1]) / 2.0f;
    *absmax = largest(x, n);
    const float inverse = 1.0f / (*absmax > 1e-38f ? *absmax : 1e-38f);
    for (size_t i = 0; i < n; i++) {
        const float v = clamp(x[i] * inverse, -1.0f, 1.0f);
        unsigned code = 0;
        for (size_t k = 0; k < 15; k++)
            code += border[k] < v;
        q[i] = (uint8_t)code;
    }
}

void quantize_nf4_block(const float *x, size_t n, uint8_t *q, float *absmax) {
    nf4_block(x, n, q, absmax);
}

float absmax_offset(const float *absmax, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)absmax[i];
    return n ? (float)(sum / (double)n) : 0;
}

/* The nearest entry, of two equally near ones the lower. */
static uint8_t dynamic_code(float x) {
    size_t low = 0, high = 256; /* dynamic_map[low] <= x < dynamic_map[high], as far as there are any */
    while (high - low > 1) {
        const size_t middle = (low + high) / 2;
        if (dynamic_map[middle] <= x)
            low = middle;
        else
            high = middle;
    }
    if (low < 255 && fabsf(dynamic_map[low + 1] - x) < fabsf(x - dynamic_map[low]))
        low++;
    return (uint8_t)low;
}

void quantize_absmax(const float *absmax, size_t n, float offset, uint8_t *code, float *nested_absmax) {
    for (size_t first = 0; first < n; first += NF4_NESTED) {
        const size_t some = n - first < NF4_NESTED ? n - first : NF4_NESTED;
        float most = 0;
        for (size_t i = first; i < first + some; i++) {
            const float m = fabsf(absmax[i] - offset);
            most = m > most ? m : most;
        }
        nested_absmax[first / NF4_NESTED] = most;
        for (size_t i = first; i < first + some; i++)
            code[i] = most > 0 ? dynamic_code((absmax[i] - offset) / most) : 0; /* as its 0 / 0 */
    }
}

/* ---- as a source ------------------------------------------------------------------------ */

/* Columns [first, first + n) of a row. */
static void floats_at(const struct quantizer *z, size_t row, size_t first, size_t n, float *x) {
    const size_t at = (row * z->source.cols + first) * dtype_size_bytes(z->dtype);
    dtype_to_f32(z->dtype, z->data + at, x, n);
}

static const struct quantizer *quantizer_of(const struct quant_source *s) {
    return (const struct quantizer *)(const void *)s;
}

static size_t group_cols(const struct quant_source *s, size_t g) {
    const size_t rest = s->cols - g * s->spec.group;
    return rest < s->spec.group ? rest : s->spec.group;
}

static void read_groups(const struct quant_source *s, size_t first, size_t n, uint8_t *q, float *scale,
                        float *zero) {
    const struct quantizer *z = quantizer_of(s);
    const size_t groups = quant_n_groups(&s->spec, s->cols);
    float x[GROUP_MOST];
    for (size_t r = 0; r < n; r++) {
        for (size_t g = 0; g < groups; g++) {
            const size_t i = r * groups + g, cols = group_cols(s, g);
            uint8_t *to = q + r * s->cols + g * s->spec.group;
            floats_at(z, first + r, g * s->spec.group, cols, x);
            if (z->form == QUANTIZER_INT4) {
                quantize_int4_group(x, cols, to, &scale[i], &zero[i]);
            } else if (z->form == QUANTIZER_INT8) {
                quantize_int8_group(x, cols, to, &scale[i]);
                zero[i] = 128.0f;
            } else {
                quantize_nf4_block(x, cols, to, &scale[i]);
                scale[i] = z->scales[(first + r) * groups + g];
            }
        }
    }
}

/* The scale of the block that row and group lie in. */
static float fp8_scale(const struct quantizer *z, size_t row, size_t g) {
    const struct quant_source *s = &z->source;
    const size_t first = row / FP8_BLOCK * FP8_BLOCK, cols = group_cols(s, g);
    const size_t end = s->rows - first < FP8_BLOCK ? s->rows : first + FP8_BLOCK;
    float x[GROUP_MOST], most = 0;
    for (size_t r = first; r < end; r++) {
        floats_at(z, r, g * FP8_BLOCK, cols, x);
        const float m = largest(x, cols);
        most = m > most ? m : most;
    }
    return most > 0 ? bf16_above(most / 448.0f) : 1.0f;
}

static void read_fp8(const struct quant_source *s, size_t first, size_t n, uint8_t *q, float *scale,
                     float *zero) {
    const struct quantizer *z = quantizer_of(s);
    const size_t groups = quant_n_groups(&s->spec, s->cols);
    float x[GROUP_MOST];
    (void)zero;
    for (size_t g = 0; g < groups; g++) {
        float block = 0;
        for (size_t r = 0; r < n; r++) {
            if (r == 0 || (first + r) % FP8_BLOCK == 0)
                block = fp8_scale(z, first + r, g);
            const size_t cols = group_cols(s, g);
            floats_at(z, first + r, g * FP8_BLOCK, cols, x);
            for (size_t c = 0; c < cols; c++)
                q[r * s->cols + g * FP8_BLOCK + c] = f32_to_e4m3(x[c] / block);
            scale[r * groups + g] = block;
        }
    }
}

/* absmax of every block, coded and decoded again. */
static enum quern_status code_scales(struct quantizer *z, struct quern_error *err) {
    const struct quant_source *s = &z->source;
    const size_t groups = quant_n_groups(&s->spec, s->cols), n = s->rows * groups;
    uint8_t *code = calloc(n + 1, 1);
    float *nested = calloc(n / NF4_NESTED + 1, sizeof *nested), x[GROUP_MOST];
    z->scales = calloc(n + 1, sizeof *z->scales);
    enum quern_status status = QUERN_OK;
    if (!code || !nested || !z->scales) {
        status = error_nomem(err);
        goto done;
    }
    for (size_t i = 0; i < n; i++) {
        const size_t g = i % groups, cols = group_cols(s, g);
        floats_at(z, i / groups, g * NF4_BLOCK, cols, x);
        z->scales[i] = largest(x, cols);
    }
    const float offset = absmax_offset(z->scales, n);
    quantize_absmax(z->scales, n, offset, code, nested);
    for (size_t i = 0; i < n; i++)
        z->scales[i] = dynamic_map[code[i]] * nested[i / NF4_NESTED] + offset;
done:
    free(code);
    free(nested);
    return status;
}

enum quern_status quantizer_init(struct quantizer *q, enum quantizer_form form, enum dtype dtype,
                                 const void *data, size_t rows, size_t cols, struct quern_error *err) {
    static const size_t groups[] = {INT8_GROUP, INT4_GROUP, NF4_BLOCK, FP8_BLOCK};
    const bool coded = form == QUANTIZER_NF4 || form == QUANTIZER_FP8;
    *q = (struct quantizer){.form = form, .dtype = dtype, .data = data};
    q->source.spec = (struct quant_spec){
        .kind = coded ? QUANT_CODE : QUANT_INT,
        .bits = form == QUANTIZER_INT8 || form == QUANTIZER_FP8 ? 8 : 4,
        .group = groups[form],
        .code = coded ? q->code : NULL};
    q->source.rows = rows;
    q->source.cols = cols;
    q->source.read_rows = form == QUANTIZER_FP8 ? read_fp8 : read_groups;
    size_t n;
    if (!checked_mul(rows, cols, &n) || !checked_mul(n, sizeof(float), &n))
        return error_set(err, QUERN_ERR_LIMIT, "a matrix of %zu x %zu is too large", rows, cols);
    if (form == QUANTIZER_FP8)
        for (unsigned i = 0; i < 256; i++)
            q->code[i] = e4m3_to_f32((uint8_t)i);
    if (form != QUANTIZER_NF4)
        return QUERN_OK;
    memcpy(q->code, nf4_code, sizeof nf4_code);
    return code_scales(q, err);
}

void quantizer_release(struct quantizer *q) {
    free(q->scales);
    q->scales = NULL;
}

struct packed_survey quantizer_survey(const struct quantizer *q) {
    struct packed_survey s = {.seen = true, .not_f16 = true};
    s.not_bf16 = q->form == QUANTIZER_NF4;
    s.zeros_differ = q->form == QUANTIZER_INT4;
    s.zero = 128.0f;
    return s;
}
