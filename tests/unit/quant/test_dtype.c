#include "quant/dtype.h"

#include <math.h>
#include <string.h>

#include "support/support.h"

static uint32_t bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* A half's value straight from IEEE 754's definition. */
static double half_value(uint16_t h) {
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double value = exponent == 31  ? (fraction ? (double)NAN : (double)INFINITY)
                   : exponent == 0 ? ldexp(fraction, -24)
                                   : ldexp(1024 + fraction, exponent - 25);
    return h & 0x8000 ? -value : value;
}

static double bf16_value(uint16_t h) {
    int exponent = h >> 7 & 255, fraction = h & 127;
    double value = exponent == 255 ? (fraction ? (double)NAN : (double)INFINITY)
                   : exponent == 0 ? ldexp(fraction, -133)
                                   : ldexp(128 + fraction, exponent - 134);
    return h & 0x8000 ? -value : value;
}

/* Nearest of two neighbouring encodings lo and lo+1 by comparing distances in double (exact: all
 * values have at most 24 significant bits within a narrow range), ties to the even encoding. Past
 * the largest finite value the upper neighbour counts as the next power of two. */
static uint16_t nearest(double x, uint16_t lo, double lo_value, double hi_value) {
    double down = x - lo_value, up = hi_value - x;
    if (down < up)
        return lo;
    if (down > up)
        return (uint16_t)(lo + 1);
    return lo & 1 ? (uint16_t)(lo + 1) : lo;
}

/* Checks f, which lies between the positive encodings lo and lo+1, in both signs. */
static void check_rounding(float f, uint16_t lo, double lo_value, double hi_value,
                           uint16_t (*convert)(float)) {
    if (!((double)f >= lo_value && (double)f <= hi_value))
        return;
    uint16_t want = nearest((double)f, lo, lo_value, hi_value);
    assert_int_equal(convert(f), want);
    assert_int_equal(convert(-f), want | 0x8000);
}

/* Around every border between two neighbours: the neighbours, the midpoint, and the floats
 * next to each. */
static void check_all_gaps(uint16_t infinity, double (*value)(uint16_t), double overflow_value,
                           uint16_t (*convert)(float)) {
    for (uint16_t lo = 0; lo < infinity; lo++) {
        double a = value(lo), b = lo + 1 == infinity ? overflow_value : value((uint16_t)(lo + 1));
        double points[] = {a, a + (b - a) / 4, a + (b - a) / 2, a + (b - a) * 3 / 4, b};
        for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
            if (points[i] > 3.4028234663852886e38)
                continue; /* 2^128 is no float */
            float f = (float)points[i];
            check_rounding(f, lo, a, b, convert);
            check_rounding(nextafterf(f, INFINITY), lo, a, b, convert);
            check_rounding(nextafterf(f, 0), lo, a, b, convert);
        }
    }
}

static void every_half_converts_exactly(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = f16_to_f32((uint16_t)h);
        double want = half_value((uint16_t)h);
        if (isnan(want)) {
            assert_true(isnan(f));
            assert_int_equal(signbit(f) != 0, h >> 15);
        } else {
            assert_true((double)f == want && (signbit(f) != 0) == (h >> 15));
        }
    }
}

static void every_half_survives_the_round_trip(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t back = f32_to_f16(f16_to_f32((uint16_t)h));
        bool is_nan = (h & 0x7fff) > 0x7c00;
        assert_int_equal(back, is_nan ? h | 0x200 : h);
    }
}

static void every_bf16_converts_exactly_and_back(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = bf16_to_f32((uint16_t)h);
        double want = bf16_value((uint16_t)h);
        assert_true(isnan(want) ? isnan(f) : (double)f == want);
        bool is_nan = (h & 0x7fff) > 0x7f80;
        assert_int_equal(f32_to_bf16(f), is_nan ? h | 0x40 : h);
    }
}

static void f32_to_f16_rounds_to_nearest_even(void **state) {
    (void)state;
    check_all_gaps(0x7c00, half_value, 65536.0, f32_to_f16);
}

static void f32_to_bf16_rounds_to_nearest_even(void **state) {
    (void)state;
    check_all_gaps(0x7f80, bf16_value, ldexp(1, 128), f32_to_bf16);
}

