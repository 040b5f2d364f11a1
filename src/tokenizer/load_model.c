/* The model of tokenizer.json: vocabulary and merges, megabytes of them, streamed from the
 * mapped text straight into the tables. */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/byte_level.h"
#include "tokenizer/tokenizer_internal.h"

enum { TAIL_BYTES = 16 }; /* readable beyond the vocabulary's bytes */

struct model_loader {
    struct tokenizer *t;
    struct json_reader *r;
    bool syntax; /* the reader knows what is wrong */
    bool has_vocab, has_merges;
    /* Filled by the vocabulary. */
    unsigned char *bytes;
    size_t n_bytes;
    struct vocab_entry *entries;
    size_t n_entries, entries_capacity;
    struct str late_merges; /* merges that came before the vocabulary */
    struct str unk_token;
    unsigned char *scratch; /* for two spellings */
    size_t scratch_capacity;
    int32_t last_id; /* of the last merge */
};

static enum quern_status syntax_error(struct model_loader *l) {
    l->syntax = true;
    return QUERN_ERR_FORMAT;
}

/* Reads a token; when it is not the wanted one says what was expected there. */
static enum quern_status expect(struct model_loader *l, enum json_token got, enum json_token wanted,
                                const char *problem) {
    if (got == wanted)
        return QUERN_OK;
    if (got != JSON_TOKEN_ERROR)
        l->r->problem = problem;
    return syntax_error(l);
}

/* ---- vocabulary --------------------------------------------------------------------- */

static enum quern_status add_entry(struct model_loader *l, struct str spelling, uint32_t id,
                                   struct quern_error *err) {
    if (l->n_entries == l->entries_capacity) {
        size_t capacity = l->entries_capacity ? 2 * l->entries_capacity : 4096;
        struct vocab_entry *entries = realloc(l->entries, capacity * sizeof *entries);
        if (!entries)
            return error_nomem(err);
        l->entries = entries;
        l->entries_capacity = capacity;
    }
    unsigned char *to = l->bytes + l->n_bytes;
    size_t len;
    bool literal = !byte_level_decode(spelling, to, &len);
    if (literal) {
        len = spelling.len;
        memcpy(to, spelling.ptr, len);
    }
    struct vocab_token token = {(uint32_t)l->n_bytes, (uint32_t)len & 0x3FFFFFFFu, literal, 0};
    l->entries[l->n_entries++] = (struct vocab_entry){token, id};
    l->n_bytes += len;
    return QUERN_OK;
}

/* Digits only, as ids are written; read by hand because there are so many. */
static bool read_id(struct str digits, uint32_t *id) {
    uint32_t n = 0;
    if (digits.len > 9)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        unsigned digit = (unsigned)(digits.ptr[i] - '0');
        if (digit > 9)
            return false;
        n = n * 10 + digit;
    }
    *id = n;
    return true;
}

static enum quern_status read_entries(struct model_loader *l, struct quern_error *err) {
    enum json_token token;
    while ((token = json_reader_next(l->r)) == JSON_TOKEN_KEY) {
        struct str spelling = l->r->value;
        uint32_t id;
        enum quern_status status =
            expect(l, json_reader_next(l->r), JSON_TOKEN_NUMBER, "model.vocab: an id was expected");
        if (status)
            return status;
        if (!read_id(l->r->value, &id)) {
            l->r->problem = "model.vocab: an id must be a whole number from 0 to 999999999";
            return syntax_error(l);
        }
        status = add_entry(l, spelling, id, err);
        if (status)
            return status;
    }
    return expect(l, token, JSON_TOKEN_OBJECT_END, "model.vocab: a token was expected");
}

static enum quern_status read_vocab(struct model_loader *l, struct quern_error *err) {
    enum quern_status status =
        expect(l, json_reader_next(l->r), JSON_TOKEN_OBJECT, "model.vocab: an object was expected");
    if (status)
        return status;
    /* A token takes no more bytes than its spelling in the text. */
    size_t most = (size_t)(l->r->end - l->r->p);
    if (l->has_vocab || most > UINT32_MAX / 4)
        return error_set(err, QUERN_ERR_FORMAT, "model.vocab is %s",
                         l->has_vocab ? "there twice" : "larger than 1 GB");
    l->has_vocab = true;
    l->bytes = malloc(most + TAIL_BYTES);
    if (!l->bytes)
        return error_nomem(err);
    status = read_entries(l, err);
    if (status)
        return status;
    unsigned char *bytes = realloc(l->bytes, l->n_bytes + TAIL_BYTES);
    if (bytes)
        l->bytes = bytes;
    memset(l->bytes + l->n_bytes, 0, TAIL_BYTES);
    bytes = l->bytes;
    l->bytes = NULL; /* the vocabulary owns them now */
    return vocab_build(&l->t->vocab, bytes, l->n_bytes, l->entries, l->n_entries, err);
}

/* ---- merges ------------------------------------------------------------------------- */

