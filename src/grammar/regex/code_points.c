#include "grammar/regex/code_points.h"

#include <stdlib.h>
#include <utf8proc.h>

enum { SURROGATE_MIN = 0xD800, SURROGATE_MAX = 0xDFFF };

void cp_set_release(struct cp_set *s) {
    if (!s)
        return;
    free(s->ranges);
    *s = (struct cp_set){0};
}

void cp_set_add(struct cp_set *s, int32_t lo, int32_t hi) {
    if (lo > hi || s->failed)
        return;
    if (s->n && s->ranges[s->n - 1].hi + 1 == lo) {
        s->ranges[s->n - 1].hi = hi;
        return;
    }
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 8;
        struct cp_range *grown = realloc(s->ranges, capacity * sizeof *grown);
        if (!grown) {
            s->failed = true;
            return;
        }
        s->ranges = grown;
        s->capacity = capacity;
    }
    s->ranges[s->n++] = (struct cp_range){lo, hi};
}

void cp_set_add_set(struct cp_set *s, const struct cp_set *other) {
    for (size_t i = 0; i < other->n; i++)
        cp_set_add(s, other->ranges[i].lo, other->ranges[i].hi);
    s->failed = s->failed || other->failed;
}

static int compare_ranges(const void *a, const void *b) {
    const struct cp_range *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

static void cut_surrogates(struct cp_set *s) {
    size_t n = s->n;
    for (size_t i = 0; i < n; i++) {
        struct cp_range r = s->ranges[i];
        if (r.hi < SURROGATE_MIN || r.lo > SURROGATE_MAX)
            continue;
        s->ranges[i].hi = SURROGATE_MIN - 1; /* empty when lo is above: dropped on merging */
        if (r.hi > SURROGATE_MAX)
            cp_set_add(s, SURROGATE_MAX + 1, r.hi);
    }
}

void cp_set_normalize(struct cp_set *s) {
    cut_surrogates(s);
    if (s->n)
        qsort(s->ranges, s->n, sizeof *s->ranges, compare_ranges);
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct cp_range r = s->ranges[i];
        if (r.lo > r.hi)
            continue;
        if (kept && r.lo <= s->ranges[kept - 1].hi + 1) {
            if (r.hi > s->ranges[kept - 1].hi)
                s->ranges[kept - 1].hi = r.hi;
        } else {
            s->ranges[kept++] = r;
        }
    }
    s->n = kept;
}

void cp_set_complement(struct cp_set *s) {
    struct cp_set rest = {0};
    int32_t next = 0;
    for (size_t i = 0; i < s->n; i++) {
        cp_set_add(&rest, next, s->ranges[i].lo - 1);
        next = s->ranges[i].hi + 1;
    }
    cp_set_add(&rest, next, CODE_POINT_MAX);
    rest.failed = rest.failed || s->failed;
    free(s->ranges);
    *s = rest;
    cp_set_normalize(s);
}

bool cp_set_has(const struct cp_set *s, int32_t c) {
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c > s->ranges[mid].hi)
            lo = mid + 1;
        else if (c < s->ranges[mid].lo)
            hi = mid;
        else
            return true;
    }
    return false;
}

/* ASCII folds among itself only: a model asked for "kilo" is not to write a Kelvin sign. */
static int32_t fold(int32_t c) {
    if (c < 0x80)
        return c >= 'A' && c <= 'Z' ? c + 32 : c;
    int32_t folded = utf8proc_tolower(utf8proc_toupper(c));
    return folded < 0x80 ? c : folded;
}

enum { LAST_CASED = 0x1E943 };

static int compare_pairs(const void *a, const void *b) {
    const struct cp_pair *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

bool cp_folds_init(struct cp_folds *f) {
    size_t n = 0;
    for (int32_t c = 'A'; c <= LAST_CASED; c++)
        n += fold(c) != c;
    f->to = malloc(n * sizeof *f->to);
    f->from = malloc(n * sizeof *f->from);
    if (!f->to || !f->from) {
        cp_folds_release(f);
        return false;
    }
    f->n = 0;
    for (int32_t c = 'A'; c <= LAST_CASED; c++) {
        if (fold(c) == c)
            continue;
        f->to[f->n] = (struct cp_pair){c, fold(c)};
        f->from[f->n++] = (struct cp_pair){fold(c), c};
    }
    qsort(f->from, n, sizeof *f->from, compare_pairs);
    return true;
}

void cp_folds_release(struct cp_folds *f) {
    if (!f)
        return;
    free(f->to);
    free(f->from);
    *f = (struct cp_folds){0};
}

/* Adds to `out` the values of the pairs whose key is in `keys`; pairs are sorted by key. */
static void add_values(struct cp_set *out, const struct cp_set *keys, const struct cp_pair *pairs,
                       size_t n) {
    for (size_t i = 0; i < keys->n; i++) {
        size_t lo = 0, hi = n;
        while (lo < hi) {
            size_t mid = lo + (hi - lo) / 2;
            if (pairs[mid].key < keys->ranges[i].lo)
                lo = mid + 1;
            else
                hi = mid;
        }
        for (; lo < n && pairs[lo].key <= keys->ranges[i].hi; lo++)
            cp_set_add(out, pairs[lo].value, pairs[lo].value);
    }
}

void cp_set_fold_case(struct cp_set *s, const struct cp_folds *f) {
    struct cp_set folded = {0};
    cp_set_normalize(s);
    add_values(&folded, s, f->to, f->n);
    cp_set_add_set(&folded, s);
    cp_set_normalize(&folded);
    add_values(s, &folded, f->from, f->n);
    cp_set_add_set(s, &folded);
    cp_set_normalize(s);
    cp_set_release(&folded);
}
