/* Thinking budgets: when the closing sentence comes, and that it comes word for word. Logits are
 * scripted, the tokenizer is the small one of tests/fixtures/qwen3-tiny. */
#include "engine/thinking.h"

#include <stdio.h>
#include <string.h>

#include "engine/completion.h"
#include "support/support.h"

enum { VOCAB = 600, EOS = 488 };

static const char SENTENCE[] =
    "\n\nConsidering the limited time by the user, I have to give the solution based on the "
    "thinking directly now.\n</think>\n\n";

static struct tokenizer *tokenizer;
static int32_t open_id, close_id, turn_id;

static int set_up(void **state) {
    (void)state;
    struct quern_error err;
    if (tokenizer_open(support_fixture("fixtures/qwen3-tiny"), &tokenizer, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    open_id = tokenizer_added_id(tokenizer, str_from("<think>"));
    close_id = tokenizer_added_id(tokenizer, str_from("</think>"));
    turn_id = tokenizer_added_id(tokenizer, str_from("<|im_start|>"));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tokenizer_close(tokenizer);
    return 0;
}

/* The token of one ASCII letter. */
static int32_t letter(char c) {
    for (int32_t id = 0; id < tokenizer_n_tokens(tokenizer); id++) {
        const struct str s = tokenizer_token_bytes(tokenizer, id);
        if (s.len == 1 && s.ptr[0] == c && !tokenizer_is_added(tokenizer, id))
            return id;
    }
    return -1;
}

struct answer {
    struct completion *completion;
    char text[4096];
    size_t len, n;
};

static void begin(struct answer *a, const int32_t *prompt, size_t n_prompt, int32_t budget,
                  int32_t max_tokens) {
    static const int32_t eos[] = {EOS};
    const struct completion_setup setup = {.tokenizer = tokenizer,
                                           .n_vocab = VOCAB,
                                           .eos = eos,
                                           .n_eos = 1,
                                           .prompt = prompt,
                                           .n_prompt = n_prompt,
                                           .room = 1000};
    const struct quern_generate_options o = {
        .sampling = {.top_p = 1, .typical_p = 1, .repetition_penalty = 1},
        .max_tokens = max_tokens,
        .thinking_budget = budget};
    struct quern_error err;
    *a = (struct answer){0};
    if (completion_create(&setup, &o, &a->completion, &err))
        fail_msg("%s", err.message);
}

/* The model wants `wanted`; the answer is what came. */
static int32_t step(struct answer *a, int32_t wanted) {
    float logits[VOCAB] = {0};
    struct quern_event event;
    struct quern_error err;
    logits[wanted] = 50;
    if (completion_step(a->completion, logits, a->n++, &event, &err))
        fail_msg("%s", err.message);
    memcpy(a->text + a->len, event.text, event.text_len);
    a->len += event.text_len;
    return event.token;
}

static size_t end(struct answer *a) {
    struct quern_generate_result result;
    completion_result(a->completion, &result);
    completion_destroy(a->completion);
    return result.n_thinking;
}

enum { SOME = 64 };

/* How many tokens are forced, and the first of them. */
static size_t forced(struct answer *a, int32_t *first) {
    int32_t tokens[SOME] = {-1};
    const size_t n = completion_forced(a->completion, tokens, SOME);
    *first = tokens[0];
    return n;
}

static void assert_text(const struct answer *a, const char *before, const char *after) {
    char expected[4096];
    snprintf(expected, sizeof expected, "%s%s%s", before, SENTENCE, after);
    assert_int_equal(a->len, strlen(expected));
    assert_memory_equal(a->text, expected, a->len);
}

static void test_the_sentence_comes_when_the_budget_is_used_up(void **state) {
    (void)state;
    struct answer a;
    int32_t next;
    size_t n_forced, n_steps = 0;
    begin(&a, NULL, 0, 4, 0);
    assert_int_equal(step(&a, open_id), open_id); /* counts, as the block's first token */
    for (int i = 0; i < 3; i++)
        assert_int_equal(step(&a, letter('x')), letter('x'));
    n_forced = forced(&a, &next);
    assert_true(n_forced > 3);
    for (size_t left = n_forced; left > 0; left--, n_steps++) {
        assert_int_equal(forced(&a, &next), left);
        assert_int_equal(step(&a, letter('y')), next);
    }
    /* Then the model is free again, and outside. */
    for (int i = 0; i < 10; i++)
        assert_int_equal(step(&a, letter('z')), letter('z'));
    assert_text(&a, "<think>xxx", "zzzzzzzzzz");
    /* All but the empty line after </think>, and the answer. */
    assert_in_range(end(&a), 4 + n_steps - 2, 4 + n_steps - 1);
}

static void test_a_prompt_that_opens_the_block_counts_from_the_first_token(void **state) {
    (void)state;
    const int32_t prompt[] = {turn_id, 5, open_id, 10};
    struct answer a;
    int32_t first;
    begin(&a, prompt, 4, 2, 0);
    step(&a, letter('x'));
    assert_int_equal(forced(&a, &first), 0);
    step(&a, letter('x'));
    assert_true(forced(&a, &first) > 0);
    end(&a);
}

static void test_an_answer_that_does_not_think_is_left_alone(void **state) {
    (void)state;
    /* Thinking of an earlier turn, and a block closed in the prompt. */
    const int32_t earlier[] = {open_id, 5, turn_id, 7}, closed[] = {turn_id, open_id, close_id};
    const int32_t *prompts[] = {earlier, closed, NULL};
    const size_t lengths[] = {4, 3, 0};
    for (size_t p = 0; p < 3; p++) {
        struct answer a;
        begin(&a, prompts[p], lengths[p], 2, 0);
        for (int i = 0; i < 20; i++)
            assert_int_equal(step(&a, letter('x')), letter('x'));
        assert_int_equal(end(&a), 0);
    }
}

static void test_thinking_that_ends_in_time_is_left_alone(void **state) {
    (void)state;
    struct answer a;
    begin(&a, NULL, 0, 5, 0);
    step(&a, open_id);
    step(&a, letter('x'));
    step(&a, close_id);
    for (int i = 0; i < 20; i++)
        assert_int_equal(step(&a, letter('x')), letter('x'));
    assert_int_equal(end(&a), 3);
}

static void test_without_a_budget_thinking_is_only_counted(void **state) {
    (void)state;
    struct answer a;
    begin(&a, NULL, 0, 0, 0);
    step(&a, open_id);
    for (int i = 0; i < 50; i++)
        assert_int_equal(step(&a, letter('x')), letter('x'));
    assert_int_equal(end(&a), 51);
}

static void test_a_character_is_completed_before_the_sentence(void **state) {
    (void)state;
    int32_t lead = -1, tail = -1;
    for (int32_t id = 0; id < tokenizer_n_tokens(tokenizer); id++) {
        const struct str s = tokenizer_token_bytes(tokenizer, id);
        if (s.len == 1 && (unsigned char)s.ptr[0] == 0xc3)
            lead = id;
        if (s.len == 1 && (unsigned char)s.ptr[0] == 0xa9)
            tail = id;
    }
    struct answer a;
    begin(&a, NULL, 0, 2, 0);
    step(&a, open_id);
    step(&a, lead);
    assert_int_equal(step(&a, tail), tail);
    int32_t first;
    while (forced(&a, &first) > 0)
        step(&a, letter('y'));
    assert_text(&a, "<think>\xc3\xa9", "");
    end(&a);
}

static void test_max_tokens_may_cut_the_sentence(void **state) {
    (void)state;
    struct answer a;
    begin(&a, NULL, 0, 2, 5);
    step(&a, open_id);
    for (int i = 0; i < 4; i++)
        step(&a, letter('x'));
    assert_true(completion_is_done(a.completion));
    end(&a);
}

static void test_a_negative_budget_is_refused(void **state) {
    (void)state;
    const struct completion_setup setup = {.tokenizer = tokenizer, .n_vocab = VOCAB, .room = 10};
    const struct quern_generate_options o = {
        .sampling = {.top_p = 1, .typical_p = 1, .repetition_penalty = 1}, .thinking_budget = -1};
    struct completion *c = NULL;
    struct quern_error err;
    assert_int_equal(completion_create(&setup, &o, &c, &err), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, "thinking_budget"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_sentence_comes_when_the_budget_is_used_up),
        cmocka_unit_test(test_a_prompt_that_opens_the_block_counts_from_the_first_token),
        cmocka_unit_test(test_an_answer_that_does_not_think_is_left_alone),
        cmocka_unit_test(test_thinking_that_ends_in_time_is_left_alone),
        cmocka_unit_test(test_without_a_budget_thinking_is_only_counted),
        cmocka_unit_test(test_a_character_is_completed_before_the_sentence),
        cmocka_unit_test(test_max_tokens_may_cut_the_sentence),
        cmocka_unit_test(test_a_negative_budget_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
