#include "model/rope.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

size_t rope_original_context(const struct hf_config *c) {
    int32_t n = c->rope.type == ROPE_YARN && c->rope.original_max_positions > 0
                    ? c->rope.original_max_positions
                    : c->max_position_embeddings;
    return (size_t)n;
}

size_t rope_max_context(const struct hf_config *c) {
    double most = (double)c->max_position_embeddings;
    if (c->rope.type == ROPE_LINEAR || c->rope.type == ROPE_DYNAMIC)
        most *= c->rope.factor;
    /* Of YaRN checkpoints some count the factor in max_position_embeddings, others do not. */
    if (c->rope.type == ROPE_YARN && most < (double)rope_original_context(c) * c->rope.factor)
        most = (double)rope_original_context(c) * c->rope.factor;
    return most < INT32_MAX ? (size_t)most : INT32_MAX;
}

/* base^(2i/d): the exponent is a float32 as in transformers, the power is rounded once
 * from double, which is within an ulp of torch's float32 pow. */
static float position_frequency(double base, size_t i, size_t head_dim) {
    float exponent = (float)(2 * i) / (float)head_dim;
    return (float)pow((double)(float)base, (double)exponent);
}

static void init_default(struct rope *r, double base) {
    for (size_t i = 0; i < r->half; i++)
        r->inv_freq[i] = 1.0f / position_frequency(base, i, 2 * r->half);
}

static void init_linear(struct rope *r, const struct rope_config *c) {
    init_default(r, c->theta);
    for (size_t i = 0; i < r->half; i++)
        r->inv_freq[i] /= (float)c->factor;
}

/* NTK-aware scaling of the base for a sequence of n_context positions. */
static void init_dynamic(struct rope *r, const struct rope_config *c, size_t max_positions,
                         size_t n_context) {
    double d = (double)(2 * r->half);
    double longest = (double)(n_context > max_positions ? n_context : max_positions);
    double stretch = c->factor * longest / (double)max_positions - (c->factor - 1);
    init_default(r, c->theta * pow(stretch, d / (d - 2)));
}

/* Llama 3.1: long waves are divided by the factor, short ones kept, and those between
 * are blended. */
static void init_llama3(struct rope *r, const struct rope_config *c) {
    double original = (double)c->original_max_positions;
    float longest = (float)(original / c->low_freq_factor);
    float shortest = (float)(original / c->high_freq_factor);
    init_default(r, c->theta);
    for (size_t i = 0; i < r->half; i++) {
        float f = r->inv_freq[i];
        float wavelength = (float)(2 * PI) / f;
        if (wavelength > longest) {
            r->inv_freq[i] = f / (float)c->factor;
        } else if (!(wavelength < shortest)) {
            float smooth = ((float)original / wavelength - (float)c->low_freq_factor) /
                           (float)(c->high_freq_factor - c->low_freq_factor);
            r->inv_freq[i] = (1 - smooth) * f / (float)c->factor + smooth * f;
        }
    }
}

