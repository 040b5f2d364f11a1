/* The engine's queue, its readers, its ends: what is refused, what waits, what is cut. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/session.h"
#include "support/engine_rig.h"

enum { CONTEXT = 256 };

static struct rig rig;
static int32_t prompt[CONTEXT];

static int open_all(void **state) {
    (void)state;
    rig_open(&rig, CONTEXT, 1);
    rig_prompt(prompt, CONTEXT, 1);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    rig_close(&rig);
    return 0;
}

static bool one_paused(const struct quern_engine_stats *s) {
    return s->n_paused == 1;
}

/* A request that occupies the engine until its ticket is destroyed: nobody reads it. */
static quern_ticket *occupy(struct engine *e) {
    struct quern_request r = rig_request(prompt, 4, 1, 0);
    quern_ticket *t = rig_submit(e, &r);
    rig_await(e, one_paused);
    return t;
}

static void test_a_full_queue_refuses_and_says_when_to_come_back(void **state) {
    (void)state;
    const struct quern_engine_options o = {
        .max_running = 1, .max_waiting = 2, .max_waiting_tokens = 100, .queue_events = 64};
    struct engine *e = rig_engine(&rig, &o);
    quern_ticket *busy = occupy(e), *waiting[2], *refused = NULL;
    struct quern_error err;
    struct quern_engine_stats stats;
    struct quern_request r = rig_request(prompt, 60, 1, 3);
    waiting[0] = rig_submit(e, &r);
    /* Too many tokens together. */
    assert_int_equal(engine_submit(e, &r, NULL, &refused, &err), QUERN_ERR_LIMIT);
    assert_non_null(strstr(err.message, "queue is full"));
    r.n_prompt = 10;
    waiting[1] = rig_submit(e, &r);
    /* Too many requests. */
    assert_int_equal(engine_submit(e, &r, NULL, &refused, &err), QUERN_ERR_LIMIT);
    assert_null(refused);
    engine_get_stats(e, &stats);
    assert_int_equal(stats.n_waiting, 2);
    assert_int_equal(stats.waiting_tokens, 70);
    assert_int_equal(stats.n_refused, 2);
    assert_true(stats.retry_after_ms > 0);
    struct rig_answer a;
    quern_ticket_destroy(busy);
    rig_finish(waiting[0], &a);
    rig_finish(waiting[1], &a);
    assert_int_equal(a.n, 3);
    rig_assert_idle(e);
    engine_destroy(e);
}

static void test_one_prompt_larger_than_the_queue_is_let_in_when_it_is_alone(void **state) {
    (void)state;
    const struct quern_engine_options o = {.max_waiting_tokens = 10};
    struct engine *e = rig_engine(&rig, &o);
    struct rig_answer a;
    struct quern_request r = rig_request(prompt, 60, 1, 3);
    rig_run(e, &r, &a);
    assert_int_equal(a.n, 3);
    engine_destroy(e);
}

static void test_what_cannot_be_done_is_refused_with_the_numbers(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    struct quern_error err;
    quern_ticket *t = NULL;
    struct quern_request r = rig_request(prompt, CONTEXT, 1, 3);
    assert_int_equal(engine_submit(e, &r, NULL, &t, &err), QUERN_ERR_CONTEXT);
    assert_non_null(strstr(err.message, "256"));
    r.n_prompt = 0;
    assert_int_equal(engine_submit(e, &r, NULL, &t, &err), QUERN_ERR_ARG);
    const int32_t wrong[] = {1, RIG_VOCAB};
    r = rig_request(wrong, 2, 1, 3);
    assert_int_equal(engine_submit(e, &r, NULL, &t, &err), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, "600"));
    r = rig_request(prompt, 4, 1, 3);
    r.generate.sampling.top_p = 2;
    assert_int_equal(engine_submit(e, &r, NULL, &t, &err), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, "top_p"));
    r = rig_request(prompt, 4, 1, 3);
    r.n_adapters = 1;
    assert_int_equal(engine_submit(e, &r, NULL, &t, &err), QUERN_ERR_ARG);
    r = rig_request(prompt, 4, 1, 3);
    r.kind = QUERN_REQUEST_SCORE;
    assert_int_equal(engine_submit(e, &r, NULL, &t, &err), QUERN_ERR_ARG);
    assert_null(t);
    rig_assert_idle(e);
    engine_destroy(e);
}

