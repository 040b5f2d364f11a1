#include "formats/gguf_adapter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/file_writer.h"
#include "formats/tensor_layout.h"

enum {
    GGUF_VERSION = 3,
    TYPE_U32 = 4,
    TYPE_F32 = 6,
    TYPE_STRING = 8,
    ALIGNMENT = 32,
    NAME_BYTES = 64,
    HEADER_BYTES_MAX = 64 << 20,
    PIECE_FLOATS = 16384
};

struct job {
    const struct peft_adapter *adapter;
    const struct hf_config *config;
    float scale;
    double alpha; /* as the file says it: of a module of rank r the scale is alpha / r */
    bool folded;
    struct buffer header;
    uint64_t offset; /* of the next tensor's data */
    struct file_writer file;
    struct quern_error *err;
};

/* ---- names ------------------------------------------------------------------------------------
 */

static const char *architecture(const struct hf_config *c) {
    switch (c->arch) {
    case ARCH_QWEN3:
        return "qwen3";
    case ARCH_QWEN3_MOE:
        return "qwen3moe";
    case ARCH_QWEN2:
        return "qwen2";
    default:
        return NULL;
    }
}

static enum quern_status tensor_name(const struct job *j, const struct peft_module *m,
                                     char out[NAME_BYTES]) {
    static const char *const names[][2] = {
        {"self_attn.q_proj", "attn_q"}, {"self_attn.k_proj", "attn_k"},
        {"self_attn.v_proj", "attn_v"}, {"self_attn.o_proj", "attn_output"},
        {"mlp.gate_proj", "ffn_gate"},  {"mlp.up_proj", "ffn_up"},
        {"mlp.down_proj", "ffn_down"}};
    const char *p = m->name;
    if (strcmp(p, "lm_head") == 0 && !j->config->tie_word_embeddings) {
        snprintf(out, NAME_BYTES, "output.weight");
        return QUERN_OK;
    }
    p += strncmp(p, "model.", 6) == 0 ? 6 : 0;
    const size_t digits = strncmp(p, "layers.", 7) == 0 ? strspn(p + 7, "0123456789") : 0;
    for (size_t i = 0; digits > 0 && digits < 8 && i < sizeof names / sizeof *names; i++)
        if (p[7 + digits] == '.' && strcmp(p + 8 + digits, names[i][0]) == 0) {
            snprintf(out, NAME_BYTES, "blk.%.*s.%s.weight", (int)digits, p + 7, names[i][1]);
            return QUERN_OK;
        }
    return error_set(
        j->err, QUERN_ERR_UNSUPPORTED,
        strcmp(m->name, "lm_head") == 0
            ? "%s: the model's head is its embedding, which a GGUF adapter cannot change alone"
            : "%s: an adapter in GGUF cannot have this module",
        m->name);
}

/* ---- checks -------------------------------------------------------------------------------------
 */

static enum quern_status check_module(const struct job *j, const struct peft_module *m) {
    struct tensor_layout walk;
    struct tensor_spec spec;
    const size_t len = strlen(m->name);
    for (tensor_layout_begin(&walk, j->config); tensor_layout_next(&walk, &spec);) {
        const char *name = spec.name;
        if (strncmp(m->name, "layers.", 7) == 0 && strncmp(name, "model.", 6) == 0)
            name += 6;
        if (strncmp(name, m->name, len) != 0 || strcmp(name + len, ".weight") != 0)
            continue;
        if (spec.rank == 2 && spec.shape[0] == m->out && spec.shape[1] == m->in)
            return QUERN_OK;
        return error_set(j->err, QUERN_ERR_FORMAT,
                         "the adapter's %s is [%zu, %zu], which is not the model's shape: it was "
                         "made for another model",
                         m->name, m->out, m->in);
    }
    return error_set(j->err, QUERN_ERR_FORMAT,
                     "the adapter has weights for %s, which is no linear layer of the model",
                     m->name);
}

static enum quern_status check(struct job *j) {
    const struct peft_adapter *a = j->adapter;
    enum quern_status st = QUERN_OK;
    char name[NAME_BYTES];
    if (!architecture(j->config))
        return error_set(j->err, QUERN_ERR_UNSUPPORTED,
                         "adapters for %s are not written as GGUF, where its rows stand in another "
                         "order",
                         j->config->architecture_name);
    if (peft_adapter_config(a)->use_dora)
        return error_set(j->err, QUERN_ERR_UNSUPPORTED,
                         "the adapter has magnitudes (use_dora), for which GGUF has no place; "
                         "\"quern merge\" puts them into the weights");
    if (peft_adapter_saved_count(a))
        return error_set(j->err, QUERN_ERR_UNSUPPORTED,
                         "the adapter replaces %s (modules_to_save), for which GGUF has no place; "
                         "\"quern merge\" puts it into the weights",
                         peft_saved_name(peft_adapter_saved_at(a, 0)));
    for (size_t i = 0; i < peft_adapter_count(a) && st == QUERN_OK; i++) {
        st = tensor_name(j, peft_adapter_at(a, i), name);
        if (st == QUERN_OK)
            st = check_module(j, peft_adapter_at(a, i));
    }
    return st;
}

/* ---- writing
 * -------------------------------------------------------------------------------------- */

static void put_int(struct buffer *b, uint64_t x, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i++)
        buffer_putc(b, (char)(unsigned char)(x >> (8 * i)));
}

static void put_text(struct buffer *b, const char *text) {
    put_int(b, strlen(text), 8);
    buffer_puts(b, text);
}

