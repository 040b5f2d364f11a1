/* loaded_model.h - everything quern_model_open brings together. */
#ifndef QUERN_API_LOADED_MODEL_H
#define QUERN_API_LOADED_MODEL_H

#include "chat/chat_template.h"
#include "engine/engine.h"
#include "engine/session.h"
#include "formats/hf_config.h"
#include "quern.h"
#include "tokenizer/tokenizer.h"

struct quern_model {
    struct device *device;        /* NULL with tokenizer_only */
    struct model *model;          /* NULL with tokenizer_only */
    struct tokenizer *tokenizer;  /* NULL with weights_only */
    int32_t *gaps;                /* [n_gaps] ids the tokenizer leaves out */
    size_t n_gaps;
    struct chat_template *chat;   /* NULL: the directory has none, or chat_error is set */
    struct quern_error chat_error; /* why the directory's template cannot be used */
    struct generation_config generation;
    struct hf_config config;
    bool has_config;              /* false with tokenizer_only and no usable config.json */
    bool has_generation;          /* false also where it is not needed and not usable */
};

struct quern_session {
    struct quern_model *model;
    struct session *session;
};

/* The server reaches through to engine_submit for constraints; tickets are the same. */
struct quern_engine {
    quern_model *model;
    struct engine *engine;
};

#endif
