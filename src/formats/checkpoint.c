#include "formats/checkpoint.h"

#include <stdlib.h>

#include "formats/safetensors.h"

struct checkpoint {
    struct safetensors *safetensors;
};

enum quern_status checkpoint_open(const char *path, struct checkpoint **out,
                                  struct quern_error *err) {
    struct checkpoint *c = calloc(1, sizeof *c);
    if (!c)
        return error_nomem(err);
    enum quern_status status = safetensors_open(path, &c->safetensors, err);
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
    free(c);
}

size_t checkpoint_count(const struct checkpoint *c) {
    return safetensors_count(c->safetensors);
}

const struct tensor *checkpoint_at(const struct checkpoint *c, size_t i) {
    return safetensors_at(c->safetensors, i);
}

const struct tensor *checkpoint_find(const struct checkpoint *c, const char *name) {
    return safetensors_find(c->safetensors, name);
}

size_t checkpoint_file_count(const struct checkpoint *c) {
    return safetensors_file_count(c->safetensors);
}

size_t checkpoint_total_bytes(const struct checkpoint *c) {
    return safetensors_total_bytes(c->safetensors);
}

const struct safetensors *checkpoint_safetensors(const struct checkpoint *c) {
    return c->safetensors;
}
