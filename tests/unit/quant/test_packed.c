#include "quant/packed.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

enum { ROWS = 150, COLS_MAX = 520 };

/* Codes, scales and zeros by position. */
struct made {
    struct quant_source source;
    float code[256];
    uint32_t order[COLS_MAX];
    float step, zero_step;
};

static void read_rows(const struct quant_source *s, size_t first, size_t n, uint8_t *q, float *scale,
                      float *zero) {
    const struct made *m = s->ctx[0];
    const size_t groups = quant_n_groups(&s->spec, s->cols);
    for (size_t r = 0; r < n; r++) {
        for (size_t g = 0; g < groups; g++) {
            scale[r * groups + g] = (float)(1 + (first + r) * groups + g) * m->step;
            if (s->spec.kind != QUANT_CODE)
                zero[r * groups + g] = 3.0f + (float)((first + r + g) % 5) * m->zero_step;
        }
        for (size_t c = 0; c < s->cols; c++)
            q[r * s->cols + c] = (uint8_t)(((first + r) * 31 + c * 7) % (1u << s->spec.bits));
    }
}

static void made_init(struct made *m, enum quant_kind kind, int bits, size_t cols, size_t group) {
    memset(m, 0, sizeof *m);
    m->source = (struct quant_source){.spec = {.kind = kind, .bits = bits, .group = group},
                                      .rows = ROWS, .cols = cols, .read_rows = read_rows, .ctx = {m}};
    for (size_t i = 0; i < 256; i++)
        m->code[i] = (float)i * 0.37f - 20.0f;
    if (kind == QUANT_CODE)
        m->source.spec.code = m->code;
    m->step = 0x1p-8f;
    m->zero_step = 1;
    for (size_t i = 0; i < cols; i++)
        m->order[i] = (uint32_t)(cols - 1 - i);
}

/* In pieces, as threads do it; the data are the caller's. */
static struct packed_matrix pack(const struct quant_source *s, unsigned char **data) {
    struct packed_survey survey = {0};
    struct packed_matrix m;
    size_t bytes;
    void *scratch = malloc(packed_scratch_bytes(s, 128));
    assert_non_null(scratch);
    for (size_t r = 0; r < s->rows; r += 50) {
        struct packed_survey part = {0};
        packed_survey_rows(&part, s, r, s->rows - r < 50 ? s->rows - r : 50, scratch);
        packed_survey_join(&survey, &part);
    }
    assert_int_equal(packed_plan(&m, s, &survey, MATH_EXACT, &bytes, NULL), QUERN_OK);
    *data = calloc(1, bytes);
    assert_non_null(*data);
    for (size_t r = 0; r < s->rows; r += 128)
        packed_write_rows(&m, *data, s, r, s->rows - r < 128 ? s->rows - r : 128, scratch);
    m.data = *data;
    free(scratch);
    return m;
}

static void expect_values_survive(const struct quant_source *s) {
    unsigned char *data;
    const struct packed_matrix m = pack(s, &data);
    float *expected = calloc(ROWS * s->cols, sizeof *expected), found[COLS_MAX];
    void *scratch = malloc(quant_dequantize_scratch_bytes(s, ROWS));
    assert_non_null(expected);
    assert_non_null(scratch);
    quant_dequantize_rows(s, 0, ROWS, expected, scratch);
    for (size_t r = 0; r < ROWS; r++) {
        packed_row(&m, r, found);
        assert_memory_equal(found, expected + r * s->cols, s->cols * sizeof *found);
    }
    free(scratch);
    free(expected);
    free(data);
}

static void exact_values_survive_packing_in_every_form(void **state) {
    (void)state;
    static const size_t cols[] = {1, 7, 64, 100, 128, 130, 257, 520};
    static const size_t groups[] = {8, 32, 64, 100, 128, 384, 512, 1024};
    for (int kind = QUANT_INT; kind <= QUANT_CODE; kind++) {
        for (int bits = 4; bits <= 8; bits += 4) {
            for (size_t c = 0; c < 8; c++) {
                for (size_t g = 0; g < 8; g++) {
                    struct made m;
                    made_init(&m, (enum quant_kind)kind, bits, cols[c], groups[g]);
                    m.source.col_order = (c + g) % 3 ? NULL : m.order;
                    m.step = g % 2 ? 0x1.123456p-8f : 0x1p-8f;
                    m.zero_step = g % 3 ? 1 : 0;
                    expect_values_survive(&m.source);
                }
            }
        }
    }
}

