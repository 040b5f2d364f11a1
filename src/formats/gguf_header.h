/* gguf_header.h - what stands before the data of one GGUF file. Internal to formats.
 *
 * The file, little-endian: "GGUF", u32 version (2 or 3), u64 tensors, u64 values; the values: key,
 * u32 type, value; the tensors: name, u32 dimensions, u64 each (innermost first), u32 type, u64
 * offset; then the data, from the next multiple of general.alignment (32). A string is a u64
 * length and its bytes; an array a u32 type, a u64 count and its items. Checked: every length and
 * count against the rest of the file before it is used, keys and names for uniqueness and UTF-8,
 * products of dimensions, and that the tensors lie one after another inside the file. */
#ifndef QUERN_FORMATS_GGUF_HEADER_H
#define QUERN_FORMATS_GGUF_HEADER_H

#include "base/arena.h"
#include "base/map.h"
#include "formats/gguf.h"

struct gguf_header {
    struct gguf_value *values;
    size_t n_values;
    struct map by_key;
    struct gguf_tensor *tensors;
    size_t n_tensors;
    size_t data_bytes; /* of the tensors, without the gaps */
};

/* `name` starts messages. Everything but the map lives in `arena`; texts and data in the file. */
enum quern_status gguf_header_parse(const unsigned char *data, size_t size_bytes, const char *name,
                                    struct arena *arena, struct gguf_header *out,
                                    struct quern_error *err);
void gguf_header_release(struct gguf_header *h); /* zeroed is fine */

#endif
