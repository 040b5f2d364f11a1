/* Every instruction set against the generic reference, bit for bit, on inputs that end at an
 * unreadable page. */
#include "kernels/sampling_kernels.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/exact_exp.h"
#include "kernels/kernels.h"
#include "support/guarded.h"
#include "support/support.h"

enum { N_MAX = 1000, ROUNDS = 3000 };

static uint64_t rng_state = 1;

static uint64_t next_u64(void) {
    uint64_t z = rng_state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static float random_score(int flavour) {
    static const float specials[] = {0.0f, -0.0f, 1e-45f, -1e-45f, -INFINITY, 3e38f, -3e38f, 1.0f};
    const float unit = (float)(int32_t)next_u64() * 0x1p-31f;
    switch (flavour) {
    case 0:
        return unit * 20;
    case 1:
        return (float)(int)(unit * 3); /* many equal */
    case 2:
        return specials[next_u64() % 8];
    default:
        return ldexpf(unit, (int)(next_u64() % 250) - 125);
    }
}

/* n random scores that touch the unreadable page. */
static float *scores_at_end(struct guarded *g, size_t n, bool with_nan) {
    float *x = guarded_place(g, n * sizeof *x, true, 0);
    const int flavour = (int)(next_u64() % 4);
    for (size_t i = 0; i < n; i++)
        x[i] = random_score(flavour);
    if (with_nan && n)
        x[next_u64() % n] = NAN;
    return x;
}

static const struct sampling_kernels *each[8];
static size_t n_each;

static int find_kernels(void **state) {
    (void)state;
    size_t n;
    const struct kernels *const *tables = kernels_available(&n);
    for (size_t i = 0; i < n && n_each < 8; i++)
        if (sampling_kernels_named(tables[i]->name) != &sampling_kernels_generic)
            each[n_each++] = sampling_kernels_named(tables[i]->name);
    return 0;
}

static void every_table_finds_the_same_maximum(void **state) {
    (void)state;
    struct guarded g;
    guarded_init(&g, N_MAX * sizeof(float));
    for (int round = 0; round < ROUNDS; round++) {
        const size_t n = 1 + next_u64() % N_MAX;
        const float *x = scores_at_end(&g, n, round % 8 == 0);
        const float expected = sampling_kernels_generic.max(x, n);
        for (size_t k = 0; k < n_each; k++) {
            const float found = each[k]->max(x, n);
            assert_true(found == expected || (isnan(found) && isnan(expected)));
        }
    }
    guarded_release(&g);
}

static void every_table_finds_the_same_first_score_above(void **state) {
    (void)state;
    struct guarded g;
    guarded_init(&g, N_MAX * sizeof(float));
    for (int round = 0; round < ROUNDS; round++) {
        const size_t n = next_u64() % N_MAX;
        const float *x = scores_at_end(&g, n, round % 8 == 0);
        const float max = n ? sampling_kernels_generic.max(x, n) : 0;
        const float thresholds[] = {max, nextafterf(max, -INFINITY), 0, -INFINITY, INFINITY};
        for (size_t t = 0; t < 5; t++)
            for (size_t k = 0; k < n_each; k++)
                assert_int_equal(each[k]->first_above(x, n, thresholds[t]),
                                 sampling_kernels_generic.first_above(x, n, thresholds[t]));
    }
    guarded_release(&g);
}

static void every_table_gives_the_same_weights(void **state) {
    (void)state;
    struct guarded g, w;
    uint64_t expected[N_MAX];
    guarded_init(&g, N_MAX * sizeof(float));
    guarded_init(&w, N_MAX * sizeof(uint64_t));
    for (int round = 0; round < ROUNDS; round++) {
        const size_t n = 1 + next_u64() % N_MAX;
        const float *x = scores_at_end(&g, n, false);
        const double max = (double)sampling_kernels_generic.max(x, n);
        const double scale = EXP_256_PER_UNIT / (round % 3 ? 0.6 : 1e4);
        if (!(max > -INFINITY))
            continue;
        const uint64_t sum = sampling_kernels_generic.weigh(expected, x, n, max, scale, -12224);
        for (size_t k = 0; k < n_each; k++) {
            uint64_t *found = guarded_place(&w, n * sizeof *found, true, 0);
            assert_true(each[k]->weigh(found, x, n, max, scale, -12224) == sum);
            assert_memory_equal(found, expected, n * sizeof *found);
        }
    }
    guarded_release(&g);
    guarded_release(&w);
}

static void every_table_gives_the_same_sum_of_exponentials(void **state) {
    (void)state;
    struct guarded g;
    guarded_init(&g, N_MAX * sizeof(float));
    for (int round = 0; round < ROUNDS; round++) {
        const size_t n = 1 + next_u64() % N_MAX;
        const float *x = scores_at_end(&g, n, round % 8 == 0);
        double max = -3e38; /* also where there is nothing but NaN and -infinity */
        for (size_t i = 0; i < n; i++)
            max = (double)x[i] > max ? (double)x[i] : max;
        const double expected = sampling_kernels_generic.exp_sum(x, n, max, -200000);
        for (size_t k = 0; k < n_each; k++) {
            const double found = each[k]->exp_sum(x, n, max, -200000);
            assert_true(memcmp(&found, &expected, sizeof found) == 0 ||
                        (isnan(found) && isnan(expected)));
        }
    }
    guarded_release(&g);
}

static void the_best_table_is_that_of_the_best_kernels(void **state) {
    (void)state;
    assert_ptr_equal(sampling_kernels(), n_each ? each[n_each - 1] : &sampling_kernels_generic);
    assert_ptr_equal(sampling_kernels_named("no such"), &sampling_kernels_generic);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table_finds_the_same_maximum),
        cmocka_unit_test(every_table_finds_the_same_first_score_above),
        cmocka_unit_test(every_table_gives_the_same_weights),
        cmocka_unit_test(every_table_gives_the_same_sum_of_exponentials),
        cmocka_unit_test(the_best_table_is_that_of_the_best_kernels),
    };
    return cmocka_run_group_tests(tests, find_kernels, NULL);
}
