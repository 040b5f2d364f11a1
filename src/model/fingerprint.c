#include "model/fingerprint.h"

#include <string.h>

#include "base/checksum.h"
#include "formats/checkpoint.h"

enum { PIECE_BYTES = 1024 };

static void add(uint64_t out[2], const void *data, size_t n) {
    out[0] = checksum64(out[0], data, n);
    out[1] = checksum64(out[1] ^ 0x6b76u, data, n);
}

static void add_text(uint64_t out[2], const char *text) {
    add(out, text, strlen(text));
}

/* Beginning, middle and end. */
static void add_tensor(uint64_t out[2], const struct tensor *t) {
    const size_t piece = t->size_bytes < PIECE_BYTES ? t->size_bytes : PIECE_BYTES;
    const unsigned char *data = t->data;
    add_text(out, t->name);
    add_text(out, tensor_type_name(t));
    add(out, t->shape, (size_t)t->rank * sizeof t->shape[0]);
    if (!data || piece == 0)
        return;
    add(out, data, piece);
    add(out, data + (t->size_bytes - piece) / 2, piece);
    add(out, data + t->size_bytes - piece, piece);
}

void fingerprint_checkpoint(const struct checkpoint *c, uint64_t out[2]) {
    for (size_t i = 0; i < checkpoint_count(c); i++)
        add_tensor(out, checkpoint_at(c, i));
}

void model_fingerprint(const struct model *m, const struct rope *rope, uint64_t out[2]) {
    const struct hf_config *c = &m->config;
    out[0] = 1;
    out[1] = 2;
    add_text(out, m->device->name);
    add(out, rope->inv_freq, rope->half * sizeof rope->inv_freq[0]);
    add(out, &rope->attention_scaling, sizeof rope->attention_scaling);
    add(out, &c->rms_norm_eps, sizeof c->rms_norm_eps);
    add(out, c->layer_window, (size_t)c->n_layers * sizeof c->layer_window[0]);
    for (int32_t i = 0; i < c->n_layers; i++) {
        const struct weight *w = &m->layers[i].q;
        const struct packed_matrix *p = w->packed;
        const uint64_t form[] = {w->dtype, weight_math(w), p ? (uint64_t)p->bits : 0,
                                 p ? (uint64_t)p->kind : 0, p ? p->group : 0};
        add(out, form, sizeof form);
    }
    fingerprint_checkpoint(m->checkpoint, out);
}
