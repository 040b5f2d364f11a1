/* fingerprint.h - whether two models compute the same keys and values, as far as a look at a part
 * of their weights tells. */
#ifndef QUERN_MODEL_FINGERPRINT_H
#define QUERN_MODEL_FINGERPRINT_H

#include <stdint.h>

#include "model/model.h"
#include "model/rope.h"

/* Mixes names, types, shapes and some kilobytes of every tensor into out. */
void fingerprint_checkpoint(const struct checkpoint *c, uint64_t out[2]);
/* Of names, shapes, types and some kilobytes of every tensor, of the forms the weights are computed
 * in, the device, positions and norms. Training changes every tensor it touches all over. */
void model_fingerprint(const struct model *m, const struct rope *rope, uint64_t out[2]);

#endif
