/* bitsandbytes:
 *     NF4, FP4   weight [out * in / 2, 1], row after row, the high nibble first; weight.absmax one a
 *                block of (usually) 64 elements, U8 when quantized itself: then nested_quant_map at
 *                absmax times nested_absmax, plus the offset; weight.quant_map F32 [16];
 *                weight.quant_state.bitsandbytes__nf4 (or __fp4): JSON
 *     LLM.int8   weight I8 [out, in], SCB F32 [out]: w = q * SCB / 127 */
#include <math.h>

#include "formats/quantized/parts.h"
#include "text/json.h"

enum { BLOCK_MAX = 1 << 20, INT8_MAX_CODE = 127 };

/* ---- 4 bits ------------------------------------------------------------------------ */

/* The scale of element `at` of the matrix. */
static float block_scale(const struct quantized_linear *l, size_t at) {
    const size_t block = at / l->block_elements;
    const unsigned char *absmax = l->scale->data;
    float value;
    if (!l->nested_absmax) {
        memcpy(&value, absmax + 4 * block, sizeof value);
        return value;
    }
    float outer;
    memcpy(&value, (const unsigned char *)l->nested_map->data + (size_t)4 * absmax[block],
           sizeof value);
    memcpy(&outer,
           (const unsigned char *)l->nested_absmax->data + block / l->nested_elements * 4,
           sizeof outer);
    return value * outer + l->number[1];
}

static void read_numbers4(const struct quant_source *s, size_t first, size_t n, float *scale,
                          float *zero) {
    const size_t groups = quant_n_groups(&s->spec, s->cols);
    (void)zero;
    for (size_t r = 0; r < n; r++)
        for (size_t g = 0; g < groups; g++)
            scale[r * groups + g] =
                block_scale(linear_of(s), (first + r) * s->cols + g * s->spec.group);
}

static void read_rows4(const struct quant_source *s, size_t first, size_t n, uint8_t *q,
                       float *scale, float *zero) {
    const size_t begin = first * s->cols;
    const uint8_t *codes = linear_of(s)->codes->data;
    size_t i = 0, total = n * s->cols;
    if (begin % 2 == 0)
        for (; i + 2 <= total; i += 2) {
            const uint8_t byte = codes[(begin + i) / 2];
            q[i] = byte >> 4;
            q[i + 1] = byte & 15;
        }
    for (; i < total; i++)
        q[i] = codes[(begin + i) / 2] >> ((begin + i) % 2 ? 0 : 4) & 15;
    read_numbers4(s, first, n, scale, zero);
}

static bool check_count(struct parts_reader *r, const struct tensor *t, size_t expected) {
    if (r->status || !t)
        return false;
    if (tensor_elements(t) != expected)
        part_fail(r, "tensor \"%s\" has %zu elements, expected %zu", t->name, tensor_elements(t),
                  expected);
    return !r->status;
}

static bool shape_is(const json_t *shape, size_t rows, size_t cols) {
    return json_array_size(shape) == 2 &&
           json_integer_value(json_array_get(shape, 0)) == (json_int_t)rows &&
           json_integer_value(json_array_get(shape, 1)) == (json_int_t)cols;
}

static size_t read_block_size(struct parts_reader *r, const json_t *state, const char *key,
                              int64_t default_value) {
    int64_t size = default_value;
    if (!r->status)
        r->status = json_get_int(state, r->base, key, 1, BLOCK_MAX, default_value, &size, r->err);
    return (size_t)size;
}

/* What the JSON says, checked. */
static void read_state(struct parts_reader *r, const json_t *state, const char *type) {
    struct quantized_linear *l = r->out;
    const char *found = NULL;
    json_t *shape = NULL;
    double offset = 0;
    r->status = json_get_string(state, r->base, "quant_type", "", &found, r->err);
    if (!r->status)
        r->status = json_get_container(state, r->base, "shape", JSON_ARRAY, &shape, r->err);
    l->block_elements = read_block_size(r, state, "blocksize", 64);
    l->nested_elements = read_block_size(r, state, "nested_blocksize", 256);
    if (!r->status)
        r->status = json_get_float(state, r->base, "nested_offset", -HUGE_VAL, HUGE_VAL, 0, &offset,
                                   r->err);
    l->number[1] = (float)offset;
    if (!r->status && strcmp(found, type) != 0)
        part_fail(r, "its quant_state is of another type than its name says, \"%s\"", type);
    if (!r->status && !shape_is(shape, r->rows, r->cols))
        part_fail(r, "its quant_state does not say shape [%zu, %zu], expected by config.json",
                  r->rows, r->cols);
}

