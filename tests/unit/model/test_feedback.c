#include "model/quantize/feedback.h"

#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { COLS = 96, ROWS = 20, GROUP = 32, TOKENS = 400 };

static float draw(uint64_t stream, size_t i) {
    return rng_normal(11, stream, i);
}

/* Inputs in which neighbouring columns go together. */
static void make_sums(float *sums, double mix) {
    static double x[COLS];
    memset(sums, 0, COLS * COLS * sizeof *sums);
    for (size_t t = 0; t < TOKENS; t++) {
        for (size_t c = 0; c < COLS; c++)
            x[c] = (double)draw(1, t * COLS + c) * (1 + (double)(c % 7)) +
                   (c ? mix * x[c - 1] : 0);
        for (size_t i = 0; i < COLS; i++)
            for (size_t j = 0; j < COLS; j++)
                sums[i * COLS + j] += (float)(x[i] * x[j]);
    }
}

struct fixture {
    float sums[COLS * COLS], kept[COLS * COLS], importance[COLS], w[ROWS * COLS];
    float scale[ROWS * (COLS / GROUP)];
    uint32_t order[COLS];
    uint8_t q[ROWS * COLS];
    struct calibration_input in;
    struct feedback_job job;
};

static struct fixture *make(double mix) {
    struct fixture *f = calloc(1, sizeof *f);
    struct quern_error err;
    assert_non_null(f);
    make_sums(f->sums, mix);
    memcpy(f->kept, f->sums, sizeof f->kept);
    for (size_t i = 0; i < ROWS * COLS; i++)
        f->w[i] = 0.02f * draw(2, i);
    f->in = (struct calibration_input){
        .cols = COLS, .sums = f->sums, .importance = f->importance, .order = f->order};
    assert_int_equal(feedback_prepare(&f->in, NULL, &err), QUERN_OK);
    f->job = (struct feedback_job){
        .in = &f->in, .w = f->w, .rows = ROWS, .group = GROUP, .q = f->q, .scale = f->scale};
    assert_int_equal(kernels_select("generic", &f->job.kernels, &err), QUERN_OK);
    return f;
}

/* The sum over rows and tokens of (error of the outputs)^2. */
static double output_error(const struct fixture *f, const uint8_t *q) {
    double total = 0;
    for (size_t r = 0; r < ROWS; r++) {
        double e[COLS];
        for (size_t c = 0; c < COLS; c++) {
            const float s = f->scale[r * (COLS / GROUP) + c / GROUP];
            e[c] = (double)(s * ((float)q[r * COLS + c] - 8) - f->w[r * COLS + c]);
        }
        for (size_t i = 0; i < COLS; i++)
            for (size_t j = 0; j < COLS; j++)
                total += e[i] * e[j] * (double)f->kept[i * COLS + j];
    }
    return total;
}

static void nearest_codes(const struct fixture *f, uint8_t *q) {
    for (size_t i = 0; i < ROWS * COLS; i++) {
        const float s = f->scale[i / COLS * (COLS / GROUP) + i % COLS / GROUP];
        q[i] = (uint8_t)(fminf(7, fmaxf(-8, rintf(f->w[i] / s))) + 8);
    }
}

static void compensating_lowers_the_error_of_the_outputs(void **state) {
    (void)state;
    struct fixture *f = make(0.9);
    struct quern_error err;
    uint8_t nearest[ROWS * COLS];
    assert_int_equal(feedback_code(&f->job, NULL, &err), QUERN_OK);
    nearest_codes(f, nearest);
    const double compensated = output_error(f, f->q), rounded = output_error(f, nearest);
    if (!(compensated < 0.5 * rounded))
        fail_msg("%g is not much less than %g", compensated, rounded);
    free(f);
}

static void columns_that_have_nothing_in_common_are_rounded_to_the_nearest(void **state) {
    (void)state;
    struct fixture *f = make(0);
    struct quern_error err;
    uint8_t nearest[ROWS * COLS];
    /* Sums of a finite text are never quite diagonal: these are. */
    for (size_t i = 0; i < COLS * COLS; i++)
        f->sums[i] = i % (COLS + 1) ? 0 : f->kept[i];
    f->in.is_prepared = false;
    assert_int_equal(feedback_prepare(&f->in, NULL, &err), QUERN_OK);
    assert_int_equal(feedback_code(&f->job, NULL, &err), QUERN_OK);
    nearest_codes(f, nearest);
    assert_memory_equal(f->q, nearest, sizeof nearest);
    free(f);
}

