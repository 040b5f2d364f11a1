/* Products whose activations are rounded to bfloat16, shared out over a pool: the same bytes as the
 * reference kernel gives for one token and one row at a time. */
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "kernels/generic/generic.h"
#include "kernels/kernels.h"
#include "support/support.h"

static struct device *open_device(int n_threads) {
    struct device *d = NULL;
    assert_int_equal(device_cpu_create(n_threads, NULL, &d, NULL), QUERN_OK);
    return d;
}

static float *floats(size_t n, uint32_t seed) {
    float *x = calloc(n ? n : 1, sizeof *x);
    uint32_t s = seed * 2654435761u + 1;
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)s * 0x1p-31f;
    }
    return x;
}

static void *round_to_bf16(const float *x, size_t n) {
    uint16_t *h = calloc(n ? n : 1, sizeof *h);
    assert_non_null(h);
    dtype_from_f32(DTYPE_BF16, x, h, n);
    return h;
}

static struct weight make_weight(struct device *d, size_t rows, size_t cols, uint32_t seed) {
    float *values = floats(rows * cols, seed);
    struct weight w = {.dtype = DTYPE_BF16, .rows = rows, .cols = cols,
                       .data = round_to_bf16(values, rows * cols)};
    free(values);
    assert_int_equal(d->ops->use_bf16_math(d, &w, NULL), QUERN_OK);
    assert_int_equal(weight_math(&w), MATH_BF16);
    return w;
}

static void free_weight(struct weight *w) {
    free((void *)(uintptr_t)w->data);
}

/* By plain C, token after token. */
static float *expected_of(const float *x, const struct weight *w, const float *bias, size_t n) {
    size_t n_tables, padded = (w->cols + 1) / 2 * 2;
    const struct kernels *const *tables = kernels_available(&n_tables);
    const bool tiles = tables[n_tables - 1]->bf16_by_tiles;
    matmul_bf16_fn *reference = tiles ? generic_matmul_bf16_tiles : tables[0]->matmul_bf16;
    float *y = calloc(n * w->rows, sizeof *y), *row = calloc(padded, sizeof *row);
    void *scratch = malloc(MATMUL_BF16_SCRATCH_BYTES);
    assert_true(y && row && scratch);
    for (size_t t = 0; t < n; t++) {
        memcpy(row, x + t * w->cols, w->cols * sizeof *row);
        uint16_t *rounded = round_to_bf16(row, padded);
        const struct matmul_bf16_args args = {
            .y = y + t * w->rows, .x = rounded, .w = w->data, .bias = bias, .y_stride = w->rows,
            .x_stride = padded, .n_tokens = 1, .n_cols = w->cols, .row_end = w->rows, .scratch = scratch};
        reference(&args);
        free(rounded);
    }
    free(scratch);
    free(row);
    return y;
}

static void every_shape_and_number_of_threads_gives_the_reference_bytes(void **state) {
    (void)state;
    static const struct {
        size_t n, rows, cols;
    } shapes[] = {{1, 300, 256}, {1, 1, 5}, {2, 50, 33}, {9, 130, 64}, {40, 70, 100}, {130, 17, 100},
                  {33, 257, 128}, {520, 20, 31}, {1030, 65, 16}};
    for (int threads = 1; threads <= 3; threads++) {
        struct device *d = open_device(threads);
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            const size_t n = shapes[s].n, rows = shapes[s].rows, cols = shapes[s].cols;
            struct weight w = make_weight(d, rows, cols, 4);
            float *x = floats(n * cols, 1), *bias = floats(rows, 2), *y = floats(n * rows, 3);
            float *expected = expected_of(x, &w, bias, n);
            d->ops->linear(d, y, x, &w, bias, n);
            assert_memory_equal(y, expected, n * rows * sizeof *y);
            free(expected);
            free(x);
            free(bias);
            free(y);
            free_weight(&w);
        }
        device_destroy(d);
    }
}

static void matrices_that_share_x_give_what_each_gives_alone(void **state) {
    (void)state;
    enum { COLS = 96, N = 37 };
    static const size_t rows[] = {64, 16, 200};
    struct device *d = open_device(2);
    float *x = floats(N * COLS, 7), *bias = floats(200, 8), *y[3], *expected[3];
    struct weight w[3];
    struct linear_out outs[3];
    for (size_t i = 0; i < 3; i++) {
        w[i] = make_weight(d, rows[i], COLS, 10 + (uint32_t)i);
        y[i] = floats(N * rows[i], 3);
        expected[i] = expected_of(x, &w[i], i == 2 ? bias : NULL, N);
        outs[i] = (struct linear_out){y[i], &w[i], i == 2 ? bias : NULL};
    }
    d->ops->linears(d, x, outs, 3, N);
    for (size_t i = 0; i < 3; i++) {
        assert_memory_equal(y[i], expected[i], N * rows[i] * sizeof(float));
        free(y[i]);
        free(expected[i]);
        free_weight(&w[i]);
    }
    free(x);
    free(bias);
    device_destroy(d);
}

static void exact_and_rounding_matrices_stand_side_by_side(void **state) {
    (void)state;
    enum { COLS = 40, ROWS = 70, N = 3 };
    struct device *d = open_device(2);
    float *x = floats(N * COLS, 7), *y[3], *alone = floats(N * ROWS, 1);
    struct weight w[3];
    struct linear_out outs[3];
    for (size_t i = 0; i < 3; i++) {
        w[i] = make_weight(d, ROWS, COLS, 10 + (uint32_t)i);
        y[i] = floats(N * ROWS, 3);
        outs[i] = (struct linear_out){y[i], &w[i], NULL};
    }
    w[1].math = MATH_EXACT;
    d->ops->linears(d, x, outs, 3, N);
    for (size_t i = 0; i < 3; i++) {
        d->ops->linear(d, alone, x, &w[i], NULL, N);
        assert_memory_equal(y[i], alone, N * ROWS * sizeof(float));
        free(y[i]);
        free_weight(&w[i]);
    }
    free(x);
    free(alone);
    device_destroy(d);
}

static void nothing_is_done_for_no_tokens_or_rows(void **state) {
    (void)state;
    struct device *d = open_device(2);
    struct weight w = make_weight(d, 1, 1, 1), none = w;
    float x = 1.0f, y = 7.0f;
    none.rows = 0;
    d->ops->linear(d, &y, &x, &w, NULL, 0);
    d->ops->linear(d, &y, &x, &none, NULL, 1);
    assert_true(y == 7.0f);
    free_weight(&w);
    device_destroy(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_and_number_of_threads_gives_the_reference_bytes),
        cmocka_unit_test(matrices_that_share_x_give_what_each_gives_alone),
        cmocka_unit_test(exact_and_rounding_matrices_stand_side_by_side),
        cmocka_unit_test(nothing_is_done_for_no_tokens_or_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
