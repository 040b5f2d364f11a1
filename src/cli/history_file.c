#include "cli/history_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/os.h"

enum { FILE_MAX_BYTES = 64 << 20 };

/* Where the last n lines begin. */
static size_t last_lines(struct str text, size_t n) {
    size_t at = text.len;
    if (at && text.ptr[at - 1] == '\n')
        at--;
    for (; at > 0; at--)
        if (text.ptr[at - 1] == '\n' && --n == 0)
            break;
    return at;
}

static size_t count_lines(struct str text) {
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += text.ptr[i] == '\n';
    return n;
}

static void unescape(struct str line, struct buffer *turn) {
    buffer_clear(turn);
    buffer_puts(turn, "");
    for (size_t i = 0; i < line.len; i++) {
        char c = line.ptr[i];
        if (c == '\\' && i + 1 < line.len) {
            c = line.ptr[++i];
            c = c == 'n' ? '\n' : c;
        }
        if (c)
            buffer_putc(turn, c);
    }
}

void history_file_load(const char *path, void (*each)(void *user, const char *turn), void *user) {
    struct buffer file, turn;
    buffer_init(&file, FILE_MAX_BYTES);
    buffer_init(&turn, FILE_MAX_BYTES);
    if (os_read_file(path, FILE_MAX_BYTES, &file, NULL) == QUERN_OK) {
        struct str text = buffer_str(&file);
        size_t from = last_lines(text, HISTORY_TURNS);
        struct str rest = {text.ptr + from, text.len - from};
        if (count_lines(text) > 2 * HISTORY_TURNS)
            (void)os_write_file(path, rest.ptr, rest.len, NULL);
        while (rest.len) {
            const char *end = memchr(rest.ptr, '\n', rest.len);
            size_t n = end ? (size_t)(end - rest.ptr) : rest.len;
            unescape((struct str){rest.ptr, n}, &turn);
            if (turn.len && !turn.failed)
                each(user, turn.data);
            n += end != NULL;
            rest = (struct str){rest.ptr + n, rest.len - n};
        }
    }
    buffer_release(&file);
    buffer_release(&turn);
}

enum quern_status history_file_append(const char *path, const char *turn, struct quern_error *err) {
    struct buffer line;
    buffer_init(&line, FILE_MAX_BYTES);
    for (; *turn; turn++) {
        if (*turn == '\n' || *turn == '\\')
            buffer_putc(&line, '\\');
        buffer_putc(&line, *turn == '\n' ? 'n' : *turn);
    }
    buffer_putc(&line, '\n');
    enum quern_status status = buffer_status(&line, "a turn", err);
    if (!status) {
        FILE *file = fopen(path, "ae");
        /* One write: a line of a chat beside this one is not cut in two. */
        bool ok = file && setvbuf(file, NULL, _IONBF, 0) == 0 &&
                  fwrite(line.data, 1, line.len, file) == line.len;
        int code = errno;
        if (file && fclose(file))
            ok = false;
        if (!ok)
            status = error_set(err, QUERN_ERR_IO, "%s: %s", path, strerror(code));
    }
    buffer_release(&line);
    return status;
}