static enum quern_status not_in_vocab(const struct model_loader *l, struct str a, struct str b,
                                      int which, struct quern_error *err) {
    return error_set(err, QUERN_ERR_FORMAT,
                     "model.merges[%u]: of \"%.*s\" + \"%.*s\" the vocabulary lacks %s",
                     l->t->bpe.n_merges, STR_FMT(a), STR_FMT(b),
                     which == 0   ? "the first"
                     : which == 1 ? "the second"
                                  : "the two together");
}

static enum quern_status need_scratch(struct model_loader *l, size_t n, struct quern_error *err) {
    if (n <= l->scratch_capacity)
        return QUERN_OK;
    unsigned char *scratch = realloc(l->scratch, 2 * n);
    if (!scratch)
        return error_nomem(err);
    l->scratch = scratch;
    l->scratch_capacity = 2 * n;
    return QUERN_OK;
}

/* The id of a token made of two, one of which is outside the byte alphabet. */
static int32_t find_literal_pair(struct model_loader *l, struct str a, struct str b) {
    memcpy(l->scratch, a.ptr, a.len);
    memcpy(l->scratch + a.len, b.ptr, b.len);
    return vocab_find(&l->t->vocab, l->scratch, a.len + b.len, true);
}

static enum quern_status add_merge(struct model_loader *l, struct str a, struct str b,
                                   struct quern_error *err) {
    const struct vocab *v = &l->t->vocab;
    enum quern_status status = need_scratch(l, a.len + b.len + 1, err);
    if (status)
        return status;
    size_t a_len, b_len;
    int32_t left, right, merged;
    bool plain = byte_level_decode(a, l->scratch, &a_len) &&
                 byte_level_decode(b, l->scratch + a_len, &b_len);
    if (plain) {
        left = vocab_find(v, l->scratch, a_len, false);
        right = vocab_find(v, l->scratch + a_len, b_len, false);
        /* Trained vocabularies list the merges' tokens in the merges' order. */
        merged = l->last_id + 1;
        if (!vocab_is(v, merged, l->scratch, a_len + b_len))
            merged = vocab_find(v, l->scratch, a_len + b_len, false);
    } else {
        left = vocab_find_spelling(v, a, l->scratch);
        right = vocab_find_spelling(v, b, l->scratch);
        merged = find_literal_pair(l, a, b);
    }
    if (left < 0 || right < 0 || merged < 0)
        return not_in_vocab(l, a, b, left < 0 ? 0 : right < 0 ? 1 : 2, err);
    l->last_id = merged;
    struct bpe_merge m = {(uint32_t)left, (uint32_t)right, (uint32_t)merged};
    return bpe_add_merge(&l->t->bpe, m, err);
}

/* "a b" */
static enum quern_status add_merge_line(struct model_loader *l, struct str line,
                                        struct quern_error *err) {
    if (str_starts_with(line, STR_LIT("#version")))
        return QUERN_OK;
    const char *space = line.len ? memchr(line.ptr, ' ', line.len) : NULL;
    if (!space || memchr(space + 1, ' ', (size_t)(line.ptr + line.len - space - 1)))
        return error_set(err, QUERN_ERR_FORMAT,
                         "model.merges[%u]: \"%.*s\" is not two tokens with one space between",
                         l->t->bpe.n_merges, STR_FMT(line));
    size_t first = (size_t)(space - line.ptr);
    return add_merge(l, (struct str){line.ptr, first},
                     (struct str){space + 1, line.len - first - 1}, err);
}

/* After the opening bracket of ["a", "b"]. */
static enum quern_status read_merge_pair(struct model_loader *l, struct quern_error *err) {
    static const char problem[] = "model.merges: two strings were expected";
    enum quern_status status = expect(l, json_reader_next(l->r), JSON_TOKEN_STRING, problem);
    if (status)
        return status;
    struct str a = l->r->value;
    status = expect(l, json_reader_next(l->r), JSON_TOKEN_STRING, problem);
    if (status)
        return status;
    struct str b = l->r->value;
    status = expect(l, json_reader_next(l->r), JSON_TOKEN_ARRAY_END, problem);
    return status ? status : add_merge(l, a, b, err);
}

static enum quern_status read_merges(struct model_loader *l, struct quern_error *err) {
    static const char problem[] = "model.merges: strings or pairs of strings were expected";
    enum quern_status status = expect(l, json_reader_next(l->r), JSON_TOKEN_ARRAY, problem);
    enum json_token kind = JSON_TOKEN_END, token;
    l->last_id = VOCAB_NONE;
    while (!status && (token = json_reader_next(l->r)) != JSON_TOKEN_ARRAY_END) {
        if (kind == JSON_TOKEN_END)
            kind = token; /* all are of the kind of the first */
        status = expect(l, token, kind, problem);
        if (status)
            break;
        if (token == JSON_TOKEN_STRING)
            status = add_merge_line(l, l->r->value, err);
        else if (token == JSON_TOKEN_ARRAY)
            status = read_merge_pair(l, err);
        else
            status = expect(l, token, JSON_TOKEN_STRING, problem);
    }
    return status;
}

static enum quern_status read_merges_member(struct model_loader *l, struct quern_error *err) {
    if (l->has_merges)
        return error_set(err, QUERN_ERR_FORMAT, "model.merges is there twice");
    l->has_merges = true;
    if (l->has_vocab)
        return read_merges(l, err);
    return json_reader_skip(l->r, &l->late_merges) ? QUERN_OK : syntax_error(l);
}

