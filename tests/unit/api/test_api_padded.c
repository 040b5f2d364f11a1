/* Padded batches: the same bits as each row alone, and what is no such batch. */
#include <math.h>
#include <string.h>

#include "api/loaded_model.h"
#include "support/random_adapter.h"
#include "support/support.h"
#include "support/tiny_checkpoint.h"

enum { VOCAB = 97, ROWS = 4, LENGTH = 41, CONTEXT = 96, STEPS = 5, PAD = 96 };

static quern_model *model;
/* Row i has lengths[i] tokens behind its padding. */
static const size_t lengths[ROWS] = {LENGTH, 1, 33, 12};
static int32_t ids[ROWS][LENGTH];
static uint8_t mask[ROWS][LENGTH];

static quern_model *open_model(const struct tiny_shape *shape, const char *name) {
    const struct quern_model_options options = {.n_threads = 2, .weights_only = true};
    quern_model *m = NULL;
    struct quern_error err;
    if (quern_model_open(tiny_model_write(shape, name, 3), &options, &m, &err))
        fail_msg("%s", err.message);
    return m;
}

static int open_all(void **state) {
    (void)state;
    const struct tiny_shape shape = TINY_QWEN3;
    model = open_model(&shape, "model");
    for (size_t i = 0; i < ROWS; i++)
        for (size_t k = 0; k < LENGTH; k++) {
            mask[i][k] = k >= LENGTH - lengths[i];
            ids[i][k] = mask[i][k] ? (int32_t)((i * 31 + k * 7) % PAD) : PAD;
        }
    return 0;
}

static int close_all(void **state) {
    (void)state;
    quern_model_close(model);
    return 0;
}

static quern_session *open_session(quern_model *m, struct quern_session_options options) {
    if (options.n_context == 0)
        options.n_context = CONTEXT;
    quern_session *s = NULL;
    struct quern_error err;
    if (quern_session_create(m, &options, &s, &err))
        fail_msg("%s", err.message);
    return s;
}

static void open_sessions(quern_session **sessions, const struct quern_session_options *options) {
    for (size_t i = 0; i < ROWS; i++)
        sessions[i] = open_session(model, options[i]);
}

static void close_sessions(quern_session **sessions) {
    for (size_t i = 0; i < ROWS; i++)
        quern_session_destroy(sessions[i]);
}

static void assert_same(const quern_session *a, const quern_session *b) {
    size_t n_a, n_b;
    const int32_t *t_a = quern_session_tokens(a, &n_a), *t_b = quern_session_tokens(b, &n_b);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(t_a, t_b, n_a * sizeof *t_a);
    assert_non_null(quern_session_logits(a));
    assert_memory_equal(quern_session_logits(a), quern_session_logits(b), VOCAB * sizeof(float));
}

static int32_t largest(const float *logits) {
    int32_t best = 0;
    for (int32_t i = 1; i < VOCAB; i++)
        best = logits[i] > logits[best] ? i : best;
    return best;
}

/* A prompt and some steps of decoding, in batches and alone. */
static void compare_with_alone(const struct quern_session_options *options) {
    quern_session *together[ROWS], *alone[ROWS];
    float logits[ROWS][VOCAB], row[VOCAB];
    struct quern_error err;
    open_sessions(together, options);
    open_sessions(alone, options);
    if (quern_sessions_feed_padded(together, ROWS, ids[0], mask[0], LENGTH, logits[0], &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < ROWS; i++) {
        const int32_t *row_ids = ids[i] + LENGTH - lengths[i];
        assert_int_equal(quern_session_feed(alone[i], row_ids, lengths[i], NULL), QUERN_OK);
        assert_same(together[i], alone[i]);
    }
    for (int step = 0; step < STEPS; step++) {
        int32_t next[ROWS];
        for (size_t i = 0; i < ROWS; i++)
            next[i] = largest(logits[i]);
        assert_int_equal(quern_sessions_feed_padded(together, ROWS, next, NULL, 1, logits[0], NULL),
                         QUERN_OK);
        for (size_t i = 0; i < ROWS; i++) {
            assert_int_equal(quern_session_feed_logits(alone[i], &next[i], 1, row, NULL), QUERN_OK);
            assert_memory_equal(row, logits[i], sizeof row);
            assert_same(together[i], alone[i]);
        }
    }
    close_sessions(together);
    close_sessions(alone);
}

static void a_padded_batch_gives_the_bits_of_each_row_alone(void **state) {
    (void)state;
    static const enum quern_kv_type types[] = {QUERN_KV_F32, QUERN_KV_BF16, QUERN_KV_INT8};
    static const int32_t chunks[] = {0, 1, 3, 40};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
            struct quern_session_options o[ROWS];
            for (size_t i = 0; i < ROWS; i++)
                o[i] = (struct quern_session_options){.prefill_chunk = chunks[c],
                                                      .kv_type = types[t]};
            compare_with_alone(o);
        }
}

