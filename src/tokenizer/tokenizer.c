#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer_internal.h"

void tokenizer_close(struct tokenizer *t) {
    if (!t)
        return;
    added_set_release(&t->raw_set);
    added_set_release(&t->normalized_set);
    free(t->added);
    free(t->by_spelling);
    free(t->id_flags);
    pretokenizer_release(&t->pretokenizer);
    bpe_release(&t->bpe);
    vocab_release(&t->vocab);
    token_ids_release(&t->before);
    token_ids_release(&t->after);
    arena_release(&t->arena);
    free(t);
}

int32_t tokenizer_n_tokens(const struct tokenizer *t) {
    return t->n_ids;
}

static bool has_flag(const struct tokenizer *t, int32_t id, enum id_flag flag) {
    return id >= 0 && id < t->n_ids && (t->id_flags[id] & flag);
}

bool tokenizer_is_added(const struct tokenizer *t, int32_t id) {
    return has_flag(t, id, ID_ADDED);
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id) {
    return has_flag(t, id, ID_SPECIAL);
}

const struct added_token *tokenizer_added(const struct tokenizer *t, int32_t id) {
    if (!tokenizer_is_added(t, id))
        return NULL;
    size_t lo = 0, hi = t->n_added;
    while (lo + 1 < hi) {
        size_t mid = (lo + hi) / 2;
        if (t->added[mid].id <= id)
            lo = mid;
        else
            hi = mid;
    }
    return &t->added[lo];
}

struct str tokenizer_token_bytes(const struct tokenizer *t, int32_t id) {
    const struct added_token *a = tokenizer_added(t, id);
    if (a)
        return a->spelling;
    if (id < 0 || (uint32_t)id >= t->vocab.n_ids)
        return (struct str){"", 0};
    return vocab_bytes(&t->vocab, (uint32_t)id);
}

enum quern_status tokenizer_gaps(const struct tokenizer *t, int32_t **ids, size_t *n,
                                 struct quern_error *err) {
    size_t found = 0;
    for (int32_t id = 0; id < t->n_ids; id++)
        found += tokenizer_token_bytes(t, id).len == 0;
    int32_t *list = found ? malloc(found * sizeof *list) : NULL;
    if (found && !list)
        return error_nomem(err);
    *n = 0;
    for (int32_t id = 0; list && id < t->n_ids; id++)
        if (tokenizer_token_bytes(t, id).len == 0)
            list[(*n)++] = id;
    *ids = list;
    return QUERN_OK;
}

int32_t tokenizer_added_id(const struct tokenizer *t, struct str spelling) {
    size_t lo = 0, hi = t->n_added;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        struct str s = t->by_spelling[mid]->spelling;
        size_t common = s.len < spelling.len ? s.len : spelling.len;
        int order = common ? memcmp(s.ptr, spelling.ptr, common) : 0;
        if (order < 0 || (order == 0 && s.len < spelling.len))
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < t->n_added && str_eq(t->by_spelling[lo]->spelling, spelling))
        return t->by_spelling[lo]->id;
    return TOKENIZER_NONE;
}

enum quern_status tokenizer_normalize(const struct tokenizer *t, struct str *text,
                                      struct buffer out[2], struct quern_error *err) {
    for (int i = 0; i < t->n_forms; i++) {
        if (unicode_is_normalized_fast(*text, t->forms[i]))
            continue;
        struct buffer *to = text->ptr == out[0].data ? &out[1] : &out[0];
        buffer_clear(to);
        if (unicode_normalize(*text, t->forms[i], to))
            return buffer_status(to, "the text in normal form", err);
        *text = buffer_str(to);
    }
    return QUERN_OK;
}

/* ---- encoding -------------------------------------------------------------------- */

struct encoding {
    const struct tokenizer *t;
    struct bpe_encoder bpe;
    struct pretokenizer_state words;
    struct buffer forms[2];
    bool parse_added;
};

