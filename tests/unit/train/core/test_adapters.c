/* What adapters begin with, and noise that is the same for the same step. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/peft_adapter.h"
#include "support/support.h"
#include "support/train_rig.h"

static struct trainer *fresh(const struct train_options *o) {
    struct trainer *t = NULL;
    struct quern_error err = {0};
    if (trainer_create(support_fixture("golden/train/lora"), o, &t, &err))
        fail_msg("%s", err.message);
    return t;
}

static double loss(struct trainer *t) {
    const struct train_options o = train_rig_options("lora");
    struct train_rig g = train_rig_open("lora", &o);
    struct train_step_result r = {0};
    struct quern_error err;
    assert_int_equal(trainer_evaluate(t, g.rows, g.n_rows, &r, &err), QUERN_OK);
    train_rig_close(&g);
    return r.loss;
}

static void fresh_adapters_change_nothing(void **state) {
    (void)state;
    double losses[3];
    for (int i = 0; i < 3; i++) {
        struct train_options o = train_rig_options("lora");
        o.lora.use_dora = i == 1;
        o.lora.init = i == 2 ? TRAIN_LORA_PISSA : TRAIN_LORA_DEFAULT;
        struct trainer *t = fresh(&o);
        losses[i] = loss(t);
        trainer_destroy(t);
    }
    /* DoRA divides norms by themselves, PiSSA adds and takes off: roundings. */
    assert_true(fabs(losses[1] - losses[0]) < 2e-6 * losses[0]);
    assert_true(fabs(losses[2] - losses[0]) < 2e-6 * losses[0]);
}

