#include "openai/response_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OWNER_BYTES = 32, BUCKETS_MAX = 1 << 16 };

struct stored_response {
    struct stored_response *older, *newer;
    struct stored_response *next; /* in its bucket */
    char id[RESPONSE_ID_BYTES], owner[OWNER_BYTES];
    char *answer; /* own */
    size_t answer_len;
    struct stored_turn *turn; /* counted */
};

enum quern_status response_store_init(struct response_store *s, size_t max_entries, size_t max_bytes,
                                      struct quern_error *err) {
    *s = (struct response_store){.max_entries = max_entries, .max_bytes = max_bytes, .n_buckets = 1};
    while (s->n_buckets < max_entries && s->n_buckets < BUCKETS_MAX)
        s->n_buckets *= 2;
    s->buckets = calloc(s->n_buckets, sizeof(*s->buckets));
    if (!s->buckets)
        return error_nomem(err);
    enum quern_status status = mutex_init(&s->lock, err);
    if (status) {
        free(s->buckets);
        s->buckets = NULL;
    }
    return status;
}

/* ---- under the lock ------------------------------------------------------------------ */

static size_t turn_bytes(const struct stored_turn *t) {
    return sizeof *t + t->items_len;
}

static size_t entry_bytes(const struct stored_response *e) {
    return sizeof *e + e->answer_len;
}

/* Not by recursion: a conversation may be long. */
static void drop_turn(struct response_store *s, struct stored_turn *t) {
    while (t && --t->refs == 0) {
        struct stored_turn *parent = t->parent;
        s->bytes -= turn_bytes(t);
        free(t->items);
        free(t);
        t = parent;
    }
}

static struct stored_response **bucket_of(struct response_store *s, const char *id) {
    /* The digits are random already. */
    size_t hash = 0;
    for (const char *p = id; *p; p++)
        hash = hash * 31 + (unsigned char)*p;
    return &s->buckets[hash & (s->n_buckets - 1)];
}

static struct stored_response *find(struct response_store *s, const char *id, const char *owner) {
    struct stored_response *e = *bucket_of(s, id);
    while (e && strcmp(e->id, id) != 0)
        e = e->next;
    return e && strcmp(e->owner, owner) == 0 ? e : NULL;
}

static void drop_entry(struct response_store *s, struct stored_response *e) {
    struct stored_response **at = bucket_of(s, e->id);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    *(e->older ? &e->older->newer : &s->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &s->newest) = e->older;
    s->n--;
    s->bytes -= entry_bytes(e);
    drop_turn(s, e->turn);
    free(e->answer);
    free(e);
}

static void add_entry(struct response_store *s, struct stored_response *e) {
    struct stored_response **at = bucket_of(s, e->id);
    e->next = *at;
    *at = e;
    e->older = s->newest;
    *(s->newest ? &s->newest->newer : &s->oldest) = e;
    s->newest = e;
    s->n++;
    s->bytes += entry_bytes(e) + turn_bytes(e->turn);
}

void response_store_release(struct response_store *s) {
    if (!s->buckets)
        return;
    while (s->oldest)
        drop_entry(s, s->oldest);
    free(s->buckets);
    mutex_release(&s->lock);
    *s = (struct response_store){0};
}

/* ---- keeping ---------------------------------------------------------------------------- */

static struct stored_turn *turn_create(struct str input, struct str output) {
    struct stored_turn *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    const size_t comma = input.len && output.len;
    t->refs = 1;
    t->items = malloc(input.len + comma + output.len + 1);
    if (!t->items) {
        free(t);
        return NULL;
    }
    if (input.len)
        memcpy(t->items, input.ptr, input.len);
    t->items[input.len] = ',';
    if (output.len)
        memcpy(t->items + input.len + comma, output.ptr, output.len);
    t->input_len = input.len;
    t->items_len = input.len + comma + output.len;
    return t;
}

static struct stored_response *entry_create(const struct response_to_store *what) {
    struct stored_response *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    snprintf(e->id, sizeof e->id, "%s", what->id);
    snprintf(e->owner, sizeof e->owner, "%s", what->owner);
    e->answer = malloc(what->answer.len + 1);
    e->turn = turn_create(what->input, what->output);
    if (!e->answer || !e->turn) {
        if (e->turn)
            free(e->turn->items);
        free(e->turn);
        free(e->answer);
        free(e);
        return NULL;
    }
    if (what->answer.len)
        memcpy(e->answer, what->answer.ptr, what->answer.len);
    e->answer_len = what->answer.len;
    return e;
}

bool response_store_put(struct response_store *s, const struct response_to_store *what) {
    if (!s->max_entries)
        return false;
    struct stored_response *e = entry_create(what);
    if (!e)
        return false;
    mutex_lock(&s->lock);
    e->turn->parent = what->parent;
    e->turn->chain_bytes = e->turn->items_len + 1 + (what->parent ? what->parent->chain_bytes : 0);
    if (what->parent)
        what->parent->refs++;
    add_entry(s, e);
    while (s->oldest != e && (s->n > s->max_entries || s->bytes > s->max_bytes))
        drop_entry(s, s->oldest);
    const bool fits = s->bytes <= s->max_bytes;
    if (!fits)
        drop_entry(s, e);
    mutex_unlock(&s->lock);
    return fits;
}

void response_store_drop_turn(struct response_store *s, struct stored_turn *turn) {
    if (!turn)
        return;
    mutex_lock(&s->lock);
    drop_turn(s, turn);
    mutex_unlock(&s->lock);
}

