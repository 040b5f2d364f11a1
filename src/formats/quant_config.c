#include "formats/quant_config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "formats/config_reader.h"

enum { GROUP_MAX = 1 << 24 };

/* The first reason counts. */
static void problem(struct quant_config *q, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void problem(struct quant_config *q, const char *fmt, ...) {
    if (q->problem[0])
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(q->problem, sizeof q->problem, fmt, args);
    va_end(args);
    error_make_printable(q->problem);
}

static void set_format(struct quant_config *q, const char *format) {
    char shown[64];
    snprintf(q->format, sizeof q->format, "%.31s", config_printable(format, shown));
}

static int read_bits(struct config_reader *r, struct quant_config *q, const char *key) {
    int bits = config_int(r, key, 1, 64, 4);
    if (bits != 4 && bits != 8)
        problem(q, "its weights have %d bits, expected 4 or 8", bits);
    return bits;
}

/* -1 stands for whole rows. */
static size_t read_group(struct config_reader *r, int default_value) {
    int group = config_int(r, "group_size", -1, GROUP_MAX, default_value);
    if (group == 0)
        config_fail(r, QUERN_ERR_FORMAT, "group_size is 0, expected at least 1, or -1");
    return group > 0 ? (size_t)group : 0;
}

/* [rows, columns], or null. */
static void read_block(struct config_reader *r, const char *key, struct quant_scheme *s) {
    const json_t *block = config_container(r, key, JSON_ARRAY);
    if (!block)
        return;
    json_int_t rows = json_integer_value(json_array_get(block, 0));
    json_int_t cols = json_integer_value(json_array_get(block, 1));
    if (json_array_size(block) != 2 || rows < 1 || cols < 1 || rows > GROUP_MAX || cols > GROUP_MAX)
        config_fail(r, QUERN_ERR_FORMAT, "%s is not a list of two sizes", key);
    s->block_rows = (size_t)rows;
    s->block_cols = (size_t)cols;
}

static void read_fp8(struct config_reader *r, struct quant_config *q) {
    const char *fmt = config_string(r, "fmt", "e4m3");
    struct quant_scheme s = {.is_float = true, .symmetric = true, .bits = 8};
    read_block(r, "weight_block_size", &s);
    q->schemes[q->n_schemes++] = s;
    set_format(q, fmt);
    if (strcmp(fmt, "e4m3") != 0 && strcmp(fmt, "float8_e4m3fn") != 0)
        problem(q, "fmt \"%s\", expected \"e4m3\"", q->format);
}

static void read_awq(struct config_reader *r, struct quant_config *q) {
    const char *version = config_string(r, "version", "gemm");
    struct quant_scheme s = {.bits = 4};
    if (config_has(r, "bits"))
        s.bits = read_bits(r, q, "bits");
    else if (config_has(r, "w_bit"))
        s.bits = read_bits(r, q, "w_bit");
    s.group = config_has(r, "q_group_size")
                  ? (size_t)config_int(r, "q_group_size", 1, GROUP_MAX, 128)
                  : read_group(r, 128);
    q->schemes[q->n_schemes++] = s;
    set_format(q, version);
    /* Written in either case, by whom depends. */
    if (strcmp(version, "gemm") != 0 && strcmp(version, "GEMM") != 0)
        problem(q, "version \"%s\", expected \"gemm\"", q->format);
    if (s.bits != 4)
        problem(q, "awq with %d bits, expected 4", s.bits);
}

static void read_gptq(struct config_reader *r, struct quant_config *q) {
    const char *format = config_string(r, "checkpoint_format", "gptq");
    const json_t *dynamic = config_container(r, "dynamic", JSON_OBJECT);
    struct quant_scheme s = {.symmetric = config_bool(r, "sym", true)};
    s.bits = read_bits(r, q, "bits");
    s.group = read_group(r, 128);
    q->schemes[q->n_schemes++] = s;
    q->by_module = dynamic && json_object_size(dynamic) > 0;
    q->gptq_v2 = strcmp(format, "gptq_v2") == 0;
    set_format(q, format);
    if (!q->gptq_v2 && strcmp(format, "gptq") != 0 && *format)
        problem(q, "checkpoint_format \"%s\", expected \"gptq\" or \"gptq_v2\"", q->format);
    if (config_bool(r, "is_marlin_format", false))
        problem(q, "its tensors are laid out for the Marlin kernels");
}

static void read_bitsandbytes(struct config_reader *r, struct quant_config *q) {
    const bool four = config_bool(r, "load_in_4bit", false) || config_bool(r, "_load_in_4bit", false);
    set_format(q, four ? config_string(r, "bnb_4bit_quant_type", "fp4") : "int8");
    q->schemes[q->n_schemes++] =
        (struct quant_scheme){.is_float = four, .symmetric = true, .bits = four ? 4 : 8};
}

/* ---- compressed-tensors ---------------------------------------------------- */

static void check_ct_format(struct quant_config *q, const char *format) {
    static const char *const known[] = {"pack-quantized", "int-quantized", "float-quantized",
                                        "naive-quantized", "mixed-precision"};
    char shown[64];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(format, known[i]) == 0)
            return;
    problem(q, "format \"%s\", expected pack-quantized, int-quantized or float-quantized",
            config_printable(format, shown));
}

