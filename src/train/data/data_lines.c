#include "train/data/data_lines.h"

#include <string.h>

enum { PIECE_BYTES = 1 << 20 };

enum quern_status data_lines_open(struct data_lines *l, const char *path, uint64_t offset, size_t line,
                                  struct quern_error *err) {
    *l = (struct data_lines){.offset = offset, .line = line};
    buffer_init(&l->text, DATA_LINE_MAX_BYTES);
    enum quern_status status = data_file_open(&l->file, path, err);
    if (!status && offset > l->file.size_bytes)
        status = error_set(err, QUERN_ERR_FORMAT, "%s: has become shorter", path);
    return status;
}

void data_lines_close(struct data_lines *l) {
    if (l->file.path)
        data_file_close(&l->file);
    buffer_release(&l->text);
    *l = (struct data_lines){0};
}

uint64_t data_lines_offset(const struct data_lines *l) {
    return l->offset - (l->text.len - l->at);
}

static enum quern_status fill(struct data_lines *l, struct quern_error *err) {
    const uint64_t left = l->file.size_bytes - l->offset;
    const size_t n = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
    const size_t rest = l->text.len - l->at;
    if (l->at) {
        memmove(l->text.data, l->text.data + l->at, rest);
        l->text.len = rest;
        l->at = 0;
    }
    if (buffer_reserve(&l->text, n))
        return l->text.failed == QUERN_ERR_NOMEM
                   ? error_nomem(err)
                   : error_set(err, QUERN_ERR_LIMIT, "%s:%zu: a line of more than %d bytes", l->file.path,
                               l->line + 1, DATA_LINE_MAX_BYTES);
    enum quern_status status = data_file_read(&l->file, l->offset, l->text.data + rest, n, err);
    if (status)
        return status;
    l->text.len += n;
    l->offset += n;
    return QUERN_OK;
}

enum quern_status data_lines_next(struct data_lines *l, struct str *lines, size_t max, size_t *n,
                                  struct quern_error *err) {
    size_t searched = 0; /* of the rest, which holds no line feed */
    for (*n = 0;;) {
        while (*n < max && l->at < l->text.len) {
            const char *from = l->text.data + l->at;
            const size_t rest = l->text.len - l->at;
            const char *end = memchr(from + searched, '\n', rest - searched);
            if (!end && l->offset < l->file.size_bytes) {
                searched = rest;
                break;
            }
            const size_t size = end ? (size_t)(end - from) + 1 : rest;
            lines[(*n)++] = (struct str){from, size};
            l->at += size;
            searched = 0;
        }
        if (*n || l->offset == l->file.size_bytes)
            break;
        enum quern_status status = fill(l, err);
        if (status)
            return status;
    }
    l->line += *n;
    return QUERN_OK;
}