/* ---- finding ------------------------------------------------------------------------------- */

static enum quern_status not_found(const char *id, const char *param, struct api_error *err) {
    return api_fail(err, param ? API_NO_PREVIOUS : API_NOT_FOUND, param,
                    "%s with id '%.64s' not found: this server keeps answers in memory, the oldest "
                    "go first, and those with \"store\": false are not kept.",
                    param ? "Previous response" : "Response", id);
}

enum quern_status response_store_get(struct response_store *s, const char *id, const char *owner,
                                     struct buffer *out, struct api_error *err) {
    mutex_lock(&s->lock);
    const struct stored_response *e = find(s, id, owner);
    if (e)
        buffer_append(out, e->answer, e->answer_len);
    mutex_unlock(&s->lock);
    if (!e)
        return not_found(id, NULL, err);
    return out->failed ? api_nomem(err) : QUERN_OK;
}

/* The items of a turn and those above it, the first ones first: from the end of the text to its
 * beginning. `len` is of this turn's items, all or those that came in. */
static char *join_chain(const struct stored_turn *turn, size_t len, size_t *total) {
    const size_t size = len + 2 + (turn->parent ? turn->parent->chain_bytes : 0);
    char *text = malloc(size + 1), *end = text ? text + size : NULL;
    if (!text)
        return NULL;
    *end = '\0';
    *--end = ']';
    for (const struct stored_turn *t = turn; t; t = t->parent) {
        const size_t n = t == turn ? len : t->items_len;
        if (n) {
            end -= n;
            memcpy(end, t->items, n);
        }
        if (t->parent)
            *--end = n ? ',' : ' '; /* a turn never is empty, but what came in may be */
    }
    *--end = '[';
    *total = size;
    return text;
}

static enum quern_status parse_items(char *text, size_t len, json_t **items, struct api_error *err) {
    struct quern_error cause = {0};
    if (!text)
        return api_nomem(err);
    enum quern_status status = json_parse(text, len, "stored items", items, &cause);
    free(text);
    return status ? api_fail_from(err, API_INTERNAL, NULL, &cause) : QUERN_OK;
}

enum quern_status response_store_context(struct response_store *s, const char *id, const char *owner,
                                         size_t max_bytes, const char *param,
                                         struct stored_turn **turn, json_t **items,
                                         struct api_error *err) {
    size_t len = 0;
    char *text = NULL;
    *turn = NULL;
    mutex_lock(&s->lock);
    const struct stored_response *e = find(s, id, owner);
    const size_t bytes = e ? e->turn->chain_bytes : 0;
    if (e && bytes <= max_bytes)
        text = join_chain(e->turn, e->turn->items_len, &len);
    if (text) {
        *turn = e->turn;
        e->turn->refs++;
    }
    mutex_unlock(&s->lock);
    if (!e)
        return not_found(id, param, err);
    if (bytes > max_bytes)
        return api_fail(err, API_VALUE, param,
                        "The conversation before has %zu bytes, more than a request may have (%zu).",
                        bytes, max_bytes);
    enum quern_status status = parse_items(text, len, items, err);
    if (status) {
        response_store_drop_turn(s, *turn);
        *turn = NULL;
    }
    return status;
}

enum quern_status response_store_input(struct response_store *s, const char *id, const char *owner,
                                       json_t **items, struct api_error *err) {
    size_t len = 0;
    char *text = NULL;
    mutex_lock(&s->lock);
    const struct stored_response *e = find(s, id, owner);
    if (e)
        text = join_chain(e->turn, e->turn->input_len, &len);
    mutex_unlock(&s->lock);
    return e ? parse_items(text, len, items, err) : not_found(id, NULL, err);
}

enum quern_status response_store_item(struct response_store *s, const char *item_id,
                                      const char *owner, const char *param, json_t **item,
                                      struct api_error *err) {
    char id[RESPONSE_ID_BYTES];
    const char *digits = strchr(item_id, '_');
    struct stored_turn *turn;
    json_t *items = NULL;
    size_t len = 0;
    char *text = NULL;
    snprintf(id, sizeof id, "resp_%.*s", RESPONSE_HEX, digits ? digits + 1 : "");
    mutex_lock(&s->lock);
    const struct stored_response *e = find(s, id, owner);
    turn = e ? e->turn : NULL;
    if (turn) {
        const struct stored_turn alone = {.items = turn->items, .items_len = turn->items_len};
        text = join_chain(&alone, alone.items_len, &len);
    }
    mutex_unlock(&s->lock);
    if (turn) {
        enum quern_status status = parse_items(text, len, &items, err);
        if (status)
            return status;
    }
    for (size_t i = 0; i < json_array_size(items); i++) {
        json_t *one = json_array_get(items, i);
        const char *its_id = json_string_value(json_object_get(one, "id"));
        if (its_id && strcmp(its_id, item_id) == 0) {
            *item = json_incref(one);
            json_decref(items);
            return QUERN_OK;
        }
    }
    json_decref(items);
    return api_fail(err, API_NOT_FOUND, param, "Item with id '%.64s' not found.", item_id);
}

enum quern_status response_store_delete(struct response_store *s, const char *id, const char *owner,
                                        struct api_error *err) {
    mutex_lock(&s->lock);
    struct stored_response *e = find(s, id, owner);
    if (e)
        drop_entry(s, e);
    mutex_unlock(&s->lock);
    return e ? QUERN_OK : not_found(id, NULL, err);
}
