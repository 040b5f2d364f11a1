#include "formats/quantized_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/hf_config_edit.h"
#include "quant/quantizer.h"
#include "text/json.h"

enum {
    STATE_BYTES = 256,
    PIECE_BYTES = 1 << 20,
    NESTED_BLOCK = 256,
};

static size_t ceil_div(size_t a, size_t b) {
    return a / b + (a % b != 0);
}

/* ---- names and shapes -------------------------------------------------------------- */

/* Tensors of larger elements stand first, and sides are multiples of 16 (the caller sees to it): so
 * every tensor is aligned in the file, without which some readers fail. */
struct declarer {
    const char *base;
    struct arena *arena;
    struct tensor_decl *out;
    size_t n;
    bool failed;
};

static void declare(struct declarer *d, const char *suffix, enum dtype dtype, int rank, size_t a,
                    size_t b) {
    char name[256];
    snprintf(name, sizeof name, "%s%s", d->base, suffix);
    const char *copy = arena_strdup(d->arena, name);
    d->failed |= !copy;
    d->out[d->n++] =
        (struct tensor_decl){.name = copy, .dtype = dtype, .rank = rank, .shape = {a, b}};
}

size_t quantized_layout_declare(enum quantized_layout layout, const char *base, size_t rows,
                                size_t cols, size_t group, struct arena *arena,
                                struct tensor_decl out[QUANTIZED_LAYOUT_PARTS_MAX]) {
    struct declarer d = {.base = base, .arena = arena, .out = out};
    const size_t n = rows * cols, blocks = ceil_div(n, LAYOUT_NF4_BLOCK);
    switch (layout) {
    case LAYOUT_INT8:
    case LAYOUT_INT4: {
        const size_t pack = layout == LAYOUT_INT4 ? 8 : 4;
        declare(&d, ".weight_shape", DTYPE_I64, 1, 2, 0);
        declare(&d, ".weight_packed", DTYPE_I32, 2, rows, ceil_div(cols, pack));
        declare(&d, ".weight_scale", DTYPE_BF16, 2, rows, ceil_div(cols, group));
        break;
    }
    case LAYOUT_NF4:
        declare(&d, ".weight.nested_absmax", DTYPE_F32, 1, ceil_div(blocks, NESTED_BLOCK), 0);
        declare(&d, ".weight.nested_quant_map", DTYPE_F32, 1, 256, 0);
        declare(&d, ".weight.quant_map", DTYPE_F32, 1, 16, 0);
        declare(&d, ".weight.quant_state.bitsandbytes__nf4", DTYPE_U8, 1, STATE_BYTES, 0);
        declare(&d, ".weight", DTYPE_U8, 2, ceil_div(n, 2), 1);
        declare(&d, ".weight.absmax", DTYPE_U8, 1, blocks, 0);
        break;
    case LAYOUT_FP8:
        declare(&d, ".weight", DTYPE_F8_E4M3, 2, rows, cols);
        declare(&d, ".weight_scale_inv", DTYPE_BF16, 2, ceil_div(rows, LAYOUT_FP8_BLOCK),
                ceil_div(cols, LAYOUT_FP8_BLOCK));
        break;
    }
    return d.failed ? 0 : d.n;
}

/* ---- data ----------------------------------------------------------------------------- */

/* Bytes gathered into pieces worth writing. */
struct piece_writer {
    struct safetensors_writer *w;
    struct quern_error *err;
    enum quern_status status;
    size_t used;
    unsigned char *bytes; /* [PIECE_BYTES] */
};

static void flush(struct piece_writer *p) {
    if (!p->status && p->used)
        p->status = safetensors_writer_write(p->w, p->bytes, p->used, p->err);
    p->used = 0;
}

static void put(struct piece_writer *p, const void *data, size_t n) {
    if (PIECE_BYTES - p->used < n)
        flush(p);
    if (n >= PIECE_BYTES) {
        if (!p->status)
            p->status = safetensors_writer_write(p->w, data, n, p->err);
        return;
    }
    if (n)
        memcpy(p->bytes + p->used, data, n);
    p->used += n;
}

