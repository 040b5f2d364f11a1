/* bpe_train.c - the most frequent pair of neighbours is merged wherever it stands, again and again.
 *
 * BpeTrainer's ways that show in the result, and are kept:
 * - of pairs equally frequent, the one with the smaller ids goes first;
 * - a pair's count is not taken back when it has been merged, so that a pair which comes up again
 *   (two ways to the same token) begins with its old count, and enters the merges twice; its
 *   later place counts;
 * - places where a pair came up belong to the queue's entry made then: a merge visits only those;
 * - where the new token would reach max_token_length beside a neighbour, that pair is not counted. */
#include "tokenizer/bpe_train.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/map.h"
#include "base/os.h"
#include "tokenizer/hash.h"

/* Words in which something came up, ascending. */
struct places {
    uint32_t *words; /* malloc'ed */
    uint32_t n, capacity;
};

struct pair {
    uint32_t left, right;
    int64_t count;
    struct places fresh; /* since the queue took the last ones */
    bool touched;        /* in trainer.touched */
};

/* An entry of the queue. */
struct candidate {
    int64_t count; /* when it was queued */
    uint32_t left, right, pair;
    struct places places;
};

struct trainer {
    const struct bpe_train_options *options;
    struct bpe_trained *out;
    const struct word_count *words;
    size_t n_words;
    uint32_t *symbols; /* of all words */
    size_t *starts;    /* [n_words] */
    uint32_t *lengths; /* [n_words] symbols left */
    uint32_t *token_lengths;
    struct map ids; /* token -> id */
    struct pair *pairs;
    size_t n_pairs, pairs_capacity;
    uint32_t *slots; /* pair's index + 1; 0: free */
    size_t mask;
    uint64_t seed;
    uint32_t *touched;
    size_t n_touched, touched_capacity;
    struct candidate *queue;
    size_t n_queue, queue_capacity;
    size_t merges_capacity;
};

static bool reserve(void *items, size_t n, size_t *capacity, size_t size) {
    void **p = items;
    size_t wanted = *capacity ? 2 * *capacity : 64, bytes;
    if (n < *capacity)
        return true;
    if (!checked_mul(wanted, size, &bytes))
        return false;
    void *grown = realloc(*p, bytes);
    if (!grown)
        return false;
    *p = grown;
    *capacity = wanted;
    return true;
}

/* ---- pairs -------------------------------------------------------------------------- */

static size_t find_slot(const struct trainer *t, uint32_t left, uint32_t right) {
    size_t at = hash_words(left, right, t->seed) & t->mask;
    for (; t->slots[at]; at = (at + 1) & t->mask) {
        const struct pair *p = &t->pairs[t->slots[at] - 1];
        if (p->left == left && p->right == right)
            break;
    }
    return at;
}

static bool grow_slots(struct trainer *t) {
    size_t n = t->slots ? 2 * (t->mask + 1) : 1 << 16;
    uint32_t *slots = n < UINT32_MAX ? calloc(n, sizeof *slots) : NULL;
    if (!slots)
        return false;
    free(t->slots);
    t->slots = slots;
    t->mask = n - 1;
    for (size_t i = 0; i < t->n_pairs; i++)
        t->slots[find_slot(t, t->pairs[i].left, t->pairs[i].right)] = (uint32_t)i + 1;
    return true;
}

static struct pair *find_pair(struct trainer *t, uint32_t left, uint32_t right) {
    size_t at = find_slot(t, left, right);
    if (t->slots[at])
        return &t->pairs[t->slots[at] - 1];
    if (!reserve(&t->pairs, t->n_pairs, &t->pairs_capacity, sizeof *t->pairs))
        return NULL;
    struct pair *p = &t->pairs[t->n_pairs++];
    *p = (struct pair){.left = left, .right = right};
    t->slots[at] = (uint32_t)t->n_pairs;
    if (2 * t->n_pairs > t->mask && !grow_slots(t))
        return NULL;
    return p;
}

static bool add_place(struct places *p, uint32_t word) {
    if (p->n && p->words[p->n - 1] == word)
        return true;
    if (p->n == p->capacity) {
        uint32_t capacity = p->capacity ? 2 * p->capacity : 2;
        uint32_t *grown = capacity > p->capacity ? realloc(p->words, capacity * sizeof *grown) : NULL;
        if (!grown)
            return false;
        p->words = grown;
        p->capacity = capacity;
    }
    p->words[p->n++] = word;
    return true;
}

/* `change`: +1 or -1 times the word's count. */
static bool change_pair(struct trainer *t, uint32_t left, uint32_t right, int change,
                        uint32_t word) {
    struct pair *p = find_pair(t, left, right);
    if (!p)
        return false;
    p->count += change * (int64_t)t->words[word].count;
    if (change < 0)
        return true;
    if (!p->touched) {
        if (!reserve(&t->touched, t->n_touched, &t->touched_capacity, sizeof *t->touched))
            return false;
        t->touched[t->n_touched++] = (uint32_t)(p - t->pairs);
        p->touched = true;
    }
    return add_place(&p->fresh, word);
}

