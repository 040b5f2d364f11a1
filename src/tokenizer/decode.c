#include <string.h>

#include "tokenizer/tokenizer_internal.h"

static const char replacement[] = "\xEF\xBF\xBD";

/* What the decoder makes of an id in range. */
static struct str decoded_bytes(const struct tokenizer *t, int32_t id, bool skip_special) {
    if (t->id_flags[id] & ID_ADDED) {
        if (skip_special && (t->id_flags[id] & ID_SKIPPED))
            return (struct str){"", 0};
        return tokenizer_added(t, id)->decoded;
    }
    return (uint32_t)id < t->vocab.n_ids ? vocab_bytes(&t->vocab, (uint32_t)id)
                                         : (struct str){"", 0};
}

void token_stream_init(struct token_stream *s, const struct tokenizer *t, bool skip_special) {
    *s = (struct token_stream){.tokenizer = t, .skip_special = skip_special};
}

/* Completes the pending character from `bytes`; returns how many were used. Afterwards either
 * nothing is pending or the bytes are used up. */
static size_t complete_pending(struct token_stream *s, struct str bytes, struct buffer *out) {
    size_t used = 0;
    while (s->n_pending && used < bytes.len) {
        s->pending[s->n_pending++] = (unsigned char)bytes.ptr[used++];
        struct str pending = {(const char *)s->pending, s->n_pending};
        if (utf8_incomplete_tail(pending) == pending.len)
            continue;
        if (utf8_valid(pending)) {
            buffer_append_str(out, pending);
        } else {
            /* The new byte is no part of the character that had begun, and starts anew. */
            used--;
            buffer_append(out, replacement, 3);
        }
        s->n_pending = 0;
    }
    return used;
}

enum quern_status token_stream_push(struct token_stream *s, int32_t id, struct buffer *out) {
    if (id < 0 || id >= s->tokenizer->n_ids)
        return QUERN_ERR_ARG;
    struct str bytes = decoded_bytes(s->tokenizer, id, s->skip_special);
    size_t used = complete_pending(s, bytes, out);
    bytes = (struct str){bytes.ptr + used, bytes.len - used};
    size_t tail = utf8_incomplete_tail(bytes);
    bytes.len -= tail;
    utf8_sanitize(bytes, out);
    if (tail) {
        memcpy(s->pending, bytes.ptr + bytes.len, tail);
        s->n_pending = tail;
    }
    return out->failed;
}

enum quern_status token_stream_finish(struct token_stream *s, struct buffer *out) {
    if (s->n_pending)
        buffer_append(out, replacement, 3);
    s->n_pending = 0;
    return out->failed;
}

enum quern_status tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n,
                                   bool skip_special, struct buffer *out, struct quern_error *err) {
    struct token_stream s;
    token_stream_init(&s, t, skip_special);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= t->n_ids)
            return error_set(err, QUERN_ERR_ARG, "token %zu is id %d, expected 0 to %d", i, ids[i],
                             t->n_ids - 1);
    for (size_t i = 0; i < n && !out->failed; i++)
        token_stream_push(&s, ids[i], out);
    token_stream_finish(&s, out);
    return buffer_status(out, "the decoded text", err);
}
