/* Answers made from scripted logits: what is sampled is decided here, what becomes of it by
 * completion.c. The tokenizer is the small one of tests/fixtures/qwen3-tiny. */
#include "engine/completion.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "support/support.h"

enum { VOCAB = 600, EOS = 488 /* <|im_end|> */, OTHER_EOS = 486 /* <|endoftext|> */ };

static struct tokenizer *tokenizer;

static int open_tokenizer(void **state) {
    (void)state;
    struct quern_error err;
    if (tokenizer_open(support_fixture("fixtures/qwen3-tiny"), &tokenizer, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    return 0;
}

static int close_tokenizer(void **state) {
    (void)state;
    tokenizer_close(tokenizer);
    return 0;
}

/* The token that stands for one byte. */
static int32_t byte_token(unsigned char byte) {
    for (int32_t id = 0; id < tokenizer_n_tokens(tokenizer); id++) {
        struct str s = tokenizer_token_bytes(tokenizer, id);
        if (s.len == 1 && (unsigned char)s.ptr[0] == byte && !tokenizer_is_added(tokenizer, id))
            return id;
    }
    fail_msg("no token for byte %d", byte);
    return -1;
}

static struct quern_generate_options greedy(void) {
    return (struct quern_generate_options){
        .sampling = {.top_p = 1, .typical_p = 1, .repetition_penalty = 1}};
}

static const int32_t eos[] = {EOS, OTHER_EOS};

static struct completion_setup setup_with_room(size_t room) {
    return (struct completion_setup){
        .tokenizer = tokenizer, .n_vocab = VOCAB, .eos = eos, .n_eos = 2, .room = room};
}

/* An answer and everything that was reported of it. */
struct answer {
    struct completion *completion;
    struct quern_generate_result result;
    struct buffer text;
    size_t n_events;
};

static void begin(struct answer *a, const struct completion_setup *setup,
                  const struct quern_generate_options *options) {
    *a = (struct answer){0};
    buffer_init(&a->text, 1 << 16);
    struct quern_error err;
    if (completion_create(setup, options, &a->completion, &err))
        fail_msg("%s", err.message);
}

/* Makes `token` by far the most likely one. */
static void step(struct answer *a, int32_t token, struct quern_event *event) {
    float logits[VOCAB] = {0};
    logits[token] = 50;
    struct quern_error err;
    if (completion_step(a->completion, logits, a->n_events, event, &err))
        fail_msg("%s", err.message);
    assert_int_equal(event->token, token);
    buffer_append(&a->text, event->text, event->text_len);
    a->n_events++;
}

/* Bytes of `text`, a token each, until the answer is done. */
static void step_bytes(struct answer *a, const char *text) {
    for (; *text && !completion_is_done(a->completion); text++) {
        struct quern_event event;
        step(a, byte_token((unsigned char)*text), &event);
    }
}

static void end(struct answer *a, const char *text, enum quern_finish finish) {
    struct quern_event event;
    assert_int_equal(completion_finish(a->completion, &event, NULL), QUERN_OK);
    assert_int_equal(event.token, -1);
    buffer_append(&a->text, event.text, event.text_len);
    completion_result(a->completion, &a->result);
    assert_string_equal(a->text.len ? a->text.data : "", text);
    assert_int_equal(a->result.finish, finish);
    assert_int_equal(a->result.n_tokens, a->n_events);
    buffer_release(&a->text);
    completion_destroy(a->completion);
}

static void test_half_a_character_waits_for_its_other_half(void **state) {
    (void)state;
    struct quern_generate_options o = greedy();
    struct completion_setup setup = setup_with_room(10);
    struct answer a;
    begin(&a, &setup, &o);
    struct quern_event event;
    step(&a, byte_token(0xc3), &event);
    assert_int_equal(event.text_len, 0);
    step(&a, byte_token(0xa9), &event);
    assert_int_equal(event.text_len, 2);
    step(&a, EOS, &event);
    end(&a, "\xc3\xa9", QUERN_FINISH_STOP);
    assert_int_equal(a.result.stop_token, EOS);
    assert_int_equal(a.result.stop_string, -1);
}

static void test_half_a_character_at_the_end_becomes_a_replacement(void **state) {
    (void)state;
    struct quern_generate_options o = greedy();
    struct completion_setup setup = setup_with_room(10);
    struct answer a;
    begin(&a, &setup, &o);
    step_bytes(&a, "ok\xe4\xb8");
    struct quern_event event;
    step(&a, OTHER_EOS, &event);
    end(&a, "ok\xef\xbf\xbd", QUERN_FINISH_STOP);
    assert_int_equal(a.result.stop_token, OTHER_EOS);
}

static void test_end_tokens_give_no_text_even_when_special_tokens_do(void **state) {
    (void)state;
    struct quern_generate_options o = greedy();
    o.keep_special = true;
    struct completion_setup setup = setup_with_room(10);
    struct answer a;
    begin(&a, &setup, &o);
    struct quern_event event;
    step_bytes(&a, "a");
    step(&a, 487, &event);
    step(&a, EOS, &event);
    assert_int_equal(event.text_len, 0);
    end(&a, "a<|im_start|>", QUERN_FINISH_STOP);
}

static void test_ignore_eos_goes_on_but_the_callers_stop_tokens_still_end_it(void **state) {
    (void)state;
    struct quern_generate_options o = greedy();
    const int32_t stop[] = {byte_token('x')};
    o.ignore_eos = true;
    o.stop_tokens = stop;
    o.n_stop_tokens = 1;
    struct completion_setup setup = setup_with_room(10);
    struct answer a;
    begin(&a, &setup, &o);
    struct quern_event event;
    step(&a, EOS, &event);
    step_bytes(&a, "ab");
    assert_false(completion_is_done(a.completion));
    step_bytes(&a, "x");
    assert_true(completion_is_done(a.completion));
    end(&a, "ab", QUERN_FINISH_STOP);
    assert_int_equal(a.result.stop_token, stop[0]);
}

static void test_a_stop_string_across_tokens_ends_the_answer_before_it(void **state) {
    (void)state;
    const char *const strings[] = {"nothing", "</done>"};
    struct quern_generate_options o = greedy();
    o.stop_strings = strings;
    o.n_stop_strings = 2;
    struct completion_setup setup = setup_with_room(50);
    struct answer a;
    begin(&a, &setup, &o);
    step_bytes(&a, "no </do</done> more");
    assert_true(completion_is_done(a.completion));
    end(&a, "no </do", QUERN_FINISH_STOP);
    assert_int_equal(a.result.stop_string, 1);
    assert_int_equal(a.result.stop_token, -1);
    assert_int_equal(a.result.n_tokens, 14);
}

static void test_the_beginning_of_a_stop_string_comes_out_when_the_answer_ends(void **state) {
    (void)state;
    const char *const strings[] = {"</done>"};
    struct quern_generate_options o = greedy();
    o.stop_strings = strings;
    o.n_stop_strings = 1;
    o.max_tokens = 6;
    struct completion_setup setup = setup_with_room(50);
    struct answer a;
    begin(&a, &setup, &o);
    step_bytes(&a, "ab</do");
    assert_int_equal(a.text.len, 2);
    end(&a, "ab</do", QUERN_FINISH_LENGTH);
}

static void test_max_tokens_and_the_context_end_the_answer(void **state) {
    (void)state;
    struct quern_generate_options o = greedy();
    struct completion_setup setup = setup_with_room(3);
    struct answer a;
    begin(&a, &setup, &o);
    step_bytes(&a, "abcdef");
    end(&a, "abc", QUERN_FINISH_LENGTH);
    o.max_tokens = 2;
    begin(&a, &setup, &o);
    step_bytes(&a, "abcdef");
    end(&a, "ab", QUERN_FINISH_LENGTH);
    setup.room = 0;
    begin(&a, &setup, &o);
    assert_true(completion_is_done(a.completion));
    end(&a, "", QUERN_FINISH_LENGTH);
}

static void test_logprobs_are_those_of_the_model(void **state) {
    (void)state;
    struct quern_generate_options o = greedy();
    const struct quern_logit_bias bias = {5, 100};
    o.sampling.logit_bias = &bias; /* changes the choice, not the logprob */
    o.sampling.n_logit_bias = 1;
    o.n_top_logprobs = 3;
    struct completion_setup setup = setup_with_room(10);
    struct answer a;
    begin(&a, &setup, &o);
    float logits[VOCAB];
    for (int i = 0; i < VOCAB; i++)
        logits[i] = -INFINITY;
    logits[5] = 0, logits[7] = logf(3), logits[VOCAB - 1] = 90; /* the last is padding */
    struct quern_event event;
    assert_int_equal(completion_step(a.completion, logits, 0, &event, NULL), QUERN_OK);
    assert_int_equal(event.token, 5);
    /* float32 holds log(1/4) to 1e-7 */
    assert_true(fabs((double)event.logprob - log(0.25)) < 2e-7);
    assert_int_equal(event.n_top, 3);
    assert_int_equal(event.top[0].token, 7);
    assert_int_equal(event.top[1].token, 5);
    buffer_release(&a.text);
    completion_destroy(a.completion);

    o.n_top_logprobs = -1;
    begin(&a, &setup, &o);
    assert_int_equal(completion_step(a.completion, logits, 0, &event, NULL), QUERN_OK);
    assert_int_equal(event.n_top, 0);
    assert_true(event.logprob == 0);
    buffer_release(&a.text);
    completion_destroy(a.completion);
}

struct spelling {
    const int32_t *tokens;
    size_t at;
};

static enum quern_status spelling_mask(void *state, uint32_t *mask, int32_t n_vocab,
                                       struct quern_error *err) {
    (void)err;
    const struct spelling *s = state;
    memset(mask, 0, ((size_t)n_vocab + 31) / 32 * sizeof *mask);
    int32_t t = s->tokens[s->at];
    mask[t / 32] |= 1u << (t % 32);
    return QUERN_OK;
}

static enum quern_status spelling_accept(void *state, int32_t token, struct quern_error *err) {
    struct spelling *s = state;
    if (token != s->tokens[s->at])
        return error_set(err, QUERN_ERR_STATE, "unexpected token");
    s->at++;
    return QUERN_OK;
}

static void test_a_constraint_sees_every_token_the_end_included(void **state) {
    (void)state;
    const int32_t tokens[] = {byte_token('h'), byte_token('i'), EOS};
    struct spelling s = {tokens, 0};
    const struct constraint_ops ops = {spelling_mask, spelling_accept, NULL, NULL};
    struct constraint constraint = {&ops, &s};
    struct quern_generate_options o = greedy();
    o.sampling.temperature = 1;
    struct completion_setup setup = setup_with_room(10);
    setup.constraint = &constraint;
    struct answer a;
    begin(&a, &setup, &o);
    const float logits[VOCAB] = {0};
    while (!completion_is_done(a.completion)) {
        struct quern_event event;
        assert_int_equal(completion_step(a.completion, logits, a.n_events++, &event, NULL),
                         QUERN_OK);
        buffer_append(&a.text, event.text, event.text_len);
    }
    assert_int_equal(s.at, 3);
    end(&a, "hi", QUERN_FINISH_STOP);
}

static void test_the_prompt_and_the_answer_feed_the_penalties(void **state) {
    (void)state;
    const int32_t prompt[] = {20, 21};
    struct quern_generate_options o = greedy();
    o.sampling.repetition_penalty = 10;
    struct completion_setup setup = setup_with_room(10);
    setup.prompt = prompt;
    setup.n_prompt = 2;
    struct answer a;
    begin(&a, &setup, &o);
    float logits[VOCAB] = {0};
    logits[20] = 5, logits[21] = 4, logits[22] = 3, logits[23] = 2;
    const int32_t want[] = {22, 23, 20, 20};
    for (uint64_t i = 0; i < 4; i++) {
        struct quern_event event;
        assert_int_equal(completion_step(a.completion, logits, i, &event, NULL), QUERN_OK);
        assert_int_equal(event.token, want[i]);
    }
    buffer_release(&a.text);
    completion_destroy(a.completion);
}

static void test_the_pieces_are_the_decoded_tokens_up_to_the_stop_string(void **state) {
    (void)state;
    int32_t n_known = tokenizer_n_tokens(tokenizer);
    for (uint64_t round = 0; round < 200; round++) {
        const char *const strings[] = {"e ", "\xef\xbf\xbd\xef\xbf\xbd", "tion"};
        struct quern_generate_options o = greedy();
        o.stop_strings = strings;
        o.n_stop_strings = round % 4;
        o.keep_special = round & 1;
        o.ignore_eos = true;
        struct completion_setup setup = setup_with_room(40);
        struct answer a;
        begin(&a, &setup, &o);
        int32_t ids[40];
        size_t n = 0;
        while (!completion_is_done(a.completion)) {
            struct quern_event event;
            ids[n] = (int32_t)(rng_uniform(11, round, n) * n_known);
            step(&a, ids[n++], &event);
        }
        struct buffer whole;
        buffer_init(&whole, 1 << 16);
        assert_int_equal(tokenizer_decode(tokenizer, ids, n, !o.keep_special, &whole, NULL),
                         QUERN_OK);
        struct quern_event last;
        assert_int_equal(completion_finish(a.completion, &last, NULL), QUERN_OK);
        buffer_append(&a.text, last.text, last.text_len);
        struct quern_generate_result result;
        completion_result(a.completion, &result);
        size_t want = whole.len;
        if (result.stop_string >= 0) {
            const char *stop = strings[result.stop_string];
            const char *cut = memmem(whole.data, whole.len, stop, strlen(stop));
            assert_non_null(cut);
            want = (size_t)(cut - whole.data);
        }
        assert_int_equal(a.text.len, want);
        if (want)
            assert_memory_equal(a.text.data, whole.data, want);
        buffer_release(&whole);
        buffer_release(&a.text);
        completion_destroy(a.completion);
    }
}

static void refuse(const struct quern_generate_options *o, const char *message) {
    struct completion_setup setup = setup_with_room(10);
    struct completion *c = NULL;
    struct quern_error err = {0};
    assert_int_not_equal(completion_create(&setup, o, &c, &err), QUERN_OK);
    assert_null(c);
    assert_string_equal(err.message, message);
}

static void test_options_out_of_range_are_named(void **state) {
    (void)state;
    struct quern_generate_options o = greedy();
    o.max_tokens = -4;
    refuse(&o, "generate: max_tokens is -4, expected 0 or more");
    o = greedy();
    o.n_top_logprobs = 21;
    refuse(&o, "generate: n_top_logprobs is 21, expected -1 to 20");
    o = greedy();
    const int32_t stop[] = {3, VOCAB};
    o.stop_tokens = stop;
    o.n_stop_tokens = 2;
    refuse(&o, "generate: stop_tokens[1] is 600, expected 0 to 599");
    o.stop_tokens = NULL;
    refuse(&o, "generate: stop_tokens is NULL, but its number is not 0");
    o = greedy();
    const char *const strings[] = {"a", ""};
    o.stop_strings = strings;
    o.n_stop_strings = 2;
    refuse(&o, "stop string 1 is empty");
    o = greedy();
    o.sampling.top_p = 3;
    refuse(&o, "sampling: top_p is 3, expected 0 to 1");
}

static void test_a_row_that_forbids_everything_is_an_error_and_ends_nothing(void **state) {
    (void)state;
    struct quern_generate_options o = greedy();
    struct completion_setup setup = setup_with_room(10);
    struct answer a;
    begin(&a, &setup, &o);
    float logits[VOCAB];
    for (int i = 0; i < VOCAB; i++)
        logits[i] = -INFINITY;
    struct quern_event event = {.token = 99};
    struct quern_error err;
    assert_int_equal(completion_step(a.completion, logits, 0, &event, &err), QUERN_ERR_STATE);
    assert_int_equal(event.token, 99);
    step_bytes(&a, "go on");
    completion_cancel(a.completion);
    assert_true(completion_is_done(a.completion));
    end(&a, "go on", QUERN_FINISH_CANCELLED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_a_character_waits_for_its_other_half),
        cmocka_unit_test(test_half_a_character_at_the_end_becomes_a_replacement),
        cmocka_unit_test(test_end_tokens_give_no_text_even_when_special_tokens_do),
        cmocka_unit_test(test_ignore_eos_goes_on_but_the_callers_stop_tokens_still_end_it),
        cmocka_unit_test(test_a_stop_string_across_tokens_ends_the_answer_before_it),
        cmocka_unit_test(test_the_beginning_of_a_stop_string_comes_out_when_the_answer_ends),
        cmocka_unit_test(test_max_tokens_and_the_context_end_the_answer),
        cmocka_unit_test(test_logprobs_are_those_of_the_model),
        cmocka_unit_test(test_a_constraint_sees_every_token_the_end_included),
        cmocka_unit_test(test_the_prompt_and_the_answer_feed_the_penalties),
        cmocka_unit_test(test_the_pieces_are_the_decoded_tokens_up_to_the_stop_string),
        cmocka_unit_test(test_options_out_of_range_are_named),
        cmocka_unit_test(test_a_row_that_forbids_everything_is_an_error_and_ends_nothing),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