static void sessions_may_differ_in_context_chunks_and_adapters(void **state) {
    (void)state;
    const char *dir = random_adapter_write(model->model, "lora", 3, false, 1);
    const struct quern_adapter_source source = {.dir = dir, .scale = 1};
    quern_adapter *adapter = NULL;
    struct quern_error err;
    if (quern_adapter_open(model, &source, &adapter, &err))
        fail_msg("%s", err.message);
    const quern_adapter *const adapters[] = {adapter};
    const struct quern_session_options o[ROWS] = {
        {.n_context = LENGTH + STEPS, .prefill_chunk = 2},
        {.adapters = adapters, .n_adapters = 1},
        {.n_context = 512, .prefill_chunk = 13},
        {.adapters = adapters, .n_adapters = 1, .prefill_chunk = 4},
    };
    compare_with_alone(o);
    quern_adapter_close(adapter);
}

static void a_batch_continues_what_its_sessions_hold(void **state) {
    (void)state;
    static const struct quern_session_options o[ROWS];
    quern_session *together[ROWS], *alone[ROWS];
    open_sessions(together, o);
    open_sessions(alone, o);
    for (size_t i = 1; i < ROWS; i++) { /* row i begins with i tokens */
        assert_int_equal(quern_session_feed(together[i], ids[0], i, NULL), QUERN_OK);
        assert_int_equal(quern_session_feed(alone[i], ids[0], i, NULL), QUERN_OK);
    }
    assert_int_equal(quern_sessions_feed_padded(together, ROWS, ids[0], mask[0], LENGTH, NULL, NULL),
                     QUERN_OK);
    for (size_t i = 0; i < ROWS; i++) {
        const int32_t *row_ids = ids[i] + LENGTH - lengths[i];
        assert_int_equal(quern_session_feed(alone[i], row_ids, lengths[i], NULL), QUERN_OK);
        assert_same(together[i], alone[i]);
    }
    close_sessions(together);
    close_sessions(alone);
}

static void ids_of_padding_are_not_looked_at(void **state) {
    (void)state;
    const int32_t row[] = {-7, INT32_MAX, 5};
    const uint8_t row_mask[] = {0, 0, 1};
    quern_session *s = open_session(model, (struct quern_session_options){0});
    assert_int_equal(quern_sessions_feed_padded(&s, 1, row, row_mask, 3, NULL, NULL), QUERN_OK);
    size_t n;
    assert_int_equal(quern_session_tokens(s, &n)[0], 5);
    assert_int_equal(n, 1);
    quern_session_destroy(s);
}

/* ---- what is refused ------------------------------------------------------------------- */

static void assert_untouched(quern_session *const *sessions) {
    for (size_t i = 0; i < ROWS; i++) {
        size_t n;
        quern_session_tokens(sessions[i], &n);
        assert_int_equal(n, i == 0 ? 2 : 0);
        assert_true((quern_session_logits(sessions[i]) != NULL) == (i == 0));
    }
}

static void assert_refused(quern_session *const *sessions, const int32_t *batch,
                           const uint8_t *batch_mask, size_t length, enum quern_status expected,
                           const char *message) {
    float logits[ROWS][VOCAB] = {{7}};
    struct quern_error err = {0};
    assert_int_equal(quern_sessions_feed_padded(sessions, ROWS, batch, batch_mask, length,
                                                logits[0], &err),
                     expected);
    if (!strstr(err.message, message))
        fail_msg("\"%s\" does not contain \"%s\"", err.message, message);
    assert_true(logits[0][0] == 7);
}

