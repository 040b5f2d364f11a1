#include "engine/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"
#include "support/tiny_checkpoint.h"

enum { VOCAB = 97, CONTEXT = 50 };

static struct device *device;
static struct model *model;

static int open_model(void **state) {
    (void)state;
    const struct tiny_shape shape = TINY_QWEN3;
    return device_cpu_create(1, NULL, &device, NULL) ||
           model_open(tiny_model_write(&shape, "model", 3), NULL, device, NULL, NULL, &model, NULL);
}

static int close_model(void **state) {
    (void)state;
    model_close(model);
    device_destroy(device);
    return 0;
}

static struct session *open_session(size_t chunk) {
    struct session *s = NULL;
    const struct session_options o = {
        .n_context = CONTEXT, .prefill_chunk = chunk, .n_tokens_known = VOCAB};
    assert_int_equal(session_create(model, &o, &s, NULL), QUERN_OK);
    return s;
}

static const int32_t *some_ids(void) {
    static int32_t ids[CONTEXT + 1];
    for (int32_t i = 0; i <= CONTEXT; i++)
        ids[i] = (i * i * 7 + i) % VOCAB;
    return ids;
}

static void feed(struct session *s, const int32_t *ids, size_t n) {
    struct quern_error err = {0};
    if (session_feed(s, ids, n, NULL, &err))
        fail_msg("%s", err.message);
}

/* The session's tokens and logits must be those of one that was fed `ids` afresh. */
static void assert_as_fresh(const struct session *s, const int32_t *ids, size_t n) {
    struct session *fresh = open_session(CONTEXT);
    feed(fresh, ids, n);
    assert_int_equal(s->kv.n_tokens, n);
    assert_memory_equal(s->tokens, ids, n * sizeof *ids);
    assert_true(s->has_logits);
    assert_memory_equal(s->logits, fresh->logits, VOCAB * sizeof(float));
    session_destroy(fresh);
}

static void feeding_in_any_pieces_gives_the_same_logits(void **state) {
    (void)state;
    const size_t chunks[] = {1, 7, 16, CONTEXT};
    float *all = calloc(CONTEXT * VOCAB, sizeof *all);
    float *first = calloc(CONTEXT * VOCAB, sizeof *first);
    assert_true(all && first);
    for (int i = 0; i < 4; i++) {
        struct session *s = open_session(chunks[i]);
        assert_false(s->has_logits);
        assert_int_equal(session_feed(s, some_ids(), 20, all, NULL), QUERN_OK);
        assert_int_equal(session_feed(s, some_ids() + 20, 30, all + 20 * VOCAB, NULL), QUERN_OK);
        assert_memory_equal(s->logits, all + 49 * VOCAB, VOCAB * sizeof(float));
        if (i == 0)
            memcpy(first, all, CONTEXT * VOCAB * sizeof *all);
        assert_memory_equal(all, first, CONTEXT * VOCAB * sizeof *all);
        assert_as_fresh(s, some_ids(), CONTEXT);
        session_destroy(s);
    }
    free(all);
    free(first);
}

static void padding_is_masked_for_sampling_but_not_in_the_rows_given_out(void **state) {
    (void)state;
    struct session *s = NULL;
    const struct session_options o = {.n_context = 8, .prefill_chunk = 8, .n_tokens_known = 90};
    assert_int_equal(session_create(model, &o, &s, NULL), QUERN_OK);
    float all[2][VOCAB];
    assert_int_equal(session_feed(s, some_ids(), 2, all[0], NULL), QUERN_OK);
    for (int i = 0; i < VOCAB; i++) {
        assert_true(isfinite(all[1][i]));
        assert_true(i < 90 ? s->logits[i] == all[1][i] : s->logits[i] == -INFINITY);
    }
    session_destroy(s);
}

static void feeding_nothing_changes_nothing(void **state) {
    (void)state;
    struct session *s = open_session(8);
    feed(s, NULL, 0);
    assert_false(s->has_logits);
    feed(s, some_ids(), 3);
    feed(s, NULL, 0);
    assert_as_fresh(s, some_ids(), 3);
    session_destroy(s);
}

