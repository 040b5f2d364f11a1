/* A .safetensors file in memory; input that begins with '{' is taken for an index instead. */
#include <stdlib.h>

#include "formats/safetensors.h"
#include "formats/safetensors_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every tensor must lie inside the input, and be found by its name. */
static void check(const struct safetensors *st, const uint8_t *data, size_t size) {
    size_t total = 0;
    for (size_t i = 0; i < safetensors_count(st); i++) {
        const struct tensor *t = safetensors_at(st, i);
        const uint8_t *begin = t->data;
        size_t elements = dtype_size_bytes(t->dtype);
        for (int k = 0; k < t->rank; k++)
            elements *= t->shape[k];
        if (begin < data || begin + t->size_bytes > data + size || elements != t->size_bytes ||
            safetensors_find(st, t->name) != t)
            abort();
        total += t->size_bytes;
    }
    if (total != safetensors_total_bytes(st))
        abort();
    (void)safetensors_metadata(st, "format");
}

static void parse_index(const uint8_t *data, size_t size) {
    struct arena arena;
    struct safetensors_index index;
    struct quern_error err;
    arena_init(&arena, 0);
    if (!safetensors_index_parse((struct str){(const char *)data, size}, "index", &arena, &index,
                                 &err)) {
        for (size_t i = 0; i < index.n_names; i++) {
            uint32_t shard;
            if (!map_get(&index.shard_of, str_from(index.names[i]), &shard) ||
                shard >= index.n_shards || strchr(index.shards[shard], '/'))
                abort();
        }
        safetensors_index_release(&index);
    }
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct safetensors *st = NULL;
    struct quern_error err;
    if (size > 0 && data[0] == '{')
        parse_index(data, size);
    if (safetensors_parse(data, size, "file", &st, &err) == QUERN_OK) {
        check(st, data, size);
        safetensors_close(st);
    }
    return 0;
}
