#include "quant/quantizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"
#include "support/support.h"

static struct safetensors *golden_open(void) {
    struct safetensors *st;
    assert_int_equal(safetensors_open(support_fixture("golden/quant/coded.safetensors"), &st, NULL), QUERN_OK);
    return st;
}

static const struct tensor *part(const struct safetensors *st, const char *matrix, const char *suffix) {
    char name[64];
    snprintf(name, sizeof name, "%s%s", matrix, suffix);
    const struct tensor *t = safetensors_find(st, name);
    assert_non_null(t);
    return t;
}

/* Copies, since a file aligns nothing. */
static float *floats_of(const struct tensor *t) {
    float *x = malloc(t->size_bytes + 1);
    assert_non_null(x);
    memcpy(x, t->data, t->size_bytes);
    return x;
}

static const char *const matrices[] = {"plain", "heavy", "bf16", "edge"};
enum { N_MATRICES = 4 };

static void the_dynamic_map_is_that_of_bitsandbytes(void **state) {
    (void)state;
    struct safetensors *st = golden_open();
    assert_memory_equal(part(st, "dynamic_map", "")->data, dynamic_map, sizeof dynamic_map);
    safetensors_close(st);
}

static void nf4_codes_and_absmax_are_those_of_bitsandbytes(void **state) {
    (void)state;
    struct safetensors *st = golden_open();
    for (size_t i = 0; i < N_MATRICES; i++) {
        const struct tensor *t = part(st, matrices[i], "");
        float *w = floats_of(t), *absmax = floats_of(part(st, matrices[i], ".absmax"));
        const uint8_t *codes = part(st, matrices[i], ".codes")->data;
        for (size_t b = 0; b < t->size_bytes / 4 / 64; b++) {
            uint8_t q[64];
            float most;
            quantize_nf4_block(w + 64 * b, 64, q, &most);
            assert_memory_equal(q, codes + 64 * b, 64);
            assert_memory_equal(&most, &absmax[b], sizeof most);
        }
        free(w);
        free(absmax);
    }
    safetensors_close(st);
}

static void coded_absmax_is_that_of_bitsandbytes(void **state) {
    (void)state;
    struct safetensors *st = golden_open();
    for (size_t i = 0; i < N_MATRICES; i++) {
        float *absmax = floats_of(part(st, matrices[i], ".absmax"));
        float *offset = floats_of(part(st, matrices[i], ".offset"));
        const struct tensor *codes = part(st, matrices[i], ".nested_codes");
        const struct tensor *nested = part(st, matrices[i], ".nested_absmax");
        const size_t n = codes->size_bytes;
        uint8_t *found = calloc(n, 1);
        float *found_nested = calloc(n, sizeof *found_nested);
        assert_non_null(found);
        assert_non_null(found_nested);
        quantize_absmax(absmax, n, *offset, found, found_nested);
        assert_memory_equal(found, codes->data, n);
        assert_memory_equal(found_nested, nested->data, nested->size_bytes);
        /* torch adds in float32, in an order that depends on its threads: a few units in the last
         * place of the mean of a few hundred numbers. */
        assert_true(fabsf(absmax_offset(absmax, n) - *offset) <= 4 * 0x1p-24f * *offset);
        free(found);
        free(found_nested);
        free(absmax);
        free(offset);
    }
    safetensors_close(st);
}

