#include "base/rng.h"

#include <math.h>
#include <string.h>

#include "support/support.h"

/* Known answers of Random123's kat_vectors for philox4x32 10. */
static void blocks_equal_the_published_known_answers(void **state) {
    (void)state;
    static const struct {
        uint64_t seed, stream, index;
        uint32_t want[4];
    } cases[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t got[4];
        rng_block(cases[i].seed, cases[i].stream, cases[i].index, got);
        assert_memory_equal(got, cases[i].want, sizeof got);
    }
}

static void uniform_draws_lie_in_the_unit_interval_and_use_53_bits(void **state) {
    (void)state;
    double sum = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        double u = rng_uniform(1, 2, i);
        assert_true(u >= 0 && u < 1);
        assert_true(u * 0x1p53 == floor(u * 0x1p53));
        sum += u;
    }
    /* Six standard deviations of the mean of 100000 draws: 6 / sqrt(12e5). */
    assert_true(fabs(sum / 100000 - 0.5) < 0.0055);
}

static void uniform_draw_is_the_upper_bits_of_the_first_two_words(void **state) {
    (void)state;
    uint64_t bits = (uint64_t)0xe169c58d << 32 | 0x6627e8d5;
    assert_true(rng_uniform(0, 0, 0) == ldexp((double)(bits >> 11), -53));
}

static void normal_draws_have_mean_zero_and_variance_one(void **state) {
    (void)state;
    enum { N = 200000 };
    double sum = 0, squares = 0;
    for (uint64_t i = 0; i < N; i++) {
        double x = rng_normal(7, 0, i);
        assert_true(fabs(x) < 4.9); /* 262140 / 53509.9 */
        sum += x;
        squares += x * x;
    }
    /* Six standard deviations: of the mean 6/sqrt(N), of the variance 6 sqrt(2/N). */
    assert_true(fabs(sum / N) < 0.0135);
    assert_true(fabs(squares / N - 1) < 0.019);
}

static void normal_draw_has_the_documented_bits(void **state) {
    (void)state;
    /* Halves of the first known answer: their sum less 262140, by 0x1.3988e2p-16 in float. */
    int sum = 0xe8d5 + 0x6627 + 0xc58d + 0xe169 + 0xac4c + 0xbc57 + 0xdbd8 + 0x9b00;
    float want = (float)(sum - 262140) * 0x1.3988e2p-16f;
    assert_true(rng_normal(0, 0, 0) == want);
}

static void seeds_streams_and_indices_give_different_blocks(void **state) {
    (void)state;
    uint32_t base[4], other[4];
    rng_block(5, 6, 7, base);
    rng_block(6, 6, 7, other);
    assert_memory_not_equal(base, other, sizeof base);
    rng_block(5, 7, 7, other);
    assert_memory_not_equal(base, other, sizeof base);
    rng_block(5, 6, 8, other);
    assert_memory_not_equal(base, other, sizeof base);
    rng_block(5, 6, 7, other);
    assert_memory_equal(base, other, sizeof base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_equal_the_published_known_answers),
        cmocka_unit_test(uniform_draws_lie_in_the_unit_interval_and_use_53_bits),
        cmocka_unit_test(uniform_draw_is_the_upper_bits_of_the_first_two_words),
        cmocka_unit_test(normal_draws_have_mean_zero_and_variance_one),
        cmocka_unit_test(normal_draw_has_the_documented_bits),
        cmocka_unit_test(seeds_streams_and_indices_give_different_blocks),
    };
    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
