/* The added tokens of tokenizer.json. Their ids are given as Hugging Face's tokenizers gives
 * them: the vocabulary's id for a spelling it has, else the next number after the vocabulary. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/json_members.h"
#include "tokenizer/tokenizer_internal.h"

/* Far beyond any real spelling: a search may compare this much at every place of a text. */
enum { SPELLING_BYTES_MAX = 1024 };

struct added_loader {
    struct tokenizer *t;
    struct map by_spelling; /* -> index in t->added */
    size_t capacity;
    uint32_t next_id;
    bool warned;
};

static enum quern_status copy_text(struct tokenizer *t, struct str text, struct str *out,
                                   struct quern_error *err) {
    char *copy = arena_strndup(&t->arena, text.ptr, text.len);
    if (!copy)
        return error_nomem(err);
    *out = (struct str){copy, text.len};
    return QUERN_OK;
}

static enum quern_status read_token(struct tokenizer *t, struct str json, size_t index,
                                    struct added_token *a, struct quern_error *err) {
    char where[40];
    snprintf(where, sizeof where, "added_tokens[%zu]", index);
    uint32_t id;
    struct {
        const char *key;
        bool *flag;
    } flags[] = {{"special", &a->special},
                 {"single_word", &a->single_word},
                 {"lstrip", &a->lstrip},
                 {"rstrip", &a->rstrip},
                 {"normalized", &a->normalized}};
    enum quern_status status =
        json_member_string(&t->arena, json, where, "content", &a->spelling, err);
    if (!status && a->spelling.len > SPELLING_BYTES_MAX)
        status = error_set(err, QUERN_ERR_LIMIT, "%s.content has %zu bytes, at most %d are taken",
                           where, a->spelling.len, SPELLING_BYTES_MAX);
    if (!status) /* the file's text goes away */
        status = copy_text(t, a->spelling, &a->spelling, err);
    if (!status)
        status = json_member_id(json, where, "id", &id, err);
    for (size_t i = 0; !status && i < sizeof flags / sizeof flags[0]; i++)
        status = json_member_bool(json, where, flags[i].key, flags[i].flag, err);
    if (!status)
        a->id = (int32_t)id;
    return status;
}

/* Pattern and decoded text. */
static enum quern_status derive(struct tokenizer *t, struct added_token *a,
                                struct quern_error *err) {
    struct buffer forms[2];
    buffer_init(&forms[0], SIZE_MAX / 4);
    buffer_init(&forms[1], SIZE_MAX / 4);
    a->pattern = a->spelling;
    enum quern_status status = QUERN_OK;
    if (a->normalized) {
        struct str text = a->spelling;
        status = tokenizer_normalize(t, &text, forms, err);
        if (!status)
            status = copy_text(t, text, &a->pattern, err);
    }
    if (!status)
        status = copy_text(t, a->pattern, &a->decoded, err);
    if (!status) {
        size_t len;
        char *decoded = arena_alloc(&t->arena, a->pattern.len);
        if (!decoded)
            status = error_nomem(err);
        /* The decoder takes spellings apart like any token's, if it can. */
        else if (byte_level_decode(a->pattern, (unsigned char *)decoded, &len))
            a->decoded = (struct str){decoded, len};
    }
    buffer_release(&forms[0]);
    buffer_release(&forms[1]);
    return status;
}

static enum quern_status choose_id(struct added_loader *l, struct added_token *a,
                                   struct quern_error *err) {
    unsigned char *scratch = malloc(a->spelling.len);
    if (!scratch)
        return error_nomem(err);
    int32_t known = vocab_find_spelling(&l->t->vocab, a->spelling, scratch);
    free(scratch);
    int32_t id = known >= 0 ? known : (int32_t)l->next_id++;
    if (id != a->id && !l->warned) {
        log_warn("added token \"%.*s\": its id is %d, not %d as tokenizer.json has it",
                 STR_FMT(a->spelling), id, a->id);
        l->warned = true;
    }
    a->id = id;
    return QUERN_OK;
}