static void nf4_values_are_those_of_bitsandbytes(void **state) {
    (void)state;
    struct safetensors *st = golden_open();
    for (size_t i = 0; i < N_MATRICES; i++) {
        const struct tensor *t = part(st, matrices[i], "");
        float *offset = floats_of(part(st, matrices[i], ".offset"));
        float *values = floats_of(part(st, matrices[i], ".values"));
        const size_t n = t->shape[0] * t->shape[1];
        struct quantizer q;
        assert_int_equal(quantizer_init(&q, QUANTIZER_NF4, DTYPE_F32, t->data, t->shape[0], t->shape[1], NULL),
                         QUERN_OK);
        float *y = calloc(n, sizeof *y);
        void *scratch = calloc(1, quant_dequantize_scratch_bytes(&q.source, t->shape[0]));
        assert_non_null(y);
        assert_non_null(scratch);
        quant_dequantize_rows(&q.source, 0, t->shape[0], y, scratch);
        /* Equal where the offset is; else off by what the offset is. */
        for (size_t k = 0; k < n; k++)
            assert_true(fabsf(y[k] - values[k]) <= 8 * 0x1p-24f * (*offset + fabsf(values[k])));
        free(y);
        free(scratch);
        free(offset);
        free(values);
        quantizer_release(&q);
    }
    safetensors_close(st);
}

static void e4m3_is_rounded_as_torch_does(void **state) {
    (void)state;
    struct safetensors *st = golden_open();
    const struct tensor *t = part(st, "e4m3", ".x");
    float *x = floats_of(t);
    const uint8_t *codes = part(st, "e4m3", ".codes")->data;
    for (size_t i = 0; i < t->size_bytes / 4; i++)
        assert_int_equal(f32_to_e4m3(x[i]), codes[i]);
    free(x);
    safetensors_close(st);
}

static void e4m3_codes_survive_a_round_trip_and_large_numbers_saturate(void **state) {
    (void)state;
    for (unsigned e = 0; e < 256; e++) {
        if ((e & 0x7f) == 0x7f)
            assert_true(isnan(e4m3_to_f32((uint8_t)e)));
        else
            assert_int_equal(f32_to_e4m3(e4m3_to_f32((uint8_t)e)), e);
    }
    assert_int_equal(f32_to_e4m3(1e9f), 0x7e);
    assert_int_equal(f32_to_e4m3(-INFINITY), 0xfe);
    assert_int_equal(f32_to_e4m3(NAN) & 0x7f, 0x7f);
}

/* ---- our own forms ------------------------------------------------------------------------- */

static uint32_t seed;

static float normal(void) {
    float sum = 0; /* of twelve, nearly normal */
    for (int i = 0; i < 12; i++) {
        seed = seed * 1664525u + 1013904223u;
        sum += (float)(seed >> 8) * 0x1p-24f;
    }
    return sum - 6.0f;
}

static void no_int8_code_is_further_off_than_half_a_step(void **state) {
    (void)state;
    float x[128], scale;
    uint8_t q[128];
    seed = 1;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < 128; i++)
            x[i] = normal() * ldexpf(1.0f, round % 40 - 30);
        quantize_int8_group(x, 128, q, &scale);
        for (size_t i = 0; i < 128; i++) {
            /* The product with the inverse is rounded, which may move a number from one side of a
             * middle to the other: 127 * 2^-23 of a step. */
            assert_true(fabsf(x[i] - scale * ((float)q[i] - 128.0f)) <= scale * 0.50002f);
            assert_in_range(q[i], 1, 255);
        }
    }
}

static double int4_error(size_t n_groups, double *size) {
    float x[64], scale, zero;
    uint8_t q[64];
    double error = 0;
    *size = 0;
    for (size_t g = 0; g < n_groups; g++) {
        for (size_t i = 0; i < 64; i++)
            x[i] = normal() * 0.02f;
        quantize_int4_group(x, 64, q, &scale, &zero);
        assert_true(zero >= 0 && zero <= 15 && zero == floorf(zero));
        assert_true(bf16_to_f32(f32_to_bf16(scale)) == scale);
        for (size_t i = 0; i < 64; i++) {
            const double off = (double)x[i] - (double)(scale * ((float)q[i] - zero));
            assert_in_range(q[i], 0, 15);
            error += off * off;
            *size += (double)x[i] * (double)x[i];
        }
    }
    return error;
}

static void int4_of_normal_numbers_is_off_by_nine_percent(void **state) {
    (void)state;
    double size;
    seed = 2;
    const double error = int4_error(2000, &size);
    /* 0.0871 by a wider search in NumPy; plain rounding to the range of a group gives 0.099. */
    assert_true(sqrt(error / size) < 0.0885);
}

