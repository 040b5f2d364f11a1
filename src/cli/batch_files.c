#include "cli/batch_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text/json.h"

/* ---- input -------------------------------------------------------------------------- */

static enum quern_status fail_errno(struct quern_error *err, const char *path, const char *doing) {
    return error_set(err, QUERN_ERR_IO, "%s: cannot %s: %s", path, doing, strerror(errno));
}

static char *copy_text(const char *text) {
    const size_t len = strlen(text);
    char *copy = malloc(len + 1);
    if (copy)
        memcpy(copy, text, len + 1);
    return copy;
}

static bool is_blank(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != ' ' && s.ptr[i] != '\t' && s.ptr[i] != '\r')
            return false;
    return true;
}

/* The custom_id of a line, if it has one. */
static enum quern_status read_id(struct str text, char **id, struct quern_error *err) {
    json_t *root = NULL;
    *id = NULL;
    if (json_parse(text.ptr, text.len, "line", &root, NULL))
        return QUERN_OK;
    const char *value = json_string_value(json_object_get(root, "custom_id"));
    enum quern_status status = QUERN_OK;
    if (value && !(*id = copy_text(value)))
        status = error_nomem(err);
    json_decref(root);
    return status;
}

static enum quern_status grow(struct batch_input *in, struct quern_error *err) {
    if (in->n_lines < in->capacity)
        return QUERN_OK;
    const size_t capacity = in->capacity ? in->capacity * 2 : 256;
    struct batch_line *lines = realloc(in->lines, capacity * sizeof *lines);
    if (lines)
        in->lines = lines;
    size_t *numbers = lines ? realloc(in->numbers, capacity * sizeof *numbers) : NULL;
    if (!numbers)
        return error_nomem(err);
    in->numbers = numbers;
    in->capacity = capacity;
    return QUERN_OK;
}

static enum quern_status add_line(struct batch_input *in, struct str text, size_t number,
                                  const char *path, struct quern_error *err) {
    struct batch_line line = {.text = text};
    enum quern_status status = grow(in, err);
    if (!status)
        status = read_id(text, &line.custom_id, err);
    if (status)
        return status;
    in->lines[in->n_lines] = line;
    in->numbers[in->n_lines] = number;
    const uint32_t index = (uint32_t)in->n_lines++;
    uint32_t other;
    if (!line.custom_id)
        return QUERN_OK;
    if (map_get(&in->by_id, str_from(line.custom_id), &other))
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: lines %zu and %zu have the same custom_id, \"%s\"", path,
                         in->numbers[other], number, line.custom_id);
    return map_put(&in->by_id, str_from(line.custom_id), index, NULL) ? QUERN_OK : error_nomem(err);
}

enum quern_status batch_input_open(struct batch_input *in, const char *path,
                                   struct quern_error *err) {
    *in = (struct batch_input){0};
    enum quern_status status = os_map_open(&in->map, path, err);
    const char *at = (const char *)in->map.data;
    size_t left = in->map.size_bytes;
    for (size_t number = 1; !status && left > 0; number++) {
        const char *end = memchr(at, '\n', left);
        const size_t len = end ? (size_t)(end - at) : left;
        const struct str text = {at, len};
        if (!is_blank(text))
            status = add_line(in, text, number, path, err);
        at += len + (end != NULL);
        left -= len + (end != NULL);
        if (in->n_lines >= UINT32_MAX)
            status = error_set(err, QUERN_ERR_LIMIT, "%s has too many lines", path);
    }
    if (status)
        batch_input_close(in);
    return status;
}

void batch_input_close(struct batch_input *in) {
    for (size_t i = 0; i < in->n_lines; i++)
        free(in->lines[i].custom_id);
    free(in->lines);
    free(in->numbers);
    map_release(&in->by_id);
    os_map_close(&in->map);
    *in = (struct batch_input){0};
}

/* ---- what the output holds already ---------------------------------------------------- */

