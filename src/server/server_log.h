/* server_log.h - one line an event on standard error: JSON for machines, or text. */
#ifndef QUERN_SERVER_SERVER_LOG_H
#define QUERN_SERVER_SERVER_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

enum server_log_form { SERVER_LOG_OFF, SERVER_LOG_TEXT, SERVER_LOG_JSON };

struct server_log {
    enum server_log_form form;
    int fd;
};

/* An event being put together. Members come in the order they are added. */
struct log_line {
    const struct server_log *log;
    struct buffer text;
};

void log_line_begin(struct log_line *line, const struct server_log *log, const char *level,
                    const char *event);
void log_line_str(struct log_line *line, const char *key, const char *value); /* NULL: left out */
void log_line_int(struct log_line *line, const char *key, int64_t value);
void log_line_ms(struct log_line *line, const char *key, double ms);
void log_line_end(struct log_line *line); /* written with one write */

#endif
