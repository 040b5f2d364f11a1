/* Log-probabilities of prompts: what a session tells token by token, whatever else happens. */
#include "engine/engine.h"
#include "engine/session.h"
#include "sampler/sampler.h"
#include "support/engine_rig.h"

enum { CONTEXT = 256, N = 6 };

static struct rig rig;
static int32_t prompts[N][CONTEXT];
static struct rig_answer expected[N], answer;

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

static struct quern_request request(size_t i) {
    const size_t n_prompt = 1 + i * 41;
    rig_prompt(prompts[i], n_prompt, i % 2);
    struct quern_request r = rig_request(prompts[i], n_prompt, 70 + i, 5 + (int32_t)i * 5);
    r.generate.n_top_logprobs = 2;
    r.prompt_logprobs = true;
    return r;
}

/* The prompt's tokens but the first, and then the answer. */
static void make_expected(size_t i) {
    const struct quern_request r = request(i);
    const struct session_options so = {.n_context = CONTEXT,
                                       .prefill_chunk = 1000,
                                       .n_tokens_known = tokenizer_n_tokens(rig.tokenizer)};
    struct rig_answer *want = &expected[i], made;
    struct session *s;
    if (want->n > 0)
        return;
    rig_alone(&rig, &r, &made);
    assert_int_equal(session_create(rig.model, &so, &s, NULL), QUERN_OK);
    for (size_t k = 0; k + 1 < r.n_prompt; k++) {
        assert_int_equal(session_feed(s, r.prompt + k, 1, NULL, NULL), QUERN_OK);
        want->tokens[want->n] = r.prompt[k + 1];
        unknown_tokens_forbid(&s->unknown, s->logits, RIG_VOCAB);
        sampler_logprobs(s->logits, so.n_tokens_known, r.prompt[k + 1], &want->logprobs[want->n++],
                         NULL, 0);
    }
    session_destroy(s);
    memcpy(want->tokens + want->n, made.tokens, made.n * sizeof made.tokens[0]);
    memcpy(want->logprobs + want->n, made.logprobs, made.n * sizeof made.logprobs[0]);
    want->n += made.n;
    memcpy(want->text, made.text, made.text_len);
    want->text_len = made.text_len;
    want->result.finish = made.result.finish;
}

static void assert_scores(struct engine *e) {
    quern_ticket *tickets[N];
    for (size_t i = 0; i < N; i++) {
        const struct quern_request r = request(i);
        make_expected(i);
        tickets[i] = rig_submit(e, &r);
    }
    for (size_t i = 0; i < N; i++) {
        rig_finish(tickets[i], &answer);
        rig_assert_same(&answer, &expected[i]);
        assert_int_equal(answer.result.usage.prompt_tokens, 1 + i * 41);
        assert_int_equal(answer.result.usage.cached_tokens, 0);
    }
    rig_assert_idle(e);
}

static void test_scores_are_what_a_session_tells_alone_together_and_again(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    for (size_t i = 0; i < N; i++) {
        const struct quern_request r = request(i);
        make_expected(i);
        rig_run(e, &r, &answer);
        rig_assert_same(&answer, &expected[i]);
    }
    assert_scores(e);
    assert_scores(e);
    engine_destroy(e);
}

/* Paused in the middle of its prompt, since nobody reads, it gives its memory to an answer that
 * grows. */
static void test_a_prompt_put_aside_is_told_once(void **state) {
    (void)state;
    const struct quern_engine_options o = {.kv_bytes = 1, .queue_events = 64};
    struct engine *e = rig_engine(&rig, &o);
    static int32_t prompt[30];
    rig_prompt(prompt, 30, 7);
    struct quern_request grows = rig_request(prompt, 30, 1, 200);
    grows.generate.ignore_eos = true;
    const struct quern_request r = request(3);
    struct quern_engine_stats stats;
    make_expected(3);
    quern_ticket *first = rig_submit(e, &grows), *t = rig_submit(e, &r);
    rig_finish(first, &answer);
    assert_int_equal(answer.n, 200);
    engine_get_stats(e, &stats);
    assert_true(stats.n_preempted > 0);
    rig_finish(t, &answer);
    rig_assert_same(&answer, &expected[3]);
    rig_assert_idle(e);
    engine_destroy(e);
}

static bool one_is_paused(const struct quern_engine_stats *s) {
    return s->n_paused > 0;
}

static void test_a_prompt_waits_for_its_reader(void **state) {
    (void)state;
    const struct quern_engine_options o = {.queue_events = 64};
    struct engine *e = rig_engine(&rig, &o);
    const struct quern_request r = request(N - 1);
    make_expected(N - 1);
    quern_ticket *t = rig_submit(e, &r);
    rig_await(e, one_is_paused);
    rig_finish(t, &answer);
    rig_assert_same(&answer, &expected[N - 1]);
    rig_assert_idle(e);
    engine_destroy(e);
}

static void test_scores_without_logprobs_are_refused(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    struct quern_request r = request(1);
    struct quern_error err;
    quern_ticket *t;
    r.generate.n_top_logprobs = -1;
    assert_int_equal(engine_submit(e, &r, NULL, &t, &err), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, "n_top_logprobs"));
    engine_destroy(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores_are_what_a_session_tells_alone_together_and_again),
        cmocka_unit_test(test_a_prompt_put_aside_is_told_once),
        cmocka_unit_test(test_a_prompt_waits_for_its_reader),
        cmocka_unit_test(test_scores_without_logprobs_are_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
