#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static atomic_int log_threshold = LOG_WARN;

void log_set_level(enum log_level level) {
    atomic_store_explicit(&log_threshold, (int)level, memory_order_relaxed);
}

void log_write(enum log_level level, const char *fmt, ...) {
    if ((int)level > atomic_load_explicit(&log_threshold, memory_order_relaxed))
        return;
    static const char *const prefixes[] = {
        [LOG_ERROR] = "quern: error: ",
        [LOG_WARN] = "quern: warning: ",
        [LOG_INFO] = "quern: ",
        [LOG_DEBUG] = "quern: debug: ",
    };
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    /* One call, so that lines of several threads do not mix. */
    fprintf(stderr, "%s%s\n", prefixes[level], text);
}