static void groups_of_zeros_stay_zero(void **state) {
    (void)state;
    const float x[64] = {0};
    uint8_t q[64];
    float scale, zero;
    quantize_int4_group(x, 64, q, &scale, &zero);
    for (size_t i = 0; i < 64; i++)
        assert_true(scale * ((float)q[i] - zero) == 0);
    quantize_int8_group(x, 64, q, &scale);
    for (size_t i = 0; i < 64; i++)
        assert_true(scale * ((float)q[i] - 128.0f) == 0);
}

static void numbers_that_are_not_finite_give_codes_in_range(void **state) {
    (void)state;
    const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-45f};
    float x[64], scale, zero;
    uint8_t q[64];
    for (size_t k = 0; k < sizeof odd / sizeof *odd; k++) {
        for (size_t i = 0; i < 64; i++)
            x[i] = i % 7 ? 0.5f : odd[k];
        quantize_int4_group(x, 64, q, &scale, &zero);
        for (size_t i = 0; i < 64; i++)
            assert_in_range(q[i], 0, 15);
        quantize_int8_group(x, 64, q, &scale);
        quantize_nf4_block(x, 64, q, &scale);
        for (size_t i = 0; i < 64; i++)
            assert_in_range(q[i], 0, 15);
    }
}

static void fp8_scales_are_those_of_blocks_however_rows_are_read(void **state) {
    (void)state;
    enum { ROWS = 300, COLS = 200, GROUPS = 2 };
    static float w[ROWS * COLS];
    static uint8_t all[ROWS * COLS], one[COLS];
    static float scales[ROWS * GROUPS], row_scale[GROUPS];
    seed = 3;
    for (size_t i = 0; i < ROWS * COLS; i++)
        w[i] = normal();
    struct quantizer q;
    assert_int_equal(quantizer_init(&q, QUANTIZER_FP8, DTYPE_F32, w, ROWS, COLS, NULL), QUERN_OK);
    q.source.read_rows(&q.source, 0, ROWS, all, scales, NULL);
    for (size_t r = 0; r < ROWS; r++) {
        q.source.read_rows(&q.source, r, 1, one, row_scale, NULL);
        assert_memory_equal(one, all + r * COLS, COLS);
        assert_memory_equal(row_scale, scales + r * GROUPS, sizeof row_scale);
        assert_true(scales[r * GROUPS] == scales[r / 128 * 128 * GROUPS]);
    }
    quantizer_release(&q);
}

static void impossible_sizes_are_refused(void **state) {
    (void)state;
    struct quantizer q;
    struct quern_error err = {0};
    assert_int_equal(quantizer_init(&q, QUANTIZER_INT8, DTYPE_F32, NULL, SIZE_MAX / 2, 16, &err),
                     QUERN_ERR_LIMIT);
    assert_non_null(strstr(err.message, "too large"));
    quantizer_release(&q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_dynamic_map_is_that_of_bitsandbytes),
        cmocka_unit_test(nf4_codes_and_absmax_are_those_of_bitsandbytes),
        cmocka_unit_test(coded_absmax_is_that_of_bitsandbytes),
        cmocka_unit_test(nf4_values_are_those_of_bitsandbytes),
        cmocka_unit_test(e4m3_is_rounded_as_torch_does),
        cmocka_unit_test(e4m3_codes_survive_a_round_trip_and_large_numbers_saturate),
        cmocka_unit_test(no_int8_code_is_further_off_than_half_a_step),
        cmocka_unit_test(int4_of_normal_numbers_is_off_by_nine_percent),
        cmocka_unit_test(groups_of_zeros_stay_zero),
        cmocka_unit_test(numbers_that_are_not_finite_give_codes_in_range),
        cmocka_unit_test(fp8_scales_are_those_of_blocks_however_rows_are_read),
        cmocka_unit_test(impossible_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
