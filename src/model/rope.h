/* rope.h - rotary position embedding: inverse frequencies for every scaling rule, and
 * the cosines and sines of a position. */
#ifndef QUERN_MODEL_ROPE_H
#define QUERN_MODEL_ROPE_H

#include <stddef.h>

#include "base/error.h"
#include "formats/hf_config.h"

enum { ROPE_HALF_MAX = 256 };

struct rope {
    size_t half; /* head_dim / 2 */
    float inv_freq[ROPE_HALF_MAX];
    float attention_scaling; /* multiplies cos and sin */
};

/* As transformers computes it. `scaled` false: YaRN is left out (short contexts).
 * n_context: the most positions the caller will use; only dynamic NTK looks at it,
 * and takes the base that transformers takes for a prompt of that length, for all
 * positions, so that results do not depend on how a prompt was cut. */
enum quern_status rope_init(struct rope *r, const struct hf_config *c, size_t n_context,
                            bool scaled, struct quern_error *err);

/* cos, sin [half] for one position: of the float32 angle inv_freq * position, times
 * attention_scaling. The same bits on every machine (no libm). */
void rope_angles(const struct rope *r, size_t position, float *cos, float *sin);

/* Positions the checkpoint was made for without YaRN. */
size_t rope_original_context(const struct hf_config *c);
/* The same with the configured scaling: what linear and dynamic stretch is
 * max_position_embeddings, what YaRN stretches is the original context. */
size_t rope_max_context(const struct hf_config *c);
/* What YaRN multiplies cos and sin by. */
double rope_yarn_attention_factor(const struct rope_config *c);

#endif
