/* Packed matrices on the CPU device: products against double precision within bounds that have reasons, and
 * the same bits however the work is cut. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "kernels/packed_kernels.h"
#include "quant/quantizer.h"
#include "support/support.h"

enum { ROWS = 200, COLS = 320, TOKENS = 37 };

static uint32_t seed = 1;

static float *floats(size_t n, float scale) {
    float *x = calloc(n ? n : 1, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)seed * 0x1p-31f * scale;
    }
    return x;
}

static struct device *open_device(int n_threads, const char *cpu) {
    struct device *d;
    assert_int_equal(device_cpu_create(n_threads, cpu, &d, NULL), QUERN_OK);
    return d;
}

/* A packed matrix on a device, and its values. */
struct subject {
    struct device *d;
    struct packed_matrix packed;
    struct weight w;
    size_t bytes;
    void *memory;
    float *values; /* [ROWS][COLS] */
};

static struct subject subject_of(struct device *d, const struct quant_source *s,
                                 const struct packed_survey *known, enum packed_math math) {
    struct subject t = {.d = d};
    assert_int_equal(d->ops->pack_plan(d, &t.packed, s, known, math, &t.bytes, NULL), QUERN_OK);
    t.memory = d->ops->alloc(d, t.bytes);
    assert_non_null(t.memory);
    assert_int_equal(d->ops->pack(d, &t.packed, t.memory, s, NULL), QUERN_OK);
    t.values = floats(s->rows * s->cols, 1);
    void *scratch = malloc(quant_dequantize_scratch_bytes(s, s->rows));
    assert_non_null(scratch);
    quant_dequantize_rows(s, 0, s->rows, t.values, scratch);
    free(scratch);
    return t;
}

static struct weight weight_of(const struct subject *t) {
    return (struct weight){.rows = t->packed.rows, .cols = t->packed.cols, .data = t->memory,
                           .packed = &t->packed};
}

static void subject_release(struct subject *t) {
    t->d->ops->release(t->d, t->memory, t->bytes);
    free(t->values);
}

/* y within `slack` times the sum of the products' sizes. */
static void expect_near(const float *y, const float *x, const float *w, const float *bias, size_t n,
                        double slack) {
    for (size_t t = 0; t < n; t++) {
        for (size_t r = 0; r < ROWS; r++) {
            double sum = bias ? (double)bias[r] : 0, size = fabs(sum);
            for (size_t c = 0; c < COLS; c++) {
                const double term = (double)x[t * COLS + c] * (double)w[r * COLS + c];
                sum += term;
                size += fabs(term);
            }
            assert_true(fabs((double)y[t * ROWS + r] - sum) <= slack * size);
        }
    }
}

static const enum quantizer_form forms[] = {QUANTIZER_INT8, QUANTIZER_INT4, QUANTIZER_NF4, QUANTIZER_FP8};

static void exact_products_are_those_of_the_values(void **state) {
    (void)state;
    struct device *d = open_device(2, NULL);
    float *w = floats(ROWS * COLS, 0.1f), *x = floats(TOKENS * COLS, 2), *bias = floats(ROWS, 1);
    float *y = floats(TOKENS * ROWS, 1);
    for (size_t f = 0; f < 4; f++) {
        struct quantizer q;
        assert_int_equal(quantizer_init(&q, forms[f], DTYPE_F32, w, ROWS, COLS, NULL), QUERN_OK);
        struct subject t = subject_of(d, &q.source, NULL, MATH_EXACT);
        const struct weight weight = weight_of(&t);
        d->ops->linear(d, y, x, &weight, bias, TOKENS);
        /* Chains of at most 128 sums, and then of the groups': each rounds by half a unit. */
        expect_near(y, x, t.values, bias, TOKENS, 0.5 * (128 + 8) * 0x1p-23);
        subject_release(&t);
        quantizer_release(&q);
    }
    free(w);
    free(x);
    free(bias);
    free(y);
    device_destroy(d);
}

