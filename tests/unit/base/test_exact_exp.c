#include "base/exact_exp.h"

#include <math.h>

#include "base/rng.h"
#include "support/support.h"

static void test_exp_is_within_three_roundings_of_the_c_library(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 200000; i++) {
        double z = (rng_uniform(1, 0, i) - 0.5) * 200000;
        long double want = exp2l((long double)z / 256);
        long double error = fabsl((long double)exp_256(z) - want) / want;
        /* 2^-53 each for the table, the product and the last addition */
        assert_true(error < 3.4e-16L);
    }
    assert_true(exp_256(0) == 1);
    assert_true(exp_256(256) == 2);
    assert_true(exp_256(-2560) == 0x1p-10);
}

static uint64_t hash_bits(uint64_t hash, double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (hash ^ bits) * 0x100000001b3; /* FNV-1a, a word at a time */
}

/* Fails where a compiler fuses multiplications and additions or reorders them. */
static void test_the_bits_are_the_same_on_every_machine(void **state) {
    (void)state;
    uint64_t exps = 0xcbf29ce484222325, logs = exps;
    for (uint64_t i = 0; i < 100000; i++) {
        double u = rng_uniform(3, 0, i);
        exps = hash_bits(exps, exp_256((u - 0.5) * 30000));
        logs = hash_bits(logs, exact_log(1 + u * 150000));
    }
    assert_true(exps == 0xca181e479761460b);
    assert_true(logs == 0x2e5c41ce6ffd4906);
}

static void test_log_undoes_exp(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        double x = exp((rng_uniform(2, 0, i) - 0.5) * 600);
        long double want = logl((long double)x);
        /* exact_exp rounds x * 256/ln2 once: an error of |log x| * 2^-53, then a few of 1. */
        long double bound = (fabsl(want) + 4) * 0x1p-52L;
        assert_true(fabsl((long double)exact_log(x) - want) < bound);
    }
    assert_true(exact_log(1) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp_is_within_three_roundings_of_the_c_library),
        cmocka_unit_test(test_the_bits_are_the_same_on_every_machine),
        cmocka_unit_test(test_log_undoes_exp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
