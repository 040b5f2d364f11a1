/* api_adapter.c - quern_adapter_*, and which adapters a sequence has. */
#include "api/loaded_model.h"

enum quern_status quern_adapter_open(quern_model *model, const struct quern_adapter_source *source,
                                     quern_adapter **out, struct quern_error *err) {
    if (!model || !source || !source->dir || !out)
        return error_set(err, QUERN_ERR_ARG, "quern_adapter_open: an argument is missing");
    if (!model->model)
        return error_set(err, QUERN_ERR_STATE,
                         "the model was opened for its tokenizer only: it has no weights");
    return adapter_open(model->model, source->dir, source->scale, out, err);
}

void quern_adapter_close(quern_adapter *adapter) {
    adapter_release(adapter);
}

enum quern_status loaded_model_open_adapters(struct quern_model *m,
                                             const struct quern_adapter_source *sources, size_t n,
                                             struct quern_error *err) {
    if (n > ADAPTERS_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "%zu adapters for a model; at most %d", n,
                         ADAPTERS_MAX);
    if (n > 0 && !sources)
        return error_set(err, QUERN_ERR_ARG, "%zu adapters, and no list of them", n);
    for (size_t i = 0; i < n; i++) {
        quern_adapter *opened = NULL;
        enum quern_status status = quern_adapter_open(m, &sources[i], &opened, err);
        if (status)
            return status;
        m->adapters.items[m->adapters.n++] = opened;
    }
    return QUERN_OK;
}

enum quern_status loaded_model_adapters(const struct quern_model *m,
                                        const struct quern_adapter *const *adapters, size_t n,
                                        struct adapter_set *out, struct quern_error *err) {
    const struct quern_adapter *all[ADAPTERS_MAX];
    const size_t own = m->adapters.n;
    if (n > ADAPTERS_MAX - own)
        return error_set(err, QUERN_ERR_LIMIT,
                         "%zu adapters, and %zu of the model's own; at most %d in all", n, own,
                         ADAPTERS_MAX);
    if (n > 0 && !adapters)
        return error_set(err, QUERN_ERR_ARG, "%zu adapters, and no list of them", n);
    for (size_t i = 0; i < own + n; i++)
        all[i] = i < own ? m->adapters.items[i] : adapters[i - own];
    return adapter_set_init(out, m->model, all, own + n, err);
}
