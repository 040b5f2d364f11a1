/* dora.h - the norms DoRA divides by. */
#ifndef QUERN_MODEL_DORA_H
#define QUERN_MODEL_DORA_H

#include "base/arena.h"
#include "device/device.h"
#include "formats/peft_adapter.h"

/* (*out)[rows] = m / |row of W + scale B A|, in `arena`; W as it is computed with, dequantized. */
enum quern_status dora_gain(struct device *d, const struct weight *w,
                            const struct peft_module *module, float scale, struct arena *arena,
                            const float **out, struct quern_error *err);

/* Row r of a matrix as float32. */
void weight_row(const struct weight *w, size_t r, float *out);

#endif