static double length(const double *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

/* The largest singular value of m[rows][cols], by powers. */
static double largest_value(const double *m, size_t rows, size_t cols) {
    double v[256], y[256], size = 0;
    for (size_t j = 0; j < cols; j++)
        v[j] = 1.0 + 0.1 * (double)(j % 7);
    for (int step = 0; step < 300; step++) {
        const double was = length(v, cols);
        for (size_t i = 0; i < rows; i++) {
            y[i] = 0;
            for (size_t j = 0; j < cols; j++)
                y[i] += m[i * cols + j] * v[j] / was;
        }
        size = length(y, rows);
        for (size_t j = 0; j < cols; j++) {
            v[j] = 0;
            for (size_t i = 0; i < rows; i++)
                v[j] += m[i * cols + j] * y[i];
        }
    }
    return size;
}

static void pissa_takes_the_largest_singular_values(void **state) {
    (void)state;
    struct train_options o = train_rig_options("lora");
    o.lora.init = TRAIN_LORA_PISSA;
    struct trainer *t = fresh(&o);
    const struct linear *all[] = {&t->net.layers[0].q, &t->net.layers[1].down, &t->net.layers[0].k};
    for (size_t k = 0; k < 3; k++) {
        const struct linear *l = all[k];
        const size_t r = l->adapter->rank;
        const float *A = net_value(&t->net, l->adapter->a), *B = net_value(&t->net, l->adapter->b);
        float *w = malloc(l->rows * l->cols * sizeof *w);
        double *rest = malloc(l->rows * l->cols * sizeof *rest), least = 1e9;
        net_fixed_rows(l->fixed, 0, l->rows, w);
        for (size_t i = 0; i < l->rows; i++)
            for (size_t j = 0; j < l->cols; j++) {
                double part = 0;
                for (size_t d = 0; d < r; d++)
                    part += (double)B[i * r + d] * (double)A[d * l->cols + j];
                rest[i * l->cols + j] = (double)w[i * l->cols + j] - (double)l->adapter->scale * part;
            }
        for (size_t d = 0; d < r; d++) {
            double a = 0, b = 0;
            for (size_t j = 0; j < l->cols; j++)
                a += (double)A[d * l->cols + j] * (double)A[d * l->cols + j];
            for (size_t i = 0; i < l->rows; i++)
                b += (double)B[i * r + d] * (double)B[i * r + d];
            const double value = sqrt(a * b) * (double)l->adapter->scale;
            least = value < least ? value : least;
        }
        /* What is left has nothing larger than what was taken. */
        assert_true(largest_value(rest, l->rows, l->cols) < least * 1.001);
        free(w);
        free(rest);
    }
    trainer_destroy(t);
}

static void pissa_is_written_as_a_difference_of_twice_the_rank(void **state) {
    (void)state;
    struct train_options o = train_rig_options("lora");
    struct quern_error err = {0};
    struct peft_adapter *a = NULL;
    o.lora.init = TRAIN_LORA_PISSA;
    struct trainer *t = fresh(&o);
    const char *dir = support_temp_path("pissa");
    if (trainer_save_output(t, dir, &err) || peft_adapter_open(dir, &a, &err))
        fail_msg("%s", err.message);
    assert_int_equal(peft_adapter_count(a), 14);
    const struct peft_module *m = peft_adapter_find(a, "model.layers.1.mlp.up_proj");
    assert_non_null(m);
    assert_int_equal(m->rank, 8);
    assert_true(fabs(m->scale - 2.0) < 1e-6);
    /* Untrained, it is no difference at all. */
    const float *A = m->a->data, *B = m->b->data;
    for (size_t i = 0; i < m->out; i++)
        for (size_t j = 0; j < m->in; j++) {
            float sum = 0;
            for (size_t d = 0; d < 4; d++)
                sum += B[i * 8 + d] * A[d * m->in + j] + B[i * 8 + 4 + d] * A[(4 + d) * m->in + j];
            assert_true(sum == 0);
        }
    peft_adapter_close(a);
    trainer_destroy(t);
}

static void adapters_are_a_function_of_the_seed(void **state) {
    (void)state;
    struct train_options o = train_rig_options("lora");
    struct trainer *a = fresh(&o), *b = fresh(&o);
    o.seed = 2;
    struct trainer *c = fresh(&o);
    const size_t bytes = a->net.n_values * sizeof(float);
    assert_memory_equal(a->net.values, b->net.values, bytes);
    assert_memory_not_equal(a->net.values, c->net.values, bytes);
    trainer_destroy(a);
    trainer_destroy(b);
    trainer_destroy(c);
}

static void dropout_drops_its_share_and_the_same_again(void **state) {
    (void)state;
    enum { N = 30001 };
    struct train_options o = train_rig_options("lora");
    struct trainer *t = fresh(&o);
    struct pass *p = &t->pass;
    float *x = malloc(3 * N * sizeof *x), *y = x + N, *again = y + N;
    size_t dropped = 0;
    p->step = 3;
    p->grain = 1;
    for (size_t i = 0; i < N; i++)
        x[i] = 1;
    op_dropout(p, y, x, N, 0.25f, 5);
    memset(again, 0, N * sizeof *again);
    op_dropout_back(p, again, x, N, 0.25f, 5);
    assert_memory_equal(y, again, N * sizeof *y);
    for (size_t i = 0; i < N; i++) {
        assert_true(y[i] == 0 || y[i] == 1.0f / 0.75f);
        dropped += y[i] == 0;
    }
    /* Five standard deviations. */
    assert_true(fabs((double)dropped - 0.25 * N) < 5 * sqrt(N * 0.25 * 0.75));
    p->step = 4;
    op_dropout(p, again, x, N, 0.25f, 5);
    assert_memory_not_equal(y, again, N * sizeof *y);
    free(x);
    trainer_destroy(t);
}

static void noise_is_for_training_and_the_same_for_all_threads(void **state) {
    (void)state;
    struct train_options o = train_rig_options("lora");
    const struct train_label_weights weights = {.prompt = 0.3f, .emphasis = 1};
    struct train_step_result r[3];
    o.lora.dropout = 0.1f;
    o.neftune_alpha = 5;
    for (int i = 0; i < 3; i++) {
        struct quern_error err;
        o.threads = i + 1;
        o.checkpointing = i == 1;
        if (i == 2)
            o.lora.dropout = o.neftune_alpha = 0;
        struct train_rig g = train_rig_open("lora", &o);
        assert_int_equal(trainer_step(g.trainer, g.rows, g.n_rows, 1, weights, &r[i], &err), QUERN_OK);
        train_rig_close(&g);
    }
    assert_true(r[0].loss == r[1].loss && r[0].grad_norm == r[1].grad_norm);
    assert_true(r[0].loss != r[2].loss);
}

static void noise_stays_within_its_bounds(void **state) {
    (void)state;
    struct train_options o = train_rig_options("lora");
    o.neftune_alpha = 5;
    struct train_rig g = train_rig_open("lora", &o);
    struct pass *p = &g.trainer->pass;
    const size_t H = 32, T = g.rows[0].count;
    float *plain = malloc(2 * T * H * sizeof *plain), *noisy = plain + T * H;
    const float bound = 5.0f / sqrtf((float)(T * H));
    double largest = 0;
    p->row = &g.rows[0];
    p->T = T;
    op_embed(p, plain);
    p->is_training = true;
    op_embed(p, noisy);
    for (size_t i = 0; i < T * H; i++)
        largest = fmax(largest, fabs((double)noisy[i] - (double)plain[i]));
    assert_true(largest <= (double)bound * 1.0001 && largest > 0.95 * (double)bound);
    free(plain);
    train_rig_close(&g);
}

/* What never trains is told of: here nothing does, since s is 0. */
static void tensors_without_gradient_are_counted_in_the_second_step(void **state) {
    (void)state;
    for (int alpha = 0; alpha < 2; alpha++) {
        struct train_options o = train_rig_options("lora");
        o.lora.alpha = (float)alpha;
        struct train_rig g = train_rig_open("lora", &o);
        for (int step = 0; step < 3; step++) {
            struct train_step_result r;
            struct quern_error err;
            assert_int_equal(trainer_step(g.trainer, g.rows, g.n_rows, 1, (struct train_label_weights){0, 1}, &r, &err),
                             QUERN_OK);
            assert_int_equal(r.n_without_gradient, alpha == 0 && step == 1 ? g.trainer->net.n_params : 0);
        }
        train_rig_close(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_without_gradient_are_counted_in_the_second_step),
        cmocka_unit_test(fresh_adapters_change_nothing),
        cmocka_unit_test(pissa_takes_the_largest_singular_values),
        cmocka_unit_test(pissa_is_written_as_a_difference_of_twice_the_rank),
        cmocka_unit_test(adapters_are_a_function_of_the_seed),
        cmocka_unit_test(dropout_drops_its_share_and_the_same_again),
        cmocka_unit_test(noise_is_for_training_and_the_same_for_all_threads),
        cmocka_unit_test(noise_stays_within_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