static void test_a_slow_reader_pauses_its_request_and_nobody_else(void **state) {
    (void)state;
    const struct quern_engine_options o = {.queue_events = 64};
    struct engine *e = rig_engine(&rig, &o);
    struct quern_request slow = rig_request(prompt, 4, 1, 200);
    struct quern_request fast = rig_request(prompt, 5, 2, 200);
    struct rig_answer a, alone;
    quern_ticket *t = rig_submit(e, &slow);
    rig_await(e, one_paused);
    rig_run(e, &fast, &a);
    rig_alone(&rig, &fast, &alone);
    rig_assert_same(&a, &alone);
    /* Whoever reads at last gets everything. */
    rig_finish(t, &a);
    rig_alone(&rig, &slow, &alone);
    rig_assert_same(&a, &alone);
    rig_assert_idle(e);
    engine_destroy(e);
}

static void test_a_reader_that_never_comes_is_cut(void **state) {
    (void)state;
    const struct quern_engine_options o = {.queue_events = 64, .max_stall_ms = 50};
    struct engine *e = rig_engine(&rig, &o);
    struct quern_request r = rig_request(prompt, 4, 1, 200);
    quern_ticket *t = rig_submit(e, &r);
    rig_await(e, one_paused);
    rig_assert_idle(e);
    struct rig_answer a;
    rig_finish(t, &a);
    assert_int_equal(a.result.finish, QUERN_FINISH_STALLED);
    assert_true(a.n > 0 && a.n < 64);
    engine_destroy(e);
}

static void test_deadlines_end_waiting_and_running_requests(void **state) {
    (void)state;
    const struct quern_engine_options o = {.max_running = 1, .queue_events = 64};
    struct engine *e = rig_engine(&rig, &o);
    struct quern_request r = rig_request(prompt, 4, 1, 200);
    struct rig_answer a;
    r.deadline_ms = 500;
    quern_ticket *running = rig_submit(e, &r);
    rig_await(e, one_paused);
    r.deadline_ms = 20;
    quern_ticket *waiting = rig_submit(e, &r);
    rig_assert_idle(e);
    rig_finish(running, &a);
    assert_int_equal(a.result.finish, QUERN_FINISH_DEADLINE);
    assert_true(a.n > 0);
    rig_finish(waiting, &a);
    assert_int_equal(a.result.finish, QUERN_FINISH_DEADLINE);
    assert_int_equal(a.n, 0);
    engine_destroy(e);
}

static void test_a_cancelled_request_ends_in_every_state(void **state) {
    (void)state;
    const struct quern_engine_options o = {.max_running = 1, .queue_events = 64};
    struct engine *e = rig_engine(&rig, &o);
    struct rig_answer a = {0};
    quern_ticket *paused = occupy(e);
    struct quern_request r = rig_request(prompt, 4, 1, 200);
    quern_ticket *queued = rig_submit(e, &r);
    quern_ticket_cancel(queued);
    rig_finish(queued, &a);
    assert_int_equal(a.result.finish, QUERN_FINISH_CANCELLED);
    quern_ticket_cancel(paused);
    rig_finish(paused, &a);
    assert_int_equal(a.result.finish, QUERN_FINISH_CANCELLED);
    /* What had been made before can still be read. */
    assert_true(a.n > 0);
    quern_ticket *decoding = rig_submit(e, &r);
    assert_true(quern_ticket_wait(decoding, 10000));
    quern_ticket_cancel(decoding);
    quern_ticket_cancel(decoding);
    rig_finish(decoding, &a);
    assert_int_equal(a.result.finish, QUERN_FINISH_CANCELLED);
    rig_assert_idle(e);
    engine_destroy(e);
}

static void test_higher_priority_goes_first(void **state) {
    (void)state;
    const struct quern_engine_options o = {.max_running = 1, .queue_events = 64};
    struct engine *e = rig_engine(&rig, &o);
    quern_ticket *busy = occupy(e);
    struct quern_request r = rig_request(prompt, 4, 1, 20);
    quern_ticket *low = rig_submit(e, &r);
    r.priority = 5;
    quern_ticket *high = rig_submit(e, &r);
    quern_ticket_destroy(busy);
    struct rig_answer a, b;
    rig_finish(low, &a);
    rig_finish(high, &b);
    assert_true(b.result.usage.queue_ms < a.result.usage.queue_ms);
    engine_destroy(e);
}

