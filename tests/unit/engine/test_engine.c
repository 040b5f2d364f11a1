/* The engine: what comes out is to the bit what a session gives alone, whatever else happens. */
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>

#include "support/engine_rig.h"

enum { CONTEXT = 256 };

static struct rig rig;

static int open_all(void **state) {
    (void)state;
    rig_open(&rig, CONTEXT, 2);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    rig_close(&rig);
    return 0;
}

/* A family of requests of different lengths and kinds of sampling. */
enum { N_CANARIES = 16 };
static int32_t canary_prompts[N_CANARIES][CONTEXT];
static struct rig_answer canary_alone[N_CANARIES], answers[N_CANARIES];

static struct quern_request canary(size_t i) {
    const size_t n_prompt = 1 + (i * 37) % 150;
    rig_prompt(canary_prompts[i], n_prompt, i % 5);
    struct quern_request r =
        rig_request(canary_prompts[i], n_prompt, 1000 + i, 10 + (int32_t)(i * 7 % 60));
    if (i % 4 == 1)
        r.generate.sampling.temperature = 0;
    if (i % 4 == 2)
        r.generate.sampling.repetition_penalty = 1.3f;
    if (i % 4 == 3)
        r.generate.sampling.top_k = 20;
    return r;
}

static void make_canaries(void) {
    if (canary_alone[0].n > 0)
        return;
    for (size_t i = 0; i < N_CANARIES; i++) {
        const struct quern_request r = canary(i);
        rig_alone(&rig, &r, &canary_alone[i]);
    }
}

static void assert_canaries(struct engine *e) {
    quern_ticket *tickets[N_CANARIES];
    make_canaries();
    for (size_t i = 0; i < N_CANARIES; i++) {
        const struct quern_request r = canary(i);
        tickets[i] = rig_submit(e, &r);
    }
    for (size_t i = 0; i < N_CANARIES; i++) {
        rig_finish(tickets[i], &answers[i]);
        rig_assert_same(&answers[i], &canary_alone[i]);
    }
}

static void test_a_request_alone_gives_what_a_session_gives(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    make_canaries();
    for (size_t i = 0; i < N_CANARIES; i++) {
        const struct quern_request r = canary(i);
        rig_run(e, &r, &answers[i]);
        rig_assert_same(&answers[i], &canary_alone[i]);
        assert_int_equal(answers[i].result.usage.prompt_tokens, r.n_prompt);
        assert_int_equal(answers[i].result.usage.completion_tokens, answers[i].n);
    }
    rig_assert_idle(e);
    engine_destroy(e);
}

static void test_sixteen_together_give_what_each_gives_alone(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    assert_canaries(e);
    assert_canaries(e); /* now from the prefix cache */
    rig_assert_idle(e);
    engine_destroy(e);
}

static void test_small_steps_without_a_cache_give_the_same(void **state) {
    (void)state;
    const struct quern_engine_options o = {
        .max_step_tokens = 17, .max_running = 5, .no_prefix_cache = true};
    struct engine *e = rig_engine(&rig, &o);
    assert_canaries(e);
    rig_assert_idle(e);
    engine_destroy(e);
}

static void test_guesses_change_nothing(void **state) {
    (void)state;
    const struct quern_engine_options o = {.speculation = QUERN_SPECULATION_ALWAYS};
    struct engine *e = rig_engine(&rig, &o);
    assert_canaries(e);
    /* Greedy on a small model soon repeats itself: then guesses are right. */
    struct quern_engine_stats stats;
    engine_get_stats(e, &stats);
    assert_true(stats.drafted_tokens > 0);
    assert_true(stats.accepted_tokens <= stats.drafted_tokens);
    rig_assert_idle(e);
    engine_destroy(e);
}

/* The model itself guesses everything right, sampled or not; another one hardly anything. */
static void test_a_draft_model_changes_nothing_but_the_number_of_steps(void **state) {
    (void)state;
    static struct rig other;
    rig_open_seed(&other, CONTEXT, 1, 17);
    const struct rig *drafts[] = {&rig, &other};
    for (size_t d = 0; d < 2; d++) {
        const struct quern_engine_options o = {.speculation = QUERN_SPECULATION_ALWAYS,
                                               .max_step_tokens = 80};
        struct engine *e = rig_engine_draft(&rig, &o, drafts[d]);
        struct quern_engine_stats stats;
        assert_canaries(e);
        engine_get_stats(e, &stats);
        assert_true(stats.drafted_tokens > 0);
        /* Penalties see the guesses before only once they are taken: some are wrong. */
        if (d == 0)
            assert_true(stats.accepted_tokens * 10 > stats.drafted_tokens * 8);
        else
            assert_true(stats.accepted_tokens * 10 < stats.drafted_tokens * 8);
        rig_assert_idle(e);
        engine_destroy(e);
    }
    const struct quern_engine_options small = {.speculation = QUERN_SPECULATION_ALWAYS,
                                               .kv_bytes = 1};
    struct engine *e = rig_engine_draft(&rig, &small, &other);
    assert_canaries(e);
    rig_assert_idle(e);
    engine_destroy(e);
    e = rig_engine_draft(&rig, NULL, &other); /* as measurement says */
    assert_canaries(e);
    engine_destroy(e);
    rig_close(&other);
}

