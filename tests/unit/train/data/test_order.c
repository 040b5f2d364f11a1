/* The order of training: every example once an epoch, rows that fit, the same again for the same seed;
 * rows as the core takes them; the schedule; TensorBoard's records. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/run/event_file.h"
#include "train/data/order.h"
#include "train/optimizer/lr_schedule.h"

enum { N = 500 };

static struct quern_error err;
static uint64_t starts[N + 1];
static uint32_t *words;
static struct train_data data;

static int make_data(void **state) {
    (void)state;
    for (size_t i = 0; i < N; i++)
        starts[i + 1] = starts[i] + 2 + i * i % 97;
    words = calloc(starts[N], sizeof *words);
    for (size_t i = 0; i < N; i++)
        for (uint64_t k = starts[i]; k < starts[i + 1]; k++)
            words[k] = (uint32_t)i | (k + 1 == starts[i + 1] ? DATA_TRAINED : 0);
    return train_data_from_words(&data, words, starts, N, &err) != QUERN_OK;
}

static int free_data(void **state) {
    (void)state;
    free(words);
    train_data_close(&data);
    return 0;
}

static void expect_each_once(const struct order *o) {
    bool seen[N] = {false};
    assert_int_equal(o->row_starts[0], 0);
    assert_int_equal(o->row_starts[o->n_rows], N);
    for (size_t i = 0; i < N; i++) {
        assert_false(seen[o->examples[i]]);
        seen[o->examples[i]] = true;
    }
}

static size_t row_length(const struct order *o, size_t row) {
    size_t n = 0;
    for (uint32_t i = o->row_starts[row]; i < o->row_starts[row + 1]; i++)
        n += train_data_length(&data, o->examples[i]);
    return n;
}

static void packed_rows_hold_every_example_once_and_are_nearly_full(void **state) {
    const struct order_options options = {ORDER_SHUFFLED, true, 256, 100, 7};
    struct order o;
    size_t all = 0;
    (void)state;
    assert_int_equal(order_make(&data, &options, 0, &o, &err), QUERN_OK);
    expect_each_once(&o);
    for (size_t i = 0; i < o.n_rows; i++) {
        assert_in_range(row_length(&o, i), 1, 256);
        all += row_length(&o, i);
    }
    /* First fit decreasing fills these to more than nine tenths. */
    assert_true(10 * all > 9 * 256 * o.n_rows);
    order_release(&o);
}

static void the_order_is_one_of_seed_and_epoch_alone(void **state) {
    struct order_options options = {ORDER_SHUFFLED, true, 256, 100, 7};
    struct order a, b, c, d;
    (void)state;
    assert_int_equal(order_make(&data, &options, 1, &a, &err), QUERN_OK);
    assert_int_equal(order_make(&data, &options, 1, &b, &err), QUERN_OK);
    assert_int_equal(order_make(&data, &options, 2, &c, &err), QUERN_OK);
    options.seed = 8;
    assert_int_equal(order_make(&data, &options, 1, &d, &err), QUERN_OK);
    assert_memory_equal(a.examples, b.examples, N * sizeof *a.examples);
    assert_true(memcmp(a.examples, c.examples, N * sizeof *a.examples) != 0);
    assert_true(memcmp(a.examples, d.examples, N * sizeof *a.examples) != 0);
    order_release(&a);
    order_release(&b);
    order_release(&c);
    order_release(&d);
}

static void windows_give_rows_of_like_lengths_within_their_padded_size(void **state) {
    const struct order_options options = {ORDER_WINDOWS, false, 200, 128, 7};
    struct order o;
    (void)state;
    assert_int_equal(order_make(&data, &options, 0, &o, &err), QUERN_OK);
    expect_each_once(&o);
    for (size_t i = 0; i < o.n_rows; i++) {
        size_t longest = 0, n = o.row_starts[i + 1] - o.row_starts[i];
        for (uint32_t k = o.row_starts[i]; k < o.row_starts[i + 1]; k++) {
            size_t length = train_data_length(&data, o.examples[k]);
            assert_true(length >= longest);
            longest = length;
            assert_int_equal(o.examples[k] / 128, o.examples[o.row_starts[i]] / 128);
        }
        assert_true(n == 1 || n * longest <= 200);
    }
    order_release(&o);
}

static void a_row_shifts_labels_within_its_segments(void **state) {
    const struct order_options options = {ORDER_FILE, true, 10000, 0, 0};
    struct order o;
    struct row_set set;
    (void)state;
    assert_int_equal(order_make(&data, &options, 0, &o, &err), QUERN_OK);
    for (int prompts = 0; prompts < 2; prompts++) {
        const struct label_rules rules = {.prompts = prompts};
        assert_int_equal(row_set_make(&data, &o, 0, o.n_rows, &rules, &set, &err), QUERN_OK);
        const struct train_row *row = &set.rows[0];
        assert_int_equal(row->starts[row->segments], row->count);
        for (size_t s = 0; s < row->segments; s++)
            for (uint32_t i = row->starts[s]; i < row->starts[s + 1]; i++) {
                const bool last = i + 1 == row->starts[s + 1], trained = i + 2 == row->starts[s + 1];
                const bool labelled = !last && (trained || prompts);
                assert_int_equal(row->labels[i], labelled ? row->tokens[i + 1] : -1);
                assert_int_equal(row->kinds[i], labelled && !trained ? TRAIN_LABEL_PROMPT
                                                                     : TRAIN_LABEL_ANSWER);
            }
        row_set_release(&set);
    }
    order_release(&o);
}