static void numbers_take_the_narrowest_type_that_holds_them(void **state) {
    (void)state;
    static const struct {
        float step;
        enum dtype type;
    } cases[] = {{0x1p-8f, DTYPE_F16}, {0x1p-60f, DTYPE_BF16}, {0x1.234567p-3f, DTYPE_F32}};
    for (size_t i = 0; i < 3; i++) {
        struct made m;
        unsigned char *data;
        made_init(&m, QUANT_INT, 4, 64, 64);
        m.step = cases[i].step;
        m.source.rows = 64;
        const struct packed_matrix p = pack(&m.source, &data);
        assert_int_equal(p.number, cases[i].type);
        free(data);
    }
}

static void equal_zeros_take_no_memory(void **state) {
    (void)state;
    struct made m;
    unsigned char *data;
    made_init(&m, QUANT_INT, 4, 128, 64);
    m.zero_step = 0;
    const struct packed_matrix p = pack(&m.source, &data);
    assert_int_equal(p.zeros, ZEROS_CONSTANT);
    assert_int_equal(p.zero, 3);
    assert_int_equal(p.zeros_bytes, 0);
    /* 64 rows: scales of two bytes and 32 bytes of codes, twice. */
    assert_int_equal(p.panel_bytes, 64 * (2 * 2 + 2 * 32));
    free(data);
}

static void rows_that_fill_up_a_panel_are_zero(void **state) {
    (void)state;
    struct made m;
    unsigned char *data;
    made_init(&m, QUANT_INT, 8, 40, 40);
    const struct packed_matrix p = pack(&m.source, &data);
    float y[40];
    packed_row(&p, ROWS + 5, y); /* 150 rows are three panels, the last of them filled up from 22 to 64 */
    for (size_t c = 0; c < 40; c++)
        assert_true(y[c] == 0);
    free(data);
}

static void groups_too_long_are_divided_and_odd_ones_refused(void **state) {
    (void)state;
    static const struct {
        size_t cols, group, expected; /* 0: refused */
    } cases[] = {{4096, 4096, 128}, {4096, 1024, 128}, {4096, 256, 128}, {1000, 250, 250},
                 {1200, 600, 200},  {100, 128, 100},   {2048, 509, 0},   {128, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct quant_source s = {.spec = {.kind = QUANT_INT, .bits = 4, .group = cases[i].group},
                                       .rows = 8, .cols = cases[i].cols};
        const struct packed_survey survey = {0};
        struct packed_matrix m;
        size_t bytes;
        struct quern_error err = {0};
        const enum quern_status st = packed_plan(&m, &s, &survey, MATH_EXACT, &bytes, &err);
        assert_int_equal(st, cases[i].expected ? QUERN_OK : QUERN_ERR_UNSUPPORTED);
        if (!st)
            assert_int_equal(m.group, cases[i].expected);
        else
            assert_non_null(strstr(err.message, "groups of"));
    }
}

static void sizes_that_cannot_be_addressed_are_refused(void **state) {
    (void)state;
    const struct quant_source s = {.spec = {.kind = QUANT_INT, .bits = 4, .group = 64},
                                   .rows = SIZE_MAX / 64, .cols = 64};
    const struct packed_survey survey = {0};
    struct packed_matrix m;
    size_t bytes;
    assert_int_equal(packed_plan(&m, &s, &survey, MATH_EXACT, &bytes, NULL), QUERN_ERR_LIMIT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_values_survive_packing_in_every_form),
        cmocka_unit_test(numbers_take_the_narrowest_type_that_holds_them),
        cmocka_unit_test(equal_zeros_take_no_memory),
        cmocka_unit_test(rows_that_fill_up_a_panel_are_zero),
        cmocka_unit_test(groups_too_long_are_divided_and_odd_ones_refused),
        cmocka_unit_test(sizes_that_cannot_be_addressed_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
