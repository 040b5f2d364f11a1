/* gguf.h - reading GGUF, one file or the parts of a split one (NAME-00001-of-00003.gguf), mapped
 * into memory: its values by key, its tensors as they stand in it. What they mean for a model is
 * in gguf_config.h, gguf_tokenizer.h and gguf_tensors.h. The files are untrusted; the format and
 * what is checked are in gguf_header.h. */
#ifndef QUERN_FORMATS_GGUF_H
#define QUERN_FORMATS_GGUF_H

#include "base/error.h"
#include "base/str.h"
#include "formats/tensor.h"

enum gguf_type {
    GGUF_U8 = 0,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
};
const char *gguf_type_name(enum gguf_type type); /* "string" */

struct gguf_value {
    struct str key;
    enum gguf_type type;
    /* For an array: of its items, which follow one another at `data`. */
    enum gguf_type item_type;
    size_t n_items;
    const unsigned char *data; /* of a string: behind its length */
    size_t size_bytes;
};

struct gguf_tensor {
    /* As in the file: its name ("blk.0.attn_q.weight"), block_type where it is one, shape
     * outermost first. `coded` is NULL. */
    struct tensor tensor;
    uint32_t type; /* ggml's number */
};

struct gguf; /* immutable after opening, shareable between threads */

/* Whether a file's name or first bytes say that it is GGUF. False for what is no file. */
bool gguf_is_file(const char *path);

/* Any part of a split file stands for the whole. */
enum quern_status gguf_open(const char *path, struct gguf **out, struct quern_error *err);
void gguf_close(struct gguf *g); /* NULL is fine */
/* One file held in memory, as the fuzzer does; data is borrowed. */
enum quern_status gguf_parse(const unsigned char *data, size_t size_bytes, const char *name,
                             struct gguf **out, struct quern_error *err);

const char *gguf_name(const struct gguf *g); /* the file's, for messages */
size_t gguf_file_count(const struct gguf *g);
size_t gguf_data_bytes(const struct gguf *g);

/* ---- values --------------------------------------------------------------------------- */

const struct gguf_value *gguf_find(const struct gguf *g, const char *key); /* or NULL */

/* A number of any type; an integer beyond 2^53 is not exact. False when the value is NULL or no
 * number. */
bool gguf_number(const struct gguf_value *v, double *out);
bool gguf_integer(const struct gguf_value *v, int64_t *out); /* of an integer type, and fits */
bool gguf_bool(const struct gguf_value *v, bool *out);
bool gguf_string(const struct gguf_value *v, struct str *out);

/* Walks over an array of strings: *at starts at 0. False at the end. */
bool gguf_next_string(const struct gguf_value *v, size_t *at, struct str *out);
/* Item i < n_items of an array of integers. */
int64_t gguf_integer_item(const struct gguf_value *v, size_t i);
bool gguf_is_integers(const struct gguf_value *v); /* an array of an integer type */

/* ---- tensors --------------------------------------------------------------------------- */

size_t gguf_tensor_count(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i); /* file order */
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name); /* or NULL */

#endif
