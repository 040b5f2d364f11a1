/* A coded matrix: rows - 1, columns - 1 (a byte each), quantization_config up to a NUL, a .safetensors
 * file. What opens must decode, to codes and zero points in range. */
#include <stdio.h>
#include <stdlib.h>

#include "formats/hf_config.h"
#include "formats/quantized_linear.h"
#include "formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const struct quant_source *s) {
    enum { STEP = 5 };
    const size_t groups = quant_n_groups(&s->spec, s->cols);
    uint8_t *q = malloc(STEP * s->cols);
    float *scale = calloc(STEP * groups, sizeof *scale), *zero = calloc(STEP * groups, sizeof *zero);
    float *y = malloc(STEP * s->cols * sizeof *y);
    void *scratch = malloc(quant_dequantize_scratch_bytes(s, STEP));
    for (size_t r = 0; q && scale && zero && y && scratch && r < s->rows; r += STEP) {
        const size_t n = s->rows - r < STEP ? s->rows - r : STEP;
        s->read_rows(s, r, n, q, scale, zero);
        for (size_t i = 0; i < n * s->cols; i++)
            if (q[i] >> s->spec.bits)
                abort();
        for (size_t i = 0; i < n * groups; i++)
            if (!(zero[i] >= 0 && zero[i] <= (float)(1 << s->spec.bits)))
                abort();
        quant_dequantize_rows(s, r, n, y, scratch);
    }
    free(q);
    free(scale);
    free(zero);
    free(y);
    free(scratch);
}

static void open_and_decode(const struct quant_config *config, const uint8_t *file, size_t size,
                            size_t rows, size_t cols) {
    struct safetensors *st = NULL;
    struct checkpoint *c = NULL;
    struct quantized_linear *l = NULL;
    struct quern_error err;
    struct arena arena = ARENA_INIT(0);
    if (safetensors_parse(file, size, "file", &st, &err) ||
        checkpoint_from_safetensors(st, &c, &err))
        return;
    if (!quantized_linear_open(config, c, "model.layers.0.mlp.up_proj", rows, cols, &arena, &l, &err) && l)
        decode(&l->source);
    arena_release(&arena);
    checkpoint_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = size > 2 ? memchr(data + 2, 0, size - 2) : NULL;
    struct hf_config config;
    struct quern_error err;
    if (!end)
        return 0;
    const size_t len = (size_t)(end - data) - 2, text_size = len + 100;
    char *text = malloc(text_size);
    if (!text)
        return 0;
    int n = snprintf(text, text_size,
                     "{\"architectures\": [\"Qwen3ForCausalLM\"], \"quantization_config\": %.*s}",
                     (int)len, (const char *)data + 2);
    if (!hf_config_parse(text, (size_t)n, "config.json", &config, &err)) {
        char description[64];
        quant_config_describe(&config.quant, description, sizeof description);
        open_and_decode(&config.quant, end + 1, size - (size_t)(end + 1 - data), data[0] + 1u,
                        data[1] + 1u);
    }
    free(text);
    return 0;
}