static void test_preempted_requests_give_the_same(void **state) {
    (void)state;
    /* Memory for hardly more than one context. */
    const struct quern_engine_options o = {.kv_bytes = 1};
    struct engine *e = rig_engine(&rig, &o);
    struct quern_engine_stats stats;
    engine_get_stats(e, &stats);
    assert_int_equal(stats.kv_blocks, CONTEXT / 32);
    assert_canaries(e);
    /* Short prompts are let in together, and then grow beyond what there is. */
    enum { N = 8, N_PROMPT = 6, N_MADE = 120 };
    int32_t prompts[N][N_PROMPT];
    quern_ticket *tickets[N];
    for (size_t i = 0; i < N; i++) {
        rig_prompt(prompts[i], N_PROMPT, 50 + i);
        struct quern_request r = rig_request(prompts[i], N_PROMPT, i, N_MADE);
        r.priority = i == N - 1;
        tickets[i] = rig_submit(e, &r);
    }
    for (size_t i = 0; i < N; i++) {
        struct rig_answer alone;
        const struct quern_request r = rig_request(prompts[i], N_PROMPT, i, N_MADE);
        rig_finish(tickets[i], &answers[i]);
        rig_alone(&rig, &r, &alone);
        rig_assert_same(&answers[i], &alone);
    }
    /* Who goes first is never put aside. */
    assert_int_equal(answers[N - 1].result.usage.n_preempted, 0);
    engine_get_stats(e, &stats);
    assert_true(stats.n_preempted > 0);
    rig_assert_idle(e);
    engine_destroy(e);
}

static void test_cancelled_neighbours_change_nothing(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    quern_ticket *tickets[N_CANARIES];
    make_canaries();
    for (size_t i = 0; i < N_CANARIES; i++) {
        const struct quern_request r = canary(i);
        tickets[i] = rig_submit(e, &r);
        /* Every third leaves at once, while others are at every stage. */
        if (i % 3 == 2)
            quern_ticket_destroy(tickets[i]);
    }
    for (size_t i = 0; i < N_CANARIES; i++) {
        if (i % 3 == 2)
            continue;
        rig_finish(tickets[i], &answers[i]);
        rig_assert_same(&answers[i], &canary_alone[i]);
    }
    rig_assert_idle(e);
    engine_destroy(e);
}

static void test_a_second_turn_finds_the_first_computed(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    int32_t prompt[CONTEXT];
    struct rig_answer first, second, alone;
    rig_prompt(prompt, 70, 3);
    struct quern_request r = rig_request(prompt, 70, 9, 35);
    rig_run(e, &r, &first);
    assert_int_equal(first.result.usage.cached_tokens, 0);
    memcpy(prompt + 70, first.tokens, first.n * sizeof first.tokens[0]);
    rig_prompt(prompt + 70 + first.n, 10, 4);
    r = rig_request(prompt, 80 + first.n, 10, 20);
    rig_run(e, &r, &second);
    /* All but the last token of the answer, which was never fed. */
    assert_int_equal(second.result.usage.cached_tokens, 70 + first.n - 1);
    rig_alone(&rig, &r, &alone);
    rig_assert_same(&second, &alone);
    /* Another beginning of the same conversation: what was said differently is computed anew. */
    prompt[75] ^= 1;
    r = rig_request(prompt, 80 + first.n, 10, 20);
    rig_run(e, &r, &second);
    assert_int_equal(second.result.usage.cached_tokens, 75);
    rig_alone(&rig, &r, &alone);
    rig_assert_same(&second, &alone);
    engine_destroy(e);
}

static void test_salts_keep_conversations_apart(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    enum { N_PROMPT = 107 };
    int32_t prompt[N_PROMPT];
    struct rig_answer a, b;
    rig_prompt(prompt, N_PROMPT, 3);
    struct quern_request r = rig_request(prompt, N_PROMPT, 9, 5);
    r.cache_salt = "anna";
    rig_run(e, &r, &a);
    r.cache_salt = "bert";
    rig_run(e, &r, &b);
    assert_int_equal(b.result.usage.cached_tokens, 0);
    rig_assert_same(&a, &b);
    r.cache_salt = "anna";
    rig_run(e, &r, &b);
    assert_int_equal(b.result.usage.cached_tokens, N_PROMPT - 1);
    rig_assert_same(&a, &b);
    engine_destroy(e);
}

