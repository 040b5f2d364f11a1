#include "grammar/loop_shelf.h"

#include <stdlib.h>
#include <string.h>

#include "base/sync.h"

struct entry {
    uint32_t *key;
    size_t n;
    struct loop_mask *mask;
    uint64_t used;
};

struct loop_shelf {
    struct mutex lock;
    struct entry entries[LOOP_SHELF_ENTRIES];
    size_t n, bytes;
    uint64_t clock;
};

struct loop_shelf *loop_shelf_create(void) {
    struct loop_shelf *shelf = calloc(1, sizeof *shelf);
    if (shelf && mutex_init(&shelf->lock, NULL) != QUERN_OK) {
        free(shelf);
        return NULL;
    }
    return shelf;
}

/* Under the lock, but for loop_shelf_destroy. */
static void remove_entry(struct loop_shelf *shelf, size_t i) {
    struct entry *e = &shelf->entries[i];
    shelf->bytes -= e->mask->budget.used;
    free(e->key);
    if (--e->mask->references == 0)
        loop_mask_destroy(e->mask);
    *e = shelf->entries[--shelf->n];
}

void loop_shelf_destroy(struct loop_shelf *shelf) {
    if (!shelf)
        return;
    while (shelf->n)
        remove_entry(shelf, shelf->n - 1);
    mutex_release(&shelf->lock);
    free(shelf);
}

struct loop_mask *loop_shelf_take(struct loop_shelf *shelf, const struct loop_key *key) {
    struct loop_mask *found = NULL;
    mutex_lock(&shelf->lock);
    for (size_t i = 0; i < shelf->n && !found; i++) {
        struct entry *e = &shelf->entries[i];
        if (e->n != key->n || memcmp(e->key, key->words, e->n * sizeof *e->key) != 0)
            continue;
        found = e->mask;
        found->references++;
        e->used = ++shelf->clock;
    }
    mutex_unlock(&shelf->lock);
    return found;
}

void loop_shelf_put(struct loop_shelf *shelf, const struct loop_key *key, struct loop_mask *l) {
    uint32_t *copy = malloc((key->n + 1) * sizeof *copy);
    if (!copy)
        return;
    memcpy(copy, key->words, key->n * sizeof *copy);
    mutex_lock(&shelf->lock);
    while (shelf->n && (shelf->n == LOOP_SHELF_ENTRIES ||
                        shelf->bytes + l->budget.used > LOOP_SHELF_BYTES)) {
        size_t oldest = 0;
        for (size_t i = 1; i < shelf->n; i++)
            if (shelf->entries[i].used < shelf->entries[oldest].used)
                oldest = i;
        remove_entry(shelf, oldest);
    }
    shelf->entries[shelf->n++] = (struct entry){copy, key->n, l, ++shelf->clock};
    shelf->bytes += l->budget.used;
    l->references++;
    mutex_unlock(&shelf->lock);
}

bool loop_shelf_drop(struct loop_shelf *shelf, struct loop_mask *l) {
    mutex_lock(&shelf->lock);
    const bool last = --l->references == 0;
    mutex_unlock(&shelf->lock);
    return last;
}

static bool add(struct loop_key *out, const void *bytes, size_t n) {
    const size_t words = (n + 3) / 4;
    if (out->n + words > LOOP_KEY_WORDS)
        return false;
    memset(out->words + out->n, 0, words * 4);
    memcpy(out->words + out->n, bytes, n);
    out->n += words;
    return true;
}

/* Prefix order: kind and size first, so that no key begins another. Operands of or and and are
 * sorted by id, which another store may give out in another order: then a loop is just not
 * found. */
static bool write(const struct regex_store *s, expr_id x, struct loop_key *out) {
    const struct re_node n = s->nodes[x];
    const bool content = n.kind == RE_BYTES || n.kind == RE_LITERAL;
    const bool list = n.kind == RE_OR || n.kind == RE_AND;
    const uint32_t head[2] = {n.kind, content || list ? n.b : 0};
    if (!add(out, head, sizeof head))
        return false;
    if (content)
        return add(out, s->content + n.a, n.b);
    for (size_t i = 0; list && i < n.b / sizeof(uint32_t); i++) {
        uint32_t child;
        memcpy(&child, (const char *)(s->content + n.a) + i * sizeof child, sizeof child);
        if (!write(s, child, out))
            return false;
    }
    const uint32_t numbers[3] = {n.a, n.b, n.c};
    switch (n.kind) {
    case RE_CONCAT:
        return write(s, n.a, out) && write(s, n.b, out);
    case RE_NOT:
        return write(s, n.a, out);
    case RE_REPEAT:
    case RE_JSON:
        return add(out, numbers + 1, 8) && write(s, n.a, out);
    case RE_MULTIPLE:
        return add(out, numbers, 12);
    default:
        return true;
    }
}

bool loop_key_write(const struct regex_store *s, expr_id x, struct loop_key *out) {
    out->n = 0;
    return write(s, x, out);
}
