#include "model/weight_loader.h"

#include <stdlib.h>

#include "base/checked.h"
#include "base/pages.h"
#include "quant/quantizer.h"

/* Address space costs nothing, and memory is taken page by page. */
enum { BLOCK_BYTES = 256 << 20, ALIGN_BYTES = 64 };

/* ---- memory ------------------------------------------------------------------------ */

void weight_blocks_release(struct model *m) {
    while (m->blocks) {
        struct weight_block *next = m->blocks->next;
        m->device->ops->release(m->device, m->blocks->memory, m->blocks->size_bytes);
        free(m->blocks);
        m->blocks = next;
    }
}

static struct weight_block *add_block(struct model *m, size_t bytes) {
    struct weight_block *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->size_bytes = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
    b->memory = m->device->ops->alloc(m->device, b->size_bytes);
    if (!b->memory) {
        free(b);
        return NULL;
    }
    /* Behind the first, when that has more room left than this one will have. */
    if (m->blocks && bytes > BLOCK_BYTES / 2) {
        b->next = m->blocks->next;
        m->blocks->next = b;
    } else {
        b->next = m->blocks;
        m->blocks = b;
    }
    return b;
}

static void *hold(struct model *m, size_t bytes, struct quern_error *err) {
    struct weight_block *b = m->blocks;
    size_t rounded;
    if (!checked_add(bytes, ALIGN_BYTES - 1, &rounded)) {
        error_nomem(err);
        return NULL;
    }
    rounded = rounded / ALIGN_BYTES * ALIGN_BYTES;
    if (!b || b->size_bytes - b->used_bytes < rounded)
        b = add_block(m, rounded);
    if (!b) {
        error_set(err, QUERN_ERR_NOMEM, "out of memory: a matrix of %zu MiB finds no room",
                  bytes >> 20);
        return NULL;
    }
    void *p = b->memory + b->used_bytes;
    b->used_bytes += rounded;
    return p;
}

/* ---- coded ------------------------------------------------------------------------- */

static const void *copy(struct model *m, const void *from, size_t bytes) {
    void *p = arena_alloc(&m->arena, bytes);
    return p ? memcpy(p, from, bytes) : NULL;
}

static enum packed_math math_of(const struct quant_source *s, bool fast) {
    return !fast ? MATH_EXACT : s->spec.kind == QUANT_CODE ? MATH_BF16 : MATH_INT8;
}

enum quern_status weight_from_source(struct model *m, struct weight *out,
                                     const struct quant_source *s, const struct packed_survey *known,
                                     bool fast, struct quern_error *err) {
    struct device *d = m->device;
    struct packed_matrix *packed = arena_calloc(&m->arena, 1, sizeof *packed);
    size_t bytes;
    if (!packed)
        return error_nomem(err);
    enum quern_status st = d->ops->pack_plan(d, packed, s, known, math_of(s, fast), &bytes, err);
    if (st != QUERN_OK)
        return st;
    if (s->spec.code)
        packed->code = copy(m, s->spec.code, sizeof(float) << s->spec.bits);
    if (s->col_order)
        packed->col_order = copy(m, s->col_order, s->cols * sizeof *s->col_order);
    if ((s->spec.code && !packed->code) || (s->col_order && !packed->col_order))
        return error_nomem(err);
    void *memory = hold(m, bytes, err);
    if (!memory)
        return QUERN_ERR_NOMEM;
    st = d->ops->pack(d, packed, memory, s, err);
    *out = (struct weight){.rows = s->rows, .cols = s->cols, .data = memory, .packed = packed};
    return st;
}

/* ---- floats ------------------------------------------------------------------------ */

static bool quantizer_of(enum quern_weights as, enum quantizer_form *form) {
    switch (as) {
    case QUERN_WEIGHTS_INT8:
        *form = QUANTIZER_INT8;
        return true;
    case QUERN_WEIGHTS_INT4:
        *form = QUANTIZER_INT4;
        return true;
    case QUERN_WEIGHTS_NF4:
        *form = QUANTIZER_NF4;
        return true;
    case QUERN_WEIGHTS_FP8:
        *form = QUANTIZER_FP8;
        return true;
    case QUERN_WEIGHTS_AUTO:
    case QUERN_WEIGHTS_BF16:
    case QUERN_WEIGHTS_F32:
        break;
    }
    return false;
}

/* Row-major in another type. */
static enum quern_status convert(struct model *m, struct weight *out, enum dtype to, bool fast,
                                 enum dtype from, const void *data, size_t rows, size_t cols,
                                 struct quern_error *err) {
    enum { STEP = 1024 };
    float some[STEP];
    size_t n, bytes;
    if (!checked_mul(rows, cols, &n) || !checked_mul(n, dtype_size_bytes(to), &bytes))
        return error_nomem(err);
    char *memory = hold(m, bytes, err);
    if (!memory)
        return QUERN_ERR_NOMEM;
    for (size_t i = 0; i < n; i += STEP) {
        const size_t count = n - i < STEP ? n - i : STEP;
        dtype_to_f32(from, (const char *)data + i * dtype_size_bytes(from), some, count);
        dtype_from_f32(to, some, memory + i * dtype_size_bytes(to), count);
    }
    *out = (struct weight){.dtype = to, .rows = rows, .cols = cols, .data = memory};
    return fast && to == DTYPE_BF16 ? m->device->ops->use_bf16_math(m->device, out, err) : QUERN_OK;
}

enum quern_status weight_from_floats(struct model *m, struct weight *out, enum quern_weights as,
                                     bool fast, enum dtype dtype, const void *data, size_t rows,
                                     size_t cols, struct quern_error *err) {
    enum quantizer_form form;
    struct quantizer q;
    if (!quantizer_of(as, &form))
        return convert(m, out, as == QUERN_WEIGHTS_F32 ? DTYPE_F32 : DTYPE_BF16, fast, dtype, data, rows,
                       cols, err);
    enum quern_status st = quantizer_init(&q, form, dtype, data, rows, cols, err);
    if (st == QUERN_OK) {
        const struct packed_survey known = quantizer_survey(&q);
        st = weight_from_source(m, out, &q.source, &known, fast, err);
    }
    quantizer_release(&q);
    return st;
}

enum quern_status weight_from_values(struct model *m, struct weight *out, enum quern_weights as,
                                     bool fast, const struct quant_source *s, struct quern_error *err) {
    enum { STEP = 32 };
    size_t bytes;
    if (!checked_mul(s->rows, s->cols, &bytes) || !checked_mul(bytes, sizeof(float), &bytes))
        return error_nomem(err);
    float *values = pages_alloc(bytes);
    void *scratch = malloc(quant_dequantize_scratch_bytes(s, STEP));
    enum quern_status st = values && scratch ? QUERN_OK : error_nomem(err);
    for (size_t r = 0; st == QUERN_OK && r < s->rows; r += STEP)
        quant_dequantize_rows(s, r, s->rows - r < STEP ? s->rows - r : STEP, values + r * s->cols,
                              scratch);
    if (st == QUERN_OK)
        st = weight_from_floats(m, out, as, fast, DTYPE_F32, values, s->rows, s->cols, err);
    free(scratch);
    pages_free(values, bytes);
    return st;
}
