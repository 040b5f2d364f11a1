/* What a step costs, learned from steps of machines made up here. */
#include "engine/speed.h"

#include "support/support.h"

/* Steps of 1 to `most` rows on a machine where a step takes base + slope * rows. */
static struct speed learn(double base, double slope, size_t most) {
    struct speed s = {0};
    for (size_t i = 0; i < 200; i++) {
        const size_t rows = 1 + i * 7 % most;
        speed_observe(&s, rows, 0, (uint64_t)(base + slope * (double)rows));
    }
    return s;
}

static void test_a_step_costs_what_steps_have_cost(void **state) {
    (void)state;
    const struct speed s = learn(1e6, 2e5, 8);
    for (size_t rows = 1; rows <= 16; rows++) {
        const double expected = 1e6 + 2e5 * (double)rows;
        /* Times are whole nanoseconds. */
        assert_true(speed_step_ns(&s, rows) > expected * 0.999 &&
                    speed_step_ns(&s, rows) < expected * 1.001);
    }
}

static void test_nothing_is_known_at_first(void **state) {
    (void)state;
    const struct speed s = {0};
    assert_true(speed_step_ns(&s, 3) == 0);
    assert_int_equal(speed_best_drafts(&s, 1, 0.9, 0, 8), 0);
    assert_int_equal(speed_prompt_tokens(&s, 3, 1e9, 16, 512), 16);
    assert_int_equal(speed_prompt_tokens(&s, 3, 1e9, 16, 10), 10);
}

static void test_guesses_pay_where_rows_are_cheap_and_guesses_right(void **state) {
    (void)state;
    /* A machine that waits for memory: eight rows cost little more than one. */
    const struct speed cheap = learn(1e6, 2e4, 8);
    assert_true(speed_best_drafts(&cheap, 1, 0.9, 0, 8) >= 6);
    assert_in_range(speed_best_drafts(&cheap, 1, 0.5, 0, 8), 2, 5);
    assert_int_equal(speed_best_drafts(&cheap, 1, 0.01, 0, 8), 0);
    /* Guesses that take as long as a step to make do not. */
    assert_int_equal(speed_best_drafts(&cheap, 1, 0.9, 1e6, 8), 0);
    assert_true(speed_best_drafts(&cheap, 1, 0.9, 1e5, 8) > 0);
    /* A machine that computes: every row costs the same, and no guess is certain. */
    const struct speed dear = learn(1e3, 1e6, 8);
    assert_int_equal(speed_best_drafts(&dear, 1, 0.9, 0, 8), 0);
    /* What pays alone need not pay beside others who fill the machine. */
    const struct speed mixed = learn(1e6, 1e5, 32);
    assert_true(speed_best_drafts(&mixed, 1, 0.6, 0, 8) > 0);
    assert_int_equal(speed_best_drafts(&mixed, 24, 0.6, 0, 8), 0);
}

static void test_prompts_take_the_time_that_decoding_leaves(void **state) {
    (void)state;
    struct speed s = learn(1e6, 1e5, 8);
    for (int i = 0; i < 100; i++)
        speed_observe(&s, 4, 50, (uint64_t)(1.4e6 + 50 * 1e5));
    /* 10 ms less 1.4 ms at 0.1 ms a token */
    assert_in_range(speed_prompt_tokens(&s, 4, 1e7, 1, 512), 84, 88);
    assert_int_equal(speed_prompt_tokens(&s, 4, 1e9, 1, 512), 512);
    assert_int_equal(speed_prompt_tokens(&s, 4, 1e3, 16, 512), 16);
}

static void test_what_was_learned_fades(void **state) {
    (void)state;
    struct speed s = learn(1e6, 2e5, 8);
    for (size_t i = 0; i < 400; i++)
        speed_observe(&s, 1 + i % 8, 0, (uint64_t)(2e6 + 4e5 * (double)(1 + i % 8)));
    assert_true(speed_step_ns(&s, 4) > 3.5e6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_step_costs_what_steps_have_cost),
        cmocka_unit_test(test_nothing_is_known_at_first),
        cmocka_unit_test(test_guesses_pay_where_rows_are_cheap_and_guesses_right),
        cmocka_unit_test(test_prompts_take_the_time_that_decoding_leaves),
        cmocka_unit_test(test_what_was_learned_fades),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
