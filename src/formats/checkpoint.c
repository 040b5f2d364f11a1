#include "formats/checkpoint.h"

#include <stdlib.h>

#include "base/os.h"
#include "formats/gguf.h"
#include "formats/gguf_tensors.h"
#include "formats/safetensors.h"

struct checkpoint {
    struct safetensors *safetensors; /* or NULL: then GGUF */
    struct gguf *gguf;
    struct gguf_tensors tensors;
};

enum quern_status checkpoint_open(const char *path, struct checkpoint **out,
                                  struct quern_error *err) {
    struct checkpoint *c = calloc(1, sizeof *c);
    enum quern_status status;
    if (!c)
        return error_nomem(err);
    if (gguf_is_file(path)) {
        status = gguf_open(path, &c->gguf, err);
        if (!status)
            status = gguf_tensors_init(&c->tensors, c->gguf, err);
    } else {
        status = safetensors_open(path, &c->safetensors, err);
    }
    if (status)
        checkpoint_close(c);
    else
        *out = c;
    return status;
}

enum quern_status checkpoint_from_safetensors(struct safetensors *st, struct checkpoint **out,
                                              struct quern_error *err) {
    struct checkpoint *c = calloc(1, sizeof *c);
    if (!c) {
        safetensors_close(st);
        return error_nomem(err);
    }
    c->safetensors = st;
    *out = c;
    return QUERN_OK;
}

void checkpoint_close(struct checkpoint *c) {
    if (!c)
        return;
    safetensors_close(c->safetensors);
    gguf_tensors_release(&c->tensors);
    gguf_close(c->gguf);
    free(c);
}

void checkpoint_forget(const struct checkpoint *c, const void *p, size_t bytes) {
    if (checkpoint_is_file(c))
        os_map_forget(p, bytes);
}

bool checkpoint_is_file(const struct checkpoint *c) {
    return !c->safetensors || safetensors_is_mapped(c->safetensors);
}

size_t checkpoint_count(const struct checkpoint *c) {
    return c->safetensors ? safetensors_count(c->safetensors) : c->tensors.n;
}

const struct tensor *checkpoint_at(const struct checkpoint *c, size_t i) {
    return c->safetensors ? safetensors_at(c->safetensors, i) : &c->tensors.tensors[i];
}

const struct tensor *checkpoint_find(const struct checkpoint *c, const char *name) {
    uint32_t i;
    if (c->safetensors)
        return safetensors_find(c->safetensors, name);
    return map_get(&c->tensors.by_name, str_from(name), &i) ? &c->tensors.tensors[i] : NULL;
}

size_t checkpoint_file_count(const struct checkpoint *c) {
    return c->safetensors ? safetensors_file_count(c->safetensors) : gguf_file_count(c->gguf);
}

size_t checkpoint_total_bytes(const struct checkpoint *c) {
    return c->safetensors ? safetensors_total_bytes(c->safetensors) : gguf_data_bytes(c->gguf);
}

const struct safetensors *checkpoint_safetensors(const struct checkpoint *c) {
    return c->safetensors;
}