/* ---- the queue ------------------------------------------------------------------------ */

static bool goes_before(const struct candidate *a, const struct candidate *b) {
    if (a->count != b->count)
        return a->count > b->count;
    return a->left != b->left ? a->left < b->left : a->right < b->right;
}

static bool push(struct trainer *t, struct candidate c) {
    if (!reserve(&t->queue, t->n_queue, &t->queue_capacity, sizeof *t->queue))
        return false;
    size_t at = t->n_queue++;
    for (; at && goes_before(&c, &t->queue[(at - 1) / 2]); at = (at - 1) / 2)
        t->queue[at] = t->queue[(at - 1) / 2];
    t->queue[at] = c;
    return true;
}

static struct candidate pop(struct trainer *t) {
    struct candidate top = t->queue[0], last = t->queue[--t->n_queue];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < t->n_queue; at = child) {
        if (child + 1 < t->n_queue && goes_before(&t->queue[child + 1], &t->queue[child]))
            child++;
        if (!goes_before(&t->queue[child], &last))
            break;
        t->queue[at] = t->queue[child];
    }
    t->queue[at] = last;
    return top;
}

/* Pairs that came up become candidates. */
static bool queue_touched(struct trainer *t) {
    for (size_t i = 0; i < t->n_touched; i++) {
        struct pair *p = &t->pairs[t->touched[i]];
        struct places places = p->fresh;
        p->fresh = (struct places){NULL, 0, 0};
        p->touched = false;
        if (p->count <= 0) {
            free(places.words);
            continue;
        }
        if (!push(t, (struct candidate){p->count, p->left, p->right, t->touched[i], places})) {
            free(places.words);
            return false;
        }
    }
    t->n_touched = 0;
    return true;
}

/* ---- merging --------------------------------------------------------------------------- */

static bool is_short(const struct trainer *t, uint32_t a, uint32_t b) {
    const size_t max = t->options->max_token_length;
    return !max || (size_t)t->token_lengths[a] + t->token_lengths[b] < max;
}

static bool merge_in_word(struct trainer *t, uint32_t word, uint32_t left, uint32_t right,
                          uint32_t id) {
    uint32_t *symbols = t->symbols + t->starts[word];
    const size_t n = t->lengths[word];
    size_t n_out = 0;
    for (size_t i = 0; i < n; n_out++) {
        if (symbols[i] != left || i + 1 == n || symbols[i + 1] != right) {
            symbols[n_out] = symbols[i++];
            continue;
        }
        if (n_out) {
            uint32_t before = symbols[n_out - 1];
            if (!change_pair(t, before, left, -1, word) ||
                (is_short(t, before, id) && !change_pair(t, before, id, 1, word)))
                return false;
        }
        symbols[n_out] = id;
        i += 2;
        if (i < n && (!change_pair(t, right, symbols[i], -1, word) ||
                      (is_short(t, symbols[i], id) && !change_pair(t, id, symbols[i], 1, word))))
            return false;
    }
    t->lengths[word] = (uint32_t)n_out;
    return true;
}

/* The id of the joined token, made when there is none. */
static bool joined_token(struct trainer *t, uint32_t left, uint32_t right, uint32_t *id) {
    struct str a = t->out->tokens[left], b = t->out->tokens[right];
    char *bytes = arena_alloc(&t->out->arena, a.len + b.len);
    if (!bytes)
        return false;
    memcpy(bytes, a.ptr, a.len);
    memcpy(bytes + a.len, b.ptr, b.len);
    struct str joined = {bytes, a.len + b.len};
    if (map_get(&t->ids, joined, id))
        return true;
    *id = (uint32_t)t->out->n_tokens;
    t->token_lengths[*id] = (uint32_t)joined.len;
    t->out->tokens[t->out->n_tokens++] = joined;
    return map_put(&t->ids, joined, *id, NULL);
}

static bool merge(struct trainer *t, const struct candidate *c) {
    uint32_t id;
    if (!joined_token(t, c->left, c->right, &id) ||
        !reserve(&t->out->merges, t->out->n_merges, &t->merges_capacity, sizeof *t->out->merges))
        return false;
    t->out->merges[t->out->n_merges++] = (struct bpe_trained_merge){c->left, c->right};
    for (size_t i = 0; i < c->places.n; i++)
        if (!merge_in_word(t, c->places.words[i], c->left, c->right, id))
            return false;
    return queue_touched(t);
}

static bool merge_all(struct trainer *t) {
    const size_t wanted = t->options->vocab_size;
    while (t->out->n_tokens < wanted && t->n_queue) {
        struct candidate top = pop(t);
        const int64_t count = t->pairs[top.pair].count;
        bool ok = true, merged = top.count == count;
        if (merged && (count < 1 || (uint64_t)count < t->options->min_frequency)) {
            free(top.places.words);
            break;
        }
        if (merged) {
            ok = merge(t, &top);
        } else {
            top.count = count;
            ok = push(t, top);
        }
        if (merged || !ok)
            free(top.places.words);
        if (!ok)
            return false;
        if (merged && t->options->on_progress && t->out->n_merges % 64 == 0)
            t->options->on_progress(t->options->user, (double)t->out->n_tokens / (double)wanted);
    }
    return true;
}

