/* Words of hundreds to millions of bytes (a run of spaces, base64, CJK without a break): the
 * pairs wait in one bucket for each rank, and a bitmap finds the lowest rank that waits, so the
 * time grows with the word alone, where a heap would take n log n with far worse locality. */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/bpe.h"

enum { NONE = BPE_NO_MERGE, LEVELS = 5 }; /* 64^5 = 2^30 ranks */

struct waiting {
    uint32_t position, next; /* next in its bucket */
};

/* A bucket under way. A merge may bring up a lower rank, which then goes first; what is left
 * of the higher one keeps waiting here. Nothing more can come to it meanwhile: every new pair
 * spells more text than the merge that is under way. */
struct frame {
    uint32_t rank;
    size_t cursor, end; /* of items */
};

struct bpe_queue {
    uint32_t n_ranks;
    uint32_t *heads;        /* [n_ranks] NONE: empty */
    uint64_t *bits[LEVELS]; /* bit i of level 0: rank i waits; of level k+1: word i of k is not 0 */
    struct waiting *pool;
    size_t n_pool, pool_capacity;
    uint32_t *items; /* positions of the frames' buckets, ascending in each */
    size_t n_items, items_capacity;
    struct frame *frames;
    size_t n_frames, frames_capacity;
    bool failed;
    /* The word: token i is followed by next[i]; ranks[i] is of its merge with that. */
    uint32_t *ids, *next, *prev, *ranks;
};

static size_t words_of(size_t bits) {
    return (bits + 63) / 64;
}

static struct bpe_queue *queue_create(uint32_t n_ranks) {
    struct bpe_queue *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->n_ranks = n_ranks;
    q->heads = malloc((n_ranks + (size_t)1) * sizeof *q->heads);
    q->failed = !q->heads;
    size_t n = n_ranks;
    for (int level = 0; level < LEVELS; level++) {
        n = words_of(n ? n : 1);
        q->bits[level] = calloc(n, sizeof *q->bits[level]);
        q->failed = q->failed || !q->bits[level];
    }
    if (q->failed) {
        bpe_queue_destroy(q);
        return NULL;
    }
    for (uint32_t i = 0; i < n_ranks; i++)
        q->heads[i] = NONE;
    return q;
}

void bpe_queue_destroy(struct bpe_queue *q) {
    if (!q)
        return;
    free(q->heads);
    for (int level = 0; level < LEVELS; level++)
        free(q->bits[level]);
    free(q->pool);
    free(q->items);
    free(q->frames);
    free(q);
}

/* Room for one more in a growing array. */
static bool grow(struct bpe_queue *q, void **array, size_t n, size_t *capacity, size_t size) {
    if (n < *capacity)
        return true;
    size_t bigger = *capacity ? 2 * *capacity : 256;
    void *p = bigger < SIZE_MAX / size ? realloc(*array, bigger * size) : NULL;
    if (!p) {
        q->failed = true;
        return false;
    }
    *array = p;
    *capacity = bigger;
    return true;
}

static void queue_push(struct bpe_queue *q, uint32_t rank, uint32_t position) {
    if (rank == NONE || !grow(q, (void **)&q->pool, q->n_pool, &q->pool_capacity, sizeof *q->pool))
        return;
    q->pool[q->n_pool] = (struct waiting){position, q->heads[rank]};
    if (q->heads[rank] == NONE) {
        size_t i = rank;
        for (int level = 0; level < LEVELS; level++, i /= 64)
            q->bits[level][i / 64] |= (uint64_t)1 << i % 64;
    }
    q->heads[rank] = (uint32_t)q->n_pool++;
}

static uint32_t queue_lowest(const struct bpe_queue *q) {
    size_t i = 0;
    for (int level = LEVELS; level-- > 0;) {
        uint64_t word = q->bits[level][i];
        if (!word)
            return NONE;
        i = i * 64 + (size_t)__builtin_ctzll(word);
    }
    return (uint32_t)i;
}