static void put_bf16(struct piece_writer *p, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint16_t h = f32_to_bf16(x[i]);
        put(p, &h, sizeof h);
    }
}

/* n codes to whole words, lowest bits first. */
static void put_packed(struct piece_writer *p, const uint8_t *q, size_t n, unsigned bits) {
    const size_t pack = 32 / bits;
    for (size_t i = 0; i < n; i += pack) {
        uint32_t word = 0;
        for (size_t j = 0; j < pack && i + j < n; j++)
            word |= (uint32_t)q[i + j] << bits * j;
        put(p, &word, sizeof word);
    }
}

static void write_int(struct piece_writer *p, const struct coded_matrix *m, unsigned bits) {
    const size_t groups = ceil_div(m->cols, m->group);
    const int64_t shape[2] = {(int64_t)m->rows, (int64_t)m->cols};
    put(p, shape, sizeof shape);
    for (size_t r = 0; r < m->rows; r++)
        put_packed(p, m->q + r * m->cols, m->cols, bits);
    put_bf16(p, m->scale, m->rows * groups);
}

/* As json.dumps writes it in bitsandbytes, filled up with spaces to a size known beforehand. */
static void put_quant_state(struct piece_writer *p, const struct coded_matrix *m) {
    char text[STATE_BYTES + 1], offset[40];
    json_format_float((double)m->offset, offset);
    snprintf(text, sizeof text,
             "{\"quant_type\": \"nf4\", \"blocksize\": %d, \"dtype\": \"bfloat16\", \"shape\": [%zu, "
             "%zu], \"nested_blocksize\": %d, \"nested_dtype\": \"float32\", \"nested_offset\": %s}",
             LAYOUT_NF4_BLOCK, m->rows, m->cols, NESTED_BLOCK, offset);
    const size_t len = strlen(text);
    memset(text + len, ' ', STATE_BYTES - len);
    put(p, text, STATE_BYTES);
}

static void write_nf4(struct piece_writer *p, const struct coded_matrix *m) {
    const size_t n = m->rows * m->cols, blocks = ceil_div(n, LAYOUT_NF4_BLOCK);
    put(p, m->nested_absmax, ceil_div(blocks, NESTED_BLOCK) * sizeof(float));
    put(p, dynamic_map, sizeof dynamic_map);
    put(p, nf4_code, sizeof nf4_code);
    put_quant_state(p, m);
    for (size_t i = 0; i < n; i += 2) { /* the high half first */
        const uint8_t byte = (uint8_t)(m->q[i] << 4 | (i + 1 < n ? m->q[i + 1] : 0));
        put(p, &byte, 1);
    }
    put(p, m->absmax, blocks);
}

enum quern_status quantized_layout_write(enum quantized_layout layout, const struct coded_matrix *m,
                                         struct safetensors_writer *w, struct quern_error *err) {
    struct piece_writer p = {.w = w, .err = err, .bytes = malloc(PIECE_BYTES)};
    if (!p.bytes)
        return error_nomem(err);
    switch (layout) {
    case LAYOUT_INT8:
        write_int(&p, m, 8);
        break;
    case LAYOUT_INT4:
        write_int(&p, m, 4);
        break;
    case LAYOUT_NF4:
        write_nf4(&p, m);
        break;
    case LAYOUT_FP8:
        put(&p, m->q, m->rows * m->cols);
        put_bf16(&p, m->scale,
                 ceil_div(m->rows, LAYOUT_FP8_BLOCK) * ceil_div(m->cols, LAYOUT_FP8_BLOCK));
        break;
    }
    flush(&p);
    free(p.bytes);
    return p.status;
}

/* ---- quantization_config -------------------------------------------------------------------- */

/* The linears that stay as they are: the head unless it is coded, and in a mixture of experts the
 * routers. */