/* ---- the other members ----------------------------------------------------------------- */

/* Options that change the ids and are not implemented must be at their neutral values. */
static enum quern_status require_neutral(struct str key, enum json_token token, struct str value,
                                         struct quern_error *err) {
    bool neutral = token == JSON_TOKEN_NULL || token == JSON_TOKEN_FALSE ||
                   (token == JSON_TOKEN_STRING && value.len == 0) ||
                   (token == JSON_TOKEN_NUMBER && (str_is(value, "0") || str_is(value, "0.0")));
    if (neutral)
        return QUERN_OK;
    return error_set(err, QUERN_ERR_UNSUPPORTED, "model.%.*s: %.*s is not supported", STR_FMT(key),
                     STR_FMT(value));
}

static enum quern_status read_flag(struct model_loader *l, enum json_token token, bool *flag) {
    if (token != JSON_TOKEN_TRUE && token != JSON_TOKEN_FALSE && token != JSON_TOKEN_NULL)
        return expect(l, token, JSON_TOKEN_TRUE, "true or false was expected");
    *flag = token == JSON_TOKEN_TRUE;
    return QUERN_OK;
}

static enum quern_status read_scalar(struct model_loader *l, struct str key,
                                     struct quern_error *err) {
    enum json_token token = json_reader_next(l->r);
    struct str value = l->r->value;
    if (token == JSON_TOKEN_ERROR)
        return syntax_error(l);
    if (str_is(key, "fuse_unk"))
        return read_flag(l, token, &l->t->bpe.fuse_unk);
    if (str_is(key, "ignore_merges"))
        return read_flag(l, token, &l->t->bpe.ignore_merges);
    if (str_is(key, "type")) {
        if (token == JSON_TOKEN_STRING && str_is(value, "BPE"))
            return QUERN_OK;
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "model.type: \"%.*s\" is not supported, only BPE is", STR_FMT(value));
    }
    if (str_is(key, "unk_token")) {
        if (token == JSON_TOKEN_STRING)
            l->unk_token = value;
        return token == JSON_TOKEN_NULL
                   ? QUERN_OK
                   : expect(l, token, JSON_TOKEN_STRING, "a token was expected");
    }
    return require_neutral(key, token, value, err);
}

static bool is_scalar_option(struct str key) {
    static const char *const names[] = {"type",
                                        "dropout",
                                        "unk_token",
                                        "continuing_subword_prefix",
                                        "end_of_word_suffix",
                                        "fuse_unk",
                                        "byte_fallback",
                                        "ignore_merges"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_is(key, names[i]))
            return true;
    return false;
}

static enum quern_status read_member(struct model_loader *l, struct quern_error *err) {
    struct str key = l->r->value;
    if (str_is(key, "vocab"))
        return read_vocab(l, err);
    if (str_is(key, "merges"))
        return read_merges_member(l, err);
    if (is_scalar_option(key))
        return read_scalar(l, key, err);
    return json_reader_skip(l->r, NULL) ? QUERN_OK : syntax_error(l);
}

static enum quern_status finish(struct model_loader *l, struct quern_error *err) {
    struct tokenizer *t = l->t;
    if (!l->has_vocab || !l->has_merges)
        return error_set(err, QUERN_ERR_FORMAT, "model.%s is missing",
                         l->has_vocab ? "merges" : "vocab");
    if (l->late_merges.ptr) {
        struct json_reader late;
        json_reader_init(&late, l->late_merges, &t->arena);
        l->r = &late;
        enum quern_status status = read_merges(l, err);
        if (l->syntax) {
            l->syntax = false;
            return json_reader_error(&late, "model.merges", err);
        }
        if (status)
            return status;
    }
    t->bpe.unk_id = VOCAB_NONE;
    if (l->unk_token.len) {
        enum quern_status status = need_scratch(l, l->unk_token.len, err);
        if (status)
            return status;
        t->bpe.unk_id = vocab_find_spelling(&t->vocab, l->unk_token, l->scratch);
        if (t->bpe.unk_id < 0)
            return error_set(err, QUERN_ERR_FORMAT,
                             "model.unk_token: the vocabulary has no \"%.*s\"",
                             STR_FMT(l->unk_token));
    }
    return bpe_finish(&t->bpe, &t->vocab, err);
}

enum quern_status load_model(struct tokenizer *t, struct json_reader *r, bool *syntax,
                             struct quern_error *err) {
    struct model_loader l = {.t = t, .r = r, .last_id = VOCAB_NONE};
    enum quern_status status = QUERN_OK;
    enum json_token token = JSON_TOKEN_END;
    while (!status && (token = json_reader_next(r)) == JSON_TOKEN_KEY)
        status = read_member(&l, err);
    if (!status)
        status = expect(&l, token, JSON_TOKEN_OBJECT_END, "model: a member was expected");
    if (!status)
        status = finish(&l, err);
    free(l.bytes);
    free(l.entries);
    free(l.scratch);
    *syntax = l.syntax;
    return status;
}