static void fast_products_are_off_by_the_rounding_of_activations(void **state) {
    (void)state;
    struct device *d = open_device(2, NULL);
    float *w = floats(ROWS * COLS, 0.1f), *x = floats(TOKENS * COLS, 2), *y = floats(TOKENS * ROWS, 1);
    for (size_t f = 0; f < 2; f++) {
        struct quantizer q;
        assert_int_equal(quantizer_init(&q, forms[f], DTYPE_F32, w, ROWS, COLS, NULL), QUERN_OK);
        const struct packed_survey known = quantizer_survey(&q);
        struct subject t = subject_of(d, &q.source, &known, MATH_INT8);
        const struct weight weight = weight_of(&t);
        d->ops->linear(d, y, x, &weight, NULL, TOKENS);
        /* Uniform activations: half a step of 1/127 of the largest, against a mean of half of it;
         * the errors have random signs, so that a fourth of that bound is ample. */
        expect_near(y, x, t.values, NULL, TOKENS, 0.25 / 127);
        subject_release(&t);
        quantizer_release(&q);
    }
    free(w);
    free(x);
    free(y);
    device_destroy(d);
}

/* A matrix whose stored columns stand in another order. */
struct shuffled {
    struct quant_source source;
    const struct quantizer *q;
    uint32_t order[COLS];
};

static void read_shuffled(const struct quant_source *s, size_t first, size_t n, uint8_t *q, float *scale,
                          float *zero) {
    const struct quantizer *from = s->ctx[0];
    from->source.read_rows(&from->source, first, n, q, scale, zero);
}

static void columns_in_another_order_are_put_right(void **state) {
    (void)state;
    struct device *d = open_device(2, NULL);
    float *w = floats(ROWS * COLS, 0.1f), *x = floats(TOKENS * COLS, 2), *y = floats(TOKENS * ROWS, 1);
    struct quantizer q;
    struct shuffled s = {.q = &q};
    assert_int_equal(quantizer_init(&q, QUANTIZER_INT4, DTYPE_F32, w, ROWS, COLS, NULL), QUERN_OK);
    for (size_t c = 0; c < COLS; c++)
        s.order[c] = (uint32_t)((c * 77 + 5) % COLS);
    s.source = q.source;
    s.source.read_rows = read_shuffled;
    s.source.ctx[0] = &q;
    s.source.col_order = s.order;
    struct subject t = subject_of(d, &s.source, NULL, MATH_EXACT);
    const struct weight weight = weight_of(&t);
    d->ops->linear(d, y, x, &weight, NULL, TOKENS);
    expect_near(y, x, t.values, NULL, TOKENS, 0.5 * (128 + 8) * 0x1p-23);
    const int32_t ids[] = {3, 199, 0};
    float rows[3 * COLS];
    d->ops->embed(d, rows, &weight, ids, 3);
    for (size_t i = 0; i < 3; i++)
        assert_memory_equal(rows + i * COLS, t.values + (size_t)ids[i] * COLS, COLS * sizeof(float));
    subject_release(&t);
    quantizer_release(&q);
    free(w);
    free(x);
    free(y);
    device_destroy(d);
}

/* All products of a batch on one device, as bytes. */
static float *all_products(const char *cpu, int n_threads, enum quantizer_form form, enum packed_math math,
                           const float *w, const float *x, size_t at_once) {
    struct device *d = open_device(n_threads, cpu);
    struct quantizer q;
    assert_int_equal(quantizer_init(&q, form, DTYPE_F32, w, ROWS, COLS, NULL), QUERN_OK);
    const struct packed_survey known = quantizer_survey(&q);
    struct subject t = subject_of(d, &q.source, &known, math);
    const struct weight weight = weight_of(&t);
    float *y = floats(2 * TOKENS * ROWS, 1), *second = y + TOKENS * ROWS;
    for (size_t i = 0; i < TOKENS; i += at_once) {
        const size_t n = TOKENS - i < at_once ? TOKENS - i : at_once;
        const struct linear_out outs[] = {{y + i * ROWS, &weight, NULL}, {second + i * ROWS, &weight, x}};
        d->ops->linears(d, x + i * COLS, outs, 2, n);
    }
    subject_release(&t);
    quantizer_release(&q);
    device_destroy(d);
    return y;
}