/* A spelling that comes again replaces the flags of the first. */
static enum quern_status add_token(struct added_loader *l, struct added_token a,
                                   struct quern_error *err) {
    struct tokenizer *t = l->t;
    uint32_t index;
    if (map_get(&l->by_spelling, a.spelling, &index)) {
        a.id = t->added[index].id;
        t->added[index] = a;
        return derive(t, &t->added[index], err);
    }
    if (t->n_added == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 64;
        struct added_token *added = realloc(t->added, capacity * sizeof *added);
        if (!added)
            return error_nomem(err);
        t->added = added;
        l->capacity = capacity;
    }
    enum quern_status status = choose_id(l, &a, err);
    if (!status)
        status = derive(t, &a, err);
    if (!status && !map_put(&l->by_spelling, a.spelling, (uint32_t)t->n_added, NULL))
        status = error_nomem(err);
    if (!status)
        t->added[t->n_added++] = a;
    return status;
}

static int compare_ids(const void *a, const void *b) {
    int32_t x = ((const struct added_token *)a)->id, y = ((const struct added_token *)b)->id;
    return (x > y) - (x < y);
}

static int compare_spellings(const void *a, const void *b) {
    struct str x = (*(const struct added_token *const *)a)->spelling;
    struct str y = (*(const struct added_token *const *)b)->spelling;
    int order = memcmp(x.ptr, y.ptr, x.len < y.len ? x.len : y.len);
    return order ? order : (x.len > y.len) - (x.len < y.len);
}

/* Is the text that an id stands for the spelling of a special token? Then it is skipped. */
static bool skipped(const struct added_loader *l, const struct added_token *a,
                    const bool *is_special) {
    uint32_t index;
    return map_get(&l->by_spelling, a->pattern, &index) && is_special[index];
}

static enum quern_status make_indexes(struct added_loader *l, struct quern_error *err) {
    struct tokenizer *t = l->t;
    size_t n = t->n_added;
    uint32_t n_ids = t->vocab.n_ids;
    for (size_t i = 0; i < n; i++)
        if ((uint32_t)t->added[i].id >= n_ids)
            n_ids = (uint32_t)t->added[i].id + 1;
    t->n_ids = (int32_t)n_ids;
    t->id_flags = calloc(n_ids + (size_t)1, 1);
    t->by_spelling = malloc((n + 1) * sizeof(const struct added_token *));
    bool *is_special = malloc(n + 1);
    if (!t->id_flags || !t->by_spelling || !is_special) {
        free(is_special);
        return error_nomem(err);
    }
    for (size_t i = 0; i < n; i++)
        is_special[i] = t->added[i].special;
    for (size_t i = 0; i < n; i++)
        t->id_flags[t->added[i].id] =
            (uint8_t)(ID_ADDED | (t->added[i].special ? ID_SPECIAL : 0) |
                      (skipped(l, &t->added[i], is_special) ? ID_SKIPPED : 0));
    free(is_special);
    if (n) /* qsort wants an array, even an empty one */
        qsort(t->added, n, sizeof *t->added, compare_ids);
    for (size_t i = 0; i < n; i++)
        t->by_spelling[i] = &t->added[i];
    qsort(t->by_spelling, n, sizeof *t->by_spelling, compare_spellings);
    enum quern_status status = added_set_init(&t->raw_set, t->added, n, false, err);
    return status ? status : added_set_init(&t->normalized_set, t->added, n, true, err);
}

enum quern_status load_added_tokens(struct tokenizer *t, struct str json, struct quern_error *err) {
    struct added_loader l = {.t = t, .next_id = t->vocab.n_tokens};
    struct str element;
    enum quern_status status = QUERN_OK;
    if (json_kind(json) != 'n' && json_kind(json) != '[')
        return error_set(err, QUERN_ERR_FORMAT, "added_tokens is %s, expected an array",
                         json_kind_name(json_kind(json)));
    if (!map_init(&l.by_spelling, 64))
        return error_nomem(err);
    size_t index = 0;
    for (size_t at = 0; !status && json_kind(json) == '[' && json_element(json, &at, &element);) {
        struct added_token a = {0};
        status = read_token(t, element, index++, &a, err);
        if (!status && a.spelling.len)
            status = add_token(&l, a, err);
    }
    if (!status)
        status = make_indexes(&l, err);
    map_release(&l.by_spelling);
    return status;
}
