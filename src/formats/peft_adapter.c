#include "formats/peft_adapter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/os.h"
#include "formats/peft_config.h"
#include "formats/peft_patterns.h"
#include "formats/safetensors.h"

enum { CONFIG_BYTES_MAX = 16 << 20, PATH_BYTES = 4096 };

static const char prefix[] = "base_model.model.";

struct peft_adapter {
    struct arena arena;
    json_t *json; /* the configuration's strings */
    struct peft_config config;
    struct safetensors *tensors;
    struct peft_module *modules; /* [n] by name */
    size_t n;
    const struct tensor **saved; /* [n_saved] */
    size_t n_saved;
};

/* ---- tensors to modules ------------------------------------------------------------------- */

enum part { PART_A, PART_B, PART_MAGNITUDE, PART_BASE, PART_SAVED };

/* Which part of a module a tensor is, and the module's name: a part of the tensor's. False: none.
 */
static bool parse_name(const char *name, enum part *part, struct str *module) {
    static const struct {
        const char *suffix;
        enum part part;
    } suffixes[] = {{".lora_A.weight", PART_A},
                    {".lora_B.weight", PART_B},
                    {".lora_magnitude_vector", PART_MAGNITUDE},
                    {".lora_magnitude_vector.weight", PART_MAGNITUDE},
                    {".base_layer.weight", PART_BASE},
                    {".weight", PART_SAVED}};
    const struct str all = str_from(name);
    if (!str_starts_with(all, str_from(prefix)))
        return false;
    const struct str rest = {all.ptr + sizeof prefix - 1, all.len - (sizeof prefix - 1)};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        const struct str suffix = str_from(suffixes[i].suffix);
        if (rest.len <= suffix.len || !str_ends_with(rest, suffix))
            continue;
        *part = suffixes[i].part;
        *module = (struct str){rest.ptr, rest.len - suffix.len};
        return true;
    }
    return false;
}

static bool is_saved_module(const struct peft_config *c, struct str module) {
    for (size_t i = 0; i < c->n_saved; i++) {
        const struct str name = str_from(c->saved[i]);
        if (str_ends_with(module, name) &&
            (module.len == name.len || module.ptr[module.len - name.len - 1] == '.'))
            return true;
    }
    return false;
}

static enum quern_status refuse(const struct tensor *t, const char *why, struct quern_error *err) {
    return error_set(err, QUERN_ERR_FORMAT, "%s: tensor \"%s\" %s", t->file, t->name, why);
}

struct gathering {
    struct peft_adapter *a;
    struct map at; /* module name -> index */
};

static enum quern_status module_at(struct gathering *g, struct str name, struct peft_module **out,
                                   struct quern_error *err) {
    struct peft_adapter *a = g->a;
    uint32_t at;
    if (!map_get(&g->at, name, &at)) {
        char *copy = arena_strndup(&a->arena, name.ptr, name.len);
        if (!copy || !map_put(&g->at, str_from(copy), (uint32_t)a->n, NULL))
            return error_nomem(err);
        at = (uint32_t)a->n;
        a->modules[a->n++].name = copy;
    }
    *out = &a->modules[at];
    return QUERN_OK;
}

static enum quern_status take(struct gathering *g, const struct tensor *t,
                              struct quern_error *err) {
    struct peft_adapter *a = g->a;
    struct peft_module *m = NULL;
    struct str name;
    enum part part;
    if (!parse_name(t->name, &part, &name))
        return refuse(t,
                      strstr(t->name, "lora_embedding_")
                          ? "is LoRA of an embedding, which is not supported"
                          : "is none of an adapter of LoRA",
                      err);
    if (!dtype_is_weight(t->dtype) || t->block_type)
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "%s: tensor \"%s\" has type %s, expected F32, F16 or BF16", t->file,
                         t->name, tensor_type_name(t));
    if (part == PART_SAVED) {
        if (!is_saved_module(&a->config, name))
            return refuse(t, "is neither LoRA nor named in modules_to_save", err);
        a->saved[a->n_saved++] = t;
        return QUERN_OK;
    }
    enum quern_status status = module_at(g, name, &m, err);
    if (status)
        return status;
    const struct tensor **const places[] = {[PART_A] = &m->a,
                                            [PART_B] = &m->b,
                                            [PART_MAGNITUDE] = &m->magnitude,
                                            [PART_BASE] = &m->base};
    const struct tensor **place = places[part];
    if (*place)
        return refuse(t, "is there twice", err);
    *place = t;
    return QUERN_OK;
}

