/* A .gguf file in memory, and all that is made of it. */
#include <stdlib.h>

#include "formats/gguf_blocks.h"
#include "formats/gguf_config.h"
#include "formats/gguf_tensors.h"
#include "formats/gguf_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROW_BYTES_MAX = 1 << 16, JSON_BYTES_MAX = 1 << 20 };

static void check_tensor(const struct gguf *g, const struct gguf_tensor *t, const uint8_t *data,
                         size_t size) {
    const uint8_t *begin = t->tensor.data;
    if (begin < data || begin + t->tensor.size_bytes > data + size ||
        gguf_find_tensor(g, t->tensor.name) != t)
        abort();
}

/* Whatever can be read of it must lie inside the input, which the sanitizers see to. */
static void read_tensor(const struct tensor *t) {
    static uint8_t q[ROW_BYTES_MAX];
    static float scale[ROW_BYTES_MAX], zero[ROW_BYTES_MAX];
    if (t->coded && t->coded->cols <= ROW_BYTES_MAX) {
        t->coded->read_rows(t->coded, 0, 1, q, scale, zero);
        t->coded->read_rows(t->coded, t->coded->rows - 1, 1, q, scale, zero);
    }
    if (t->interleaved_heads) {
        void *copy = malloc(t->size_bytes);
        if (copy)
            tensor_copy_in_order(t, copy);
        free(copy);
    }
}

static void read_tensors(const struct gguf *g) {
    struct gguf_tensors tensors;
    struct quern_error err;
    if (gguf_tensors_init(&tensors, g, &err))
        return;
    for (size_t i = 0; i < tensors.n; i++)
        read_tensor(&tensors.tensors[i]);
    gguf_tensors_release(&tensors);
}

static void read_model(const struct gguf *g) {
    struct hf_config config;
    struct generation_config generation;
    struct quern_error err;
    struct buffer json;
    struct str text;
    buffer_init(&json, JSON_BYTES_MAX);
    if (!gguf_hf_config(g, &config, &err) &&
        !gguf_generation_config(g, &config, &generation, &err) && config.n_layers < 1)
        abort();
    (void)gguf_tokenizer_json(g, &json, &err);
    (void)gguf_chat_template(g, &text);
    (void)gguf_special_token(g, "tokenizer.ggml.bos_token_id", &text);
    buffer_release(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct gguf *g = NULL;
    struct quern_error err;
    if (gguf_parse(data, size, "file", &g, &err))
        return 0;
    for (size_t i = 0; i < gguf_tensor_count(g); i++)
        check_tensor(g, gguf_tensor_at(g, i), data, size);
    read_tensors(g);
    read_model(g);
    gguf_close(g);
    return 0;
}
