#include "api/gguf_parts.h"

#include "base/arena.h"
#include "formats/gguf_tokenizer.h"

enum { TOKENIZER_BYTES_MAX = 1 << 30 };

enum quern_status gguf_open_tokenizer(const struct gguf *g, struct tokenizer **out,
                                      struct quern_error *err) {
    struct buffer json;
    buffer_init(&json, TOKENIZER_BYTES_MAX);
    enum quern_status status = gguf_tokenizer_json(g, &json, err);
    if (!status)
        status = tokenizer_parse(buffer_str(&json), gguf_name(g), out, err);
    buffer_release(&json);
    return status;
}

/* NULL in *out when the file names no such token. */
static enum quern_status token_text(const struct gguf *g, const char *key, struct arena *arena,
                                    const char **out, struct quern_error *err) {
    struct str text;
    *out = NULL;
    if (!gguf_special_token(g, key, &text))
        return QUERN_OK;
    *out = arena_strndup(arena, text.ptr, text.len);
    return *out ? QUERN_OK : error_nomem(err);
}

enum quern_status gguf_open_template(const struct gguf *g, struct chat_template **out,
                                     struct quern_error *err) {
    struct str source;
    struct arena arena;
    const char *bos = NULL, *eos = NULL;
    *out = NULL;
    if (!gguf_chat_template(g, &source))
        return QUERN_OK;
    arena_init(&arena, 0);
    enum quern_status status = token_text(g, "tokenizer.ggml.bos_token_id", &arena, &bos, err);
    if (!status)
        status = token_text(g, "tokenizer.ggml.eos_token_id", &arena, &eos, err);
    if (!status)
        status =
            chat_template_parse(source.ptr, source.len, gguf_name(g), bos, eos, out, err);
    arena_release(&arena);
    return status;
}

enum quern_status model_template_open(const char *path, struct chat_template **out,
                                      struct quern_error *err) {
    struct gguf *g = NULL;
    if (!gguf_is_file(path))
        return chat_template_open(path, out, err);
    enum quern_status status = gguf_open(path, &g, err);
    if (!status)
        status = gguf_open_template(g, out, err);
    gguf_close(g);
    return status;
}
