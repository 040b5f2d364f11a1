/* rope.h - rotary position embedding: inverse frequencies for every scaling rule, and tables. */
#ifndef QUERN_MODEL_ROPE_H
#define QUERN_MODEL_ROPE_H

#include "base/error.h"
#include "formats/hf_config.h"

enum { ROPE_HALF_MAX = 256 };

struct rope {
    size_t half;                   /* head_dim / 2 */
    float inv_freq[ROPE_HALF_MAX];
    float attention_scaling;       /* multiplies cos and sin */
};

/* As transformers computes it. `scaled` false: ignore YaRN (short contexts). */
enum quern_status rope_init(struct rope *r, const struct rope_config *c, size_t head_dim,
                            int32_t max_positions, bool scaled, struct quern_error *err);
/* cos, sin [half] for one position: float32 angle = inv_freq * position. */
void rope_angles(const struct rope *r, size_t position, float *cos, float *sin);

#endif