static void bits_do_not_depend_on_threads_tokens_at_once_or_instructions(void **state) {
    (void)state;
    static const struct {
        const char *cpu;
        int threads;
        size_t at_once;
    } ways[] = {{"generic", 1, TOKENS}, {"auto", 1, 1}, {"auto", 3, 5}, {"auto", 2, TOKENS}, {"generic", 2, 9}};
    float *w = floats(ROWS * COLS, 0.1f), *x = floats(TOKENS * COLS, 2);
    for (size_t f = 0; f < 4; f++) {
        for (int math = 0; math < MATH_COUNT; math++) {
            const bool coded = forms[f] == QUANTIZER_NF4 || forms[f] == QUANTIZER_FP8;
            if (math != MATH_EXACT && (math == MATH_BF16) != coded)
                continue;
            float *first = NULL;
            for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
                float *y = all_products(ways[i].cpu, ways[i].threads, forms[f], (enum packed_math)math, w, x,
                                        ways[i].at_once);
                if (first) {
                    assert_memory_equal(first, y, 2 * TOKENS * ROWS * sizeof *y);
                    free(y);
                } else {
                    first = y;
                }
            }
            free(first);
        }
    }
    free(w);
    free(x);
}

static void a_product_of_no_tokens_does_nothing(void **state) {
    (void)state;
    struct device *d = open_device(2, NULL);
    float *w = floats(ROWS * COLS, 1), y = 7;
    struct quantizer q;
    assert_int_equal(quantizer_init(&q, QUANTIZER_INT8, DTYPE_F32, w, ROWS, COLS, NULL), QUERN_OK);
    struct subject t = subject_of(d, &q.source, NULL, MATH_INT8);
    const struct weight weight = weight_of(&t);
    d->ops->linear(d, &y, w, &weight, NULL, 0);
    assert_true(y == 7);
    subject_release(&t);
    quantizer_release(&q);
    free(w);
    device_destroy(d);
}

static void activations_that_are_not_finite_spoil_their_token_alone(void **state) {
    (void)state;
    struct device *d = open_device(2, NULL);
    float *w = floats(ROWS * COLS, 0.1f), *x = floats(3 * COLS, 1), *y = floats(3 * ROWS, 1);
    struct quantizer q;
    assert_int_equal(quantizer_init(&q, QUANTIZER_INT8, DTYPE_F32, w, ROWS, COLS, NULL), QUERN_OK);
    struct subject t = subject_of(d, &q.source, NULL, MATH_INT8);
    const struct weight weight = weight_of(&t);
    x[COLS + 9] = INFINITY;
    d->ops->linear(d, y, x, &weight, NULL, 3);
    for (size_t r = 0; r < ROWS; r++) {
        assert_true(isfinite(y[r]));
        assert_true(isnan(y[ROWS + r]));
        assert_true(isfinite(y[2 * ROWS + r]));
    }
    subject_release(&t);
    quantizer_release(&q);
    free(w);
    free(x);
    free(y);
    device_destroy(d);
}

static void forms_that_nobody_packs_are_refused(void **state) {
    (void)state;
    struct device *d = open_device(1, NULL);
    const struct quant_source s = {.spec = {.kind = QUANT_INT, .bits = 3, .group = 64}, .rows = 4, .cols = 64};
    const struct packed_survey known = {0};
    struct packed_matrix m;
    size_t bytes;
    struct quern_error err = {0};
    assert_int_equal(d->ops->pack_plan(d, &m, &s, &known, MATH_EXACT, &bytes, &err), QUERN_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "3 bits"));
    device_destroy(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_products_are_those_of_the_values),
        cmocka_unit_test(fast_products_are_off_by_the_rounding_of_activations),
        cmocka_unit_test(columns_in_another_order_are_put_right),
        cmocka_unit_test(bits_do_not_depend_on_threads_tokens_at_once_or_instructions),
        cmocka_unit_test(a_product_of_no_tokens_does_nothing),
        cmocka_unit_test(activations_that_are_not_finite_spoil_their_token_alone),
        cmocka_unit_test(forms_that_nobody_packs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
