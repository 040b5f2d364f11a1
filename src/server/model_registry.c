#include "server/model_registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/adapter_text.h"
#include "base/os.h"

/* ---- names -------------------------------------------------------------------- */

/* Where the name of "NAME=DIR" ends; NULL for a directory alone. */
static const char *name_end(const char *text) {
    const char *equals = strchr(text, '='), *slash = strchr(text, '/');
    return equals && (!slash || equals < slash) ? equals : NULL;
}

/* "NAME=DIR", or a directory whose last part is the name. */
static enum quern_status read_entry(struct model_entry *e, const char *text,
                                    struct quern_error *err) {
    const char *name, *end = name_end(text);
    if (end) {
        name = text;
        e->dir = end + 1;
    } else {
        e->dir = text;
        end = text + strlen(text);
        while (end > text + 1 && end[-1] == '/')
            end--;
        name = end;
        while (name > text && name[-1] != '/')
            name--;
    }
    if (name == end || (size_t)(end - name) >= sizeof e->name || !*e->dir)
        return error_set(err, QUERN_ERR_ARG,
                         "\"%s\" is no model: expected DIR or NAME=DIR, a name of 1 to %d bytes",
                         text, MODEL_NAME_BYTES - 1);
    memcpy(e->name, name, (size_t)(end - name));
    return QUERN_OK;
}

static struct model_entry *find(struct model_registry *r, const char *name) {
    for (size_t i = 0; i < r->n_entries; i++)
        if (strcmp(r->entries[i].name, name) == 0)
            return &r->entries[i];
    return NULL;
}

static enum quern_status add_entry(struct model_registry *r, const char *text,
                                   struct quern_error *err) {
    struct model_entry *e = &r->entries[r->n_entries];
    enum quern_status status = read_entry(e, text, err);
    if (status)
        return status;
    if (find(r, e->name))
        return error_set(err, QUERN_ERR_ARG,
                         "two models are called \"%s\": name them with NAME=DIR", e->name);
    e->created = (int64_t)time(NULL);
    e->registry = r;
    e->state = r->config->lazy ? MODEL_UNLOADED : MODEL_LOADING;
    r->n_entries++;
    return QUERN_OK;
}

/* The name of one without NAME= is its directory's, without the scale. */
static enum quern_status add_adapter(struct model_registry *r, const char *text,
                                     struct quern_error *err) {
    struct model_entry *e = &r->entries[r->n_entries];
    enum quern_status status = add_entry(r, text, err);
    if (status)
        return status;
    e->base = &r->entries[0];
    status = adapter_text_parse(e->dir, &e->adapter_dir, &e->scale, err);
    if (!status && e->dir == text && e->scale != 1)
        status = error_set(err, QUERN_ERR_ARG,
                           "\"%s\": an adapter with a scale needs a name: NAME=DIR:SCALE", text);
    return status;
}

/* A draft model with a name is for the model of that name, one without for all that have no other. */
static enum quern_status add_draft(struct model_registry *r, const char *text,
                                   struct quern_error *err) {
    const char *end = name_end(text);
    bool found = !end;
    for (size_t i = 0; i < r->n_entries; i++) {
        struct model_entry *e = &r->entries[i];
        if (e->base)
            continue; /* an adapter speaks through its model's engine */
        const bool named = end && strlen(e->name) == (size_t)(end - text) &&
                           memcmp(e->name, text, (size_t)(end - text)) == 0;
        if (named || (!end && !e->draft_dir))
            e->draft_dir = end ? end + 1 : text;
        found = found || named;
    }
    return found ? QUERN_OK
                 : error_set(err, QUERN_ERR_ARG, "--draft %s: no model is called \"%.*s\"", text,
                             (int)(end - text), text);
}

static void free_dirs(struct model_registry *r) {
    for (size_t i = 0; i < r->n_entries; i++)
        free(r->entries[i].adapter_dir);
}