static json_t *plain_linears(const struct hf_config *c, bool and_head) {
    json_t *list = json_array();
    int failed = and_head ? json_array_append_new(list, json_string("lm_head")) : 0;
    for (int32_t i = 0; i < c->n_layers; i++) {
        char name[64];
        snprintf(name, sizeof name, "model.layers.%d.mlp.gate", (int)i);
        if (c->layer_is_moe[i])
            failed |= json_array_append_new(list, json_string(name));
    }
    if (!failed)
        return list;
    json_decref(list);
    return NULL;
}

/* Matrices of so many bits, of the modules `targets` (stolen). */
static json_t *config_group(enum quantized_layout layout, size_t group, json_t *targets) {
    return json_pack("{s:o, s:n, s:n, s:{s:i, s:s, s:b, s:s, s:I, s:b, s:n, s:n}}", "targets", targets,
                     "input_activations", "output_activations", "weights", "num_bits",
                     layout == LAYOUT_INT8 ? 8 : 4, "type", "int", "symmetric", 1, "strategy", "group",
                     "group_size", (json_int_t)group, "dynamic", 0, "actorder", "block_structure");
}

static json_t *compressed_config(enum quantized_layout layout, const struct hf_config *c, size_t group,
                                 const struct quantized_head *head, size_t head_group) {
    json_t *groups = json_pack("{s:o}", "group_0",
                               config_group(layout, group, json_pack("[s]", "Linear")));
    /* The class would match the head as well: names go before classes. */
    if (groups && head->is_coded &&
        json_object_set_new(groups, "group_1",
                            config_group(head->layout, head_group,
                                         json_pack("[s]", "re:.*lm_head$")))) {
        json_decref(groups);
        groups = NULL;
    }
    return json_pack("{s:s, s:s, s:s, s:o, s:n, s:o}", "quant_method", "compressed-tensors", "format",
                     "pack-quantized", "quantization_status", "compressed", "ignore",
                     plain_linears(c, !head->is_coded), "kv_cache_scheme", "config_groups", groups);
}

static json_t *bitsandbytes_config(const struct hf_config *c) {
    return json_pack("{s:s, s:b, s:b, s:b, s:b, s:s, s:s, s:s, s:b, s:b, s:b, s:f, s:o}", "quant_method",
                     "bitsandbytes", "load_in_4bit", 1, "load_in_8bit", 0, "_load_in_4bit", 1,
                     "_load_in_8bit", 0, "bnb_4bit_quant_type", "nf4", "bnb_4bit_compute_dtype",
                     "bfloat16", "bnb_4bit_quant_storage", "uint8", "bnb_4bit_use_double_quant", 1,
                     "llm_int8_enable_fp32_cpu_offload", 0, "llm_int8_has_fp16_weight", 0,
                     "llm_int8_threshold", 6.0, "llm_int8_skip_modules", plain_linears(c, true));
}

static json_t *quantization_config(enum quantized_layout layout, const struct hf_config *config,
                                   size_t group, const struct quantized_head *head,
                                   size_t head_group) {
    switch (layout) {
    case LAYOUT_INT8:
    case LAYOUT_INT4:
        return compressed_config(layout, config, group, head, head_group);
    case LAYOUT_NF4:
        return bitsandbytes_config(config);
    case LAYOUT_FP8:
        break;
    }
    return json_pack("{s:s, s:s, s:s, s:[i, i], s:o}", "quant_method", "fp8", "activation_scheme",
                     "dynamic", "fmt", "e4m3", "weight_block_size", LAYOUT_FP8_BLOCK,
                     LAYOUT_FP8_BLOCK, "modules_to_not_convert", plain_linears(config, true));
}

enum quern_status quantized_layout_write_config(enum quantized_layout layout,
                                                const struct hf_config *config, size_t group,
                                                const struct quantized_head *head, size_t head_group,
                                                const char *from_dir, const char *to_dir,
                                                struct quern_error *err) {
    json_t *how = quantization_config(layout, config, group, head, head_group);
    const struct hf_config_edit edit = {
        .drop_quantization = true, .quantization = how, .untie = head->is_coded};
    const enum quern_status st =
        how ? hf_config_copy(from_dir, to_dir, &edit, err) : error_nomem(err);
    json_decref(how);
    return st;
}
