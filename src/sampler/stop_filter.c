/* One Knuth-Morris-Pratt matcher per string. What may still become a stop string is the longest
 * prefix of one that the text ends with; since it is a prefix, nothing need be stored. */
#include "sampler/stop_filter.h"

#include <stdlib.h>
#include <string.h>

enum { STOP_STRINGS_MAX = 256, STOP_BYTES_MAX = 65536 };

struct matcher {
    char *bytes;      /* [len], owned */
    uint32_t *border; /* [len] length of the longest proper border of bytes[0..i] */
    size_t len;
    size_t matched; /* the text ends with bytes[0..matched), the longest such */
};

struct stop_filter {
    struct matcher *matchers; /* [n] */
    size_t n;
    size_t longest; /* the matcher with the most bytes matched */
    int32_t hit;    /* -1: none yet */
};

/* Bytes matched once `c` follows `matched` matched bytes, matched < len. */
static size_t advance(const struct matcher *m, size_t matched, char c) {
    while (matched > 0 && m->bytes[matched] != c)
        matched = m->border[matched - 1];
    return m->bytes[matched] == c ? matched + 1 : 0;
}

static enum quern_status matcher_init(struct matcher *m, const char *text, size_t index,
                                      struct quern_error *err) {
    m->len = text ? strlen(text) : 0;
    if (m->len == 0)
        return error_set(err, QUERN_ERR_ARG, "stop string %zu is empty", index);
    if (m->len > STOP_BYTES_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "stop string %zu has %zu bytes, expected at most %d",
                         index, m->len, STOP_BYTES_MAX);
    m->bytes = malloc(m->len);
    m->border = calloc(m->len, sizeof *m->border);
    if (!m->bytes || !m->border)
        return error_nomem(err);
    memcpy(m->bytes, text, m->len);
    for (size_t i = 1; i < m->len; i++)
        m->border[i] = (uint32_t)advance(m, m->border[i - 1], m->bytes[i]);
    return QUERN_OK;
}

enum quern_status stop_filter_create(const char *const *strings, size_t n, struct stop_filter **out,
                                     struct quern_error *err) {
    if (n > STOP_STRINGS_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "%zu stop strings, expected at most %d", n,
                         STOP_STRINGS_MAX);
    struct stop_filter *f = calloc(1, sizeof *f);
    enum quern_status status = QUERN_OK;
    if (!f)
        return error_nomem(err);
    f->hit = -1;
    f->matchers = calloc(n ? n : 1, sizeof *f->matchers);
    if (!f->matchers) {
        status = error_nomem(err);
        goto fail;
    }
    for (; f->n < n; f->n++) {
        status = matcher_init(&f->matchers[f->n], strings[f->n], f->n, err);
        if (status) {
            f->n++; /* what it got is freed too */
            goto fail;
        }
    }
    *out = f;
    return QUERN_OK;
fail:
    stop_filter_destroy(f);
    return status;
}

void stop_filter_destroy(struct stop_filter *f) {
    if (!f)
        return;
    for (size_t i = 0; i < f->n; i++) {
        free(f->matchers[i].bytes);
        free(f->matchers[i].border);
    }
    free(f->matchers);
    free(f);
}

static size_t held(const struct stop_filter *f) {
    return f->n ? f->matchers[f->longest].matched : 0;
}

/* Advances every matcher by `c`. The longest string that is complete with it, or -1. */
static int32_t match_byte(struct stop_filter *f, char c) {
    int32_t complete = -1;
    size_t longest = 0;
    for (size_t i = 0; i < f->n; i++) {
        struct matcher *m = &f->matchers[i];
        m->matched = advance(m, m->matched, c);
        if (m->matched == m->len && (complete < 0 || m->len > f->matchers[complete].len))
            complete = (int32_t)i;
        if (m->matched > f->matchers[longest].matched)
            longest = i;
    }
    f->longest = longest;
    return complete;
}

/* Releases the first n of the bytes held, which are `prefix`, and `c` after them. */
static void release(struct buffer *out, const struct matcher *prefix, size_t n_prefix, char c,
                    size_t n) {
    buffer_append(out, prefix->bytes, n < n_prefix ? n : n_prefix);
    if (n > n_prefix)
        buffer_putc(out, c);
}

enum quern_status stop_filter_push(struct stop_filter *f, struct str text, struct buffer *out,
                                   int32_t *hit, struct quern_error *err) {
    *hit = f->hit;
    if (f->hit >= 0)
        return QUERN_OK;
    if (f->n == 0) {
        buffer_append_str(out, text);
        return buffer_status(out, "generated text", err);
    }
    for (size_t i = 0; i < text.len && f->hit < 0; i++) {
        const struct matcher *prefix = &f->matchers[f->longest];
        size_t n_prefix = prefix->matched;
        f->hit = match_byte(f, text.ptr[i]);
        size_t keep = f->hit >= 0 ? f->matchers[f->hit].len : held(f);
        release(out, prefix, n_prefix, text.ptr[i], n_prefix + 1 - keep);
    }
    *hit = f->hit;
    return buffer_status(out, "generated text", err);
}

enum quern_status stop_filter_finish(struct stop_filter *f, struct buffer *out) {
    if (f->hit >= 0 || f->n == 0)
        return QUERN_OK;
    const struct matcher *m = &f->matchers[f->longest];
    enum quern_status status = buffer_append(out, m->bytes, m->matched);
    for (size_t i = 0; i < f->n; i++)
        f->matchers[i].matched = 0;
    return status;
}
