/* log.h - messages for people, to stderr or to whom quern_set_log() names. The library itself is
 * silent below LOG_WARN unless told otherwise; results never come this way. */
#ifndef QUERN_BASE_LOG_H
#define QUERN_BASE_LOG_H

#include "base/error.h"

enum log_level {
    LOG_ERROR = QUERN_LOG_ERROR,
    LOG_WARN = QUERN_LOG_WARNING,
    LOG_INFO = QUERN_LOG_INFO,
    LOG_DEBUG = QUERN_LOG_DEBUG,
};

void log_set_level(enum log_level level);
/* Where messages go from now on, as quern_set_log() documents; fn NULL: nowhere. */
void log_set_sink(void (*fn)(void *user, int level, const char *message), void *user);
/* Control characters and invalid UTF-8 in a message become '?'. */
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

#endif
