/* tiny_checkpoint.h - small random checkpoints on disk, made by the test itself, so that it can
 * also make broken ones. */
#ifndef TESTS_TINY_CHECKPOINT_H
#define TESTS_TINY_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/dtype.h"

/* What a model is made of; TINY_QWEN3 is a start. */
struct tiny_shape {
    const char *architecture, *model_type;
    size_t vocab, hidden, inter, layers, heads, kv_heads, head_dim;
    size_t experts, experts_per_token, moe_inter; /* 0: dense */
    size_t window; /* 0: full attention, else on all layers but the first */
    bool qkv_bias, qk_norm, tied;
    const char *prefix;       /* of the tensors' names */
    const char *extra_config; /* more members of config.json, each ended by a comma, or "" */
};

#define TINY_QWEN3                                                                            \
    {                                                                                         \
        .architecture = "Qwen3ForCausalLM", .model_type = "qwen3", .vocab = 97, .hidden = 48, \
        .inter = 80, .layers = 3, .heads = 4, .kv_heads = 2, .head_dim = 16, .qk_norm = true, \
        .prefix = "model.", .extra_config = ""                                                \
    }

enum { TINY_TENSORS_MAX = 256 };

struct tiny_tensor {
    char name[96];
    enum dtype dtype;
    int rank;
    size_t shape[3];
};

struct tiny_checkpoint {
    struct tiny_tensor tensors[TINY_TENSORS_MAX];
    size_t n;
    size_t header_padding; /* spaces after the header; an odd number shifts all data */
};

/* All tensors of the shape in float32. */
void tiny_checkpoint_fill(struct tiny_checkpoint *c, const struct tiny_shape *s);
struct tiny_tensor *tiny_checkpoint_find(struct tiny_checkpoint *c, const char *name);
void tiny_checkpoint_remove(struct tiny_checkpoint *c, const char *name);
struct tiny_tensor *tiny_checkpoint_add(struct tiny_checkpoint *c, const char *name, int rank,
                                        size_t a, size_t b, size_t z);

/* Writes `name`/config.json and model.safetensors into this test's own folder; the path. Values
 * depend on seed, tensor name and index. */
const char *tiny_checkpoint_write(const struct tiny_checkpoint *c, const struct tiny_shape *s,
                                  const char *name, uint64_t seed);
/* Both steps. */
const char *tiny_model_write(const struct tiny_shape *s, const char *name, uint64_t seed);

#endif
