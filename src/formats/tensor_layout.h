/* tensor_layout.h - the tensors a checkpoint of a given configuration consists of: names as
 * Hugging Face writes them, shapes, and what they are. In the order of transformers' modules:
 * embedding, layers, final norm, head. */
#ifndef QUERN_FORMATS_TENSOR_LAYOUT_H
#define QUERN_FORMATS_TENSOR_LAYOUT_H

#include "base/str.h"
#include "formats/hf_config.h"

enum tensor_role {
    TENSOR_EMBEDDING,
    TENSOR_MATRIX,
    TENSOR_ROUTER,
    TENSOR_NORM,
    TENSOR_BIAS,
    TENSOR_HEAD, /* lm_head, absent when tied */
};

enum { TENSOR_LAYOUT_NAME_MAX = 96 };

struct tensor_spec {
    char name[TENSOR_LAYOUT_NAME_MAX]; /* "model.layers.0.self_attn.q_proj.weight" */
    enum tensor_role role;
    int rank; /* 1 or 2 */
    size_t shape[2];
};

/* Walks the list:
 *     struct tensor_layout walk;
 *     struct tensor_spec spec;
 *     for (tensor_layout_begin(&walk, &config); tensor_layout_next(&walk, &spec);) ... */
struct tensor_layout {
    const struct hf_config *config;
    int32_t layer;  /* -1: before the layers; n_layers: after */
    int32_t expert; /* within a layer's experts */
    int step;       /* within a layer, or an expert, or outside the layers */
};

void tensor_layout_begin(struct tensor_layout *walk, const struct hf_config *config);
bool tensor_layout_next(struct tensor_layout *walk, struct tensor_spec *out);
size_t tensor_layout_count(const struct hf_config *config);

/* Whether a tensor that no layout asks for may be there all the same, without a word. */
bool tensor_is_harmless_surplus(const struct hf_config *c, struct str name);

#endif
