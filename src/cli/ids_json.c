#include "cli/ids_json.h"

#include <stdlib.h>

#include "text/json_reader.h"

struct id_list {
    int32_t *ids;
    size_t n, capacity;
};

static bool append(struct id_list *list, int32_t id) {
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 256;
        if (capacity > SIZE_MAX / sizeof *list->ids)
            return false;
        int32_t *ids = realloc(list->ids, capacity * sizeof *ids);
        if (!ids)
            return false;
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->n++] = id;
    return true;
}

static bool parse_id(struct str text, int32_t *out) {
    int64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        value = value * 10 + (text.ptr[i] - '0');
        if (value > INT32_MAX)
            return false;
    }
    *out = (int32_t)value;
    return text.len > 0;
}

static enum quern_status read_ids(struct json_reader *r, const char *name, struct id_list *list,
                                  struct quern_error *err) {
    enum json_token token = json_reader_next(r);
    if (token == JSON_TOKEN_ERROR)
        return json_reader_error(r, name, err);
    if (token != JSON_TOKEN_ARRAY)
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: expected a JSON array of token ids such as [9707, 11, 1879]", name);
    while ((token = json_reader_next(r)) != JSON_TOKEN_ARRAY_END) {
        if (token == JSON_TOKEN_ERROR)
            return json_reader_error(r, name, err);
        int32_t id;
        if (token != JSON_TOKEN_NUMBER || !parse_id(r->value, &id))
            return error_set(err, QUERN_ERR_FORMAT,
                             "%s: entry %zu of the array is no token id (an integer from 0 to %d)",
                             name, list->n, INT32_MAX);
        if (!append(list, id))
            return error_nomem(err);
    }
    token = json_reader_next(r);
    return token == JSON_TOKEN_END ? QUERN_OK : json_reader_error(r, name, err);
}

enum quern_status ids_json_parse(struct str json, const char *name, int32_t **ids, size_t *n_ids,
                                 struct quern_error *err) {
    struct arena arena;
    arena_init(&arena, 0);
    struct json_reader reader;
    json_reader_init(&reader, json, &arena);
    struct id_list list = {0};
    enum quern_status status = read_ids(&reader, name, &list, err);
    arena_release(&arena);
    if (status) {
        free(list.ids);
        return status;
    }
    *ids = list.ids;
    *n_ids = list.n;
    return QUERN_OK;
}

enum quern_status ids_json_write(const int32_t *ids, size_t n_ids, struct buffer *out) {
    /* By hand, because printf makes up most of the time on a text of many megabytes. */
    buffer_putc(out, '[');
    for (size_t i = 0; i < n_ids; i++) {
        char digits[16], *p = digits + sizeof digits;
        uint32_t value = (uint32_t)ids[i];
        do {
            *--p = (char)('0' + value % 10);
            value /= 10;
        } while (value);
        if (i) {
            *--p = ' ';
            *--p = ',';
        }
        buffer_append(out, p, (size_t)(digits + sizeof digits - p));
    }
    return buffer_puts(out, "]\n");
}