static void a_context_overflow_appends_nothing(void **state) {
    (void)state;
    struct session *s = open_session(8);
    struct quern_error err = {0};
    feed(s, some_ids(), 45);
    assert_int_equal(session_feed(s, some_ids() + 45, 6, NULL, &err), QUERN_ERR_CONTEXT);
    assert_string_equal(err.message,
                        "the context is full: 45 of 50 tokens held, 6 more do not fit");
    assert_as_fresh(s, some_ids(), 45);
    feed(s, some_ids() + 45, 5);
    assert_as_fresh(s, some_ids(), 50);
    session_destroy(s);
}

static void a_bad_id_anywhere_appends_nothing(void **state) {
    (void)state;
    struct session *s = open_session(2);
    struct quern_error err = {0};
    feed(s, some_ids(), 3);
    const int32_t bad[] = {1, 2, 3, 4, 97};
    assert_int_equal(session_feed(s, bad, 5, NULL, &err), QUERN_ERR_ARG);
    assert_string_equal(err.message, "token id 97 at index 4 is outside 0..96");
    assert_as_fresh(s, some_ids(), 3);
    assert_int_equal(session_sync(s, bad, 5, NULL, &err), QUERN_ERR_ARG);
    assert_string_equal(err.message, "token id 97 at index 4 is outside 0..96");
    assert_as_fresh(s, some_ids(), 3);
    session_destroy(s);
}

static void syncing_computes_only_what_differs(void **state) {
    (void)state;
    struct session *s = open_session(8);
    size_t reused = 99;
    assert_int_equal(session_sync(s, some_ids(), 20, &reused, NULL), QUERN_OK);
    assert_int_equal(reused, 0);
    assert_as_fresh(s, some_ids(), 20);
    assert_int_equal(session_sync(s, some_ids(), 30, &reused, NULL), QUERN_OK);
    assert_int_equal(reused, 20);
    assert_as_fresh(s, some_ids(), 30);
    int32_t other[25];
    memcpy(other, some_ids(), sizeof other);
    other[10] = 96;
    assert_int_equal(session_sync(s, other, 25, &reused, NULL), QUERN_OK);
    assert_int_equal(reused, 10);
    assert_as_fresh(s, other, 25);
    session_destroy(s);
}

static void syncing_to_the_same_tokens_computes_nothing(void **state) {
    (void)state;
    struct session *s = open_session(8);
    size_t reused;
    feed(s, some_ids(), 20);
    assert_int_equal(session_sync(s, some_ids(), 20, &reused, NULL), QUERN_OK);
    assert_int_equal(reused, 20);
    assert_as_fresh(s, some_ids(), 20);
    session_destroy(s);
}

/* The logits of a token in the middle are not kept: it is computed again. */
static void syncing_to_a_prefix_computes_its_last_token(void **state) {
    (void)state;
    struct session *s = open_session(8);
    size_t reused;
    feed(s, some_ids(), 20);
    assert_int_equal(session_sync(s, some_ids(), 12, &reused, NULL), QUERN_OK);
    assert_int_equal(reused, 11);
    assert_as_fresh(s, some_ids(), 12);
    /* The session's own tokens may be given back to it. */
    assert_int_equal(session_sync(s, s->tokens, 7, &reused, NULL), QUERN_OK);
    assert_int_equal(reused, 6);
    assert_as_fresh(s, some_ids(), 7);
    session_destroy(s);
}

static void syncing_to_nothing_empties_the_session(void **state) {
    (void)state;
    struct session *s = open_session(8);
    size_t reused = 99;
    feed(s, some_ids(), 20);
    assert_int_equal(session_sync(s, NULL, 0, &reused, NULL), QUERN_OK);
    assert_int_equal(reused, 0);
    assert_int_equal(s->kv.n_tokens, 0);
    assert_false(s->has_logits);
    session_destroy(s);
}

