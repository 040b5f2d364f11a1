#include "grammar/heap.h"

#include <stdlib.h>

static bool before(struct heap_entry a, struct heap_entry b) {
    return a.key != b.key ? a.key < b.key : a.value > b.value;
}

enum quern_status heap_push(struct budget *b, struct heap *h, uint64_t key, uint32_t value) {
    enum quern_status st = budget_grow(b, &h->v, &h->capacity, h->n + 1, sizeof *h->v);
    if (st != QUERN_OK)
        return st;
    const struct heap_entry e = {key, value};
    size_t i = h->n++;
    for (; i && before(e, h->v[(i - 1) / 2]); i = (i - 1) / 2)
        h->v[i] = h->v[(i - 1) / 2];
    h->v[i] = e;
    return QUERN_OK;
}

struct heap_entry heap_pop(struct heap *h) {
    const struct heap_entry top = h->v[0], last = h->v[--h->n];
    size_t i = 0;
    for (size_t k; (k = 2 * i + 1) < h->n; i = k) {
        if (k + 1 < h->n && before(h->v[k + 1], h->v[k]))
            k++;
        if (!before(h->v[k], last))
            break;
        h->v[i] = h->v[k];
    }
    if (h->n)
        h->v[i] = last;
    return top;
}

void heap_release(struct heap *h) {
    free(h->v);
    *h = (struct heap){0};
}