/* The "weights" of one config group. */
static void read_ct_weights(struct config_reader *r, struct quant_config *q) {
    const char *type = config_string(r, "type", "int");
    const char *strategy = config_string(r, "strategy", NULL);
    struct quant_scheme s = {.is_float = strcmp(type, "float") == 0,
                             .symmetric = config_bool(r, "symmetric", true)};
    char shown[64];
    int bits = config_int(r, "num_bits", 1, 64, 8);
    s.bits = bits;
    s.group = read_group(r, -1);
    read_block(r, "block_structure", &s);
    if (strcmp(type, "float") != 0 && strcmp(type, "int") != 0)
        problem(q, "weights of type \"%s\", expected \"int\" or \"float\"",
                config_printable(type, shown));
    else if (bits != 8 && (bits != 4 || s.is_float))
        problem(q, "%s weights of %d bits, expected int with 4 or 8 or float with 8",
                s.is_float ? "float" : "int", bits);
    if (strategy && strcmp(strategy, "group") != 0) {
        s.group = 0;
        if (strcmp(strategy, "block") != 0)
            s.block_rows = s.block_cols = 0;
        if (strcmp(strategy, "block") != 0 && strcmp(strategy, "channel") != 0 &&
            strcmp(strategy, "tensor") != 0)
            problem(q, "strategy \"%s\", expected tensor, channel, group or block",
                    config_printable(strategy, shown));
    }
    if (q->n_schemes == QUANT_SCHEMES_MAX)
        problem(q, "it has more than %d groups", QUANT_SCHEMES_MAX);
    else
        q->schemes[q->n_schemes++] = s;
}

static void read_ct_group(struct config_reader *r, struct quant_config *q, const json_t *group) {
    if (!json_is_object(group)) {
        /* A list of targets under the name of a preset: never in a saved model. */
        problem(q, "a config group is %s, expected an object", json_type_name(group));
        return;
    }
    struct config_reader outer = {group, r->name, r->err, r->status};
    const json_t *weights = config_container(&outer, "weights", JSON_OBJECT);
    const char *format = config_string(&outer, "format", NULL);
    if (format)
        check_ct_format(q, format);
    r->status = outer.status;
    if (!weights)
        return;
    struct config_reader inner = {weights, r->name, r->err, r->status};
    read_ct_weights(&inner, q);
    r->status = inner.status;
}

