/* heap.h - the least of (key, value) first; of equal keys the one with the greatest value. */
#ifndef QUERN_GRAMMAR_HEAP_H
#define QUERN_GRAMMAR_HEAP_H

#include "grammar/intern.h"

struct heap_entry {
    uint64_t key;
    uint32_t value;
};
/* Zeroed is empty. */
struct heap {
    struct heap_entry *v;
    size_t n, capacity;
};
enum quern_status heap_push(struct budget *b, struct heap *h, uint64_t key, uint32_t value);
/* The heap is not empty. */
struct heap_entry heap_pop(struct heap *h);
void heap_release(struct heap *h);

#endif