static void batches_that_are_none_are_refused_and_change_nothing(void **state) {
    (void)state;
    static const struct quern_session_options o[ROWS];
    quern_session *s[ROWS];
    uint8_t m[ROWS][LENGTH];
    int32_t b[ROWS][LENGTH];
    memcpy(b, ids, sizeof b);
    open_sessions(s, o);
    assert_int_equal(quern_session_feed(s[0], ids[0], 2, NULL), QUERN_OK);

    memcpy(m, mask, sizeof m);
    memset(m[3], 0, LENGTH);
    assert_refused(s, b[0], m[0], LENGTH, QUERN_ERR_ARG, "row 3 is all padding");
    memcpy(m, mask, sizeof m);
    m[2][LENGTH - 4] = 0;
    assert_refused(s, b[0], m[0], LENGTH, QUERN_ERR_ARG, "row 2 has 0 at column 37 of its mask");
    m[2][LENGTH - 4] = 1;
    m[0][LENGTH - 1] = 0; /* padded on the right */
    assert_refused(s, b[0], m[0], LENGTH, QUERN_ERR_ARG, "row 0 has 0 at column 40");
    m[0][LENGTH - 1] = 2;
    assert_refused(s, b[0], m[0], LENGTH, QUERN_ERR_ARG, "row 0 has 2 at column 40");
    b[3][LENGTH - 1] = VOCAB;
    assert_refused(s, b[0], mask[0], LENGTH, QUERN_ERR_ARG,
                   "row 3: token id 97 at index 11 is outside 0..96");
    b[3][LENGTH - 1] = -1;
    assert_refused(s, b[0], mask[0], LENGTH, QUERN_ERR_ARG, "row 3: token id -1");
    assert_refused(s, b[0], mask[0], 0, QUERN_ERR_ARG, "a batch of 4 rows of 0");
    assert_refused(s, b[0], mask[0], SIZE_MAX / 2, QUERN_ERR_ARG, "a batch of 4 rows of");
    assert_refused(s, NULL, mask[0], LENGTH, QUERN_ERR_ARG, "ids is NULL");
    assert_refused(NULL, b[0], mask[0], LENGTH, QUERN_ERR_ARG, "sessions is NULL");
    assert_int_equal(quern_sessions_feed_padded(s, 0, b[0], mask[0], LENGTH, NULL, NULL),
                     QUERN_ERR_ARG);
    assert_untouched(s);
    close_sessions(s);
}

static void sessions_that_do_not_go_together_are_refused(void **state) {
    (void)state;
    struct quern_session_options o[ROWS] = {[2] = {.kv_type = QUERN_KV_BF16},
                                            [3] = {.n_context = 11}};
    const struct tiny_shape shape = TINY_QWEN3;
    quern_model *other = open_model(&shape, "other");
    quern_session *s[ROWS], *foreign = open_session(other, (struct quern_session_options){0});
    open_sessions(s, o);
    assert_int_equal(quern_session_feed(s[0], ids[0], 2, NULL), QUERN_OK);
    quern_session *const none[ROWS] = {s[0], NULL, s[2], s[3]};
    assert_refused(none, ids[0], mask[0], LENGTH, QUERN_ERR_ARG, "row 1: its session is NULL");
    quern_session *const twice[ROWS] = {s[0], s[1], s[0], s[3]};
    assert_refused(twice, ids[0], mask[0], LENGTH, QUERN_ERR_ARG,
                   "rows 0 and 2 are of the same session");
    quern_session *const two_models[ROWS] = {s[0], foreign, s[2], s[3]};
    assert_refused(two_models, ids[0], mask[0], LENGTH, QUERN_ERR_ARG, "row 1: its session is of");
    assert_refused(s, ids[0], mask[0], LENGTH, QUERN_ERR_ARG, "row 2: its session keeps keys");
    quern_session_destroy(s[2]);
    s[2] = open_session(model, (struct quern_session_options){0});
    assert_refused(s, ids[0], mask[0], LENGTH, QUERN_ERR_CONTEXT,
                   "row 3: the context is full: 0 of 11 tokens held, 12 more do not fit");
    assert_untouched(s);
    close_sessions(s);
    quern_session_destroy(foreign);
    quern_model_close(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_padded_batch_gives_the_bits_of_each_row_alone),
        cmocka_unit_test(sessions_may_differ_in_context_chunks_and_adapters),
        cmocka_unit_test(a_batch_continues_what_its_sessions_hold),
        cmocka_unit_test(ids_of_padding_are_not_looked_at),
        cmocka_unit_test(batches_that_are_none_are_refused_and_change_nothing),
        cmocka_unit_test(sessions_that_do_not_go_together_are_refused),
    };
    return cmocka_run_group_tests_name("api_padded", tests, open_all, close_all);
}
