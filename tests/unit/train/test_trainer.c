/* What training promises beside being right: the same bits whatever the threads, packing that leaks
 * nothing, states that go on bit for bit, refusals that change nothing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "support/support.h"
#include "support/train_rig.h"

static struct train_rig rig(const char *name, int threads) {
    struct train_options o = train_rig_options(name);
    o.threads = threads;
    return train_rig_open(name, &o);
}

static struct train_step_result step(struct train_rig *g, const struct train_row *rows, size_t n) {
    struct train_step_result r = {0};
    struct quern_error err = {0};
    if (trainer_step(g->trainer, rows, n, 1.0f, (struct train_label_weights){0.3f, 1}, &r, &err))
        fail_msg("%s", err.message);
    return r;
}

static struct train_step_result gradients(struct train_rig *g, const struct train_row *rows, size_t n) {
    struct train_step_result r = {0};
    struct quern_error err = {0};
    if (trainer_gradients(g->trainer, rows, n, (struct train_label_weights){0.3f, 1}, &r, &err))
        fail_msg("%s", err.message);
    return r;
}

static void same_values(const struct train_rig *a, const struct train_rig *b) {
    const size_t bytes = a->trainer->net.n_values * sizeof(float);
    assert_memory_equal(a->trainer->net.values, b->trainer->net.values, bytes);
}

static void threads_do_not_change_a_bit(void **state) {
    (void)state;
    static const char *const names[] = {"dense", "moe", "dora", "qwen2"};
    for (size_t i = 0; i < 4; i++) {
        struct train_rig a = rig(names[i], 1), b = rig(names[i], 2), c = rig(names[i], 5);
        for (int s = 0; s < 3; s++) {
            const struct train_step_result ra = step(&a, a.rows, a.n_rows);
            const struct train_step_result rb = step(&b, b.rows, b.n_rows);
            step(&c, c.rows, c.n_rows);
            assert_memory_equal(&ra.loss, &rb.loss, sizeof ra.loss);
            assert_memory_equal(&ra.grad_norm, &rb.grad_norm, sizeof ra.grad_norm);
        }
        same_values(&a, &b);
        same_values(&a, &c);
        train_rig_close(&a);
        train_rig_close(&b);
        train_rig_close(&c);
    }
}

static void checkpointing_does_not_change_a_bit(void **state) {
    (void)state;
    static const char *const names[] = {"tied", "moe", "dora", "rslora"};
    for (size_t i = 0; i < 4; i++) {
        struct train_options o = train_rig_options(names[i]);
        struct train_rig a = train_rig_open(names[i], &o);
        o.checkpointing = true;
        struct train_rig b = train_rig_open(names[i], &o);
        for (int s = 0; s < 3; s++) {
            step(&a, a.rows, a.n_rows);
            step(&b, b.rows, b.n_rows);
        }
        same_values(&a, &b);
        train_rig_close(&a);
        train_rig_close(&b);
    }
}

static void packing_the_base_does_not_change_a_bit(void **state) {
    (void)state;
    static const char *const names[] = {"dora", "rslora", "lora"};
    for (size_t i = 0; i < 3; i++) {
        struct train_options o = train_rig_options(names[i]);
        o.bf16 = true;
        struct train_rig a = train_rig_open(names[i], &o);
        o.pack_weights = true;
        struct train_rig b = train_rig_open(names[i], &o);
        assert_int_equal(b.trainer->pass.kept_bytes > 0, b.trainer->compute.bf16);
        for (int s = 0; s < 3; s++) {
            step(&a, a.rows, a.n_rows);
            step(&b, b.rows, b.n_rows);
        }
        same_values(&a, &b);
        train_rig_close(&a);
        train_rig_close(&b);
    }
}

/* A row's segments as rows of their own. */
static size_t unpack(const struct train_row *row, struct train_row *out, uint32_t (*starts)[2]) {
    for (size_t s = 0; s < row->segments; s++) {
        const uint32_t a = row->starts[s], b = row->starts[s + 1];
        starts[s][0] = 0;
        starts[s][1] = b - a;
        out[s] = (struct train_row){.count = b - a,
                                    .tokens = row->tokens + a,
                                    .labels = row->labels + a,
                                    .kinds = row->kinds + a,
                                    .starts = starts[s],
                                    .segments = 1};
    }
    return row->segments;
}