/* ---- before and after --------------------------------------------------------------------- */

/* Bytes in the order of the characters that spell them: printable ones first. */
static bool is_printable(int byte) {
    return (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
}

static bool make_alphabet(struct trainer *t, uint32_t id_of[BPE_ALPHABET]) {
    struct bpe_trained *out = t->out;
    for (int moved = 0; moved < 2; moved++)
        for (int byte = 0; byte < BPE_ALPHABET; byte++) {
            if (is_printable(byte) == (moved == 1))
                continue;
            const char c = (char)byte;
            char *bytes = arena_strndup(&out->arena, &c, 1);
            if (!bytes)
                return false;
            id_of[byte] = (uint32_t)out->n_tokens;
            t->token_lengths[out->n_tokens] = 1;
            out->tokens[out->n_tokens] = (struct str){bytes, 1};
            if (!map_put(&t->ids, out->tokens[out->n_tokens], id_of[byte], NULL))
                return false;
            out->n_tokens++;
        }
    return true;
}

static bool make_symbols(struct trainer *t, const uint32_t id_of[BPE_ALPHABET]) {
    size_t total = 0;
    for (size_t i = 0; i < t->n_words; i++)
        if (!checked_add(total, t->words[i].len, &total))
            return false;
    t->symbols = malloc((total + 1) * sizeof *t->symbols);
    t->starts = malloc((t->n_words + 1) * sizeof *t->starts);
    t->lengths = malloc((t->n_words + 1) * sizeof *t->lengths);
    if (total > SIZE_MAX / 8 || !t->symbols || !t->starts || !t->lengths)
        return false;
    total = 0;
    for (size_t i = 0; i < t->n_words; i++) {
        t->starts[i] = total;
        t->lengths[i] = t->words[i].len;
        for (size_t j = 0; j < t->words[i].len; j++)
            t->symbols[total++] = id_of[t->words[i].bytes[j]];
    }
    return true;
}

static bool count_pairs(struct trainer *t) {
    for (size_t i = 0; i < t->n_words; i++) {
        const uint32_t *s = t->symbols + t->starts[i];
        for (size_t j = 0; j + 1 < t->lengths[i]; j++)
            if (!change_pair(t, s[j], s[j + 1], 1, (uint32_t)i))
                return false;
    }
    return queue_touched(t);
}

/* Of a pair merged twice the later place stays. */
static bool drop_repeated_merges(struct trainer *t) {
    struct bpe_trained *out = t->out;
    size_t kept = out->n_merges;
    bool *seen = calloc(t->n_pairs + 1, sizeof *seen);
    if (!seen)
        return false;
    for (size_t i = out->n_merges; i-- > 0;) {
        size_t index = t->slots[find_slot(t, out->merges[i].left, out->merges[i].right)];
        if (!seen[index])
            out->merges[--kept] = out->merges[i];
        seen[index] = true;
    }
    free(seen);
    out->n_merges -= kept;
    if (kept)
        memmove(out->merges, out->merges + kept, out->n_merges * sizeof *out->merges);
    return true;
}

static void release(struct trainer *t) {
    for (size_t i = 0; i < t->n_pairs; i++)
        free(t->pairs[i].fresh.words);
    for (size_t i = 0; i < t->n_queue; i++)
        free(t->queue[i].places.words);
    free(t->pairs);
    free(t->queue);
    free(t->touched);
    free(t->slots);
    free(t->symbols);
    free(t->starts);
    free(t->lengths);
    free(t->token_lengths);
    map_release(&t->ids);
}

enum quern_status bpe_train(const struct word_count *words, size_t n,
                            const struct bpe_train_options *options, struct bpe_trained *out,
                            struct quern_error *err) {
    const size_t most = options->vocab_size > BPE_ALPHABET ? options->vocab_size : BPE_ALPHABET;
    struct trainer t = {options, out, words, n, .seed = os_random()};
    uint32_t id_of[BPE_ALPHABET];
    *out = (struct bpe_trained){0};
    if (n >= UINT32_MAX || most >= UINT32_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "too many words or tokens");
    out->tokens = calloc(most, sizeof *out->tokens);
    t.token_lengths = calloc(most, sizeof *t.token_lengths);
    bool ok = out->tokens && t.token_lengths && grow_slots(&t) && make_alphabet(&t, id_of) &&
              make_symbols(&t, id_of) && count_pairs(&t) && merge_all(&t) &&
              drop_repeated_merges(&t);
    release(&t);
    if (ok)
        return QUERN_OK;
    bpe_trained_release(out);
    return error_nomem(err);
}

void bpe_trained_release(struct bpe_trained *t) {
    arena_release(&t->arena);
    free(t->tokens);
    free(t->merges);
    *t = (struct bpe_trained){0};
}
