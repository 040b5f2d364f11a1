#include "formats/quantized_linear.h"

#include "formats/hf_config.h"
#include "formats/safetensors_writer.h"
#include "support/support.h"
#include "text/json.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the golden cases (tests/golden/make_quantized.py) ------------------------- */

struct golden {
    const char *name, *base, *fnv1a;
    size_t rows, cols;
    uint32_t first[4];
    struct hf_config config;
};

static json_t *load_cases(void) {
    json_t *cases = NULL;
    struct quern_error err;
    if (json_load_path(support_fixture("golden/quantized/cases.json"), 1 << 20, &cases, &err))
        fail_msg("%s", err.message);
    return cases;
}

static struct hf_config config_with(const json_t *quantization) {
    struct hf_config c;
    struct quern_error err;
    struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_puts(&text, "{\"architectures\": [\"Qwen3ForCausalLM\"], \"quantization_config\": ");
    json_write_python(quantization, -1, &text);
    buffer_putc(&text, '}');
    if (hf_config_parse(text.data, text.len, "config.json", &c, &err))
        fail_msg("%s", err.message);
    buffer_release(&text);
    return c;
}

static struct golden golden_at(const json_t *cases, size_t i) {
    const json_t *c = json_array_get(cases, i), *first = json_object_get(c, "first");
    struct golden g = {
        .name = json_string_value(json_object_get(c, "name")),
        .base = json_string_value(json_object_get(c, "base")),
        .fnv1a = json_string_value(json_object_get(c, "fnv1a")),
        .rows = (size_t)json_integer_value(json_object_get(c, "rows")),
        .cols = (size_t)json_integer_value(json_object_get(c, "cols")),
        .config = config_with(json_object_get(c, "quantization_config")),
    };
    for (size_t k = 0; k < 4; k++)
        g.first[k] = (uint32_t)strtoul(json_string_value(json_array_get(first, k)), NULL, 16);
    return g;
}

static struct checkpoint *open_golden(const struct golden *g) {
    char path[128];
    struct checkpoint *c = NULL;
    struct quern_error err;
    snprintf(path, sizeof path, "golden/quantized/%s.safetensors", g->name);
    if (checkpoint_open(support_fixture(path), &c, &err))
        fail_msg("%s", err.message);
    return c;
}

static struct quantized_linear *open_linear(const struct golden *g, const struct checkpoint *c,
                                            struct arena *arena) {
    struct quantized_linear *l = NULL;
    struct quern_error err;
    if (quantized_linear_open(&g->config.quant, c, g->base, g->rows, g->cols, arena, &l, &err))
        fail_msg("%s: %s", g->name, err.message);
    if (!l)
        fail_msg("%s: not found", g->name);
    return l;
}

/* All rows, `step` at a time. */
static float *all_values(const struct quantized_linear *l, size_t step) {
    const struct quant_source *s = &l->source;
    float *y = malloc(s->rows * s->cols * sizeof *y);
    void *scratch = malloc(quant_dequantize_scratch_bytes(s, step));
    assert_non_null(y);
    assert_non_null(scratch);
    for (size_t r = 0; r < s->rows; r += step) {
        const size_t n = s->rows - r < step ? s->rows - r : step;
        quant_dequantize_rows(s, r, n, y + r * s->cols, scratch);
    }
    free(scratch);
    return y;
}

static void fnv1a(const void *data, size_t n, char out[17]) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    snprintf(out, 17, "%016llx", (unsigned long long)hash);
}

static void every_form_gives_its_values_bit_for_bit(void **state) {
    (void)state;
    json_t *cases = load_cases();
    assert_true(json_array_size(cases) >= 30);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        struct golden g = golden_at(cases, i);
        struct checkpoint *c = open_golden(&g);
        struct arena arena = ARENA_INIT(0);
        struct quantized_linear *l = open_linear(&g, c, &arena);
        static const size_t steps[] = {1000, 64, 5, 1};
        for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
            float *y = all_values(l, steps[k]);
            char digest[17];
            fnv1a(y, g.rows * g.cols * sizeof *y, digest);
            if (strcmp(digest, g.fnv1a) != 0) {
                for (size_t m = 0; m < 4; m++) {
                    uint32_t bits;
                    memcpy(&bits, y + m, sizeof bits);
                    print_error("%zu: %08x, expected %08x\n", m, bits, g.first[m]);
                }
                fail_msg("%s in steps of %zu: other values", g.name, steps[k]);
            }
            free(y);
        }
        assert_int_equal(l->n_parts, checkpoint_count(c));
        arena_release(&arena);
        checkpoint_close(c);
    }
    json_decref(cases);
}

