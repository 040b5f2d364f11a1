/* safetensors_header.h - the JSON header of one .safetensors file, parsed and checked.
 * Internal to formats; see safetensors.h for the format. */
#ifndef QUERN_FORMATS_SAFETENSORS_HEADER_H
#define QUERN_FORMATS_SAFETENSORS_HEADER_H

#include "base/arena.h"
#include "formats/safetensors.h"

enum {
    SAFETENSORS_HEADER_MAX = 100000000, /* bytes; the reference's limit */
    SAFETENSORS_TENSORS_MAX = 1 << 20,  /* far above any model; bounds memory */
    SAFETENSORS_NAME_MAX = 512,         /* bytes */
};

struct safetensors_meta {
    const char *key, *value;
    struct safetensors_meta *next;
};

struct safetensors_header {
    struct tensor *tensors; /* malloc'ed, by position in the file; .file is not set */
    size_t n;
    struct safetensors_meta *meta; /* in the arena */
    size_t data_bytes;             /* what follows the header */
};

/* Parses a file of `size_bytes` at `data`. Strings go to `arena`; `name` starts messages.
 * On failure *out holds nothing. */
enum quern_status safetensors_header_parse(const unsigned char *data, size_t size_bytes,
                                           const char *name, struct arena *arena,
                                           struct safetensors_header *out, struct quern_error *err);
void safetensors_header_release(struct safetensors_header *h);

/* A name that may be shown, looked up and written: not empty, at most
 * SAFETENSORS_NAME_MAX bytes, no control characters. */
bool safetensors_name_ok(struct str name);

#endif
