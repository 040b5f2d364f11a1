/* served_model.h - a model, its engine, and what answering needs to know of it. */
#ifndef QUERN_OPENAI_SERVED_MODEL_H
#define QUERN_OPENAI_SERVED_MODEL_H

#include "openai/generation_params.h"
#include "quern.h"

/* Ids of tokens with a meaning, -1 where the tokenizer lacks them. */
struct marker_tokens {
    int32_t think_begin, think_end; /* both or none */
    int32_t tool_begin, tool_end;   /* both or none */
    int32_t fim_prefix, fim_suffix, fim_middle;
};

struct served_model {
    const char *name;     /* borrowed */
    quern_model *model;   /* borrowed */
    quern_engine *engine; /* borrowed */
    struct quern_model_info info;
    struct marker_tokens markers;
    struct quern_sampling defaults;
    int32_t n_context; /* most tokens of prompt and answer */
    int64_t created;   /* seconds since 1970 */
    const quern_adapter *const *adapters; /* [n_adapters] that its requests have */
    size_t n_adapters;
};

/* `n_context` as given to the engine; 0: what the engine takes then. `created` is the caller's. */
void served_model_init(struct served_model *m, const char *name, quern_model *model,
                       quern_engine *engine, int32_t n_context);

struct api_context served_model_context(const struct served_model *m,
                                        const struct api_limits *limits);

#endif