/* What struct quant_source promises the packers. */
static void codes_and_zero_points_are_in_range(void **state) {
    (void)state;
    json_t *cases = load_cases();
    for (size_t i = 0; i < json_array_size(cases); i++) {
        struct golden g = golden_at(cases, i);
        struct checkpoint *c = open_golden(&g);
        struct arena arena = ARENA_INIT(0);
        const struct quant_source *s = &open_linear(&g, c, &arena)->source;
        const size_t groups = quant_n_groups(&s->spec, s->cols);
        uint8_t *q = malloc(s->rows * s->cols);
        float *scale = malloc(s->rows * groups * sizeof *scale);
        float *zero = calloc(s->rows * groups, sizeof *zero);
        assert_true(q && scale && zero && s->spec.group > 0);
        s->read_rows(s, 0, s->rows, q, scale, zero);
        for (size_t k = 0; k < s->rows * s->cols; k++)
            assert_true(q[k] < 1 << s->spec.bits);
        for (size_t k = 0; k < s->rows * groups; k++)
            assert_true(zero[k] >= 0 && zero[k] <= (float)(1 << s->spec.bits) &&
                        (float)(int)zero[k] == zero[k]);
        free(q);
        free(scale);
        free(zero);
        arena_release(&arena);
        checkpoint_close(c);
    }
    json_decref(cases);
}

/* ---- damage ----------------------------------------------------------------------- */

enum damage { REMOVED, ONE_MORE, OTHER_TYPE, N_DAMAGES };

/* The checkpoint with tensor `which` damaged. */
static struct checkpoint *damaged(const struct checkpoint *c, size_t which, enum damage damage) {
    static unsigned char zeros[1 << 12];
    struct tensor_decl decls[QUANTIZED_PARTS_MAX + 1] = {0};
    size_t n = 0;
    for (size_t i = 0; i < checkpoint_count(c); i++) {
        const struct tensor *t = checkpoint_at(c, i);
        if (i == which && damage == REMOVED)
            continue;
        struct tensor_decl *d = &decls[n++];
        *d = (struct tensor_decl){.name = t->name, .dtype = t->dtype, .rank = t->rank};
        memcpy(d->shape, t->shape, sizeof d->shape);
        if (i == which && damage == ONE_MORE) {
            if (d->rank == 0)
                d->shape[d->rank++] = 1;
            d->shape[0]++;
        }
        if (i == which && damage == OTHER_TYPE) {
            d->dtype = DTYPE_U64;
        }
    }
    struct safetensors_writer *w = NULL;
    struct checkpoint *out = NULL;
    struct quern_error err;
    assert_int_equal(safetensors_writer_create(support_temp_dir(), decls, n, 0, &w, &err), QUERN_OK);
    for (size_t i = 0; i < checkpoint_count(c); i++) {
        const struct tensor *t = checkpoint_at(c, i);
        if (i == which && damage == REMOVED)
            continue;
        size_t bytes = t->size_bytes, more = 0;
        if (i == which && damage == ONE_MORE)
            more = t->rank && t->shape[0] ? bytes / t->shape[0] : bytes;
        if (i == which && damage == OTHER_TYPE)
            more = bytes / dtype_size_bytes(t->dtype) * 8 - bytes;
        assert_int_equal(safetensors_writer_write(w, t->data, bytes, &err), QUERN_OK);
        for (size_t at = 0; at < more; at += sizeof zeros)
            assert_int_equal(safetensors_writer_write(
                                 w, zeros, more - at < sizeof zeros ? more - at : sizeof zeros, &err),
                             QUERN_OK);
    }
    if (n) {
        assert_int_equal(safetensors_writer_finish(w, &err), QUERN_OK);
        assert_int_equal(checkpoint_open(support_temp_dir(), &out, &err), QUERN_OK);
    }
    safetensors_writer_destroy(w);
    return out;
}

