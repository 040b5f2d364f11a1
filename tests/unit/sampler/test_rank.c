#include "sampler/rank.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "support/support.h"

static void test_keys_order_by_score_then_id(void **state) {
    (void)state;
    const float scores[] = {INFINITY, 3e38f, 2, 1e-40f, 0, -1e-40f, -2, -3e38f, -INFINITY};
    for (int i = 0; i < 9; i++) {
        assert_true(rank_score(rank_key(scores[i], 5)) == scores[i]);
        assert_int_equal(rank_id(rank_key(scores[i], 5)), 5);
        assert_true(rank_key(scores[i], 5) < rank_key(scores[i], 6));
        for (int j = i + 1; j < 9; j++)
            assert_true(rank_key(scores[i], 900000) < rank_key(scores[j], 0));
    }
    assert_true(rank_key(-0.0f, 4) == rank_key(0.0f, 4));
}

/* Key and end of cumulated weight, by sorting. */
static struct ranked by_sorting(struct ranked *items, size_t n, uint64_t target, uint64_t *before) {
    rank_sort(items, n);
    size_t i = 0;
    *before = 0;
    while (target - *before >= items[i].weight)
        *before += items[i++].weight;
    return items[i];
}

static void test_selection_equals_sorting(void **state) {
    (void)state;
    enum { N = 700 };
    for (uint64_t round = 0; round < 300; round++) {
        struct ranked items[N], copy[N];
        size_t n = 1 + (size_t)(rng_uniform(3, round, 0) * N);
        uint64_t total = 0;
        for (size_t i = 0; i < n; i++) {
            double u = rng_uniform(4, round, i);
            float score = round % 3 == 0 ? (float)u : round % 3 == 1 ? floorf((float)(u * 4)) : 1;
            uint64_t weight = round % 2 ? 1 : (uint64_t)(rng_uniform(5, round, i) * 5) << 40;
            items[i] = copy[i] = (struct ranked){rank_key(score, (int32_t)i), weight};
            total += weight;
        }
        if (total == 0)
            continue;
        uint64_t target = (uint64_t)(rng_uniform(6, round, 0) * (double)total), before, want_before;
        struct ranked found = rank_select(items, n, target, &before);
        struct ranked want = by_sorting(copy, n, target, &want_before);
        assert_true(found.key == want.key && found.weight == want.weight && before == want_before);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_order_by_score_then_id),
        cmocka_unit_test(test_selection_equals_sorting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