enum quern_status model_registry_init(struct model_registry *r, const struct server_config *config,
                                      struct quern_error *err) {
    memset(r, 0, sizeof *r);
    r->config = config;
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; i < config->models.n && !status; i++)
        status = add_entry(r, config->models.items[i], err);
    for (size_t i = 0; i < config->adapters.n && !status; i++)
        status = add_adapter(r, config->adapters.items[i], err);
    for (size_t i = 0; i < config->drafts.n && !status; i++)
        status = add_draft(r, config->drafts.items[i], err);
    if (!status)
        status = mutex_init(&r->lock, err);
    if (!status)
        status = condition_init(&r->changed, err);
    if (status)
        free_dirs(r);
    return status;
}

/* ---- loading ---------------------------------------------------------------------- */

static void on_progress(void *user, double fraction) {
    struct model_entry *e = user;
    mutex_lock(&e->registry->lock);
    e->progress_percent = (int)(100 * fraction);
    mutex_unlock(&e->registry->lock);
}

static enum quern_kv_type kv_type_of(const char *word) {
    static const char *const words[] = {"auto", "f32", "bf16", "int8"};
    for (int i = 0; word && i < 4; i++)
        if (strcmp(word, words[i]) == 0)
            return (enum quern_kv_type)i;
    return QUERN_KV_AUTO;
}

static struct quern_engine_options engine_options(const struct server_config *c) {
    return (struct quern_engine_options){
        .n_context = (int32_t)c->context,
        .kv_type = kv_type_of(c->kv_type),
        .kv_bytes = (size_t)c->cache_mib << 20,
        .max_running = (int32_t)c->running,
        .max_waiting = (int32_t)c->waiting,
        .max_waiting_tokens = c->waiting_tokens,
        .max_step_ms = (int32_t)c->step_ms,
        .no_prefix_cache = c->no_prefix_cache,
        .speculation = c->speculation && strcmp(c->speculation, "off") == 0
                           ? QUERN_SPECULATION_OFF
                           : QUERN_SPECULATION_AUTO,
        .disk_cache = c->disk_cache,
        .disk_cache_bytes = (uint64_t)c->disk_cache_mib << 20,
    };
}

static enum quern_status open_model(struct model_entry *e, struct quern_error *err) {
    const struct server_config *c = e->registry->config;
    const struct quern_model_options options = {
        .n_threads = (int)c->n_threads,
        .cpu = c->cpu,
        .weights = c->weights,
        .embed_weights = c->embed_weights,
        .math = c->math,
        .cache_dir = c->cache_dir,
        .on_progress = on_progress,
        .user = e,
    };
    struct quern_model_options draft_options = options;
    struct quern_engine_options engine_opts = engine_options(c);
    quern_model *model = NULL;
    quern_engine *engine = NULL;
    draft_options.on_progress = NULL;
    enum quern_status status = QUERN_OK;
    if (e->draft_dir && engine_opts.speculation != QUERN_SPECULATION_OFF)
        status = quern_model_open(e->draft_dir, &draft_options, &e->draft, err);
    if (!status)
        status = quern_model_open(e->dir, &options, &model, err);
    engine_opts.draft = e->draft;
    if (!status)
        status = quern_engine_create(model, &engine_opts, &engine, err);
    if (status) {
        quern_model_close(model);
        quern_model_close(e->draft);
        e->draft = NULL;
        return status;
    }
    served_model_init(&e->served, e->name, model, engine, (int32_t)c->context);
    e->served.created = e->created;
    return QUERN_OK;
}

/* What an adapter's requests are answered with. The engine's own sequences keep references. */
static enum quern_status open_adapter(struct model_entry *e, struct quern_error *err) {
    const struct quern_adapter_source source = {.dir = e->adapter_dir, .scale = e->scale};
    const struct served_model *base = &e->base->served;
    enum quern_status status = quern_adapter_open(base->model, &source, &e->adapter, err);
    if (status)
        return status;
    e->served = *base;
    e->served.name = e->name;
    e->served.created = e->created;
    e->served.adapters = (const quern_adapter *const *)&e->adapter;
    e->served.n_adapters = 1;
    return QUERN_OK;
}

