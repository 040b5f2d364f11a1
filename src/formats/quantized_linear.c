#include "formats/quantized_linear.h"

#include "formats/quantized/parts.h"

enum quern_status quantized_linear_open(const struct quant_config *config,
                                        const struct checkpoint *checkpoint, const char *base,
                                        size_t rows, size_t cols, struct arena *arena,
                                        struct quantized_linear **out, struct quern_error *err) {
    static bool (*const open[])(struct parts_reader *) = {
        [QUANT_METHOD_FP8] = fp8_open,
        [QUANT_METHOD_AWQ] = awq_open,
        [QUANT_METHOD_GPTQ] = gptq_open,
        [QUANT_METHOD_BITSANDBYTES] = bitsandbytes_open,
        [QUANT_METHOD_COMPRESSED] = compressed_open,
    };
    *out = NULL;
    if (config->method == QUANT_METHOD_NONE || !rows || !cols)
        return QUERN_OK;
    if (config->problem[0])
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "config.json: the checkpoint is quantized by \"%s\": %s", config->name,
                         config->problem);
    struct quantized_linear *l = arena_calloc(arena, 1, sizeof *l);
    if (!l)
        return error_nomem(err);
    struct parts_reader r = {config, checkpoint, base, rows, cols, arena, l, err, QUERN_OK};
    l->source.rows = rows;
    l->source.cols = cols;
    if (open[config->method](&r) && !r.status)
        *out = l;
    return r.status;
}

bool quantized_part_name(const char *name, size_t *base_len) {
    static const char *const suffixes[] = {
        /* gptq, awq */
        ".qweight", ".qzeros", ".scales", ".g_idx",
        /* fp8, compressed-tensors */
        ".weight_scale_inv", ".weight_scale", ".weight_zero_point", ".weight_packed",
        ".weight_shape", ".weight_g_idx", ".activation_scale", ".input_scale",
        ".input_scale_ub", ".input_zero_point", ".output_scale", ".output_zero_point", ".k_scale",
        ".v_scale", ".q_scale",
        /* bitsandbytes */
        ".SCB", ".weight_format", ".weight.absmax", ".weight.quant_map", ".weight.nested_absmax",
        ".weight.nested_quant_map", ".weight.quant_state.bitsandbytes__nf4",
        ".weight.quant_state.bitsandbytes__fp4"};
    const struct str all = str_from(name);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        const struct str suffix = str_from(suffixes[i]);
        if (str_ends_with(all, suffix)) {
            if (base_len)
                *base_len = all.len - suffix.len;
            return true;
        }
    }
    return false;
}

static bool all_zero(const struct tensor *t) {
    const unsigned char *bytes = t->data;
    for (size_t i = 0; i < t->size_bytes; i++)
        if (bytes[i])
            return false;
    return true;
}

bool quantized_left_over(const struct tensor *t, struct str *base) {
    const struct str name = str_from(t->name), bias = STR_LIT(".bias");
    size_t len = 0;
    if (!quantized_part_name(t->name, &len)) {
        if (!str_ends_with(name, bias) || !all_zero(t))
            return false;
        len = name.len - bias.len;
    }
    *base = (struct str){name.ptr, len};
    return true;
}