/* The factor's defining property, columns in order: U (sums + damping) U^T = 1 in units of the mean
 * diagonal. */
static void the_factor_is_that_of_the_inverse(void **state) {
    (void)state;
    struct fixture *f = make(0.9);
    double mean = 0, worst = 0;
    for (size_t i = 0; i < COLS; i++)
        mean += (double)f->kept[i * COLS + i] / COLS;
    for (size_t i = 0; i < COLS; i++)
        for (size_t j = 0; j < COLS; j++) {
            double sum = 0;
            for (size_t k = i; k < COLS; k++)
                for (size_t l = j; l < COLS; l++)
                    sum += (double)f->sums[i * COLS + k] * (double)f->sums[j * COLS + l] *
                           ((double)f->kept[f->order[k] * COLS + f->order[l]] / mean +
                            (k == l ? 0.01 : 0));
            const double off = fabs(sum - (i == j ? 1 : 0));
            worst = off > worst ? off : worst;
        }
    assert_true(worst < 1e-4); /* U is rounded to float32, and the sums are ill-conditioned */
    for (size_t i = 1; i < COLS; i++)
        assert_true(f->importance[f->order[i - 1]] >= f->importance[f->order[i]]);
    free(f);
}

static void threads_change_nothing(void **state) {
    (void)state;
    struct fixture *one = make(0.9), *three = make(0.9);
    struct thread_pool *pool;
    struct quern_error err;
    assert_int_equal(thread_pool_create(3, &pool, &err), QUERN_OK);
    assert_int_equal(feedback_code(&one->job, NULL, &err), QUERN_OK);
    assert_int_equal(feedback_code(&three->job, pool, &err), QUERN_OK);
    assert_memory_equal(one->q, three->q, sizeof one->q);
    assert_memory_equal(one->scale, three->scale, sizeof one->scale);
    assert_true(one->job.loss == three->job.loss);
    thread_pool_destroy(pool);
    free(one);
    free(three);
}

static void a_text_that_never_reaches_an_input_leaves_plain_rounding(void **state) {
    (void)state;
    struct fixture *f = make(0.9);
    struct quern_error err;
    uint8_t nearest[ROWS * COLS];
    memset(f->sums, 0, sizeof f->sums);
    f->in.is_prepared = false;
    assert_int_equal(feedback_prepare(&f->in, NULL, &err), QUERN_OK);
    assert_int_equal(feedback_code(&f->job, NULL, &err), QUERN_OK);
    nearest_codes(f, nearest);
    assert_memory_equal(f->q, nearest, sizeof nearest);
    free(f);
}

static void values_that_are_not_finite_are_an_error(void **state) {
    (void)state;
    struct fixture *f = make(0.9);
    struct quern_error err;
    f->sums[5 * COLS + 5] = NAN;
    f->in.is_prepared = false;
    assert_int_not_equal(feedback_prepare(&f->in, NULL, &err), QUERN_OK);
    free(f);
}

static void a_scale_is_no_worse_than_that_of_the_largest_number(void **state) {
    (void)state;
    float x[GROUP], ones[GROUP];
    for (uint64_t k = 0; k < 50; k++) {
        float most = 0;
        double best = 0, plain = 0;
        for (size_t i = 0; i < GROUP; i++) {
            x[i] = draw(3 + k, i);
            ones[i] = 1;
            most = fmaxf(most, fabsf(x[i]));
        }
        const float s = feedback_scale(x, ones, GROUP), p = most / 7.5f;
        for (size_t i = 0; i < GROUP; i++) {
            const double a = (double)(s * fminf(7, fmaxf(-8, rintf(x[i] / s))) - x[i]);
            const double b = (double)(p * fminf(7, fmaxf(-8, rintf(x[i] / p))) - x[i]);
            best += a * a;
            plain += b * b;
        }
        assert_true(best < plain * 1.02); /* most / 7.5 is near one of the sixteen ranges */
    }
    float nothing[GROUP] = {0};
    assert_true(feedback_scale(nothing, ones, GROUP) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compensating_lowers_the_error_of_the_outputs),
        cmocka_unit_test(columns_that_have_nothing_in_common_are_rounded_to_the_nearest),
        cmocka_unit_test(the_factor_is_that_of_the_inverse),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(a_text_that_never_reaches_an_input_leaves_plain_rounding),
        cmocka_unit_test(values_that_are_not_finite_are_an_error),
        cmocka_unit_test(a_scale_is_no_worse_than_that_of_the_largest_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