/* Parts without which a matrix still has its meaning. */
static bool is_optional(const char *name) {
    static const char *const endings[] = {".weight_shape", ".weight_format", ".g_idx",
                                          ".weight_g_idx", ".weight_zero_point"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (str_ends_with(str_from(name), str_from(endings[i])))
            return true;
    return false;
}

static void check_damage(const struct golden *g, const struct checkpoint *whole, size_t which,
                         enum damage damage) {
    const struct tensor *t = checkpoint_at(whole, which);
    struct checkpoint *c = damaged(whole, which, damage);
    struct arena arena = ARENA_INIT(0);
    struct quantized_linear *l = NULL;
    struct quern_error err = {0};
    if (!c)
        return;
    enum quern_status status = quantized_linear_open(&g->config.quant, c, g->base, g->rows, g->cols,
                                                     &arena, &l, &err);
    /* Without the tensor that tells that it is coded there is nothing to find, and a weight of a type
     * that is no code may be a plain one. */
    if (!status && !l)
        assert_true(damage != ONE_MORE);
    else if (!status && damage == REMOVED)
        assert_true(is_optional(t->name));
    else if (!status && str_ends_with(str_from(t->name), STR_LIT(".weight_format")))
        assert_true(damage != REMOVED);
    else if (!status)
        fail_msg("%s: damage %d of %s went unnoticed", g->name, (int)damage, t->name);
    else if (!strstr(err.message, "up_proj"))
        fail_msg("%s: \"%s\" does not name the tensor", g->name, err.message);
    arena_release(&arena);
    checkpoint_close(c);
}

static void every_damaged_part_is_an_error_that_names_it(void **state) {
    (void)state;
    json_t *cases = load_cases();
    for (size_t i = 0; i < json_array_size(cases); i++) {
        struct golden g = golden_at(cases, i);
        struct checkpoint *c = open_golden(&g);
        for (size_t k = 0; k < checkpoint_count(c); k++)
            for (int d = 0; d < N_DAMAGES; d++)
                check_damage(&g, c, k, (enum damage)d);
        checkpoint_close(c);
    }
    json_decref(cases);
}

static void other_sizes_than_the_configurations_are_errors(void **state) {
    (void)state;
    json_t *cases = load_cases();
    for (size_t i = 0; i < json_array_size(cases); i++) {
        struct golden g = golden_at(cases, i);
        struct checkpoint *c = open_golden(&g);
        static const int changes[][2] = {{1, 0}, {0, 1}, {8, 0}, {0, 128}, {-4, 0}, {0, -8}};
        for (size_t k = 0; k < sizeof changes / sizeof *changes; k++) {
            struct arena arena = ARENA_INIT(0);
            struct quantized_linear *l = NULL;
            struct quern_error err = {0};
            enum quern_status status = quantized_linear_open(
                &g.config.quant, c, g.base, (size_t)((int)g.rows + changes[k][0]),
                (size_t)((int)g.cols + changes[k][1]), &arena, &l, &err);
            if (!status)
                fail_msg("%s: other sizes (%zu) went unnoticed", g.name, k);
            arena_release(&arena);
        }
        checkpoint_close(c);
    }
    json_decref(cases);
}

/* ---- names, plain tensors --------------------------------------------------------------- */

static void a_matrix_that_is_not_there_is_not_coded(void **state) {
    (void)state;
    json_t *cases = load_cases();
    struct golden g = golden_at(cases, 0);
    struct checkpoint *c = open_golden(&g);
    struct arena arena = ARENA_INIT(0);
    struct quantized_linear *l = NULL;
    assert_int_equal(quantized_linear_open(&g.config.quant, c, "model.layers.0.mlp.gate_proj", 8, 8,
                                           &arena, &l, NULL),
                     QUERN_OK);
    assert_null(l);
    arena_release(&arena);
    checkpoint_close(c);
    json_decref(cases);
}

static void parts_are_known_by_their_names(void **state) {
    (void)state;
    size_t n = 0;
    assert_true(quantized_part_name("a.q_proj.qzeros", &n));
    assert_int_equal(n, 8);
    assert_true(quantized_part_name("a.q_proj.weight.quant_state.bitsandbytes__nf4", &n));
    assert_int_equal(n, 8);
    assert_false(quantized_part_name("a.q_proj.weight", NULL));
    assert_false(quantized_part_name("a.q_proj.bias", NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_gives_its_values_bit_for_bit),
        cmocka_unit_test(codes_and_zero_points_are_in_range),
        cmocka_unit_test(every_damaged_part_is_an_error_that_names_it),
        cmocka_unit_test(other_sizes_than_the_configurations_are_errors),
        cmocka_unit_test(a_matrix_that_is_not_there_is_not_coded),
        cmocka_unit_test(parts_are_known_by_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