/* ---- checks --------------------------------------------------------------------------------- */

static enum quern_status check_shapes(struct peft_module *m, const struct peft_config *c,
                                      struct quern_error *err) {
    if (!m->a || !m->b) {
        const struct tensor *there = m->a ? m->a : m->b ? m->b : m->base ? m->base : m->magnitude;
        return error_set(err, QUERN_ERR_FORMAT, "%s: \"%s\" has no lora_%c", there->file, m->name,
                         m->a ? 'B' : 'A');
    }
    if (m->a->rank != 2 || m->b->rank != 2 || m->a->shape[0] != m->b->shape[1] ||
        m->a->shape[0] == 0)
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: \"%s\": the shapes of lora_A and lora_B do not fit together",
                         m->a->file, m->name);
    m->rank = m->a->shape[0];
    m->in = m->a->shape[1];
    m->out = m->b->shape[0];
    if (m->base &&
        (m->base->rank != 2 || m->base->shape[0] != m->out || m->base->shape[1] != m->in))
        return refuse(m->base, "has another shape than its module", err);
    if (c->use_dora != (m->magnitude != NULL))
        return error_set(err, QUERN_ERR_FORMAT, "%s: \"%s\" has %s, and use_dora is %s", m->a->file,
                         m->name, m->magnitude ? "a magnitude" : "no magnitude",
                         c->use_dora ? "true" : "false");
    if (!m->magnitude)
        return QUERN_OK;
    /* Older versions keep it as a row or column. */
    size_t n = 1;
    for (int i = 0; i < m->magnitude->rank; i++)
        if (m->magnitude->shape[i] != 1)
            n = n == 1 ? m->magnitude->shape[i] : 0;
    return n == m->out
               ? QUERN_OK
               : refuse(m->magnitude, "has not as many elements as the module outputs", err);
}

/* Rank and scale; an adapter whose configuration does not describe its tensors would be applied
 * with a wrong scale, or be left out in part by others. */
static enum quern_status settle(struct peft_patterns *p, const struct peft_config *c,
                                struct peft_module *m, struct quern_error *err) {
    bool is_target = false;
    size_t rank = 0;
    enum quern_status status = check_shapes(m, c, err);
    if (!status)
        status = peft_patterns_is_target(p, m->name, &is_target, err);
    if (!status)
        status = peft_patterns_rank(p, m->name, &rank, err);
    if (!status)
        status = peft_patterns_alpha(p, m->name, &m->alpha, err);
    if (status)
        return status;
    if (!is_target)
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: \"%s\" has LoRA weights, but target_modules does not name it",
                         m->a->file, m->name);
    if (rank != m->rank)
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: \"%s\" has rank %zu, adapter_config.json says %zu", m->a->file,
                         m->name, m->rank, rank);
    m->scale = m->alpha / (c->use_rslora ? sqrt((double)rank) : (double)rank);
    return QUERN_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct peft_module *)a)->name, ((const struct peft_module *)b)->name);
}