static void a_sync_that_does_not_fit_changes_nothing(void **state) {
    (void)state;
    struct session *s = open_session(8);
    struct quern_error err = {0};
    int32_t other[CONTEXT + 1];
    memcpy(other, some_ids(), sizeof other);
    other[5] = 96;
    feed(s, some_ids(), 20);
    assert_int_equal(session_sync(s, other, CONTEXT + 1, NULL, &err), QUERN_ERR_CONTEXT);
    assert_string_equal(err.message, "51 tokens do not fit into a context of 50");
    assert_as_fresh(s, some_ids(), 20);
    session_destroy(s);
}

static void truncating_drops_tokens_and_logits(void **state) {
    (void)state;
    struct session *s = open_session(8);
    struct quern_error err = {0};
    feed(s, some_ids(), 20);
    assert_int_equal(session_truncate(s, 20, NULL), QUERN_OK);
    assert_true(s->has_logits);
    assert_int_equal(session_truncate(s, 21, &err), QUERN_ERR_ARG);
    assert_string_equal(err.message, "cannot keep 21 tokens of the 20 held");
    assert_int_equal(session_truncate(s, 9, NULL), QUERN_OK);
    assert_int_equal(s->kv.n_tokens, 9);
    assert_false(s->has_logits);
    feed(s, some_ids() + 9, 4);
    assert_as_fresh(s, some_ids(), 13);
    session_destroy(s);
}

static void empty_sessions_are_refused(void **state) {
    (void)state;
    struct session *s = NULL;
    const struct session_options none = {.n_context = 0, .prefill_chunk = 8};
    assert_int_equal(session_create(model, &none, &s, NULL), QUERN_ERR_ARG);
    const struct session_options no_chunk = {.n_context = 8, .prefill_chunk = 0};
    assert_int_equal(session_create(model, &no_chunk, &s, NULL), QUERN_ERR_ARG);
    assert_null(s);
    session_destroy(NULL);
}

/* Else the first chunks of a prompt would be computed before the last one, which wants logits,
 * is refused. */
static void a_checkpoint_without_a_head_gets_no_session(void **state) {
    (void)state;
    static struct tiny_checkpoint checkpoint;
    struct tiny_shape shape = TINY_QWEN3;
    shape.prefix = "";
    tiny_checkpoint_fill(&checkpoint, &shape);
    tiny_checkpoint_remove(&checkpoint, "lm_head.weight");
    struct model *headless = NULL;
    const char *dir = tiny_checkpoint_write(&checkpoint, &shape, "headless", 3);
    assert_int_equal(model_open(dir, NULL, device, NULL, NULL, &headless, NULL), QUERN_OK);
    struct session *s = NULL;
    struct quern_error err = {0};
    const struct session_options o = {.n_context = 8, .prefill_chunk = 2, .n_tokens_known = VOCAB};
    assert_int_equal(session_create(headless, &o, &s, &err), QUERN_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "lm_head.weight"));
    assert_null(s);
    model_close(headless);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(feeding_in_any_pieces_gives_the_same_logits),
        cmocka_unit_test(padding_is_masked_for_sampling_but_not_in_the_rows_given_out),
        cmocka_unit_test(feeding_nothing_changes_nothing),
        cmocka_unit_test(a_context_overflow_appends_nothing),
        cmocka_unit_test(a_bad_id_anywhere_appends_nothing),
        cmocka_unit_test(syncing_computes_only_what_differs),
        cmocka_unit_test(syncing_to_the_same_tokens_computes_nothing),
        cmocka_unit_test(syncing_to_a_prefix_computes_its_last_token),
        cmocka_unit_test(syncing_to_nothing_empties_the_session),
        cmocka_unit_test(a_sync_that_does_not_fit_changes_nothing),
        cmocka_unit_test(truncating_drops_tokens_and_logits),
        cmocka_unit_test(empty_sessions_are_refused),
        cmocka_unit_test(a_checkpoint_without_a_head_gets_no_session),
    };
    return cmocka_run_group_tests_name("session", tests, open_model, close_model);
}