static void read_compressed(struct config_reader *r, struct quant_config *q) {
    const char *format = config_string(r, "format", "");
    const json_t *groups = config_container(r, "config_groups", JSON_OBJECT);
    const json_t *sparsity = config_container(r, "sparsity_config", JSON_OBJECT);
    const char *key;
    const json_t *group;
    void *iter;
    set_format(q, format);
    check_ct_format(q, format);
    if (json_object_size(sparsity) > 0) {
        struct config_reader inner = {sparsity, r->name, r->err, r->status};
        const char *sparse = config_string(&inner, "format", "dense");
        char shown[64];
        r->status = inner.status;
        if (strcmp(sparse, "dense") != 0)
            problem(q, "sparsity \"%s\", expected none", config_printable(sparse, shown));
    }
    for (iter = json_object_iter((json_t *)(uintptr_t)groups); iter && !r->status;
         iter = json_object_iter_next((json_t *)(uintptr_t)groups, iter)) {
        key = json_object_iter_key(iter);
        group = json_object_iter_value(iter);
        (void)key;
        read_ct_group(r, q, group);
    }
    if (!q->n_schemes)
        problem(q, "config_groups names no weights");
}

/* ---- the whole --------------------------------------------------------------- */

static const struct {
    const char *name;
    enum quant_method method;
    void (*read)(struct config_reader *r, struct quant_config *q);
} methods[] = {
    {"fp8", QUANT_METHOD_FP8, read_fp8},
    {"fbgemm_fp8", QUANT_METHOD_FP8, read_fp8},
    {"awq", QUANT_METHOD_AWQ, read_awq},
    {"gptq", QUANT_METHOD_GPTQ, read_gptq},
    {"bitsandbytes", QUANT_METHOD_BITSANDBYTES, read_bitsandbytes},
    {"compressed-tensors", QUANT_METHOD_COMPRESSED, read_compressed},
};

void quant_config_read(struct config_reader *r, struct quant_config *out) {
    *out = (struct quant_config){0};
    /* compressed-tensors' older name for it. */
    const json_t *q = config_container(r, "quantization_config", JSON_OBJECT);
    if (!q)
        q = config_container(r, "compression_config", JSON_OBJECT);
    if (!q)
        return;
    struct config_reader inner = {q, r->name, r->err, QUERN_OK};
    /* Early bitsandbytes configurations do not name the method. */
    const char *fallback = config_has(&inner, "load_in_4bit") || config_has(&inner, "load_in_8bit")
                               ? "bitsandbytes"
                               : "";
    const char *name = config_string(&inner, "quant_method", fallback);
    char shown[64];
    out->method = QUANT_METHOD_OTHER;
    snprintf(out->name, sizeof out->name, "%.31s", config_printable(name, shown));
    for (size_t i = 0; i < sizeof methods / sizeof *methods && !inner.status; i++) {
        if (strcmp(name, methods[i].name) == 0) {
            out->method = methods[i].method;
            methods[i].read(&inner, out);
        }
    }
    if (out->method == QUANT_METHOD_OTHER)
        problem(out, "expected fp8, awq, gptq, bitsandbytes or compressed-tensors");
    r->status = inner.status;
}

void quant_config_describe(const struct quant_config *q, char *out, size_t size) {
    int at = snprintf(out, size, "%s", q->name[0] ? q->name : "unnamed");
    if (q->format[0] && at > 0 && (size_t)at < size)
        at += snprintf(out + at, size - (size_t)at, ", %s", q->format);
    for (size_t i = 0; i < q->n_schemes && at > 0 && (size_t)at < size; i++) {
        const struct quant_scheme *s = &q->schemes[i];
        at += snprintf(out + at, size - (size_t)at, "%s%d bits%s", i ? "; " : ", ", s->bits,
                       s->symmetric ? "" : " with zero points");
        if (s->block_rows && at > 0 && (size_t)at < size)
            at += snprintf(out + at, size - (size_t)at, ", blocks of %zu x %zu", s->block_rows,
                           s->block_cols);
        else if (s->group && at > 0 && (size_t)at < size)
            at += snprintf(out + at, size - (size_t)at, ", groups of %zu", s->group);
    }
}