static size_t common_divisor(size_t a, size_t b) {
    while (b) {
        const size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static float *copy_map(struct parts_reader *r, const struct tensor *t) {
    float *values = arena_calloc(r->arena, 16, sizeof *values);
    if (values)
        memcpy(values, t->data, 16 * sizeof *values);
    else
        r->status = error_nomem(r->err);
    return values;
}

static void take_parts4(struct parts_reader *r) {
    struct quantized_linear *l = r->out;
    const size_t n = r->rows * r->cols; /* below the memory's size: config.json was checked */
    const size_t blocks = n / l->block_elements + (n % l->block_elements != 0);
    const size_t nested = blocks / l->nested_elements + (blocks % l->nested_elements != 0);
    l->codes = part_need(r, ".weight", TYPES_ANY);
    /* Bytes may be dressed up as elements of another type (bnb_4bit_quant_storage). */
    if (l->codes && l->codes->size_bytes != n / 2 + n % 2)
        part_fail(r, "tensor \"%s\" has %zu bytes, expected %zu", l->codes->name,
                  l->codes->size_bytes, n / 2 + n % 2);
    const struct tensor *map = part_need(r, ".weight.quant_map", TYPE(DTYPE_F32));
    l->scale = part_need(r, ".weight.absmax", TYPE(DTYPE_F32) | TYPE(DTYPE_U8));
    if (!check_count(r, map, 16) || !check_count(r, l->scale, blocks))
        return;
    if (l->scale->dtype == DTYPE_U8) {
        l->nested_map = part_need(r, ".weight.nested_quant_map", TYPE(DTYPE_F32));
        l->nested_absmax = part_need(r, ".weight.nested_absmax", TYPE(DTYPE_F32));
        if (!check_count(r, l->nested_map, 256) || !check_count(r, l->nested_absmax, nested))
            return;
    }
    /* Blocks run on from row to row: groups of the rows are as long as they never straddle two. */
    l->source.spec = (struct quant_spec){.kind = QUANT_CODE,
                                         .bits = 4,
                                         .group = common_divisor(r->cols, l->block_elements),
                                         .code = copy_map(r, map)};
    l->source.read_rows = read_rows4;
    l->source.read_numbers = read_numbers4;
}

static void open4(struct parts_reader *r, const struct tensor *state_tensor, const char *type) {
    json_t *state = NULL;
    if (!part_need(r, strcmp(type, "nf4") == 0 ? ".weight.quant_state.bitsandbytes__nf4"
                                               : ".weight.quant_state.bitsandbytes__fp4",
                   TYPE(DTYPE_U8)))
        return;
    r->status = json_parse(state_tensor->data, state_tensor->size_bytes, state_tensor->name, &state,
                           r->err);
    if (!r->status && !json_is_object(state))
        part_fail(r, "its quant_state is %s, expected an object", json_type_name(state));
    if (!r->status)
        read_state(r, state, type);
    json_decref(state);
    if (!r->status)
        take_parts4(r);
}

/* ---- 8 bits ---------------------------------------------------------------------------- */

static void read_numbers8(const struct quant_source *s, size_t first, size_t n, float *scale,
                          float *zero) {
    const struct quantized_linear *l = linear_of(s);
    read_row_scales(l, first, n, scale);
    for (size_t i = 0; i < n; i++)
        scale[i] /= INT8_MAX_CODE;
    fill_zeros(l, n, zero);
}

static void read_rows8(const struct quant_source *s, size_t first, size_t n, uint8_t *q,
                       float *scale, float *zero) {
    const uint8_t *codes = (const uint8_t *)linear_of(s)->codes->data + first * s->cols;
    for (size_t i = 0; i < n * s->cols; i++)
        q[i] = codes[i] ^ 0x80; /* plus 128 */
    read_numbers8(s, first, n, scale, zero);
}

static void open8(struct parts_reader *r) {
    struct quantized_linear *l = r->out;
    l->codes = part_need(r, ".weight", TYPE(DTYPE_I8));
    l->scale = part_need(r, ".SCB", TYPE(DTYPE_F32));
    const struct tensor *format = part_optional(r, ".weight_format", TYPES_ANY);
    if (!part_shape(r, l->codes, r->rows, r->cols) || !check_count(r, l->scale, r->rows))
        return;
    for (size_t i = 0; format && i < format->size_bytes; i++)
        if (((const uint8_t *)format->data)[i])
            part_fail(r, "its weights are laid out for a GPU (weight_format), expected rows");
    l->source.spec = (struct quant_spec){.kind = QUANT_INT, .bits = 8, .group = r->cols};
    l->scale_rows = 1;
    l->number[0] = 128;
    l->source.read_rows = read_rows8;
    l->source.read_numbers = read_numbers8;
}

bool bitsandbytes_open(struct parts_reader *r) {
    const struct tensor *nf4 = part_find(r, ".weight.quant_state.bitsandbytes__nf4");
    const struct tensor *fp4 = part_find(r, ".weight.quant_state.bitsandbytes__fp4");
    const struct tensor *weight = part_find(r, ".weight");
    if (nf4 || fp4)
        open4(r, nf4 ? nf4 : fp4, nf4 ? "nf4" : "fp4");
    else if (weight && !weight->block_type && weight->dtype == DTYPE_I8)
        open8(r);
    else
        return false;
    return true;
}