/* Lines without a custom_id are known by their number. */
static struct batch_line *find_line(struct batch_input *in, const json_t *result) {
    const char *id = json_string_value(json_object_get(result, "custom_id"));
    const json_t *number = json_object_get(result, "line");
    uint32_t index;
    if (id)
        return map_get(&in->by_id, str_from(id), &index) ? &in->lines[index] : NULL;
    for (size_t i = 0; json_is_integer(number) && i < in->n_lines; i++)
        if ((json_int_t)in->numbers[i] == json_integer_value(number) && !in->lines[i].custom_id)
            return &in->lines[i];
    return NULL;
}

static bool is_result(const json_t *value) {
    return json_is_object(value) && json_object_get(value, "custom_id") &&
           json_object_get(value, "response") && json_object_get(value, "error");
}

/* Marks what is done; *keep is where the last whole line ends. */
static enum quern_status read_results(struct batch_output *out, const struct os_map *map,
                                      struct batch_input *in, size_t *keep,
                                      struct quern_error *err) {
    const char *begin = (const char *)map->data, *at = begin;
    const char *const end = begin + map->size_bytes;
    *keep = 0;
    for (size_t number = 1; at < end; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        json_t *root = NULL;
        if (!newline)
            break; /* torn */
        const bool whole =
            json_parse(at, (size_t)(newline - at), "line", &root, NULL) == QUERN_OK &&
            is_result(root);
        struct batch_line *line = whole ? find_line(in, root) : NULL;
        json_decref(root);
        if (!whole)
            return error_set(err, QUERN_ERR_FORMAT,
                             "%s, line %zu: is no result of a batch; the file is left as it is",
                             out->path, number);
        if (line && !line->done) {
            line->done = true;
            out->n_found++;
        }
        at = newline + 1;
        *keep = (size_t)(at - begin);
    }
    return QUERN_OK;
}

static enum quern_status lock_file(const struct batch_output *out, struct quern_error *err) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    /* Of the open file, not of the process: F_SETLK's would end when the file, opened again to be
     * read, is closed. */
    if (fcntl(out->fd, F_OFD_SETLK, &lock) == 0)
        return QUERN_OK;
    if (errno == EACCES || errno == EAGAIN)
        return error_set(err, QUERN_ERR_STATE, "%s: another batch is writing to it", out->path);
    return QUERN_OK; /* a file system without locks */
}

enum quern_status batch_output_open(struct batch_output *out, const char *path,
                                    struct batch_input *in, struct quern_error *err) {
    *out = (struct batch_output){.path = path, .flushed_ns = os_now_ns()};
    do
        out->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    while (out->fd < 0 && errno == EINTR);
    if (out->fd < 0)
        return fail_errno(err, path, "open");
    struct os_map map = {0};
    size_t keep = 0;
    enum quern_status status = lock_file(out, err);
    if (!status)
        status = os_map_open(&map, path, err);
    if (!status)
        status = read_results(out, &map, in, &keep, err);
    out->cut = !status && keep < map.size_bytes;
    os_map_close(&map);
    if (out->cut && ftruncate(out->fd, (off_t)keep))
        status = fail_errno(err, path, "cut off the line that is not whole");
    if (status)
        batch_output_close(out);
    return status;
}

enum quern_status batch_output_write(struct batch_output *out, const struct buffer *line,
                                     struct quern_error *err) {
    out->dirty = true;
    return os_write_fd(out->fd, out->path, line->data, line->len, err);
}

enum quern_status batch_output_flush(struct batch_output *out, bool now, struct quern_error *err) {
    const uint64_t second_ns = 1000000000u, now_ns = os_now_ns();
    if (!out->dirty || (!now && now_ns - out->flushed_ns < second_ns))
        return QUERN_OK;
    out->dirty = false;
    out->flushed_ns = now_ns;
    /* A pipe or a terminal cannot be flushed, and need not be. */
    if (fsync(out->fd) && errno != EINVAL && errno != EROFS)
        return fail_errno(err, out->path, "flush to the disk");
    return QUERN_OK;
}

void batch_output_close(struct batch_output *out) {
    if (out->fd >= 0)
        close(out->fd);
    out->fd = -1;
}
