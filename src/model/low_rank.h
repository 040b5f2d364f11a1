/* low_rank.h - what an adapter's matrices make of a weight: B A row by row, and DoRA's norms. */
#ifndef QUERN_MODEL_LOW_RANK_H
#define QUERN_MODEL_LOW_RANK_H

#include "base/arena.h"
#include "device/device.h"
#include "formats/peft_adapter.h"

enum { LOW_RANK_ROWS = 64 }; /* computed at a time */

/* Row r of a matrix as float32. */
void weight_row(const struct weight *w, size_t r, float *out);

/* Products with B's rows, on a device. */
struct low_rank {
    struct device *device;
    const struct peft_module *module;
    float *at;    /* [in, rank] A transposed: a matrix whose product with B's rows is B A */
    float *b;     /* [LOW_RANK_ROWS, rank] */
    float *delta; /* [LOW_RANK_ROWS, in] */
    float *host;  /* [LOW_RANK_ROWS, in], or [in, rank] if larger */
    size_t at_bytes, b_bytes, delta_bytes;
};

/* Zeroed may be released. */
enum quern_status low_rank_init(struct low_rank *p, struct device *d,
                                const struct peft_module *module, struct quern_error *err);
void low_rank_release(struct low_rank *p);
/* Rows [first, first + n) of B A, n <= LOW_RANK_ROWS: [n, in], valid until the next call. */
const float *low_rank_rows(struct low_rank *p, size_t first, size_t n);

/* |w + scale delta| over n columns, summed in double. */
double low_rank_norm(const float *w, const float *delta, float scale, size_t n);

/* (*out)[rows] = m / |row of W + scale B A|, in `arena`; W as it is computed with, dequantized. */
enum quern_status dora_gain(struct device *d, const struct weight *w,
                            const struct peft_module *module, float scale, struct arena *arena,
                            const float **out, struct quern_error *err);

/* peft writes the base's own matrix along when the head has LoRA. It must be the model's: other
 * weights below the same LoRA are another result. Either side may have been rounded to 16 bits. */
bool low_rank_base_agrees(const struct peft_module *module, size_t r, const float *row,
                          float *scratch);

#endif
