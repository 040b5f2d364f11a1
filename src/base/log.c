#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static void write_to_stderr(void *user, int level, const char *message) {
    (void)user;
    static const char *const prefixes[] = {
        [LOG_ERROR] = "quern: error: ",
        [LOG_WARN] = "quern: warning: ",
        [LOG_INFO] = "quern: ",
        [LOG_DEBUG] = "quern: debug: ",
    };
    /* One call, so that lines do not mix with those other code writes. */
    fprintf(stderr, "%s%s\n", prefixes[level], message);
}

static atomic_int log_threshold = LOG_WARN;
/* Held while a sink runs: once log_set_sink has returned, the one before is not in use. */
static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*sink)(void *user, int level, const char *message) = write_to_stderr;
static void *sink_user;

void log_set_level(enum log_level level) {
    atomic_store_explicit(&log_threshold, (int)level, memory_order_relaxed);
}

void log_set_sink(void (*fn)(void *user, int level, const char *message), void *user) {
    pthread_mutex_lock(&sink_lock);
    sink = fn;
    sink_user = user;
    pthread_mutex_unlock(&sink_lock);
}

void log_write(enum log_level level, const char *fmt, ...) {
    if ((int)level > atomic_load_explicit(&log_threshold, memory_order_relaxed))
        return;
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    error_make_printable(text);
    pthread_mutex_lock(&sink_lock);
    if (sink)
        sink(sink_user, (int)level, text);
    pthread_mutex_unlock(&sink_lock);
}
