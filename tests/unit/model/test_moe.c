#include "model/moe.h"

#include <math.h>

#include "support/support.h"

static struct moe_plan make_plan(struct arena *arena, size_t tokens, size_t experts, size_t k) {
    struct moe_plan p;
    arena_init(arena, 0);
    assert_int_equal(moe_plan_init(&p, arena, tokens, experts, k, NULL), QUERN_OK);
    return p;
}

static void the_most_probable_experts_are_chosen_in_order(void **state) {
    (void)state;
    struct arena arena;
    struct moe_plan p = make_plan(&arena, 1, 5, 3);
    moe_plan_route(&p, (const float[]){0.1f, 0.3f, 0.05f, 0.35f, 0.2f}, 1, false);
    assert_int_equal(p.chosen[0], 3);
    assert_int_equal(p.chosen[1], 1);
    assert_int_equal(p.chosen[2], 4);
    assert_true(p.weight[0] == 0.35f && p.weight[1] == 0.3f && p.weight[2] == 0.2f);
    arena_release(&arena);
}

static void of_equal_probabilities_the_lower_index_wins(void **state) {
    (void)state;
    struct arena arena;
    struct moe_plan p = make_plan(&arena, 1, 4, 2);
    moe_plan_route(&p, (const float[]){0.1f, 0.3f, 0.3f, 0.3f}, 1, false);
    assert_int_equal(p.chosen[0], 1);
    assert_int_equal(p.chosen[1], 2);
    arena_release(&arena);
}

static void weights_are_normalized_only_when_asked(void **state) {
    (void)state;
    struct arena arena;
    struct moe_plan p = make_plan(&arena, 1, 4, 2);
    const float probs[] = {0.5f, 0.25f, 0.125f, 0.125f};
    moe_plan_route(&p, probs, 1, false);
    assert_true(p.weight[0] == 0.5f && p.weight[1] == 0.25f);
    moe_plan_route(&p, probs, 1, true);
    assert_true(p.weight[0] == 0.5f / 0.75f && p.weight[1] == 0.25f / 0.75f);
    arena_release(&arena);
}

static void tokens_are_grouped_by_expert_in_batch_order(void **state) {
    (void)state;
    struct arena arena;
    struct moe_plan p = make_plan(&arena, 3, 4, 2);
    const float probs[] = {
        0.0f, 0.6f, 0.0f, 0.4f, /* 1, 3 */
        0.7f, 0.3f, 0.0f, 0.0f, /* 0, 1 */
        0.1f, 0.9f, 0.0f, 0.0f, /* 1, 0 */
    };
    moe_plan_route(&p, probs, 3, false);
    const size_t begin[] = {0, 2, 5, 5, 6};
    assert_memory_equal(p.begin, begin, sizeof begin);
    const int32_t tokens[] = {1, 2, 0, 1, 2, 0};
    assert_memory_equal(p.tokens, tokens, sizeof tokens);
    const float scale[] = {0.7f, 0.1f, 0.6f, 0.3f, 0.9f, 0.4f};
    assert_memory_equal(p.scale, scale, sizeof scale);
    arena_release(&arena);
}

static void every_expert_may_be_chosen(void **state) {
    (void)state;
    struct arena arena;
    struct moe_plan p = make_plan(&arena, 2, 3, 3);
    moe_plan_route(&p, (const float[]){0.2f, 0.5f, 0.3f, 0.1f, 0.1f, 0.8f}, 2, true);
    const int32_t chosen[] = {1, 2, 0, 2, 0, 1};
    assert_memory_equal(p.chosen, chosen, sizeof chosen);
    const size_t begin[] = {0, 2, 4, 6};
    assert_memory_equal(p.begin, begin, sizeof begin);
    arena_release(&arena);
}

/* Broken weights must not send the plan out of bounds. */
static void nan_still_gives_different_experts(void **state) {
    (void)state;
    struct arena arena;
    struct moe_plan p = make_plan(&arena, 1, 4, 3);
    moe_plan_route(&p, (const float[]){NAN, 0.5f, NAN, NAN}, 1, true);
    bool seen[4] = {false};
    for (int i = 0; i < 3; i++) {
        assert_in_range(p.chosen[i], 0, 3);
        assert_false(seen[p.chosen[i]]);
        seen[p.chosen[i]] = true;
    }
    assert_int_equal(p.begin[4], 3);
    arena_release(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_probable_experts_are_chosen_in_order),
        cmocka_unit_test(of_equal_probabilities_the_lower_index_wins),
        cmocka_unit_test(weights_are_normalized_only_when_asked),
        cmocka_unit_test(tokens_are_grouped_by_expert_in_batch_order),
        cmocka_unit_test(every_expert_may_be_chosen),
        cmocka_unit_test(nan_still_gives_different_experts),
    };
    return cmocka_run_group_tests_name("moe", tests, NULL, NULL);
}