static void packed_and_single_examples_have_the_same_gradients(void **state) {
    (void)state;
    struct train_rig a = rig("dense", 2), b = rig("dense", 2);
    struct train_row single[8];
    uint32_t starts[8][2];
    const size_t n = unpack(&a.rows[0], single, starts);
    assert_true(n == 3);
    const struct train_step_result ra = gradients(&a, a.rows, 1), rb = gradients(&b, single, n);
    /* Another order of the same sums in float32. */
    assert_true(fabs(ra.loss - rb.loss) <= 1e-6 * ra.loss);
    assert_true(train_relative_error(a.trainer->current, b.trainer->current, a.trainer->net.n_values) < 1e-5);
    train_rig_close(&a);
    train_rig_close(&b);
}

static void a_neighbour_in_the_row_changes_no_bit_of_an_example(void **state) {
    (void)state;
    struct train_rig g = rig("dense", 2);
    struct train_row row = g.rows[0];
    int32_t *tokens = malloc(row.count * sizeof *tokens), *labels = malloc(row.count * sizeof *labels);
    struct train_step_result before, after;
    /* Only the second example is trained; then all tokens of the others change. */
    for (size_t i = 0; i < row.count; i++) {
        const bool second = i >= row.starts[1] && i < row.starts[2];
        labels[i] = second ? row.labels[i] : -1;
        tokens[i] = second ? row.tokens[i] : (row.tokens[i] + 7) % 61;
    }
    row.labels = labels;
    before = gradients(&g, &row, 1);
    const size_t bytes = g.trainer->net.n_values * sizeof(float);
    float *kept = malloc(bytes);
    memcpy(kept, g.trainer->current, bytes);
    row.tokens = tokens;
    after = gradients(&g, &row, 1);
    assert_true(before.loss == after.loss);
    assert_memory_equal(kept, g.trainer->current, bytes);
    free(kept);
    free(tokens);
    free(labels);
    train_rig_close(&g);
}

/* Of the first row; *choices tells which experts its tokens went to. */
static double total_loss(struct train_rig *g, uint64_t *choices) {
    struct train_step_result r;
    struct quern_error err = {0};
    assert_int_equal(trainer_evaluate(g->trainer, g->rows, 1, &r, &err), QUERN_OK);
    *choices = 0;
    for (size_t i = 0; i < g->trainer->pass.n_kept; i++) {
        const struct moe_plan *plan = &g->trainer->pass.kept[i].plan;
        for (size_t t = 0; t < g->rows[0].count * plan->k; t++)
            *choices = *choices * 31 + (uint64_t)plan->chosen[t];
    }
    return r.loss + 0.3 * r.prompt_loss;
}

/* Central differences along the gradient of one parameter: float32's noise in the loss (1e-7) over the
 * step leaves about three digits. False where a token went to another expert: there the loss jumps. */
static bool slope_fits(struct train_rig *g, const struct param *p, const char *name) {
    float *x = g->trainer->net.values + p->offset, *was = malloc(p->n * sizeof *was);
    const float *grad = g->trainer->current + p->offset, by = 1e-3f;
    uint64_t up_choices, down_choices;
    double norm = 0;
    for (size_t j = 0; j < p->n; j++)
        norm += (double)grad[j] * (double)grad[j];
    norm = sqrt(norm);
    memcpy(was, x, p->n * sizeof *was);
    for (size_t j = 0; j < p->n; j++)
        x[j] = was[j] + by * (grad[j] / (float)norm);
    const double up = total_loss(g, &up_choices);
    for (size_t j = 0; j < p->n; j++)
        x[j] = was[j] - by * (grad[j] / (float)norm);
    const double down = total_loss(g, &down_choices), slope = (up - down) / (2 * (double)by);
    memcpy(x, was, p->n * sizeof *was);
    free(was);
    if (up_choices != down_choices)
        return false;
    if (norm > 1e-3 && !(fabs(slope - norm) <= 1e-2 * norm + 1e-3))
        fail_msg("%s: the loss grows by %g along the gradient of %s, whose norm is %g", name, slope, p->name,
                 norm);
    return true;
}

