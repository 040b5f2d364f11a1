/* The loop of sampling and feeding, on a small random model with the tokenizer of
 * tests/fixtures/qwen3-tiny. */
#include "engine/generate.h"

#include <stdlib.h>
#include <string.h>

#include "sampler/sampler.h"
#include "support/support.h"
#include "support/tiny_checkpoint.h"

enum { VOCAB = 600, CONTEXT = 48, NO_EOS = VOCAB - 1 /* padding: never sampled */ };

static struct device *device;
static struct model *model;
static struct tokenizer *tokenizer;
static const int32_t prompt[] = {3, 1, 4, 1, 5, 9, 2, 6};
enum { N_PROMPT = 8 };

static int open_all(void **state) {
    (void)state;
    struct tiny_shape shape = TINY_QWEN3;
    shape.vocab = VOCAB;
    struct quern_error err;
    if (device_cpu_create(1, NULL, &device, &err) ||
        model_open(tiny_model_write(&shape, "model", 5), NULL, device, NULL, NULL, &model, &err) ||
        tokenizer_open(support_fixture("fixtures/qwen3-tiny"), &tokenizer, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    return 0;
}

static int close_all(void **state) {
    (void)state;
    tokenizer_close(tokenizer);
    model_close(model);
    device_destroy(device);
    return 0;
}

static struct session *open_session(void) {
    const struct session_options o = {
        .n_context = CONTEXT, .prefill_chunk = 16, .n_tokens_known = tokenizer_n_tokens(tokenizer)};
    struct session *s = NULL;
    assert_int_equal(session_create(model, &o, &s, NULL), QUERN_OK);
    return s;
}

static struct session *session_with_prompt(void) {
    struct session *s = open_session();
    assert_int_equal(session_feed(s, prompt, N_PROMPT, NULL, NULL), QUERN_OK);
    return s;
}

/* What was reported. */
struct log {
    int32_t tokens[CONTEXT];
    size_t n;
    size_t stop_after; /* the callback says no at this token; 0: never */
    size_t n_last;     /* events with token -1 */
    struct buffer text;
};

static bool write_log(void *user, const struct quern_event *event) {
    struct log *log = user;
    buffer_append(&log->text, event->text, event->text_len);
    if (event->token < 0)
        log->n_last++;
    else
        log->tokens[log->n++] = event->token;
    return log->n != log->stop_after || event->token < 0;
}

static struct quern_generate_options options_for(struct log *log, int32_t max_tokens) {
    *log = (struct log){0};
    buffer_init(&log->text, 1 << 16);
    return (struct quern_generate_options){.sampling = {.temperature = 1,
                                                        .top_p = 1,
                                                        .typical_p = 1,
                                                        .repetition_penalty = 1,
                                                        .seed = 4},
                                           .max_tokens = max_tokens,
                                           .n_top_logprobs = -1,
                                           .on_event = write_log,
                                           .user = log};
}

static struct quern_generate_result run(struct session *s, const struct quern_generate_options *o,
                                        int32_t eos) {
    const struct generate_context ctx = {
        .session = s, .tokenizer = tokenizer, .eos = &eos, .n_eos = 1};
    struct quern_generate_result result;
    struct quern_error err;
    if (generate(&ctx, o, &result, &err))
        fail_msg("%s", err.message);
    return result;
}

/* The session holds prompt and answer, as if fed with them. */
static void assert_holds(const struct session *s, const int32_t *answer, size_t n) {
    assert_int_equal(s->kv.n_tokens, N_PROMPT + n);
    assert_memory_equal(s->tokens, prompt, sizeof prompt);
    assert_memory_equal(s->tokens + N_PROMPT, answer, n * sizeof *answer);
    struct session *fresh = open_session();
    assert_int_equal(session_feed(fresh, s->tokens, N_PROMPT + n, NULL, NULL), QUERN_OK);
    assert_true(s->has_logits);
    assert_memory_equal(s->logits, fresh->logits, VOCAB * sizeof(float));
    session_destroy(fresh);
}

static void test_greedy_generation_takes_the_best_token_each_time(void **state) {
    (void)state;
    struct log log;
    struct quern_generate_options o = options_for(&log, 12);
    o.sampling.temperature = 0;
    struct session *s = session_with_prompt(), *by_hand = session_with_prompt();
    struct quern_generate_result r = run(s, &o, NO_EOS);
    for (size_t i = 0; i < 12; i++) {
        int32_t best = sampler_argmax(by_hand->logits, VOCAB);
        assert_int_equal(log.tokens[i], best);
        assert_int_equal(session_feed(by_hand, &best, 1, NULL, NULL), QUERN_OK);
    }
    assert_int_equal(log.n, 12);
    assert_int_equal(log.n_last, 1);
    assert_int_equal(r.finish, QUERN_FINISH_LENGTH);
    assert_int_equal(r.n_tokens, 12);
    assert_int_equal(r.stop_token, -1);
    assert_int_equal(r.stop_string, -1);
    assert_true(r.seconds > 0);
    assert_holds(s, log.tokens, log.n);
    session_destroy(s);
    session_destroy(by_hand);
    buffer_release(&log.text);
}

static void test_an_answer_in_two_calls_is_the_answer_in_one(void **state) {
    (void)state;
    struct log whole, first, second;
    struct quern_generate_options o = options_for(&whole, 20);
    struct session *a = session_with_prompt(), *b = session_with_prompt();
    run(a, &o, NO_EOS);
    o = options_for(&first, 7);
    run(b, &o, NO_EOS);
    o = options_for(&second, 13);
    run(b, &o, NO_EOS);
    assert_memory_equal(whole.tokens, first.tokens, 7 * sizeof(int32_t));
    assert_memory_equal(whole.tokens + 7, second.tokens, 13 * sizeof(int32_t));
    buffer_release(&whole.text);
    buffer_release(&first.text);
    buffer_release(&second.text);
    session_destroy(a);
    session_destroy(b);
}

static void test_another_seed_gives_another_answer(void **state) {
    (void)state;
    struct log a, b;
    struct session *s = session_with_prompt();
    struct quern_generate_options o = options_for(&a, 20);
    run(s, &o, NO_EOS);
    assert_int_equal(session_truncate(s, N_PROMPT, NULL), QUERN_OK);
    assert_int_equal(session_sync(s, prompt, N_PROMPT, NULL, NULL), QUERN_OK);
    o = options_for(&b, 20);
    o.sampling.seed = 5;
    run(s, &o, NO_EOS);
    assert_memory_not_equal(a.tokens, b.tokens, 20 * sizeof(int32_t));
    buffer_release(&a.text);
    buffer_release(&b.text);
    session_destroy(s);
}

/* The last index up to `at` whose token did not occur before. */
static size_t first_new_token(const int32_t *tokens, size_t at) {
    for (; at > 0; at--) {
        size_t i = 0;
        while (tokens[i] != tokens[at])
            i++;
        if (i == at)
            break;
    }
    return at;
}

static void test_the_end_token_stops_and_stays_in_the_session(void **state) {
    (void)state;
    struct log free_run, log;
    struct quern_generate_options o = options_for(&free_run, 20);
    struct session *s = session_with_prompt();
    run(s, &o, NO_EOS);
    session_destroy(s);
    const size_t at = first_new_token(free_run.tokens, 5);
    o = options_for(&log, 20);
    s = session_with_prompt();
    struct quern_generate_result r = run(s, &o, free_run.tokens[at]);
    assert_int_equal(r.finish, QUERN_FINISH_STOP);
    assert_int_equal(r.stop_token, free_run.tokens[at]);
    assert_int_equal(r.n_tokens, at + 1);
    assert_holds(s, free_run.tokens, at + 1);
    /* The text is that of the tokens before it. */
    struct buffer text;
    buffer_init(&text, 1 << 16);
    assert_int_equal(tokenizer_decode(tokenizer, log.tokens, at, true, &text, NULL), QUERN_OK);
    assert_true(str_eq(buffer_str(&text), buffer_str(&log.text)));
    buffer_release(&text);
    buffer_release(&log.text);
    buffer_release(&free_run.text);
    session_destroy(s);
}

static void test_a_full_context_ends_the_answer(void **state) {
    (void)state;
    struct log log;
    struct quern_generate_options o = options_for(&log, 0);
    struct session *s = session_with_prompt();
    struct quern_generate_result r = run(s, &o, NO_EOS);
    assert_int_equal(r.finish, QUERN_FINISH_LENGTH);
    assert_int_equal(r.n_tokens, CONTEXT - N_PROMPT);
    assert_holds(s, log.tokens, log.n);
    buffer_release(&log.text);
    o = options_for(&log, 0);
    r = run(s, &o, NO_EOS);
    assert_int_equal(r.finish, QUERN_FINISH_LENGTH);
    assert_int_equal(r.n_tokens, 0);
    assert_int_equal(log.n_last, 1);
    buffer_release(&log.text);
    session_destroy(s);
}

static void test_a_callback_that_says_no_stops_after_its_token(void **state) {
    (void)state;
    struct log log;
    struct quern_generate_options o = options_for(&log, 20);
    log.stop_after = 3;
    struct session *s = session_with_prompt();
    struct quern_generate_result r = run(s, &o, NO_EOS);
    assert_int_equal(r.finish, QUERN_FINISH_CANCELLED);
    assert_int_equal(r.n_tokens, 3);
    assert_int_equal(log.n_last, 0);
    assert_holds(s, log.tokens, 3);
    buffer_release(&log.text);
    session_destroy(s);
}

static void test_what_is_missing_or_wrong_is_named_and_result_untouched(void **state) {
    (void)state;
    struct log log;
    struct quern_generate_options o = options_for(&log, 5);
    struct session *s = open_session();
    struct generate_context ctx = {.session = s, .tokenizer = tokenizer};
    struct quern_generate_result r = {.n_tokens = 77};
    struct quern_error err;
    assert_int_equal(generate(&ctx, &o, &r, &err), QUERN_ERR_STATE);
    assert_string_equal(err.message,
                        "generate: the session has no logits; feed it at least one token first");
    assert_int_equal(session_feed(s, prompt, N_PROMPT, NULL, NULL), QUERN_OK);
    o.sampling.min_p = 2;
    assert_int_equal(generate(&ctx, &o, &r, &err), QUERN_ERR_ARG);
    assert_string_equal(err.message, "sampling: min_p is 2, expected 0 to 1");
    o.sampling.min_p = 0;
    ctx.tokenizer = NULL;
    assert_int_equal(generate(&ctx, &o, &r, &err), QUERN_ERR_STATE);
    assert_int_equal(r.n_tokens, 77);
    assert_int_equal(s->kv.n_tokens, N_PROMPT);
    session_destroy(s);
    buffer_release(&log.text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_generation_takes_the_best_token_each_time),
        cmocka_unit_test(test_an_answer_in_two_calls_is_the_answer_in_one),
        cmocka_unit_test(test_another_seed_gives_another_answer),
        cmocka_unit_test(test_the_end_token_stops_and_stays_in_the_session),
        cmocka_unit_test(test_a_full_context_ends_the_answer),
        cmocka_unit_test(test_a_callback_that_says_no_stops_after_its_token),
        cmocka_unit_test(test_what_is_missing_or_wrong_is_named_and_result_untouched),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