static enum quern_status push_id(struct encoding *e, int32_t id) {
    struct token_ids *out = e->bpe.out;
    if (token_ids_reserve(out, 1))
        return QUERN_ERR_NOMEM;
    out->ids[out->n++] = id;
    return QUERN_OK;
}

static enum quern_status encode_word(void *ctx, struct str text, size_t begin, size_t end) {
    struct encoding *e = ctx;
    const unsigned char *p = (const unsigned char *)text.ptr;
    e->bpe.limit = p + text.len;
    return bpe_encode_word(&e->bpe, p + begin, end - begin);
}

/* Text without added tokens that are looked for before the normal forms. */
static enum quern_status encode_segment(struct encoding *e, struct str text,
                                        struct quern_error *err) {
    const struct tokenizer *t = e->t;
    enum quern_status status = tokenizer_normalize(t, &text, e->forms, err);
    if (status)
        return status;
    if (!e->parse_added || t->normalized_set.n == 0)
        return pretokenize(&t->pretokenizer, &e->words, text, encode_word, e, err);
    struct added_cursor cursor = {0};
    struct added_piece piece;
    while (!status && added_set_next(&t->normalized_set, text, &cursor, &piece)) {
        struct str part = {text.ptr + piece.begin, piece.end - piece.begin};
        status = piece.token ? push_id(e, piece.token->id)
                             : pretokenize(&t->pretokenizer, &e->words, part, encode_word, e, err);
    }
    return status;
}

static enum quern_status encode_text(struct encoding *e, struct str text, struct quern_error *err) {
    if (!e->parse_added)
        return encode_segment(e, text, err);
    struct added_cursor cursor = {0};
    struct added_piece piece;
    enum quern_status status = QUERN_OK;
    while (!status && added_set_next(&e->t->raw_set, text, &cursor, &piece)) {
        struct str part = {text.ptr + piece.begin, piece.end - piece.begin};
        status = piece.token ? push_id(e, piece.token->id) : encode_segment(e, part, err);
    }
    return status;
}

static enum quern_status encode_all(struct encoding *e, struct str text, bool add_special,
                                    struct quern_error *err) {
    const struct tokenizer *t = e->t;
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; !status && add_special && i < t->before.n; i++)
        status = push_id(e, t->before.ids[i]);
    if (!status)
        status = encode_text(e, text, err);
    for (size_t i = 0; !status && add_special && i < t->after.n; i++)
        status = push_id(e, t->after.ids[i]);
    return status;
}

enum quern_status tokenizer_encode(const struct tokenizer *t, struct str text,
                                   struct encode_options options, struct token_ids *out,
                                   struct quern_error *err) {
    struct encoding e = {.t = t, .parse_added = options.parse_special};
    struct buffer valid;
    size_t before = out->n;
    /* Filled by those who know more than the status says. */
    struct quern_error detail = {0};
    buffer_init(&valid, SIZE_MAX / 4);
    buffer_init(&e.forms[0], SIZE_MAX / 4);
    buffer_init(&e.forms[1], SIZE_MAX / 4);
    enum quern_status status = QUERN_OK;
    if (!utf8_valid(text)) {
        status = utf8_sanitize(text, &valid);
        text = buffer_str(&valid);
    }
    if (!status)
        status = bpe_encoder_init(&e.bpe, &t->bpe, text.len, out);
    if (!status)
        status = encode_all(&e, text, options.add_special, &detail);
    bpe_encoder_release(&e.bpe);
    pretokenizer_state_release(&e.words);
    buffer_release(&valid);
    buffer_release(&e.forms[0]);
    buffer_release(&e.forms[1]);
    if (!status)
        return QUERN_OK;
    out->n = before;
    if (detail.code == status)
        return error_set(err, status, "%s", detail.message);
    if (status == QUERN_ERR_LIMIT)
        return error_set(err, status, "the text holds a word of more than %d bytes", BPE_WORD_MAX);
    return error_nomem(err);
}