/* An adapter that cannot be used is no reason to be without its base. */
static void open_adapters(struct model_registry *r, const struct model_entry *base) {
    for (size_t i = 0; i < r->n_entries; i++) {
        struct model_entry *e = &r->entries[i];
        struct quern_error err = {0};
        if (e->base != base)
            continue;
        const enum quern_status status = open_adapter(e, &err);
        mutex_lock(&r->lock);
        e->state = status ? MODEL_FAILED : MODEL_READY;
        e->failure = err;
        mutex_unlock(&r->lock);
        r->on_change(r->user, e, e->state);
    }
}

static void fail_adapters(struct model_registry *r, const struct model_entry *base) {
    for (size_t i = 0; i < r->n_entries; i++)
        if (r->entries[i].base == base) {
            r->entries[i].state = MODEL_FAILED;
            r->entries[i].failure = base->failure;
        }
}

static void close_adapters(struct model_registry *r, const struct model_entry *base) {
    for (size_t i = 0; i < r->n_entries; i++)
        if (r->entries[i].base == base) {
            quern_adapter_close(r->entries[i].adapter);
            r->entries[i].adapter = NULL;
        }
}

/* With the lock held; lets go of it while it works. */
static void load(struct model_registry *r, struct model_entry *e) {
    struct quern_error err = {0};
    mutex_unlock(&r->lock);
    uint64_t began_ns = os_now_ns();
    enum quern_status status = open_model(e, &err);
    if (!status)
        open_adapters(r, e);
    uint64_t now_ns = os_now_ns();
    mutex_lock(&r->lock);
    e->state = status ? MODEL_FAILED : MODEL_READY;
    e->failure = err;
    e->last_used_ns = now_ns;
    e->was_loaded = e->was_loaded || !status;
    e->load_ms = (now_ns - began_ns) / 1000000;
    if (status)
        fail_adapters(r, e);
    condition_signal_all(&r->changed);
    mutex_unlock(&r->lock);
    r->on_change(r->user, e, status ? MODEL_FAILED : MODEL_READY);
    mutex_lock(&r->lock);
}

static void close_model(struct model_registry *r, struct model_entry *e) {
    quern_engine_destroy(e->served.engine);
    close_adapters(r, e);
    quern_model_close(e->served.model);
    quern_model_close(e->draft);
    e->draft = NULL;
}

static void unload(struct model_registry *r, struct model_entry *e) {
    e->state = MODEL_UNLOADED;
    e->progress_percent = 0;
    for (size_t i = 0; i < r->n_entries; i++)
        if (r->entries[i].base == e)
            r->entries[i].state = MODEL_UNLOADED;
    mutex_unlock(&r->lock);
    close_model(r, e);
    r->on_change(r->user, e, MODEL_UNLOADED);
    mutex_lock(&r->lock);
}

static struct model_entry *in_state(struct model_registry *r, enum model_state state) {
    for (size_t i = 0; i < r->n_entries; i++)
        if (!r->entries[i].base && r->entries[i].state == state)
            return &r->entries[i];
    return NULL;
}

/* The next model that was idle for long enough; *next_ns: when another will have been. */
static struct model_entry *idle_one(struct model_registry *r, uint64_t now_ns, uint64_t *next_ns) {
    uint64_t limit_ns = (uint64_t)(r->config->unload_idle_s * 1e9);
    *next_ns = 0;
    for (size_t i = 0; limit_ns && i < r->n_entries; i++) {
        struct model_entry *e = &r->entries[i];
        if (e->base || e->state != MODEL_READY || e->n_users)
            continue;
        uint64_t end_ns = e->last_used_ns + limit_ns;
        if (end_ns <= now_ns)
            return e;
        if (!*next_ns || end_ns < *next_ns)
            *next_ns = end_ns;
    }
    return NULL;
}

static void run_loader(void *arg) {
    struct model_registry *r = arg;
    mutex_lock(&r->lock);
    while (!r->stop) {
        uint64_t next_ns;
        struct model_entry *e = in_state(r, MODEL_LOADING);
        if (e) {
            load(r, e);
        } else if ((e = idle_one(r, os_now_ns(), &next_ns))) {
            unload(r, e);
        } else if (next_ns) {
            condition_wait_until(&r->changed, &r->lock, next_ns);
        } else {
            condition_wait(&r->changed, &r->lock);
        }
    }
    mutex_unlock(&r->lock);
}

