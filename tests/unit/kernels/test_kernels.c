#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

#include "support/support.h"

static void generic_comes_first_and_names_are_unique(void **state) {
    (void)state;
    size_t n;
    const struct kernels *const *tables = kernels_available(&n);
    assert_true(n >= 1);
    assert_string_equal(tables[0]->name, "generic");
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(tables[i]->name, tables[j]->name);
}

static void every_table_is_complete(void **state) {
    (void)state;
    size_t n;
    const struct kernels *const *tables = kernels_available(&n);
    for (size_t i = 0; i < n; i++) {
        const struct kernels *k = tables[i];
        for (int t = 0; t < DTYPE_COUNT; t++) {
            assert_int_equal(k->matmul[t] != NULL, dtype_is_weight((enum dtype)t));
            assert_int_equal(k->to_f32[t] != NULL, dtype_is_weight((enum dtype)t));
        }
        for (int t = 0; t < KV_TYPE_COUNT; t++)
            assert_true(k->attention[t] != NULL);
        assert_true(k->rms_norm && k->rope && k->silu_mul && k->add && k->axpy &&
                    k->softmax);
    }
}

static void auto_and_null_select_the_best(void **state) {
    (void)state;
    size_t n;
    const struct kernels *const *tables = kernels_available(&n);
    const struct kernels *k = NULL;
    assert_int_equal(kernels_select(NULL, &k, NULL), QUERN_OK);
    assert_ptr_equal(k, tables[n - 1]);
    assert_int_equal(kernels_select("auto", &k, NULL), QUERN_OK);
    assert_ptr_equal(k, tables[n - 1]);
    assert_int_equal(kernels_select("generic", &k, NULL), QUERN_OK);
    assert_ptr_equal(k, tables[0]);
}

static void an_unknown_name_is_an_error_that_lists_the_usable_ones(void **state) {
    (void)state;
    const struct kernels *k = NULL;
    struct quern_error err = {QUERN_OK, ""};
    assert_int_equal(kernels_select("sse9", &k, &err), QUERN_ERR_UNSUPPORTED);
    assert_null(k);
    assert_non_null(strstr(err.message, "'sse9'"));
    assert_non_null(strstr(err.message, "auto generic"));
    assert_int_equal(kernels_select("", &k, NULL), QUERN_ERR_UNSUPPORTED);
}

/* The canonical sum written out: independent of the code under test. */
static float canonical_dot(const float *x, const float *w, size_t n) {
    float s[16] = {0};
    for (size_t k = 0; k < n; k++)
        s[k % 16] = fmaf(x[k], w[k], s[k % 16]);
    for (size_t i = 0; i < 8; i++)
        s[i] = s[i] + s[i + 8];
    for (size_t i = 0; i < 4; i++)
        s[i] = s[i] + s[i + 4];
    for (size_t i = 0; i < 2; i++)
        s[i] = s[i] + s[i + 2];
    return s[0] + s[1];
}

enum { COLS = 203, ROWS = 5, TOKENS = 3 };

static void fill(float *x, size_t n, uint32_t state) {
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)state * 0x1p-31f;
    }
}

static void matmul_sums_in_the_canonical_order(void **state) {
    (void)state;
    static float x[TOKENS * COLS], w[ROWS * COLS], bias[ROWS], y[TOKENS * ROWS];
    fill(x, TOKENS * COLS, 1);
    fill(w, ROWS * COLS, 2);
    fill(bias, ROWS, 3);
    size_t n;
    const struct kernels *const *tables = kernels_available(&n);
    for (size_t i = 0; i < n; i++) {
        struct matmul_args a = {.y = y, .x = x, .w = w, .bias = bias, .y_stride = ROWS, .x_stride = COLS,
                                .n_tokens = TOKENS, .n_cols = COLS, .row_begin = 0, .row_end = ROWS};
        tables[i]->matmul[DTYPE_F32](&a);
        for (size_t t = 0; t < TOKENS; t++) {
            for (size_t r = 0; r < ROWS; r++) {
                float want = canonical_dot(x + t * COLS, w + r * COLS, COLS) + bias[r];
                assert_memory_equal(&y[t * ROWS + r], &want, sizeof want);
            }
        }
    }
}

/* A token's result is the same bits whichever tokens and rows share the call. */
static void matmul_results_do_not_depend_on_the_tile(void **state) {
    (void)state;
    enum { MANY = 37, WIDE_ROWS = 61 };
    static float x[MANY * COLS], all[MANY * WIDE_ROWS], one[WIDE_ROWS];
    static uint16_t w[WIDE_ROWS * COLS];
    fill(x, MANY * COLS, 4);
    for (size_t i = 0; i < WIDE_ROWS * COLS; i++)
        w[i] = f32_to_bf16(x[i % (MANY * COLS)] * 0.37f);
    size_t n;
    const struct kernels *const *tables = kernels_available(&n);
    for (size_t i = 0; i < n; i++) {
        struct matmul_args a = {.y = all, .x = x, .w = w, .y_stride = WIDE_ROWS, .x_stride = COLS,
                                .n_tokens = MANY, .n_cols = COLS, .row_begin = 0, .row_end = WIDE_ROWS};
        tables[i]->matmul[DTYPE_BF16](&a);
        for (size_t t = 0; t < MANY; t++) {
            for (size_t r = 0; r < WIDE_ROWS; r += 1 + t % 7) {
                struct matmul_args b = a;
                b.y = one;
                b.x = x + t * COLS;
                b.n_tokens = 1;
                b.row_begin = r;
                b.row_end = r + 1 + t % 7 < WIDE_ROWS ? r + 1 + t % 7 : WIDE_ROWS;
                tables[i]->matmul[DTYPE_BF16](&b);
            }
            assert_memory_equal(one, all + t * WIDE_ROWS, sizeof one);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generic_comes_first_and_names_are_unique),
        cmocka_unit_test(every_table_is_complete),
        cmocka_unit_test(auto_and_null_select_the_best),
        cmocka_unit_test(an_unknown_name_is_an_error_that_lists_the_usable_ones),
        cmocka_unit_test(matmul_sums_in_the_canonical_order),
        cmocka_unit_test(matmul_results_do_not_depend_on_the_tile),
    };
    return cmocka_run_group_tests_name("kernels/kernels", tests, NULL, NULL);
}
