/* loaded_model.h - everything quern_model_open brings together. */
#ifndef QUERN_API_LOADED_MODEL_H
#define QUERN_API_LOADED_MODEL_H

#include "base/sync.h"
#include "chat/chat_template.h"
#include "engine/engine.h"
#include "engine/session.h"
#include "formats/hf_config.h"
#include "grammar/answer_guard.h"
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
    struct mutex lock;            /* guards image */
    bool has_lock;
    struct token_image *image;    /* made when a form is first asked for */
    struct adapter_set adapters;  /* on every sequence */
    bool has_generation;          /* false also where it is not needed and not usable */
};

/* The vocabulary as grammars read it. Any thread. */
enum quern_status loaded_model_image(struct quern_model *m, const struct token_image **out,
                                     struct quern_error *err);
/* A guard of an answer to the prompt `ids`. Its rules' thinking, markers and style of
 * calls are filled in here;
 * `may_think` as in quern_form. Destroy it before the model. */
enum quern_status loaded_model_guard(struct quern_model *m, struct answer_rules *rules,
                                     const int32_t *ids, size_t n_ids, bool may_think,
                                     struct buffer *report, struct answer_guard **out,
                                     struct quern_error *err);
/* Which of the fields is set and its text; more than one is an error. *form is left as it is when
 * none is. */
enum quern_status form_of_fields(const struct quern_form *f, enum answer_form *form,
                                 struct str *text, struct quern_error *err);
/* A guard for a form of the public interface; *out is NULL when it asks for nothing. */
enum quern_status loaded_model_form(struct quern_model *m, const struct quern_form *form,
                                    const int32_t *ids, size_t n_ids, struct answer_guard **out,
                                    struct quern_error *err);

/* Opens them and puts them on every sequence. */
enum quern_status loaded_model_open_adapters(struct quern_model *m,
                                             const struct quern_adapter_source *sources, size_t n,
                                             struct quern_error *err);
/* The model's adapters and `n` more, with references. */
enum quern_status loaded_model_adapters(const struct quern_model *m,
                                        const struct quern_adapter *const *adapters, size_t n,
                                        struct adapter_set *out, struct quern_error *err);

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