enum quern_status model_registry_start(struct model_registry *r, struct quern_error *err) {
    return thread_start(&r->loader, "models", run_loader, r, err);
}

void model_registry_stop(struct model_registry *r) {
    mutex_lock(&r->lock);
    r->stop = true;
    condition_signal_all(&r->changed);
    mutex_unlock(&r->lock);
    thread_join(&r->loader);
    for (size_t i = 0; i < r->n_entries; i++) {
        if (r->entries[i].base || r->entries[i].state != MODEL_READY)
            continue;
        close_model(r, &r->entries[i]);
    }
    condition_release(&r->changed);
    mutex_release(&r->lock);
    free_dirs(r);
}

/* ---- use --------------------------------------------------------------------------- */

/* Who is counted and loaded. */
static struct model_entry *owner(struct model_entry *e) {
    return e->base ? e->base : e;
}

/* A model that is loaded for the first time makes nobody wait: clients are told to come back. One
 * that was put away for want of use is waited for. */
static enum quern_status wait_until_ready(struct model_registry *r, struct model_entry *e,
                                          struct api_error *err) {
    bool may_wait = r->config->lazy || e->was_loaded;
    if (e->state == MODEL_UNLOADED) {
        e->state = MODEL_LOADING;
        condition_signal_all(&r->changed);
    }
    while (may_wait && e->state == MODEL_LOADING && !r->stop)
        condition_wait(&r->changed, &r->lock);
    if (e->state == MODEL_READY)
        return QUERN_OK;
    if (e->state == MODEL_FAILED)
        return api_fail(err, API_INTERNAL, "model", "The model '%s' could not be loaded: %.300s",
                        e->name, e->failure.message);
    api_fail(err, API_UNAVAILABLE, "model", "The model '%s' is being loaded: %d %%.", e->name,
             e->progress_percent);
    err->retry_after_s = 1;
    return QUERN_ERR_STATE;
}

enum quern_status model_registry_acquire(struct model_registry *r, const char *name,
                                         struct model_entry **out, struct api_error *err) {
    struct model_entry *e = name && *name ? find(r, name) : &r->entries[0];
    if (!e)
        return api_fail(err, API_NO_MODEL, "model",
                        "The model '%.100s' does not exist; /v1/models lists those that do.", name);
    mutex_lock(&r->lock);
    enum quern_status status = wait_until_ready(r, owner(e), err);
    if (!status && e->base && e->state != MODEL_READY)
        status = api_fail(err, API_INTERNAL, "model", "The adapter '%s' could not be loaded: %.300s",
                          e->name, e->failure.message);
    if (!status) {
        owner(e)->n_users++;
        *out = e;
    }
    mutex_unlock(&r->lock);
    return status;
}

void model_registry_release(struct model_registry *r, struct model_entry *entry) {
    if (!entry)
        return;
    mutex_lock(&r->lock);
    owner(entry)->n_users--;
    owner(entry)->last_used_ns = os_now_ns();
    condition_signal_all(&r->changed);
    mutex_unlock(&r->lock);
}

struct model_entry *model_registry_peek(struct model_registry *r, size_t index) {
    struct model_entry *e = NULL;
    mutex_lock(&r->lock);
    if (index < r->n_entries && r->entries[index].state == MODEL_READY) {
        e = &r->entries[index];
        owner(e)->n_users++;
    }
    mutex_unlock(&r->lock);
    return e;
}

void model_registry_unpeek(struct model_registry *r, struct model_entry *entry) {
    mutex_lock(&r->lock);
    owner(entry)->n_users--;
    condition_signal_all(&r->changed);
    mutex_unlock(&r->lock);
}

struct model_facts model_registry_facts(struct model_registry *r, size_t index) {
    struct model_facts f = {0};
    mutex_lock(&r->lock);
    const struct model_entry *e = &r->entries[index];
    f.state = e->state;
    f.progress_percent = e->progress_percent;
    snprintf(f.failure, sizeof f.failure, "%s", e->failure.message);
    mutex_unlock(&r->lock);
    return f;
}
