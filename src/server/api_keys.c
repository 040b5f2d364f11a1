#include "server/api_keys.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/os.h"

enum { FILE_MAX_BYTES = 1 << 20 };

static struct str next_line(struct str *text) {
    const char *end = memchr(text->ptr, '\n', text->len);
    size_t n = end ? (size_t)(end - text->ptr) : text->len;
    struct str line = {text->ptr, n};
    size_t skip = end ? n + 1 : n;
    text->ptr += skip;
    text->len -= skip;
    return line;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static struct str next_word(struct str *line) {
    while (line->len && is_blank(*line->ptr))
        line->ptr++, line->len--;
    struct str word = {line->ptr, 0};
    while (line->len && !is_blank(*line->ptr)) {
        word.len++;
        line->ptr++, line->len--;
    }
    return word;
}

static enum quern_status add(struct api_keys *k, struct str name, struct str key, size_t line,
                             const char *file, struct quern_error *err) {
    if (key.len >= API_KEY_BYTES || name.len >= API_KEY_NAME_BYTES)
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s, line %zu: a key has at most %d bytes, its name %d", file, line,
                         API_KEY_BYTES - 1, API_KEY_NAME_BYTES - 1);
    struct api_key *keys = realloc(k->keys, (k->n + 1) * sizeof *keys);
    if (!keys)
        return error_nomem(err);
    k->keys = keys;
    struct api_key *new_key = &keys[k->n++];
    memset(new_key, 0, sizeof *new_key);
    memcpy(new_key->key, key.ptr, key.len);
    if (name.len)
        memcpy(new_key->name, name.ptr, name.len);
    else
        snprintf(new_key->name, sizeof new_key->name, "key%zu", k->n);
    return QUERN_OK;
}

enum quern_status api_keys_parse(struct api_keys *k, struct str text, const char *file,
                                 struct quern_error *err) {
    *k = (struct api_keys){0};
    enum quern_status status = QUERN_OK;
    for (size_t number = 1; !status && text.len; number++) {
        struct str line = next_line(&text);
        struct str first = next_word(&line), second = next_word(&line);
        if (!first.len || *first.ptr == '#')
            continue;
        if (second.len && *second.ptr == '#')
            second.len = 0;
        struct str none = {0};
        status = add(k, second.len ? first : none, second.len ? second : first, number, file, err);
    }
    if (!status && !k->n)
        status = error_set(err, QUERN_ERR_FORMAT, "%s holds no key", file);
    if (status)
        api_keys_release(k);
    return status;
}

enum quern_status api_keys_load(struct api_keys *k, const char *path, struct quern_error *err) {
    struct buffer text;
    buffer_init(&text, FILE_MAX_BYTES);
    enum quern_status status = os_read_file(path, FILE_MAX_BYTES, &text, err);
    if (!status)
        status = api_keys_parse(k, buffer_str(&text), path, err);
    if (text.data)
        memset(text.data, 0, text.len);
    buffer_release(&text);
    return status;
}

void api_keys_release(struct api_keys *k) {
    if (k->keys)
        memset(k->keys, 0, k->n * sizeof *k->keys);
    free(k->keys);
    *k = (struct api_keys){0};
}

/* Every byte of every key is looked at, and no branch depends on what it is. */
const struct api_key *api_keys_find(const struct api_keys *k, struct str given) {
    char padded[API_KEY_BYTES] = {0};
    if (given.len >= API_KEY_BYTES || !given.len || memchr(given.ptr, '\0', given.len))
        return NULL;
    memcpy(padded, given.ptr, given.len);
    size_t found = 0;
    for (size_t i = 0; i < k->n; i++) {
        volatile unsigned char difference = 0;
        for (size_t j = 0; j < API_KEY_BYTES; j++)
            difference = (unsigned char)(difference | (padded[j] ^ k->keys[i].key[j]));
        size_t equal = ((size_t)difference - 1) >> (8 * sizeof(size_t) - 1);
        found += equal * (i + 1) * (found == 0);
    }
    return found ? &k->keys[found - 1] : NULL;
}
