/* model_registry.h - the models a server has: loaded in the background, found by name, unloaded
 * when nobody asks for them. */
#ifndef QUERN_SERVER_MODEL_REGISTRY_H
#define QUERN_SERVER_MODEL_REGISTRY_H

#include "base/sync.h"
#include "openai/served_model.h"
#include "server/server_config.h"

enum model_state { MODEL_UNLOADED, MODEL_LOADING, MODEL_READY, MODEL_FAILED };

enum { REGISTRY_MODELS_MAX = 2 * OPTION_LIST_MAX, MODEL_NAME_BYTES = 128 };

/* A model, or an adapter on one: then it is loaded and unloaded with its base and has no engine or users of
 * its own. */

struct model_entry {
    char name[MODEL_NAME_BYTES];
    const char *dir;       /* borrowed from the configuration */
    const char *draft_dir; /* likewise; NULL: no draft model */
    char *adapter_dir;        /* of an adapter: `dir` without a scale; own */
    float scale;
    struct model_entry *base; /* NULL: a model */
    quern_adapter *adapter;   /* while it is ready */
    int64_t created; /* seconds since 1970 */

    /* Guarded by the registry's lock, but for `served`, which does not change while n_users > 0. */
    enum model_state state;
    int progress_percent;
    struct quern_error failure;
    int n_users;
    uint64_t last_used_ns;
    uint64_t load_ms;
    bool was_loaded; /* once at least */
    struct served_model served;
    quern_model *draft; /* or NULL */
    struct model_registry *registry;
};

struct model_registry {
    const struct server_config *config;
    struct mutex lock;
    struct condition changed;
    struct thread loader; /* loads what is asked for, unloads what is idle */
    bool stop;
    struct model_entry entries[REGISTRY_MODELS_MAX];
    size_t n_entries;
    /* Told without the lock when a model was loaded, unloaded, or failed. */
    void (*on_change)(void *user, const struct model_entry *entry, enum model_state state);
    void *user;
};

/* Reads the names and directories of the configuration; loads nothing. */
enum quern_status model_registry_init(struct model_registry *r, const struct server_config *config,
                                      struct quern_error *err);
/* Begins to load every model, unless they are to be loaded by their first request. */
enum quern_status model_registry_start(struct model_registry *r, struct quern_error *err);
/* All users must have released their models. */
void model_registry_stop(struct model_registry *r);

/* The model `name`; NULL or empty: the first one. One that was unloaded is loaded, and waited for.
 * Until model_registry_release it stays. */
enum quern_status model_registry_acquire(struct model_registry *r, const char *name,
                                         struct model_entry **out, struct api_error *err);
void model_registry_release(struct model_registry *r, struct model_entry *entry);
/* Like acquire, but NULL instead of waiting or failing; does not count as use. */
struct model_entry *model_registry_peek(struct model_registry *r, size_t index);
void model_registry_unpeek(struct model_registry *r, struct model_entry *entry);

struct model_facts {
    enum model_state state;
    int progress_percent;
    char failure[508];
};
struct model_facts model_registry_facts(struct model_registry *r, size_t index);

#endif