static void test_several_answers_share_one_prompt(void **state) {
    (void)state;
    enum { N = 6, N_PROMPT = 130 };
    const struct quern_engine_options o = {.max_step_tokens = 33};
    struct engine *e = rig_engine(&rig, &o);
    int32_t prompt[N_PROMPT];
    quern_ticket *tickets[N];
    rig_prompt(prompt, N_PROMPT, 3);
    for (size_t i = 0; i < N; i++) {
        const struct quern_request r = rig_request(prompt, N_PROMPT, i, 20);
        tickets[i] = rig_submit(e, &r);
    }
    size_t n_computed = 0;
    for (size_t i = 0; i < N; i++) {
        struct rig_answer alone;
        const struct quern_request r = rig_request(prompt, N_PROMPT, i, 20);
        rig_finish(tickets[i], &answers[i]);
        rig_alone(&rig, &r, &alone);
        rig_assert_same(&answers[i], &alone);
        n_computed += N_PROMPT - answers[i].result.usage.cached_tokens;
    }
    /* Once in full, then what does not fill a block. */
    assert_true(n_computed <= N_PROMPT + (N - 1) * 32);
    engine_destroy(e);
}

/* Rounded keys and values give answers of their own, on which nothing else has an influence. */
static void test_rounded_caches_give_the_same_alone_and_together(void **state) {
    (void)state;
    static struct rig_answer alone[N_CANARIES];
    const enum quern_kv_type types[] = {QUERN_KV_BF16, QUERN_KV_INT8};
    for (size_t t = 0; t < 2; t++) {
        const struct quern_engine_options by_itself = {
            .kv_type = types[t], .no_prefix_cache = true, .speculation = QUERN_SPECULATION_OFF};
        const struct quern_engine_options crowded = {
            .kv_type = types[t], .kv_bytes = 1, .speculation = QUERN_SPECULATION_ALWAYS};
        struct engine *e = rig_engine(&rig, &by_itself);
        for (size_t i = 0; i < N_CANARIES; i++) {
            const struct quern_request r = canary(i);
            rig_run(e, &r, &alone[i]);
        }
        engine_destroy(e);
        e = rig_engine(&rig, &crowded);
        quern_ticket *tickets[N_CANARIES];
        for (size_t i = 0; i < N_CANARIES; i++) {
            const struct quern_request r = canary(i);
            tickets[i] = rig_submit(e, &r);
        }
        for (size_t i = 0; i < N_CANARIES; i++) {
            rig_finish(tickets[i], &answers[i]);
            rig_assert_same(&answers[i], &alone[i]);
        }
        rig_assert_idle(e);
        engine_destroy(e);
    }
}

static void test_a_thinking_budget_is_the_same_beside_others(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    int32_t prompt[20];
    struct rig_answer a, alone;
    rig_prompt(prompt, 20, 8);
    prompt[19] = tokenizer_added_id(rig.tokenizer, str_from("<think>"));
    struct quern_request r = rig_request(prompt, 20, 5, 200);
    r.generate.thinking_budget = 7;
    quern_ticket *t = rig_submit(e, &r);
    assert_canaries(e);
    rig_finish(t, &a);
    rig_alone(&rig, &r, &alone);
    rig_assert_same(&a, &alone);
    assert_true(a.result.usage.thinking_tokens > 7);
    static const char sentence[] = "Considering the limited time by the user";
    assert_non_null(memmem(a.text, a.text_len, sentence, sizeof sentence - 1));
    engine_destroy(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_alone_gives_what_a_session_gives),
        cmocka_unit_test(test_sixteen_together_give_what_each_gives_alone),
        cmocka_unit_test(test_small_steps_without_a_cache_give_the_same),
        cmocka_unit_test(test_guesses_change_nothing),
        cmocka_unit_test(test_a_draft_model_changes_nothing_but_the_number_of_steps),
        cmocka_unit_test(test_preempted_requests_give_the_same),
        cmocka_unit_test(test_cancelled_neighbours_change_nothing),
        cmocka_unit_test(test_a_second_turn_finds_the_first_computed),
        cmocka_unit_test(test_salts_keep_conversations_apart),
        cmocka_unit_test(test_several_answers_share_one_prompt),
        cmocka_unit_test(test_rounded_caches_give_the_same_alone_and_together),
        cmocka_unit_test(test_a_thinking_budget_is_the_same_beside_others),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
