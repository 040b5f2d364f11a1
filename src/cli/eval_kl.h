/* eval_kl.h - `quern eval kl`: how far a model's predictions are from another's. */
#ifndef QUERN_CLI_EVAL_KL_H
#define QUERN_CLI_EVAL_KL_H

#include "base/str.h"
#include "quern.h"

struct eval_kl_options {
    int64_t context; /* tokens of a window; 0: 2048 or what the models take */
    enum quern_kv_type kv_type; /* of the model's cache; the reference has float32 */
    bool json;
};

/* The exit code; the result or the error was printed. */
int eval_kl(quern_model *model, quern_model *ref, struct str text,
            const struct eval_kl_options *options);

#endif
