#include "formats/quantized/parts.h"

#include <stdarg.h>
#include <stdio.h>

static bool full_name(struct parts_reader *r, const char *suffix, char out[QUANTIZED_NAME_MAX]) {
    int n = snprintf(out, QUANTIZED_NAME_MAX, "%s%s", r->base, suffix);
    return n > 0 && n < QUANTIZED_NAME_MAX;
}

void part_fail(struct parts_reader *r, const char *fmt, ...) {
    if (r->status)
        return;
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    r->status = error_set(r->err, QUERN_ERR_FORMAT, "%s: %s", r->base, text);
}

const struct tensor *part_find(struct parts_reader *r, const char *suffix) {
    char name[QUANTIZED_NAME_MAX];
    return full_name(r, suffix, name) ? checkpoint_find(r->checkpoint, name) : NULL;
}

/* "F32, F16 or BF16" */
static void list_types(unsigned types, char out[128]) {
    size_t at = 0;
    out[0] = '\0';
    for (int t = 0; t < DTYPE_COUNT && at < 100; t++)
        if (types & TYPE(t))
            at += (size_t)snprintf(out + at, 128 - at, "%s%s", at ? " or " : "",
                                   dtype_name((enum dtype)t));
}

const struct tensor *part_optional(struct parts_reader *r, const char *suffix, unsigned types) {
    const struct tensor *t = r->status ? NULL : part_find(r, suffix);
    if (!t)
        return NULL;
    if (t->block_type || !(types & TYPE(t->dtype))) {
        char expected[128];
        list_types(types, expected);
        r->status = error_set(r->err, QUERN_ERR_FORMAT,
                              "%s: tensor \"%s\" has type %s, expected %s", t->file, t->name,
                              tensor_type_name(t), expected);
        return NULL;
    }
    if (r->out->n_parts < QUANTIZED_PARTS_MAX)
        r->out->parts[r->out->n_parts++] = t;
    return t;
}

const struct tensor *part_need(struct parts_reader *r, const char *suffix, unsigned types) {
    const struct tensor *t = part_optional(r, suffix, types);
    if (!t && !r->status)
        r->status = error_set(r->err, QUERN_ERR_FORMAT,
                              "tensor \"%s%s\" is missing (config.json: quantized by %s)", r->base,
                              suffix, r->config->name);
    return t;
}

static void format_shape(const struct tensor *t, char out[128]) {
    int at = snprintf(out, 128, "[");
    for (int i = 0; i < t->rank && at < 100; i++)
        at += snprintf(out + at, 128 - (size_t)at, "%s%zu", i ? ", " : "", t->shape[i]);
    snprintf(out + at, 128 - (size_t)at, "]");
}

static void wrong_shape(struct parts_reader *r, const struct tensor *t, const char *expected) {
    char found[128];
    format_shape(t, found);
    r->status = error_set(r->err, QUERN_ERR_FORMAT,
                          "%s: tensor \"%s\" has shape %s, expected %s by config.json", t->file,
                          t->name, found, expected);
}

bool part_shape(struct parts_reader *r, const struct tensor *t, size_t a, size_t b) {
    if (r->status || !t)
        return false;
    if (t->rank == 2 && t->shape[0] == a && t->shape[1] == b)
        return true;
    char expected[64];
    snprintf(expected, sizeof expected, "[%zu, %zu]", a, b);
    wrong_shape(r, t, expected);
    return false;
}

size_t tensor_elements(const struct tensor *t) {
    size_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->shape[i]; /* the product was checked when the file was opened */
    return n;
}

/* ---- scales ------------------------------------------------------------------ */

static size_t ceil_div(size_t a, size_t b) {
    return a / b + (a % b != 0);
}

/* The shape of scales that a scheme asks for. */
static void scheme_shape(const struct parts_reader *r, const struct quant_scheme *s, size_t *rows,
                         size_t *cols) {
    const size_t group = s->group ? s->group : r->cols;
    *rows = s->block_rows ? ceil_div(r->rows, s->block_rows) : r->rows;
    *cols = ceil_div(r->cols, s->block_rows ? s->block_cols : group);
}

static bool fits(const struct parts_reader *r, const struct tensor *t,
                 const struct quant_scheme *s) {
    size_t rows, cols;
    scheme_shape(r, s, &rows, &cols);
    if (t->rank == 1)
        return t->shape[0] == rows && cols == 1;
    return t->rank == 2 && t->shape[0] == rows && t->shape[1] == cols;
}

/* Sizes past the matrix's own mean the same as these. */
static size_t at_most(size_t size, size_t limit) {
    return size && size < limit ? size : limit;
}