static enum quern_status gather(struct peft_adapter *a, const char *name, struct quern_error *err) {
    const size_t n = safetensors_count(a->tensors);
    struct gathering g = {.a = a};
    struct peft_patterns *patterns = NULL;
    enum quern_status status = QUERN_OK;
    a->modules = arena_calloc(&a->arena, n ? n : 1, sizeof *a->modules);
    a->saved = arena_calloc(&a->arena, n ? n : 1, sizeof *a->saved);
    if (!a->modules || !a->saved || !map_init(&g.at, n))
        status = error_nomem(err);
    for (size_t i = 0; i < n && !status; i++)
        status = take(&g, safetensors_at(a->tensors, i), err);
    map_release(&g.at);
    if (!status && a->n + a->n_saved == 0)
        status =
            error_set(err, QUERN_ERR_FORMAT, "%s: the adapter is empty: it has no tensors", name);
    if (!status)
        status = peft_patterns_create(&a->config, &patterns, err);
    for (size_t i = 0; i < a->n && !status; i++)
        status = settle(patterns, &a->config, &a->modules[i], err);
    peft_patterns_destroy(patterns);
    if (!status && a->n > 0)
        qsort(a->modules, a->n, sizeof *a->modules, by_name);
    return status;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

/* Takes over `json` and `tensors`. */
static enum quern_status finish(json_t *json, const char *config_name, struct safetensors *tensors,
                                const char *name, struct peft_adapter **out,
                                struct quern_error *err) {
    struct peft_adapter *a = calloc(1, sizeof *a);
    if (!a) {
        json_decref(json);
        safetensors_close(tensors);
        return error_nomem(err);
    }
    arena_init(&a->arena, 0);
    a->json = json;
    a->tensors = tensors;
    enum quern_status status = peft_config_read(json, config_name, &a->arena, &a->config, err);
    if (!status)
        status = gather(a, name, err);
    if (status)
        peft_adapter_close(a);
    else
        *out = a;
    return status;
}

bool peft_adapter_is_dir(const char *dir) {
    char path[PATH_BYTES];
    return os_is_dir(dir) &&
           os_path_join(path, sizeof path, dir, "adapter_config.json", NULL) == QUERN_OK &&
           os_file_exists(path);
}

static enum quern_status check_dir(const char *dir, const char *weights, struct quern_error *err) {
    char old[PATH_BYTES];
    if (!os_is_dir(dir))
        return error_set(err, QUERN_ERR_IO, "%s: there is no such directory", dir);
    if (!peft_adapter_is_dir(dir))
        return error_set(err, QUERN_ERR_IO, "%s holds no adapter: adapter_config.json is missing",
                         dir);
    if (os_file_exists(weights))
        return QUERN_OK;
    if (os_path_join(old, sizeof old, dir, "adapter_model.bin", NULL) == QUERN_OK &&
        os_file_exists(old))
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "%s has adapter_model.bin but no adapter_model.safetensors; only "
                         "safetensors are read",
                         dir);
    return error_set(err, QUERN_ERR_IO, "%s: adapter_model.safetensors is missing", dir);
}

enum quern_status peft_adapter_open(const char *dir, struct peft_adapter **out,
                                    struct quern_error *err) {
    char config[PATH_BYTES], weights[PATH_BYTES];
    json_t *json = NULL;
    struct safetensors *tensors = NULL;
    enum quern_status status = os_path_join(config, sizeof config, dir, "adapter_config.json", err);
    if (!status)
        status = os_path_join(weights, sizeof weights, dir, "adapter_model.safetensors", err);
    if (!status)
        status = check_dir(dir, weights, err);
    if (!status)
        status = json_load_regular(config, CONFIG_BYTES_MAX, &json, err);
    if (!status)
        status = safetensors_open(weights, &tensors, err);
    if (status) {
        json_decref(json);
        return status;
    }
    return finish(json, config, tensors, dir, out, err);
}

enum quern_status peft_adapter_parse(const char *config, size_t config_len,
                                     const unsigned char *weights, size_t weights_len,
                                     const char *name, struct peft_adapter **out,
                                     struct quern_error *err) {
    json_t *json = NULL;
    struct safetensors *tensors = NULL;
    enum quern_status status = json_parse(config, config_len, name, &json, err);
    if (!status)
        status = safetensors_parse(weights, weights_len, name, &tensors, err);
    if (status) {
        json_decref(json);
        return status;
    }
    return finish(json, name, tensors, name, out, err);
}

void peft_adapter_close(struct peft_adapter *a) {
    if (!a)
        return;
    safetensors_close(a->tensors);
    json_decref(a->json);
    arena_release(&a->arena);
    free(a);
}

/* ---- what is in it ------------------------------------------------------------------------------
 */

const struct peft_config *peft_adapter_config(const struct peft_adapter *a) {
    return &a->config;
}

size_t peft_adapter_count(const struct peft_adapter *a) {
    return a->n;
}

const struct peft_module *peft_adapter_at(const struct peft_adapter *a, size_t i) {
    return &a->modules[i];
}

const struct peft_module *peft_adapter_find(const struct peft_adapter *a, const char *module) {
    const struct peft_module key = {.name = module};
    return a->n ? bsearch(&key, a->modules, a->n, sizeof *a->modules, by_name) : NULL;
}

size_t peft_adapter_saved_count(const struct peft_adapter *a) {
    return a->n_saved;
}

const struct tensor *peft_adapter_saved_at(const struct peft_adapter *a, size_t i) {
    return a->saved[i];
}

const char *peft_saved_name(const struct tensor *t) {
    return t->name + sizeof prefix - 1;
}

size_t peft_adapter_total_bytes(const struct peft_adapter *a) {
    return safetensors_total_bytes(a->tensors);
}