static double yarn_mscale(double factor, double mscale) {
    return factor <= 1 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

double rope_yarn_attention_factor(const struct rope_config *c) {
    if (c->attention_factor > 0)
        return c->attention_factor;
    if (c->mscale > 0 && c->mscale_all_dim > 0)
        return yarn_mscale(c->factor, c->mscale) / yarn_mscale(c->factor, c->mscale_all_dim);
    return yarn_mscale(c->factor, 1);
}

/* The dimension whose wave turns `rotations` times within the original context. */
static double yarn_correction_dim(double rotations, double d, double theta, double original) {
    return d * log(original / (rotations * 2 * PI)) / (2 * log(theta));
}

/* Fast waves are kept, slow ones are divided by the factor, between `low` and `high`
 * the two are blended linearly. */
static void init_yarn(struct rope *r, const struct rope_config *c, size_t original_context) {
    double d = (double)(2 * r->half), original = (double)original_context;
    double low = yarn_correction_dim(c->beta_fast, d, c->theta, original);
    double high = yarn_correction_dim(c->beta_slow, d, c->theta, original);
    if (c->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = low > 0 ? low : 0;
    high = high < d - 1 ? high : d - 1;
    if (low == high)
        high += 0.001;
    for (size_t i = 0; i < r->half; i++) {
        float p = position_frequency(c->theta, i, 2 * r->half);
        float kept = 1.0f / p, divided = 1.0f / ((float)c->factor * p);
        float ramp = ((float)i - (float)low) / (float)(high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        float keep = 1 - ramp;
        r->inv_freq[i] = divided * (1 - keep) + kept * keep;
    }
    r->attention_scaling = (float)rope_yarn_attention_factor(c);
}

/* What the formulas divide by or take the logarithm of. */
static enum quern_status check(const struct hf_config *c, struct quern_error *err) {
    const struct rope_config *r = &c->rope;
    if (c->head_dim < 2 || c->head_dim % 2 || c->head_dim / 2 > ROPE_HALF_MAX)
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "config.json: head_dim is %d, expected an even number from 2 to %d",
                         (int)c->head_dim, 2 * ROPE_HALF_MAX);
    if (!(r->theta > 1))
        return error_set(err, QUERN_ERR_FORMAT,
                         "config.json: rope_theta is %g, expected more than 1", r->theta);
    if (r->type != ROPE_DEFAULT && !(r->factor > 0))
        return error_set(err, QUERN_ERR_FORMAT,
                         "config.json: rope_scaling.factor is %g, expected more than 0", r->factor);
    if (r->type == ROPE_YARN && !(r->beta_fast > 0 && r->beta_slow > 0))
        return error_set(err, QUERN_ERR_FORMAT,
                         "config.json: rope_scaling has beta_fast %g and beta_slow %g, expected "
                         "more than 0",
                         r->beta_fast, r->beta_slow);
    if (r->type == ROPE_LLAMA3 && !(r->original_max_positions > 0 && r->low_freq_factor > 0 &&
                                    r->high_freq_factor > r->low_freq_factor))
        return error_set(err, QUERN_ERR_FORMAT,
                         "config.json: rope_scaling has low_freq_factor %g and high_freq_factor "
                         "%g, expected 0 < low < high",
                         r->low_freq_factor, r->high_freq_factor);
    if (r->type == ROPE_DYNAMIC && c->head_dim < 4)
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "config.json: head_dim is %d, dynamic rope scaling needs at least 4",
                         (int)c->head_dim);
    return QUERN_OK;
}

enum quern_status rope_init(struct rope *r, const struct hf_config *c, size_t n_context,
                            bool scaled, struct quern_error *err) {
    enum quern_status st = check(c, err);
    if (st != QUERN_OK)
        return st;
    *r = (struct rope){.half = (size_t)c->head_dim / 2, .attention_scaling = 1.0f};
    switch (c->rope.type) {
    case ROPE_LINEAR:
        init_linear(r, &c->rope);
        return QUERN_OK;
    case ROPE_LLAMA3:
        init_llama3(r, &c->rope);
        return QUERN_OK;
    case ROPE_DYNAMIC:
        init_dynamic(r, &c->rope, (size_t)c->max_position_embeddings, n_context);
        return QUERN_OK;
    case ROPE_YARN:
        if (scaled) {
            init_yarn(r, &c->rope, rope_original_context(c));
            return QUERN_OK;
        }
        break;
    case ROPE_DEFAULT:
        break;
    }
    init_default(r, c->rope.theta);
    return QUERN_OK;
}

/* sin and cos of a finite angle in double precision, from + - * alone, so that every
 * machine computes the same bits where its libm may not. The angle is reduced by a
 * multiple of pi/2 in two parts (the high one has 33 bits, fdlibm's pio2_1, so that
 * k * high is exact up to k = 2^20: positions to 1.6 million); the Taylor series on
 * [-pi/4, pi/4] end below 1e-17. */
static void sin_cos(double angle, double *sine, double *cosine) {
    const double high = 1.57079632673412561417e+00, low = 6.07710050650619224932e-11;
    double k = rint(angle * (2 / PI));
    double x = (angle - k * high) - k * low;
    double z = x * x;
    double s =
        x +
        x * z *
            (-1.0 / 6 +
             z * (1.0 / 120 +
                  z * (-1.0 / 5040 + z * (1.0 / 362880 + z * (-1.0 / 39916800 +
                                                              z * (1.0 / 6227020800 +
                                                                   z * (-1.0 / 1307674368000)))))));
    double c =
        1 + z * (-0.5 +
                 z * (1.0 / 24 +
                      z * (-1.0 / 720 + z * (1.0 / 40320 + z * (-1.0 / 3628800 +
                                                                z * (1.0 / 479001600 +
                                                                     z * (-1.0 / 87178291200)))))));
    switch ((long long)k & 3) {
    case 0:
        *sine = s;
        *cosine = c;
        break;
    case 1:
        *sine = c;
        *cosine = -s;
        break;
    case 2:
        *sine = -s;
        *cosine = -c;
        break;
    default:
        *sine = -c;
        *cosine = s;
        break;
    }
}

void rope_angles(const struct rope *r, size_t position, float *cos, float *sin) {
    for (size_t i = 0; i < r->half; i++) {
        float angle = (float)position * r->inv_freq[i];
        double s, c;
        sin_cos((double)angle, &s, &c);
        cos[i] = (float)c * r->attention_scaling;
        sin[i] = (float)s * r->attention_scaling;
    }
}