static void finite_differences(const char *name, enum train_lora_init init) {
    struct train_options o = train_rig_options(name);
    o.lora.init = init;
    struct train_rig g = train_rig_open(name, &o);
    size_t jumps = 0;
    gradients(&g, g.rows, 1);
    for (size_t i = 0; i < g.trainer->net.n_params; i++)
        jumps += !slope_fits(&g, &g.trainer->net.params[i], name);
    assert_true(jumps <= 4);
    train_rig_close(&g);
}

static void the_loss_falls_along_every_gradient_as_it_says(void **state) {
    (void)state;
    finite_differences("dense", TRAIN_LORA_DEFAULT);
    finite_differences("moe", TRAIN_LORA_DEFAULT);
    finite_differences("qwen2", TRAIN_LORA_DEFAULT);
    finite_differences("lora", TRAIN_LORA_DEFAULT);
    finite_differences("lora", TRAIN_LORA_PISSA);
}

static void a_saved_state_goes_on_bit_for_bit(void **state) {
    (void)state;
    static const enum train_optimizer optimizers[] = {TRAIN_ADAMW, TRAIN_MUON};
    for (size_t i = 0; i < 2; i++) {
        struct train_options o = train_rig_options("tied");
        struct quern_error err = {0};
        char dir[64];
        o.optimizer = optimizers[i];
        o.muon_learning_rate = 0.02f;
        o.muon_momentum = 0.95f;
        struct train_rig a = train_rig_open("tied", &o), b = train_rig_open("tied", &o);
        snprintf(dir, sizeof dir, "state-%zu", i);
        const char *path = support_temp_path(dir);
        assert_int_equal(os_make_dir(path, &err), QUERN_OK);
        for (int s = 0; s < 2; s++)
            step(&a, a.rows, a.n_rows);
        if (trainer_save_state(a.trainer, path, &err))
            fail_msg("%s", err.message);
        for (int s = 0; s < 2; s++)
            step(&a, a.rows, a.n_rows);
        if (trainer_load_state(b.trainer, path, &err))
            fail_msg("%s", err.message);
        for (int s = 0; s < 2; s++)
            step(&b, b.rows, b.n_rows);
        same_values(&a, &b);
        train_rig_close(&a);
        train_rig_close(&b);
    }
}

static void a_state_of_another_model_is_refused(void **state) {
    (void)state;
    struct train_rig a = rig("tied", 1), b = rig("dense", 1);
    struct quern_error err = {0};
    const char *path = support_temp_path("other");
    assert_int_equal(os_make_dir(path, &err), QUERN_OK);
    assert_int_equal(trainer_save_state(a.trainer, path, &err), QUERN_OK);
    assert_int_equal(trainer_load_state(b.trainer, path, &err), QUERN_ERR_FORMAT);
    train_rig_close(&a);
    train_rig_close(&b);
}

static void bad_rows_are_refused_and_change_nothing(void **state) {
    (void)state;
    struct train_rig a = rig("dense", 1), b = rig("dense", 1);
    struct train_step_result r;
    struct quern_error err = {0};
    int32_t tokens[] = {1, 2, 99}, none[] = {-1, -1, -1};
    uint32_t starts[] = {0, 3}, wrong[] = {0, 2};
    const struct train_label_weights plain = {0, 1};
    struct train_row row = {.count = 3, .tokens = tokens, .labels = none, .starts = starts, .segments = 1};
    assert_int_equal(trainer_step(a.trainer, &row, 1, 1, plain, &r, &err), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, "token 2 is 99"));
    tokens[2] = 3;
    assert_int_equal(trainer_step(a.trainer, &row, 1, 1, plain, &r, &err), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, "no token"));
    row.starts = wrong;
    assert_int_equal(trainer_step(a.trainer, &row, 1, 1, plain, &r, &err), QUERN_ERR_ARG);
    same_values(&a, &b);
    train_rig_close(&a);
    train_rig_close(&b);
}

