#include "cli/corpus.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "text/json.h"

enum { LINES_AT_ONCE = 1 << 16, RECORD_MAX_BYTES = 1 << 30 };

struct batch {
    const char *path;
    struct str *lines; /* [LINES_AT_ONCE] */
    size_t n, first;   /* first: its line, from 0 */
};

/* ---- JSON ----------------------------------------------------------------------------- */

static enum quern_status add_string(const json_t *value, struct word_sink *sink,
                                    struct quern_error *err) {
    if (!json_is_string(value))
        return QUERN_OK;
    return word_sink_add(sink, (struct str){json_string_value(value), json_string_length(value)},
                         err);
}

/* As templates write tools and calls. */
static enum quern_status add_json(const json_t *value, struct word_sink *sink,
                                  struct quern_error *err) {
    struct buffer text;
    buffer_init(&text, RECORD_MAX_BYTES);
    json_write_python(value, -1, &text);
    enum quern_status status = buffer_status(&text, "a tool", err);
    if (!status)
        status = word_sink_add(sink, buffer_str(&text), err);
    buffer_release(&text);
    return status;
}

static enum quern_status add_message(const json_t *message, struct word_sink *sink,
                                     struct quern_error *err) {
    static const char *const keys[] = {"content", "reasoning_content", "value"};
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !status; i++)
        status = add_string(json_object_get(message, keys[i]), sink, err);
    const json_t *calls = json_object_get(message, "tool_calls");
    for (size_t i = 0; i < json_array_size(calls) && !status; i++) {
        const json_t *call = json_array_get(calls, i);
        const json_t *function = json_object_get(call, "function");
        status = add_json(function ? function : call, sink, err);
    }
    return status;
}

static enum quern_status add_messages(const json_t *list, struct word_sink *sink,
                                      struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; i < json_array_size(list) && !status; i++)
        status = add_message(json_array_get(list, i), sink, err);
    return status;
}

static enum quern_status add_record(const json_t *record, struct word_sink *sink,
                                    struct quern_error *err) {
    static const char *const texts[] = {"text",  "prompt", "completion", "instruction",
                                        "input", "output", "target",     "system"};
    static const char *const lists[] = {"messages", "conversations", "prompt", "completion"};
    const json_t *tools = json_object_get(record, "tools");
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && !status; i++)
        status = add_string(json_object_get(record, texts[i]), sink, err);
    for (size_t i = 0; i < sizeof lists / sizeof *lists && !status; i++)
        status = add_messages(json_object_get(record, lists[i]), sink, err);
    for (size_t i = 0; i < json_array_size(tools) && !status; i++)
        status = add_json(json_array_get(tools, i), sink, err);
    return status;
}

static bool is_blank(struct str line) {
    for (size_t i = 0; i < line.len; i++)
        if (!strchr(" \t\r\n", line.ptr[i]))
            return false;
    return true;
}

static enum quern_status json_line(void *user, size_t index, struct word_sink *sink,
                                   struct quern_error *err) {
    const struct batch *b = user;
    json_t *record = NULL;
    if (is_blank(b->lines[index]))
        return QUERN_OK;
    enum quern_status status =
        json_parse(b->lines[index].ptr, b->lines[index].len, "record", &record, err);
    if (!status && !json_is_object(record))
        status = error_set(err, QUERN_ERR_FORMAT, "found %s, expected an object",
                           json_type_name(record));
    if (!status)
        status = add_record(record, sink, err);
    json_decref(record);
    return status ? error_prefix(err, status, "%s:%zu", b->path, b->first + index + 1) : QUERN_OK;
}

/* ---- text ------------------------------------------------------------------------------ */

static enum quern_status text_line(void *user, size_t index, struct word_sink *sink,
                                   struct quern_error *err) {
    const struct batch *b = user;
    enum quern_status status = word_sink_add(sink, b->lines[index], err);
    return status ? error_prefix(err, status, "%s:%zu", b->path, b->first + index + 1) : QUERN_OK;
}

/* ---- files ------------------------------------------------------------------------------ */

static struct str next_line(struct str *rest, bool whole) {
    const char *end = whole ? NULL : memchr(rest->ptr, '\n', rest->len);
    struct str line = {rest->ptr, end ? (size_t)(end - rest->ptr) + 1 : rest->len};
    *rest = (struct str){rest->ptr + line.len, rest->len - line.len};
    return line;
}

/* `before` and `all`: bytes, for the progress. */
static enum quern_status count_file(struct batch *b, struct str rest,
                                    const struct corpus_options *o, size_t before, size_t all,
                                    struct word_counter *counter, struct quern_error *err) {
    const bool is_json = str_ends_with(str_from(b->path), STR_LIT(".jsonl"));
    const size_t size = rest.len;
    enum quern_status status = QUERN_OK;
    for (b->first = 0; rest.len && !status; b->first += b->n) {
        for (b->n = 0; b->n < LINES_AT_ONCE && rest.len; b->n++)
            b->lines[b->n] = next_line(&rest, o->whole_files && !is_json);
        status = word_counter_add(counter, b->n, is_json ? json_line : text_line, b, err);
        if (o->on_progress)
            o->on_progress(o->user, (double)(before + size - rest.len) / (double)all);
    }
    return status;
}

enum quern_status corpus_count(const char *const *paths, size_t n, const struct corpus_options *o,
                               struct word_counter *counter, struct quern_error *err) {
    struct os_map *maps = calloc(n + 1, sizeof *maps);
    struct batch b = {.lines = malloc(LINES_AT_ONCE * sizeof *b.lines)};
    size_t all = 0, before = 0;
    enum quern_status status = maps && b.lines ? QUERN_OK : error_nomem(err);
    for (size_t i = 0; i < n && !status; i++) {
        status = os_map_open(&maps[i], paths[i], err);
        all += maps[i].size_bytes;
    }
    for (size_t i = 0; i < n && !status; i++) {
        b.path = paths[i];
        status = count_file(&b, (struct str){(const char *)maps[i].data, maps[i].size_bytes}, o,
                            before, all, counter, err);
        before += maps[i].size_bytes;
    }
    for (size_t i = 0; maps && i < n; i++)
        os_map_close(&maps[i]);
    free(maps);
    free(b.lines);
    return status;
}