static void overflow_becomes_infinity(void **state) {
    (void)state;
    assert_int_equal(f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(f32_to_f16(-1e30f), 0xfc00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(f32_to_bf16(3.4028235e38f), 0x7f80);
    assert_int_equal(f32_to_bf16(-INFINITY), 0xff80);
}

/* A signalling NaN with only low payload bits would become infinity if it were cut. */
static void nan_stays_nan(void **state) {
    (void)state;
    for (int bit = 0; bit < 23; bit++) {
        for (uint32_t sign = 0; sign < 2; sign++) {
            float f = float_of(sign << 31 | 0x7f800000 | 1u << bit);
            assert_true(isnan(f16_to_f32(f32_to_f16(f))));
            assert_true(isnan(bf16_to_f32(f32_to_bf16(f))));
            assert_int_equal(f32_to_bf16(f) >> 15, sign);
        }
    }
}

/* Every 257th float: all exponents, all low-bit patterns. */
static void conversions_agree_with_the_reference_over_all_magnitudes(void **state) {
    (void)state;
    for (uint64_t bits = 0; bits < 0x7f800000; bits += 257) {
        float f = float_of((uint32_t)bits);
        uint16_t b = (uint16_t)(bits >> 16);
        double above = b + 1 == 0x7f80 ? ldexp(1, 128) : bf16_value((uint16_t)(b + 1));
        assert_int_equal(f32_to_bf16(f), nearest((double)f, b, bf16_value(b), above));
        if ((double)f >= 65536)
            continue;
        uint16_t h = 0; /* the largest half not above f, by bisection */
        for (uint16_t step = 0x4000; step; step = (uint16_t)(step >> 1)) {
            if (h + step < 0x7c00 && half_value((uint16_t)(h + step)) <= (double)f)
                h = (uint16_t)(h + step);
        }
        above = h + 1 == 0x7c00 ? 65536.0 : half_value((uint16_t)(h + 1));
        assert_int_equal(f32_to_f16(f), nearest((double)f, h, half_value(h), above));
    }
}

static void arrays_convert_from_unaligned_memory(void **state) {
    (void)state;
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    float in[5] = {0.0f, -1.5f, 2.0f, 0.25f, -96.0f}, out[5];
    unsigned char raw[5 * 4 + 1];
    for (size_t i = 0; i < 3; i++) {
        assert_true(dtype_is_weight(types[i]));
        dtype_from_f32(types[i], in, raw + 1, 5);
        memset(out, 0xff, sizeof out);
        dtype_to_f32(types[i], raw + 1, out, 5);
        for (size_t k = 0; k < 5; k++)
            assert_int_equal(bits_of(in[k]), bits_of(out[k]));
        dtype_to_f32(types[i], NULL, NULL, 0);
    }
}

static void names_and_sizes_are_those_of_safetensors(void **state) {
    (void)state;
    for (int t = 0; t < DTYPE_COUNT; t++) {
        enum dtype back = DTYPE_COUNT;
        assert_true(dtype_from_name(str_from(dtype_name((enum dtype)t)), &back));
        assert_int_equal(back, t);
        assert_true(dtype_size_bytes((enum dtype)t) > 0);
    }
    assert_int_equal(dtype_size_bytes(DTYPE_BF16), 2);
    assert_int_equal(dtype_size_bytes(DTYPE_F8_E5M2), 1);
    enum dtype unused;
    assert_false(dtype_from_name(STR_LIT("bf16"), &unused));
    assert_false(dtype_from_name(STR_LIT("F4"), &unused));
    assert_false(dtype_from_name(STR_LIT(""), &unused));
    assert_false(dtype_is_weight(DTYPE_F64));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_converts_exactly),
        cmocka_unit_test(every_half_survives_the_round_trip),
        cmocka_unit_test(every_bf16_converts_exactly_and_back),
        cmocka_unit_test(f32_to_f16_rounds_to_nearest_even),
        cmocka_unit_test(f32_to_bf16_rounds_to_nearest_even),
        cmocka_unit_test(overflow_becomes_infinity),
        cmocka_unit_test(nan_stays_nan),
        cmocka_unit_test(conversions_agree_with_the_reference_over_all_magnitudes),
        cmocka_unit_test(arrays_convert_from_unaligned_memory),
        cmocka_unit_test(names_and_sizes_are_those_of_safetensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
