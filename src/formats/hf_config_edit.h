/* hf_config_edit.h - config.json of a model that is written anew: everything in it is kept but what
 * the new weights make untrue. */
#ifndef QUERN_FORMATS_HF_CONFIG_EDIT_H
#define QUERN_FORMATS_HF_CONFIG_EDIT_H

#include "base/error.h"
#include "quant/dtype.h"
#include "text/json.h"

struct hf_config_edit {
    bool drop_quantization;  /* the weights are not coded any more, or otherwise */
    json_t *quantization;    /* the new quantization_config, borrowed; NULL: none */
    bool untie;              /* the head is a matrix of its own */
    const enum dtype *dtype; /* what weights are held in (F32, F16, BF16); NULL: as before */
};

enum quern_status hf_config_copy(const char *from_dir, const char *to_dir,
                                 const struct hf_config_edit *edit, struct quern_error *err);

#endif