static void test_draining_lets_others_end_and_refuses_new_ones(void **state) {
    (void)state;
    const struct quern_engine_options o = {.queue_events = 64};
    struct engine *e = rig_engine(&rig, &o);
    struct quern_request r = rig_request(prompt, 4, 1, 30);
    struct quern_engine_stats stats;
    struct quern_error err;
    quern_ticket *paused = occupy(e), *t = rig_submit(e, &r), *late = NULL;
    assert_false(engine_drain(e, 30)); /* one does not end by itself */
    assert_int_equal(engine_submit(e, &r, NULL, &late, &err), QUERN_ERR_STATE);
    engine_get_stats(e, &stats);
    assert_false(stats.accepting);
    quern_ticket_destroy(paused);
    assert_true(engine_drain(e, 10000));
    struct rig_answer a;
    rig_finish(t, &a);
    assert_int_equal(a.n, 30);
    engine_destroy(e);
}

static void test_tickets_outlive_their_engine(void **state) {
    (void)state;
    const struct quern_engine_options o = {.max_running = 1, .queue_events = 64};
    struct engine *e = rig_engine(&rig, &o);
    quern_ticket *paused = occupy(e);
    struct quern_request r = rig_request(prompt, 4, 1, 30);
    quern_ticket *waiting = rig_submit(e, &r);
    engine_destroy(e);
    quern_ticket_cancel(paused);
    struct rig_answer a;
    rig_finish(paused, &a);
    assert_int_equal(a.result.finish, QUERN_FINISH_CANCELLED);
    rig_finish(waiting, &a);
    assert_int_equal(a.result.finish, QUERN_FINISH_CANCELLED);
}

struct notes {
    int n_notified, n_released;
};

static void count_notify(void *user) {
    ((struct notes *)user)->n_notified++;
}

static void count_release(void *user) {
    ((struct notes *)user)->n_released++;
}

static void test_the_reader_is_called_and_the_callers_things_are_released_once(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    struct notes notes = {0};
    struct quern_request r = rig_request(prompt, 4, 1, 5);
    r.on_notify = count_notify;
    r.user = &notes;
    const struct engine_extras extras = {.on_release = count_release, .user = &notes};
    quern_ticket *t = NULL;
    assert_int_equal(engine_submit(e, &r, &extras, &t, NULL), QUERN_OK);
    assert_true(engine_drain(e, 10000));
    struct rig_answer a;
    rig_finish(t, &a);
    engine_destroy(e);
    assert_int_equal(notes.n_released, 1);
    /* For the first event and for the end, as nobody read in between. */
    assert_true(notes.n_notified >= 2);
}

/* A constraint that fails at its third token belongs to its request alone. */
struct failing {
    int n_left;
};

static enum quern_status failing_mask(void *state, uint32_t *mask, int32_t n_vocab,
                                      struct quern_error *err) {
    struct failing *f = state;
    memset(mask, 0xff, ((size_t)n_vocab + 31) / 32 * sizeof *mask);
    return f->n_left-- > 0 ? QUERN_OK : error_set(err, QUERN_ERR_LIMIT, "the grammar is too much");
}

static enum quern_status accept_any(void *state, int32_t token, struct quern_error *err) {
    (void)state, (void)token, (void)err;
    return QUERN_OK;
}

static void test_a_failure_inside_ends_one_request_with_its_reason(void **state) {
    (void)state;
    static const struct constraint_ops ops = {failing_mask, accept_any, NULL, NULL};
    struct failing failing = {.n_left = 3};
    struct constraint constraint = {&ops, &failing};
    const struct engine_extras extras = {.constraint = &constraint};
    struct engine *e = rig_engine(&rig, NULL);
    struct quern_request r = rig_request(prompt, 40, 1, 20);
    struct rig_answer a, b, alone;
    quern_ticket *t = NULL;
    assert_int_equal(engine_submit(e, &r, &extras, &t, NULL), QUERN_OK);
    rig_run(e, &r, &b);
    rig_finish(t, &a);
    assert_int_equal(a.result.finish, QUERN_FINISH_ERROR);
    assert_int_equal(a.result.status, QUERN_ERR_LIMIT);
    assert_string_equal(a.result.message, "the grammar is too much");
    assert_int_equal(a.n, 3);
    rig_alone(&rig, &r, &alone);
    rig_assert_same(&b, &alone);
    rig_assert_idle(e);
    engine_destroy(e);
}