/* 7 8 opens an answer, 9 a thought; 3 after 5 is a word that counts more. */
static void label_rules_leave_out_first_words_and_mark_emphasized_ones(void **state) {
    static const uint32_t ids[] = {1,  7, 8, 4, 5, 3, 7, 8, 9, 7, 8,
                                   9 | DATA_TRAINED, 5 | DATA_TRAINED, 3 | DATA_TRAINED,
                                   3 | DATA_TRAINED, 6 | DATA_TRAINED};
    enum { COUNT = sizeof ids / sizeof *ids };
    static uint64_t ends[] = {0, COUNT};
    struct train_data one;
    const struct order_options options = {ORDER_FILE, false, 100, 0, 0};
    const struct label_rules rules = {.prompts = true, .opening = {7, 8}, .n_opening = 2, .thought = 9,
                                      .after = 5, .words = {2, 3}, .n_words = 2};
    struct order o;
    struct row_set set;
    (void)state;
    assert_int_equal(train_data_from_words(&one, ids, ends, 1, &err), QUERN_OK);
    assert_int_equal(order_make(&one, &options, 0, &o, &err), QUERN_OK);
    assert_int_equal(row_set_make(&one, &o, 0, 1, &rules, &set, &err), QUERN_OK);
    for (size_t i = 0; i < COUNT; i++) {
        const bool first_word = i == 2; /* of "7 8 4"; the one in "7 8 9" is a thought */
        const int32_t next = i + 1 < COUNT ? (int32_t)(ids[i + 1] & ~DATA_TRAINED) : -1;
        assert_int_equal(set.rows[0].labels[i], first_word ? -1 : next);
        const unsigned kind = i < 10 && !first_word ? TRAIN_LABEL_PROMPT
                              : i == 12             ? TRAIN_LABEL_EMPHASIZED
                                                    : TRAIN_LABEL_ANSWER;
        assert_int_equal(set.rows[0].kinds[i], kind);
    }
    row_set_release(&set);
    order_release(&o);
    train_data_close(&one);
}

static void expect_near(double a, double b) {
    assert_true(fabs(a - b) < 1e-12); /* a few roundings of double */
}

/* The values of transformers' schedules and of the demo's recipe, but for the step the warmup begins
 * with: here it is 1 / warmup_steps, not 0. */
static void schedules_rise_and_fall_as_described(void **state) {
    const struct schedule linear = {SCHEDULE_LINEAR, 1, 10, 0, 0, 0};
    const struct schedule cosine = {SCHEDULE_COSINE, 2, 0, 0.1, 0.1, 0};
    const struct schedule wsd = {SCHEDULE_WSD, 0.5, 4, 0, 0.02, 0.25};
    (void)state;
    expect_near(schedule_at(&linear, 0, 110), 0.1);
    expect_near(schedule_at(&linear, 9, 110), 1);
    expect_near(schedule_at(&linear, 60, 110), 0.5);
    expect_near(schedule_at(&cosine, 10, 100), 2);
    expect_near(schedule_at(&cosine, 55, 100), 2 * 0.55);
    expect_near(schedule_at(&wsd, 0, 100), 0.125);
    expect_near(schedule_at(&wsd, 50, 100), 0.5);
    expect_near(schedule_at(&wsd, 90, 100), 0.5 * 10 / 25);
    expect_near(schedule_at(&wsd, 100, 100), 0.01);
}

static void records_for_tensorboard_are_framed_and_checked(void **state) {
    struct buffer out;
    (void)state;
    assert_int_equal(crc32c("123456789", 9), 0xE3069283); /* the polynomial's check value */
    buffer_init(&out, 1 << 16);
    event_file_scalar(1.5, 300, "train/loss", 2.0f, &out);
    assert_int_equal(out.failed, QUERN_OK);
    static const unsigned char event[] = {
        0x09, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F, 0x10, 0xAC, 0x02, 0x2A, 0x13, 0x0A, 0x11, 0x0A, 0x0A,
        't',  'r', 'a', 'i', 'n', '/', 'l', 'o', 's', 's', 0x15, 0, 0, 0, 0x40};
    assert_int_equal(out.len, 8 + 4 + sizeof event + 4);
    assert_int_equal(out.data[0], sizeof event);
    assert_memory_equal(out.data + 12, event, sizeof event);
    buffer_release(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_rows_hold_every_example_once_and_are_nearly_full),
        cmocka_unit_test(the_order_is_one_of_seed_and_epoch_alone),
        cmocka_unit_test(windows_give_rows_of_like_lengths_within_their_padded_size),
        cmocka_unit_test(a_row_shifts_labels_within_its_segments),
        cmocka_unit_test(label_rules_leave_out_first_words_and_mark_emphasized_ones),
        cmocka_unit_test(schedules_rise_and_fall_as_described),
        cmocka_unit_test(records_for_tensorboard_are_framed_and_checked),
    };
    return cmocka_run_group_tests(tests, make_data, free_data);
}