/* Sums over rows are a tree by index: 5 rows are ((0+1)+(2+3))+4. */
static void rows_are_added_in_a_fixed_tree(void **state) {
    (void)state;
    struct train_rig g = rig("dense", 2);
    struct train_row rows[5];
    const size_t n = g.trainer->net.n_values, bytes = n * sizeof(float);
    float *each[5], *sum = malloc(bytes);
    for (size_t i = 0; i < 5; i++)
        rows[i] = g.rows[i % 3];
    gradients(&g, rows, 5);
    memcpy(sum, g.trainer->current, bytes);
    struct train_step_result all = {0};
    for (size_t i = 0; i < 5; i++)
        for (size_t t = 0; t < rows[i].count; t++)
            *(rows[i].kinds[t] ? &all.n_prompt_labels : &all.n_labels) += rows[i].labels[t] >= 0;
    struct pass *p = &g.trainer->pass;
    for (size_t i = 0; i < 5; i++) {
        each[i] = calloc(1, bytes);
        p->grads = each[i];
        pass_row(p, &rows[i],
                 (struct row_weights){.answer = 1.0f / (float)all.n_labels,
                                      .prompt = 0.3f / (float)all.n_prompt_labels});
    }
    for (size_t j = 0; j < n; j++) {
        const float want = ((each[0][j] + each[1][j]) + (each[2][j] + each[3][j])) + each[4][j];
        assert_true(want == sum[j]);
    }
    for (size_t i = 0; i < 5; i++)
        free(each[i]);
    free(sum);
    train_rig_close(&g);
}

/* A label of weight w is as good as w labels: the gradient is that of a row which has only the emphasized
 * ones, times w - 1 and their number, added to the plain one times the number of all. */
static void an_emphasized_label_counts_as_often_as_its_weight_says(void **state) {
    (void)state;
    struct train_rig g = rig("dense", 2);
    struct train_row row = g.rows[0];
    const size_t n = g.trainer->net.n_values;
    float *plain = malloc(n * sizeof *plain), *few = malloc(n * sizeof *few);
    float *want = malloc(n * sizeof *want);
    uint8_t *kinds = calloc(row.count, 1), *none = calloc(row.count, 1);
    int32_t *labels = malloc(row.count * sizeof *labels);
    size_t n_all = 0, n_few = 0;
    for (size_t t = 0; t < row.count; t++) {
        const bool is_one = row.labels[t] >= 0 && t % 3 == 0;
        kinds[t] = is_one ? TRAIN_LABEL_EMPHASIZED : TRAIN_LABEL_ANSWER;
        labels[t] = is_one ? row.labels[t] : -1;
        n_all += row.labels[t] >= 0;
        n_few += is_one;
    }
    struct train_step_result r = {0};
    struct quern_error err = {0};
    const struct train_label_weights eight = {0, 8}, one = {0, 1};
    struct train_row only = row;
    row.kinds = only.kinds = none;
    only.labels = labels;
    assert_int_equal(trainer_gradients(g.trainer, &row, 1, one, &r, &err), QUERN_OK);
    const double loss = r.loss;
    memcpy(plain, g.trainer->current, n * sizeof *plain);
    assert_int_equal(trainer_gradients(g.trainer, &only, 1, one, &r, &err), QUERN_OK);
    memcpy(few, g.trainer->current, n * sizeof *few);
    row.kinds = kinds;
    assert_int_equal(trainer_gradients(g.trainer, &row, 1, eight, &r, &err), QUERN_OK);
    assert_true(r.loss == loss);
    assert_int_equal(r.n_emphasized, n_few);
    const double all = (double)n_all + 7 * (double)n_few;
    for (size_t i = 0; i < n; i++)
        want[i] = (float)((plain[i] * (double)n_all + 7 * few[i] * (double)n_few) / all);
    /* Another order of the same sums in float32. */
    assert_true(train_relative_error(g.trainer->current, want, n) < 1e-5);
    free(plain);
    free(few);
    free(want);
    free(kinds);
    free(none);
    free(labels);
    train_rig_close(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(checkpointing_does_not_change_a_bit),
        cmocka_unit_test(packing_the_base_does_not_change_a_bit),
        cmocka_unit_test(packed_and_single_examples_have_the_same_gradients),
        cmocka_unit_test(a_neighbour_in_the_row_changes_no_bit_of_an_example),
        cmocka_unit_test(the_loss_falls_along_every_gradient_as_it_says),
        cmocka_unit_test(a_saved_state_goes_on_bit_for_bit),
        cmocka_unit_test(a_state_of_another_model_is_refused),
        cmocka_unit_test(an_emphasized_label_counts_as_often_as_its_weight_says),
        cmocka_unit_test(bad_rows_are_refused_and_change_nothing),
        cmocka_unit_test(rows_are_added_in_a_fixed_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
