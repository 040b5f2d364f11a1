#include "train/run/run_log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/os.h"
#include "train/run/event_file.h"

enum { PATH_BYTES = 4096, METRICS_MAX_BYTES = 1 << 30, LINE_MAX_BYTES = 1 << 16 };

static double wall_s(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static enum quern_status add_point(struct run_points *p, const json_t *values, const char *key,
                                   struct quern_error *err) {
    const json_t *loss = json_object_get(values, key);
    if (!json_is_number(loss))
        return QUERN_OK;
    if (p->n == p->capacity) {
        const size_t capacity = p->capacity ? 2 * p->capacity : 256;
        struct run_point *grown = realloc(p->items, capacity * sizeof *grown);
        if (!grown)
            return error_nomem(err);
        p->items = grown;
        p->capacity = capacity;
    }
    const json_int_t step = json_integer_value(json_object_get(values, "step"));
    p->items[p->n++] = (struct run_point){step > 0 ? (size_t)step : 0, json_number_value(loss)};
    return QUERN_OK;
}

static enum quern_status add_points(struct run_log *l, const json_t *values,
                                    struct quern_error *err) {
    enum quern_status status = add_point(&l->train, values, "loss", err);
    return status ? status : add_point(&l->eval, values, "eval_loss", err);
}

/* Takes the points of the lines up to `step` and cuts the file behind them. */
static enum quern_status go_on(struct run_log *l, const char *path, size_t step,
                               struct quern_error *err) {
    struct buffer text;
    size_t kept = 0;
    buffer_init(&text, METRICS_MAX_BYTES);
    enum quern_status status = os_read_regular(path, METRICS_MAX_BYTES, &text, err);
    while (!status && kept < text.len) {
        const char *line = text.data + kept, *end = memchr(line, '\n', text.len - kept);
        json_t *values = NULL;
        if (!end || json_parse(line, (size_t)(end - line), path, &values, NULL))
            break;
        const json_int_t at = json_integer_value(json_object_get(values, "step"));
        if (at >= 0 && (size_t)at <= step)
            status = add_points(l, values, err);
        json_decref(values);
        if (at < 0 || (size_t)at > step)
            break;
        kept = (size_t)(end - text.data) + 1;
    }
    if (!status && kept < text.len)
        status = os_write_file(path, text.data ? text.data : "", kept, err);
    buffer_release(&text);
    return status;
}

static enum quern_status open_events(struct run_log *l, const char *dir, struct quern_error *err) {
    char path[PATH_BYTES], name[64];
    struct buffer header;
    snprintf(name, sizeof name, "events.out.tfevents.%.0f.quern", wall_s());
    enum quern_status status = os_path_join(path, sizeof path, dir, name, err);
    if (status)
        return status;
    buffer_init(&header, LINE_MAX_BYTES);
    event_file_header(wall_s(), &header);
    l->events = fopen(path, "ab");
    if (!l->events || fwrite(header.data, 1, header.len, l->events) != header.len)
        status = error_set(err, QUERN_ERR_IO, "%s: cannot write", path);
    buffer_release(&header);
    return status;
}

enum quern_status run_log_open(const char *dir, size_t step, struct run_log *out,
                               struct quern_error *err) {
    char path[PATH_BYTES];
    *out = (struct run_log){0};
    if (!dir)
        return QUERN_OK;
    enum quern_status status = os_path_join(path, sizeof path, dir, "metrics.jsonl", err);
    if (!status && step && os_file_exists(path))
        status = go_on(out, path, step, err);
    if (!status) {
        out->metrics = fopen(path, step ? "ab" : "wb");
        if (!out->metrics)
            status = error_set(err, QUERN_ERR_IO, "%s: cannot write", path);
    }
    if (!status)
        status = open_events(out, dir, err);
    if (status)
        run_log_close(out);
    return status;
}

void run_log_close(struct run_log *l) {
    if (l->metrics)
        fclose(l->metrics);
    if (l->events)
        fclose(l->events);
    free(l->train.items);
    free(l->eval.items);
    *l = (struct run_log){0};
}

static bool put(FILE *file, const struct buffer *text) {
    return !file || (fwrite(text->data, 1, text->len, file) == text->len && fflush(file) == 0);
}

enum quern_status run_log_add(struct run_log *l, const json_t *values, struct quern_error *err) {
    struct buffer line, events;
    const char *key;
    json_t *value;
    const int64_t step = json_integer_value(json_object_get(values, "step"));
    const double now = wall_s();
    enum quern_status status = add_points(l, values, err);
    buffer_init(&line, LINE_MAX_BYTES);
    buffer_init(&events, LINE_MAX_BYTES);
    json_write_python(values, -1, &line);
    buffer_putc(&line, '\n');
    json_object_foreach((json_t *)(uintptr_t)values, key, value) {
        char tag[128];
        const bool is_eval = strncmp(key, "eval_", 5) == 0;
        if (!json_is_number(value) || strcmp(key, "step") == 0)
            continue;
        snprintf(tag, sizeof tag, "%s/%s", is_eval ? "eval" : "train", is_eval ? key + 5 : key);
        event_file_scalar(now, step, tag, (float)json_number_value(value), &events);
    }
    if (!status)
        status = buffer_status(&line, "a line of metrics.jsonl", err);
    if (!status)
        status = buffer_status(&events, "the events", err);
    if (!status && (!put(l->metrics, &line) || !put(l->events, &events)))
        status = error_set(err, QUERN_ERR_IO, "metrics.jsonl: cannot write");
    buffer_release(&line);
    buffer_release(&events);
    return status;
}
