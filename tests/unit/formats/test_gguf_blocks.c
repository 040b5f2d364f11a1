/* Values of ggml's blocks against gguf-py's (tests/golden/make_gguf.py), bit for bit. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/gguf.h"
#include "formats/gguf_blocks.h"

static struct gguf *open_golden(void) {
    struct gguf *g = NULL;
    struct quern_error err = {0};
    if (gguf_open(support_fixture("golden/gguf/blocks.gguf"), &g, &err))
        fail_msg("%s", err.message);
    return g;
}

static void read_source(const struct quant_source *s, size_t first, size_t n, float *out) {
    void *scratch = malloc(quant_dequantize_scratch_bytes(s, n));
    assert_non_null(scratch);
    quant_dequantize_rows(s, first, n, out, scratch);
    free(scratch);
}

static size_t check_tensor(const struct gguf *g, const struct gguf_tensor *t) {
    char name[64];
    const struct tensor *blocks = &t->tensor;
    snprintf(name, sizeof name, "%s.values", blocks->name);
    const struct gguf_tensor *values = gguf_find_tensor(g, name);
    if (!values)
        return 0;
    const size_t rows = blocks->shape[0], cols = blocks->shape[1];
    struct quant_source source;
    float *found = calloc(rows * cols, sizeof *found);
    assert_non_null(found);
    assert_true(ggml_type_source(t->type, blocks->data, rows, cols, 0, &source));
    read_source(&source, 0, rows, found);
    if (memcmp(found, values->tensor.data, rows * cols * sizeof *found) != 0)
        fail_msg("%s: values differ from gguf-py's", blocks->name);
    /* Any part of the rows alone. */
    memset(found, 0, rows * cols * sizeof *found);
    for (size_t r = 0; r < rows; r++)
        read_source(&source, r, 1, found + r * cols);
    assert_memory_equal(found, values->tensor.data, rows * cols * sizeof *found);
    free(found);
    return 1;
}

static void every_type_has_the_values_of_gguf_py(void **state) {
    (void)state;
    struct gguf *g = open_golden();
    size_t n = 0;
    for (size_t i = 0; i < gguf_tensor_count(g); i++)
        n += check_tensor(g, gguf_tensor_at(g, i));
    assert_int_equal(n, 17);
    gguf_close(g);
}

static void rows_of_interleaved_heads_come_out_in_order(void **state) {
    (void)state;
    struct gguf *g = open_golden();
    const struct gguf_tensor *t = gguf_find_tensor(g, "Q4_K");
    struct quant_source plain, turned;
    float a[4 * 256], b[4 * 256];
    assert_non_null(t);
    assert_true(ggml_type_source(t->type, t->tensor.data, 4, 256, 0, &plain));
    assert_true(ggml_type_source(t->type, t->tensor.data, 4, 256, 1, &turned));
    read_source(&plain, 0, 4, a);
    read_source(&turned, 0, 4, b);
    /* One head of four rows: the first half stands at 0 and 2. */
    static const size_t stored[4] = {0, 2, 1, 3};
    for (size_t r = 0; r < 4; r++)
        assert_memory_equal(b + r * 256, a + stored[r] * 256, 256 * sizeof *a);
    gguf_close(g);
}

static void types_nobody_reads_have_a_name_and_no_source(void **state) {
    (void)state;
    struct quant_source s;
    assert_string_equal(ggml_type_find(16)->name, "IQ2_XXS");
    assert_false(ggml_type_source(16, NULL, 1, 256, 0, &s));
    assert_false(ggml_type_source(0, NULL, 1, 256, 0, &s));
    assert_null(ggml_type_find(4));
    assert_null(ggml_type_find(UINT32_MAX));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_has_the_values_of_gguf_py),
        cmocka_unit_test(rows_of_interleaved_heads_come_out_in_order),
        cmocka_unit_test(types_nobody_reads_have_a_name_and_no_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
