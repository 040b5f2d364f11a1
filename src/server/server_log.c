#include "server/server_log.h"

#include <inttypes.h>
#include <time.h>

#include "base/number.h"
#include "base/os.h"
#include "text/json.h"

enum { LINE_MAX_BYTES = 16384 };

static void write_time(struct buffer *out) {
    struct timespec now;
    struct tm utc;
    char text[32];
    timespec_get(&now, TIME_UTC);
    if (!gmtime_r(&now.tv_sec, &utc) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc))
        return;
    buffer_printf(out, "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

void log_line_begin(struct log_line *line, const struct server_log *log, const char *level,
                    const char *event) {
    line->log = log;
    buffer_init(&line->text, LINE_MAX_BYTES);
    if (log->form == SERVER_LOG_JSON) {
        buffer_puts(&line->text, "{\"ts\":\"");
        write_time(&line->text);
        buffer_printf(&line->text, "\",\"level\":\"%s\",\"event\":\"%s\"", level, event);
    } else if (log->form == SERVER_LOG_TEXT) {
        write_time(&line->text);
        buffer_printf(&line->text, " %-5s %s", level, event);
    }
}

static void key_of(struct log_line *line, const char *key) {
    buffer_printf(&line->text, line->log->form == SERVER_LOG_JSON ? ",\"%s\":" : " %s=", key);
}

void log_line_str(struct log_line *line, const char *key, const char *value) {
    if (!value || line->log->form == SERVER_LOG_OFF)
        return;
    key_of(line, key);
    json_write_string(str_from(value), &line->text);
}

void log_line_int(struct log_line *line, const char *key, int64_t value) {
    if (line->log->form == SERVER_LOG_OFF)
        return;
    key_of(line, key);
    buffer_printf(&line->text, "%" PRId64, value);
}

void log_line_ms(struct log_line *line, const char *key, double ms) {
    char text[40];
    if (line->log->form == SERVER_LOG_OFF)
        return;
    key_of(line, key);
    number_print(text, sizeof text, "%.3f", ms);
    buffer_puts(&line->text, text);
}

void log_line_end(struct log_line *line) {
    if (line->log->form != SERVER_LOG_OFF && line->text.len) {
        buffer_puts(&line->text, line->log->form == SERVER_LOG_JSON ? "}\n" : "\n");
        if (!line->text.failed)
            os_write_fd(line->log->fd, "the log", line->text.data, line->text.len, NULL);
    }
    buffer_release(&line->text);
}
