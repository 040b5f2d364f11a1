/* weight_loader.h - matrices in the form the device computes with, made from whatever a checkpoint
 * holds. */
#ifndef QUERN_MODEL_WEIGHT_LOADER_H
#define QUERN_MODEL_WEIGHT_LOADER_H

#include "model/model.h"

/* Large pieces of device memory, shared out from front to back: so many small matrices would each
 * waste part of a huge page. */
struct weight_block {
    struct weight_block *next;
    char *memory;
    size_t size_bytes, used_bytes;
};

void weight_blocks_release(struct model *m);

/* A coded matrix, packed: codes and their exact values as the source has them. `known`: see
 * device.h. The source is needed during the call only; its code table and order of columns are
 * copied. `fast`: activations may be rounded. */
enum quern_status weight_from_source(struct model *m, struct weight *out,
                                     const struct quant_source *s, const struct packed_survey *known,
                                     bool fast, struct quern_error *err);
/* A matrix of floats, in the form `as` (not AUTO). `data` is needed during the call only. */
enum quern_status weight_from_floats(struct model *m, struct weight *out, enum quern_weights as,
                                     bool fast, enum dtype dtype, const void *data, size_t rows,
                                     size_t cols, struct quern_error *err);
/* The same from a coded matrix, whose values are rounded a second time. */
enum quern_status weight_from_values(struct model *m, struct weight *out, enum quern_weights as,
                                     bool fast, const struct quant_source *s, struct quern_error *err);

#endif
