#include "kernels/math.h"

#include <stdlib.h>

#include "support/support.h"

static uint64_t rng_state = 1;

static uint64_t next_u64(void) {
    uint64_t z = rng_state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static float float_of_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t bits_of_float(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static void expect_like_fmaf(float a, float b, float c) {
    float got = fma32(a, b, c), want = fmaf(a, b, c);
    if (bits_of_float(got) != bits_of_float(want) && !(isnan(got) && isnan(want)))
        fail_msg("fma32(%a, %a, %a) is %a, expected %a", (double)a, (double)b, (double)c, (double)got,
                 (double)want);
}

static void fma32_is_fmaf_for_any_bits(void **state) {
    (void)state;
    for (int i = 0; i < 2000000; i++)
        expect_like_fmaf(float_of_bits((uint32_t)next_u64()), float_of_bits((uint32_t)next_u64()),
                         float_of_bits((uint32_t)next_u64()));
}

/* Sums that cancel or lie near the middle between two floats, normal and subnormal: where two
 * roundings would differ from one. */
static void fma32_is_fmaf_where_double_rounding_would_not_be(void **state) {
    (void)state;
    for (int i = 0; i < 2000000; i++) {
        uint64_t r = next_u64();
        float a = float_of_bits(0x3f800000u | (uint32_t)(r & 0x7fffff));
        float b = float_of_bits(0x3f800000u | ((uint32_t)(r >> 24 & 0x7fffff) & (~0u << (r >> 50) % 23)));
        int scale = (int)(next_u64() % 300) - 150;
        b = ldexpf(b, scale);
        float c = ldexpf(-a * b, (int)(next_u64() % 61) - 30);
        c = float_of_bits(bits_of_float(c) + (uint32_t)(next_u64() % 5) - 2u);
        expect_like_fmaf(a, b, c);
        expect_like_fmaf(a, b, -c);
    }
    /* Exactly halfway plus a hair that a double cannot hold. */
    expect_like_fmaf(0x1.000002p0f, 0x1p-24f, 0x1p0f);
    expect_like_fmaf(0x1.fffffep-1f, 0x1.000002p-24f, 0x1p0f);
    expect_like_fmaf(0x1p-100f, 0x1p-100f, 0x1.000002p0f);
    expect_like_fmaf(0x1p-100f, -0x1p-49f, 0x1p-149f);
}

static double exp_error_ulps(float x) {
    double want = exp((double)x), got = (double)exp32(x);
    int exponent;
    frexp(want, &exponent);
    /* The spacing of floats around the result, subnormals included. */
    double ulp = ldexp(1.0, exponent - 24 < -149 ? -149 : exponent - 24);
    return fabs(got - want) / ulp;
}

/* A scan over all floats with a normal result found 1.0103 as the largest error and 22 above 1; 0.5 is
 * the last rounding's own. */
static void exp32_is_within_1_011_ulp_of_exp(void **state) {
    (void)state;
    for (double x = -103.9; x < 88.722; x += 193.0 / 3000000)
        if (exp_error_ulps((float)x) > 1.011)
            fail_msg("exp32(%a) is off by %g ulp", x, exp_error_ulps((float)x));
    for (int i = 0; i < 1000000; i++) {
        float x = ldexpf((float)(int32_t)next_u64() * 0x1p-31f, (int)(next_u64() % 30) - 23);
        if (fabsf(x) < 88.0f && exp_error_ulps(x) > 1.011)
            fail_msg("exp32(%a) is off by %g ulp", (double)x, exp_error_ulps(x));
    }
}

static void exp32_is_exact_at_its_ends(void **state) {
    (void)state;
    assert_true(exp32(0.0f) == 1.0f);
    assert_true(exp32(-0.0f) == 1.0f);
    assert_true(exp32(-INFINITY) == 0.0f && !signbit(exp32(-INFINITY)));
    assert_true(exp32(-1e30f) == 0.0f);
    assert_true(exp32(-104.0f) == 0.0f);
    assert_true(exp32(-103.9f) == 0x1p-149f);
    assert_true(isfinite(exp32(0x1.62e42ep6f))); /* the largest argument with a finite result */
    assert_true(isinf(exp32(0x1.62e43p6f)));
    assert_true(isinf(exp32(1e30f)));
    assert_true(isinf(exp32(INFINITY)));
    assert_true(isnan(exp32(NAN)));
}

static void exp32_never_decreases_by_more_than_rounding(void **state) {
    (void)state;
    float before = 0.0f;
    for (double x = -104.0; x < 88.7; x += 1e-3) {
        float e = exp32((float)x);
        assert_true(e >= before);
        before = e;
    }
}

static void lanes_are_folded_by_halves(void **state) {
    (void)state;
    /* 2^24 swallows a 1 added alone, but not a 2: any other order gives another sum. */
    float s[KERNEL_LANES] = {0};
    s[0] = 0x1p24f;
    s[1] = 1.0f;
    s[9] = 1.0f;
    assert_true(fold_lanes(s) == 0x1p24f + 2.0f);
    float t[KERNEL_LANES] = {0};
    t[0] = 0x1p24f;
    t[8] = 1.0f;
    t[4] = 1.0f;
    assert_true(fold_lanes(t) == 0x1p24f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fma32_is_fmaf_for_any_bits),
        cmocka_unit_test(fma32_is_fmaf_where_double_rounding_would_not_be),
        cmocka_unit_test(exp32_is_within_1_011_ulp_of_exp),
        cmocka_unit_test(exp32_is_exact_at_its_ends),
        cmocka_unit_test(exp32_never_decreases_by_more_than_rounding),
        cmocka_unit_test(lanes_are_folded_by_halves),
    };
    return cmocka_run_group_tests_name("kernels/math", tests, NULL, NULL);
}