static void put_string(struct buffer *b, const char *key, const char *value) {
    put_text(b, key);
    put_int(b, TYPE_STRING, 4);
    put_text(b, value);
}

static void put_float(struct buffer *b, const char *key, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_text(b, key);
    put_int(b, TYPE_F32, 4);
    put_int(b, bits, 4);
}

/* Of a matrix [rows, cols] as the file's tensor, whose first side is the inner one. */
static void put_tensor(struct job *j, const char *name, const char *suffix, size_t rows,
                       size_t cols) {
    char full[NAME_BYTES + 16];
    snprintf(full, sizeof full, "%s%s", name, suffix);
    put_text(&j->header, full);
    put_int(&j->header, 2, 4);
    put_int(&j->header, cols, 8);
    put_int(&j->header, rows, 8);
    put_int(&j->header, 0 /* F32 */, 4);
    put_int(&j->header, j->offset, 8);
    j->offset += (rows * cols * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static enum quern_status put_header(struct job *j) {
    const struct peft_adapter *a = j->adapter;
    struct buffer *b = &j->header;
    const size_t n = peft_adapter_count(a);
    buffer_puts(b, "GGUF");
    put_int(b, GGUF_VERSION, 4);
    put_int(b, 2 * n, 8);
    put_int(b, 5, 8);
    put_string(b, "general.architecture", architecture(j->config));
    put_string(b, "general.type", "adapter");
    put_text(b, "general.file_type");
    put_int(b, TYPE_U32, 4);
    put_int(b, 0 /* all F32 */, 4);
    put_string(b, "adapter.type", "lora");
    put_float(b, "adapter.lora.alpha", (float)j->alpha);
    for (size_t i = 0; i < n; i++) {
        const struct peft_module *m = peft_adapter_at(a, i);
        char name[NAME_BYTES];
        enum quern_status st = tensor_name(j, m, name);
        if (st != QUERN_OK)
            return st;
        put_tensor(j, name, ".lora_a", m->rank, m->in);
        put_tensor(j, name, ".lora_b", m->out, m->rank);
    }
    while (b->len % ALIGNMENT && !b->failed)
        buffer_putc(b, '\0');
    return buffer_status(b, "the header", j->err);
}

static enum quern_status write_tensor(struct job *j, const struct tensor *t, float factor) {
    static const char zeros[ALIGNMENT];
    float some[PIECE_FLOATS];
    const size_t size = dtype_size_bytes(t->dtype), n = t->size_bytes / size;
    enum quern_status st = QUERN_OK;
    for (size_t i = 0; i < n && st == QUERN_OK; i += PIECE_FLOATS) {
        const size_t m = n - i < PIECE_FLOATS ? n - i : PIECE_FLOATS;
        dtype_to_f32(t->dtype, (const unsigned char *)t->data + i * size, some, m);
        for (size_t k = 0; k < m && factor != 1; k++)
            some[k] *= factor;
        st = file_writer_write(&j->file, some, m * sizeof *some, j->err);
    }
    const size_t tail = n * sizeof(float) % ALIGNMENT;
    if (st == QUERN_OK && tail)
        st = file_writer_write(&j->file, zeros, ALIGNMENT - tail, j->err);
    return st;
}

static enum quern_status write_file(struct job *j, const char *path) {
    const struct peft_adapter *a = j->adapter;
    enum quern_status st = file_writer_init(&j->file, path, j->err);
    if (st == QUERN_OK)
        st = file_writer_write(&j->file, j->header.data, j->header.len, j->err);
    for (size_t i = 0; i < peft_adapter_count(a) && st == QUERN_OK; i++) {
        const struct peft_module *m = peft_adapter_at(a, i);
        const double said = j->alpha / (double)m->rank, meant = m->scale * (double)j->scale;
        const float factor = said == meant ? 1 : (float)(meant / said);
        st = write_tensor(j, m->a, 1);
        if (st == QUERN_OK)
            st = write_tensor(j, m->b, factor);
        j->folded = j->folded || factor != 1;
    }
    if (st == QUERN_OK)
        st = file_writer_close(&j->file, j->err);
    if (st == QUERN_OK)
        st = file_writer_publish(&j->file, j->err);
    file_writer_release(&j->file);
    return st;
}

/* The alpha of the first module: most often it is everybody's. A reader takes alpha 0 for "no
 * scaling". */
static double choose_alpha(const struct job *j) {
    const struct peft_module *m = peft_adapter_at(j->adapter, 0);
    const double alpha = m->scale * (double)j->scale * (double)m->rank;
    return alpha != 0 && isfinite((float)alpha) && (float)alpha != 0 ? (double)(float)alpha : 1;
}

enum quern_status gguf_adapter_write(const char *path, const struct peft_adapter *adapter,
                                     float scale, const struct hf_config *config, bool *folded,
                                     struct quern_error *err) {
    struct job j = {.adapter = adapter, .config = config, .scale = scale, .err = err};
    buffer_init(&j.header, HEADER_BYTES_MAX);
    j.file.fd = -1;
    enum quern_status st = check(&j);
    if (st == QUERN_OK && !isfinite(scale))
        st = error_set(err, QUERN_ERR_ARG, "an adapter's scale must be a finite number");
    if (st == QUERN_OK) {
        j.alpha = choose_alpha(&j);
        st = put_header(&j);
    }
    if (st == QUERN_OK)
        st = write_file(&j, path);
    buffer_release(&j.header);
    if (st == QUERN_OK && folded)
        *folded = j.folded;
    return st;
}