static bool settle_scales(struct parts_reader *r, const struct tensor *t, int bits, bool is_float) {
    const struct quant_config *c = r->config;
    const struct quant_scheme *first = NULL;
    struct quantized_linear *l = r->out;
    bool found = false;
    for (size_t i = 0; i < c->n_schemes; i++) {
        const struct quant_scheme *s = &c->schemes[i];
        if (s->bits != bits || s->is_float != is_float)
            continue;
        first = first ? first : s;
        if (!fits(r, t, s))
            continue;
        const size_t group = at_most(s->block_rows ? s->block_cols : s->group, r->cols);
        const size_t scale_rows = s->block_rows ? at_most(s->block_rows, r->rows) : 1;
        if (found && (group != l->source.spec.group || scale_rows != l->scale_rows)) {
            part_fail(r, "config.json has several group sizes that fit its scales");
            return false;
        }
        l->source.spec.group = group;
        l->scale_rows = scale_rows;
        found = true;
    }
    if (!first)
        part_fail(r, "has %s weights of %d bits, of which config.json says nothing",
                  is_float ? "float" : "int", bits);
    else if (!found) {
        size_t rows, cols;
        char expected[64];
        scheme_shape(r, first, &rows, &cols);
        snprintf(expected, sizeof expected, "[%zu, %zu]", rows, cols);
        wrong_shape(r, t, expected);
    }
    return found;
}

bool part_scales(struct parts_reader *r, const char *suffix, int bits, bool is_float) {
    const struct tensor *t = part_need(r, suffix, TYPES_SCALE);
    if (!t)
        return false;
    r->out->scale = t;
    if (t->rank > 2 || tensor_elements(t) != 1)
        return settle_scales(r, t, bits, is_float);
    r->out->source.spec.group = r->cols;
    r->out->scale_rows = r->rows;
    return true;
}

void read_row_scales(const struct quantized_linear *l, size_t first, size_t n, float *scale) {
    const size_t groups = quant_n_groups(&l->source.spec, l->source.cols);
    const size_t size = dtype_size_bytes(l->scale->dtype);
    const unsigned char *data = l->scale->data;
    for (size_t i = 0; i < n; i++)
        dtype_to_f32(l->scale->dtype, data + (first + i) / l->scale_rows * groups * size,
                     scale + i * groups, groups);
}

void fill_zeros(const struct quantized_linear *l, size_t n, float *zero) {
    const size_t total = n * quant_n_groups(&l->source.spec, l->source.cols);
    for (size_t i = 0; i < total; i++)
        zero[i] = l->number[0];
}

/* ---- columns in another order --------------------------------------------------- */

/* Counting sort of the columns by their groups, so that those of a group stand together. */
static void sort_columns(struct parts_reader *r, const unsigned char *group_of, size_t *start,
                         uint32_t *order) {
    const size_t group = r->out->source.spec.group, groups = ceil_div(r->cols, group);
    for (size_t c = 0; c < r->cols; c++) {
        const uint32_t g = load_u32(group_of + 4 * c);
        if (g >= groups) {
            part_fail(r, "g_idx says group %d for column %zu, expected 0 to %zu", (int32_t)g, c,
                      groups - 1);
            return;
        }
        start[g + 1]++;
    }
    for (size_t g = 0; g < groups; g++) {
        const size_t expected = g + 1 < groups ? group : r->cols - g * group;
        if (start[g + 1] != expected) {
            part_fail(r, "g_idx gives group %zu %zu columns, expected %zu", g, start[g + 1],
                      expected);
            return;
        }
    }
    for (size_t g = 0; g < groups; g++)
        start[g + 1] += start[g];
    for (size_t c = 0; c < r->cols; c++)
        order[start[load_u32(group_of + 4 * c)]++] = (uint32_t)c;
}

void part_column_groups(struct parts_reader *r, const char *suffix) {
    const struct tensor *t = part_optional(r, suffix, TYPE(DTYPE_I32));
    if (!t)
        return;
    if (t->rank != 1 || t->shape[0] != r->cols) {
        char expected[64];
        snprintf(expected, sizeof expected, "[%zu]", r->cols);
        wrong_shape(r, t, expected);
        return;
    }
    const size_t group = r->out->source.spec.group;
    const unsigned char *group_of = t->data;
    bool in_order = true, unset = true; /* compressed-tensors: all -1 when there is no order */
    for (size_t c = 0; c < r->cols; c++) {
        const uint32_t g = load_u32(group_of + 4 * c);
        in_order &= g == c / group;
        unset &= g == UINT32_MAX;
    }
    if (in_order || unset)
        return;
    size_t *start = arena_calloc(r->arena, ceil_div(r->cols, group) + 1, sizeof *start);
    uint32_t *order = arena_calloc(r->arena, r->cols, sizeof *order);
    if (!start || !order) {
        r->status = error_nomem(r->err);
        return;
    }
    sort_columns(r, group_of, start, order);
    r->out->source.col_order = order;
}
