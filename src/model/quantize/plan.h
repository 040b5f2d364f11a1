/* plan.h - what becomes of each tensor of a checkpoint, and the tensors of the new one. */
#ifndef QUERN_MODEL_QUANTIZE_PLAN_H
#define QUERN_MODEL_QUANTIZE_PLAN_H

#include "formats/quantized_writer.h"
#include "model/quantize/calibration.h"
#include "model/quantize/source.h"

struct plan_entry {
    struct tensor_spec spec;
    char base[TENSOR_LAYOUT_NAME_MAX]; /* its name in the new checkpoint, without ".weight" */
    bool is_coded;                     /* else: copied */
    bool is_head;
    enum quantized_layout layout;      /* of a coded one, */
    size_t group;                      /* and its group */
    size_t layer, expert;              /* of a coded one */
    enum calibration_site site;
    const struct tensor *copied; /* NULL: a matrix that was coded and shall not be, as BF16 */
};

struct plan {
    enum quantized_layout layout;
    struct quantized_head head;
    const char *prefix; /* of the names, "model." or "" */
    struct plan_entry *entries; /* copied ones first; coded ones in the order of the layers */
    size_t n;
    struct tensor_decl *decls;
    size_t n_decls;
    size_t group;          /* int8, int4: of the matrices in layers */
    size_t head_group;
    size_t coded_elements; /* of all coded matrices */
    struct arena arena;
};

/* On failure *out is released. */
enum quern_status plan_init(struct plan *out, enum quantized_layout layout,
                            const struct quantized_head *head, const struct hf_config *config,
                            const struct checkpoint *checkpoint,
                            struct quern_error *err);
void plan_release(struct plan *p);

#endif