static void test_embeddings_are_the_same_alone_in_a_batch_and_from_the_cache(void **state) {
    (void)state;
    enum { N = 6 };
    struct engine *e = rig_engine(&rig, NULL);
    struct quern_request_result results[2 * N];
    quern_ticket *tickets[2 * N];
    for (size_t i = 0; i < 2 * N; i++) {
        struct quern_request r = {
            .kind = QUERN_REQUEST_EMBED, .prompt = prompt, .n_prompt = 30 + i % N * 20};
        tickets[i] = rig_submit(e, &r);
    }
    for (size_t i = 0; i < 2 * N; i++) {
        struct rig_answer a = {0};
        while (!rig_poll(tickets[i], &a))
            assert_true(quern_ticket_wait(tickets[i], 10000));
        results[i] = a.result;
        assert_int_equal(a.result.n_values, rig.model->config.hidden_size);
        double sum = 0;
        for (size_t k = 0; k < a.result.n_values; k++)
            sum += (double)a.result.values[k] * (double)a.result.values[k];
        /* 48 roundings to float32 of parts of a unit vector */
        assert_true(fabs(sum - 1) < 1e-6);
    }
    for (size_t i = 0; i < N; i++)
        assert_memory_equal(results[i].values, results[i + N].values,
                            results[i].n_values * sizeof(float));
    assert_true(memcmp(results[0].values, results[1].values, results[0].n_values * sizeof(float)) !=
                0);
    for (size_t i = 0; i < 2 * N; i++)
        quern_ticket_destroy(tickets[i]);
    rig_assert_idle(e);
    engine_destroy(e);
}

static void test_scores_are_the_models_logits(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    const int32_t asked[] = {7, 500, 0};
    struct quern_request r = {.kind = QUERN_REQUEST_SCORE,
                              .prompt = prompt,
                              .n_prompt = 50,
                              .score_tokens = asked,
                              .n_score_tokens = 3};
    quern_ticket *t = rig_submit(e, &r);
    struct rig_answer a = {0};
    while (!rig_poll(t, &a))
        assert_true(quern_ticket_wait(t, 10000));
    assert_int_equal(a.result.n_values, 3);
    const struct session_options so = {
        .n_context = 64, .prefill_chunk = 64, .n_tokens_known = RIG_VOCAB};
    struct session *s = NULL;
    assert_int_equal(session_create(rig.model, &so, &s, NULL), QUERN_OK);
    assert_int_equal(session_feed(s, prompt, 50, NULL, NULL), QUERN_OK);
    for (size_t i = 0; i < 3; i++)
        assert_memory_equal(&a.result.values[i], &s->logits[asked[i]], sizeof(float));
    session_destroy(s);
    quern_ticket_destroy(t);
    engine_destroy(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_queue_refuses_and_says_when_to_come_back),
        cmocka_unit_test(test_one_prompt_larger_than_the_queue_is_let_in_when_it_is_alone),
        cmocka_unit_test(test_what_cannot_be_done_is_refused_with_the_numbers),
        cmocka_unit_test(test_a_slow_reader_pauses_its_request_and_nobody_else),
        cmocka_unit_test(test_a_reader_that_never_comes_is_cut),
        cmocka_unit_test(test_deadlines_end_waiting_and_running_requests),
        cmocka_unit_test(test_a_cancelled_request_ends_in_every_state),
        cmocka_unit_test(test_higher_priority_goes_first),
        cmocka_unit_test(test_draining_lets_others_end_and_refuses_new_ones),
        cmocka_unit_test(test_tickets_outlive_their_engine),
        cmocka_unit_test(test_the_reader_is_called_and_the_callers_things_are_released_once),
        cmocka_unit_test(test_a_failure_inside_ends_one_request_with_its_reason),
        cmocka_unit_test(test_embeddings_are_the_same_alone_in_a_batch_and_from_the_cache),
        cmocka_unit_test(test_scores_are_the_models_logits),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