static int compare_positions(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Moves the bucket of `rank` to a new frame, lowest position first. */
static void open_frame(struct bpe_queue *q, uint32_t rank) {
    size_t begin = q->n_items;
    bool descending = true; /* as pushed from left to right */
    uint32_t last = UINT32_MAX;
    for (uint32_t w = q->heads[rank]; w != NONE; w = q->pool[w].next) {
        if (!grow(q, (void **)&q->items, q->n_items, &q->items_capacity, sizeof *q->items))
            return;
        uint32_t position = q->pool[w].position;
        descending = descending && position <= last;
        last = position;
        q->items[q->n_items++] = position;
    }
    if (!grow(q, (void **)&q->frames, q->n_frames, &q->frames_capacity, sizeof *q->frames))
        return;
    uint32_t *items = q->items + begin;
    size_t n = q->n_items - begin;
    if (descending) {
        for (size_t i = 0; i < n / 2; i++) {
            uint32_t t = items[i];
            items[i] = items[n - 1 - i];
            items[n - 1 - i] = t;
        }
    } else {
        qsort(items, n, sizeof *items, compare_positions);
    }
    q->heads[rank] = NONE;
    size_t i = rank;
    for (int level = 0; level < LEVELS; level++, i /= 64) {
        q->bits[level][i / 64] &= ~((uint64_t)1 << i % 64);
        if (q->bits[level][i / 64])
            break;
    }
    q->frames[q->n_frames++] = (struct frame){rank, begin, q->n_items};
}

/* Merges the token at `at` with the next one. Returns the lowest rank that became possible. */
static uint32_t apply(struct bpe_queue *q, const struct bpe *b, uint32_t at, uint32_t rank) {
    uint32_t right = q->next[at], after = q->next[right], before = q->prev[at], lowest = NONE;
    q->ids[at] = b->merges[rank].id;
    q->next[at] = after;
    q->ranks[right] = NONE;
    q->ranks[at] = NONE;
    if (after != NONE) {
        q->prev[after] = at;
        lowest = q->ranks[at] = bpe_find_merge(b, q->ids[at], q->ids[after]);
        queue_push(q, q->ranks[at], at);
    }
    if (before != NONE) {
        q->ranks[before] = bpe_find_merge(b, q->ids[before], q->ids[at]);
        queue_push(q, q->ranks[before], before);
        if (q->ranks[before] < lowest)
            lowest = q->ranks[before];
    }
    return lowest;
}

static void run(struct bpe_queue *q, const struct bpe *b) {
    bool look = true; /* a rank below the current frame's may be waiting */
    while (!q->failed) {
        struct frame *top = q->n_frames ? &q->frames[q->n_frames - 1] : NULL;
        if (look) {
            uint32_t lowest = queue_lowest(q);
            if (lowest == NONE && !top)
                return;
            look = false;
            if (lowest != NONE && (!top || lowest < top->rank)) {
                open_frame(q, lowest);
                continue;
            }
        }
        if (top->cursor == top->end) {
            q->n_frames--;
            q->n_items = q->n_frames ? q->frames[q->n_frames - 1].end : 0;
            look = true;
            continue;
        }
        uint32_t at = q->items[top->cursor++];
        /* Whatever changed the pair gave it another rank. */
        if (q->ranks[at] == top->rank)
            look = apply(q, b, at, top->rank) < top->rank;
    }
}

static void start(struct bpe_queue *q, const struct bpe *b, size_t n) {
    for (uint32_t i = 0; i < n; i++) {
        bool last = i + 1 == n;
        q->next[i] = last ? NONE : i + 1;
        q->prev[i] = i ? i - 1 : NONE;
        q->ranks[i] = last ? NONE : bpe_find_merge(b, q->ids[i], q->ids[i + 1]);
        queue_push(q, q->ranks[i], i);
    }
}

enum quern_status bpe_merge_long(const struct bpe *b, struct bpe_queue **queue, uint32_t *ids,
                                 size_t n, size_t *n_left) {
    *n_left = n;
    if (n < 2)
        return QUERN_OK;
    if (!*queue && !(*queue = queue_create(b->n_merges)))
        return QUERN_ERR_NOMEM;
    struct bpe_queue *q = *queue;
    uint32_t *links = malloc(3 * n * sizeof *links);
    if (!links)
        return QUERN_ERR_NOMEM;
    q->ids = ids;
    q->next = links;
    q->prev = links + n;
    q->ranks = links + 2 * n;
    q->n_pool = q->n_items = q->n_frames = 0;
    start(q, b, n);
    run(q, b);
    size_t count = 0;
    for (uint32_t i = 0; i != NONE && !q->failed; i = q->next[i])
        ids[count++] = ids[i];
    free(links);
    q->ids = q->next = q->prev = q->ranks = NULL;
    *n_left = count;
    return q->failed ? QUERN_ERR_NOMEM : QUERN_OK;
}
