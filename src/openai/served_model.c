#include "openai/served_model.h"

#include "api/loaded_model.h"

static int32_t added(const quern_model *model, const char *spelling) {
    return model->tokenizer ? tokenizer_added_id(model->tokenizer, str_from(spelling))
                            : TOKENIZER_NONE;
}

static void both_or_none(int32_t *a, int32_t *b) {
    if (*a < 0 || *b < 0)
        *a = *b = TOKENIZER_NONE;
}

/* quern_engine_options.n_context's default. */
enum { ENGINE_CONTEXT = 4096 };

void served_model_init(struct served_model *m, const char *name, quern_model *model,
                       quern_engine *engine, int32_t n_context) {
    *m = (struct served_model){.name = name, .model = model, .engine = engine};
    quern_model_get_info(model, &m->info);
    quern_sampling_defaults(model, &m->defaults);
    m->markers = (struct marker_tokens){
        .think_begin = added(model, "<think>"),
        .think_end = added(model, "</think>"),
        .tool_begin = added(model, "<tool_call>"),
        .tool_end = added(model, "</tool_call>"),
        .fim_prefix = added(model, "<|fim_prefix|>"),
        .fim_suffix = added(model, "<|fim_suffix|>"),
        .fim_middle = added(model, "<|fim_middle|>"),
    };
    both_or_none(&m->markers.think_begin, &m->markers.think_end);
    both_or_none(&m->markers.tool_begin, &m->markers.tool_end);
    int32_t most = m->info.max_context;
    m->n_context = n_context > 0 ? n_context : most < ENGINE_CONTEXT ? most : ENGINE_CONTEXT;
}

struct api_context served_model_context(const struct served_model *m,
                                        const struct api_limits *limits) {
    return (struct api_context){limits, m->defaults, m->info.n_tokens};
}
