/* state.c - everything the next step depends on: model.safetensors with the values and what the
 * optimizer keeps, each one array over all parameters, and trainer.json with the step and what the
 * arrays are of. */
#include <stdio.h>

#include "base/os.h"
#include "formats/safetensors_writer.h"
#include "text/json.h"
#include "train/trainer_internal.h"

enum { STATE_ARRAYS_MAX = OPTIMIZER_ARRAYS_MAX + 1, PATH_BYTES = 4096, JSON_BYTES_MAX = 1 << 20 };

static size_t arrays_of(const struct trainer *t, struct optimizer_array all[STATE_ARRAYS_MAX]) {
    all[0] = (struct optimizer_array){"values", DTYPE_F32, t->net.n_values, t->net.values};
    return 1 + optimizer_arrays(&t->optimizer, all + 1);
}

/* Of the parameters' names and shapes: a state fits only what it was taken of. */
static void layout_text(const struct trainer *t, char out[32]) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < t->net.n_params; i++) {
        const struct param *p = &t->net.params[i];
        const size_t facts[] = {p->offset, p->shape[0], p->shape[1]};
        for (const char *c = p->name; *c; c++)
            h = (h ^ (unsigned char)*c) * 0x100000001b3u;
        for (size_t j = 0; j < 3; j++)
            h = (h ^ facts[j]) * 0x100000001b3u;
    }
    snprintf(out, 32, "%016llx", (unsigned long long)h);
}

static enum quern_status write_facts(const struct trainer *t, const char *dir, struct quern_error *err) {
    char path[PATH_BYTES], text[256], layout[32];
    layout_text(t, layout);
    const int n = snprintf(text, sizeof text,
                           "{\"steps\": %llu, \"optimizer\": %d, \"method\": %d, \"layout\": \"%s\"}\n",
                           (unsigned long long)t->optimizer.steps, (int)t->options.optimizer,
                           (int)t->options.method, layout);
    enum quern_status st = os_path_join(path, sizeof path, dir, "trainer.json", err);
    return st == QUERN_OK ? os_write_file(path, text, (size_t)n, err) : st;
}

enum quern_status trainer_save_state(const struct trainer *t, const char *dir, struct quern_error *err) {
    struct optimizer_array all[STATE_ARRAYS_MAX];
    struct tensor_decl decls[STATE_ARRAYS_MAX];
    struct safetensors_writer *w = NULL;
    const size_t n = arrays_of(t, all);
    for (size_t i = 0; i < n; i++)
        decls[i] = (struct tensor_decl){all[i].name, all[i].dtype, 1, {all[i].n}};
    enum quern_status st = safetensors_writer_create(dir, decls, n, 0, &w, err);
    for (size_t i = 0; i < n && st == QUERN_OK; i++)
        st = safetensors_writer_write(w, all[i].data, all[i].n * dtype_size_bytes(all[i].dtype), err);
    if (st == QUERN_OK)
        st = safetensors_writer_finish(w, err);
    safetensors_writer_destroy(w);
    return st == QUERN_OK ? write_facts(t, dir, err) : st;
}

static enum quern_status read_facts(const struct trainer *t, const char *dir, uint64_t *steps,
                                    struct quern_error *err) {
    char path[PATH_BYTES], layout[32];
    const char *found = NULL;
    int64_t count = 0, optimizer = 0;
    json_t *facts = NULL;
    layout_text(t, layout);
    enum quern_status st = os_path_join(path, sizeof path, dir, "trainer.json", err);
    if (st == QUERN_OK)
        st = json_load_regular(path, JSON_BYTES_MAX, &facts, err);
    if (st == QUERN_OK)
        st = json_get_int(facts, path, "steps", 0, INT64_MAX, 0, &count, err);
    if (st == QUERN_OK)
        st = json_get_int(facts, path, "optimizer", 0, 100, -1, &optimizer, err);
    if (st == QUERN_OK)
        st = json_get_string(facts, path, "layout", "", &found, err);
    if (st == QUERN_OK && (optimizer != (int64_t)t->options.optimizer || strcmp(found, layout) != 0))
        st = error_set(err, QUERN_ERR_FORMAT,
                       "%s: the state is of another model, adapter or optimizer than the run's", path);
    json_decref(facts);
    *steps = (uint64_t)count;
    return st;
}

static enum quern_status check_array(const struct optimizer_array *a, const struct tensor *t,
                                     const char *dir, struct quern_error *err) {
    if (t && t->dtype == a->dtype && t->rank == 1 && t->shape[0] == a->n)
        return QUERN_OK;
    return error_set(err, QUERN_ERR_FORMAT, "%s/model.safetensors: \"%s\" is not %s [%zu]", dir, a->name,
                     dtype_name(a->dtype), a->n);
}

enum quern_status trainer_load_state(struct trainer *t, const char *dir, struct quern_error *err) {
    struct optimizer_array all[STATE_ARRAYS_MAX];
    struct safetensors *file = NULL;
    const size_t n = arrays_of(t, all);
    uint64_t steps = 0;
    enum quern_status st = read_facts(t, dir, &steps, err);
    if (st == QUERN_OK)
        st = safetensors_open(dir, &file, err);
    for (size_t i = 0; i < n && st == QUERN_OK; i++)
        st = check_array(&all[i], safetensors_find(file, all[i].name), dir, err);
    for (size_t i = 0; i < n && st == QUERN_OK; i++) {
        const struct tensor *from = safetensors_find(file, all[i].name);
        memcpy(all[i].data, from->data, from->size_bytes);
    }
    if (st == QUERN_OK)
        t->optimizer.steps = steps;
    safetensors_close(file);
    return st;
}
