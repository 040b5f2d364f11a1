/* Unicode's normal forms. Text that is normal already is copied in stretches; only the
 * characters around an unstable one are taken apart, ordered and put together again. */
#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"
#include "text/unicode_tables.h"

/* Unicode 3.12: Hangul syllables are computed. */
enum {
    S_BASE = 0xAC00,
    L_BASE = 0x1100,
    V_BASE = 0x1161,
    T_BASE = 0x11A7,
    L_COUNT = 19,
    V_COUNT = 21,
    T_COUNT = 28,
    S_COUNT = L_COUNT * V_COUNT * T_COUNT,
};

/* A character and its combining class. */
struct unit {
    uint32_t c;
    uint32_t ccc;
};

struct region {
    struct unit *units, *scratch; /* scratch: as many, for sorting */
    size_t n, capacity;
};

static uint8_t combining_class(uint32_t c) {
    if (c < unicode_ccc[0].first)
        return 0;
    size_t lo = 0, hi = unicode_n_ccc;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (c > unicode_ccc[mid].last)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < unicode_n_ccc && c >= unicode_ccc[lo].first ? unicode_ccc[lo].value : 0;
}

static const struct unicode_mapping *find_mapping(const struct unicode_mapping *table, size_t n,
                                                  uint32_t c) {
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (table[mid].from < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && table[lo].from == c ? &table[lo] : NULL;
}

/* 0: the pair does not compose. */
static uint32_t compose(uint32_t a, uint32_t b) {
    if (a - L_BASE < L_COUNT && b - V_BASE < V_COUNT)
        return S_BASE + ((a - L_BASE) * V_COUNT + (b - V_BASE)) * T_COUNT;
    if (a - S_BASE < S_COUNT && (a - S_BASE) % T_COUNT == 0 && b > T_BASE && b < T_BASE + T_COUNT)
        return a + (b - T_BASE);
    size_t lo = 0, hi = unicode_n_pairs;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const struct unicode_pair *p = &unicode_pairs[mid];
        if (p->first < a || (p->first == a && p->second < b))
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < unicode_n_pairs && unicode_pairs[lo].first == a && unicode_pairs[lo].second == b)
        return unicode_pairs[lo].composed;
    return 0;
}

static bool region_push(struct region *r, uint32_t c) {
    if (r->n == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 64;
        if (capacity > SIZE_MAX / (2 * sizeof *r->units))
            return false;
        struct unit *units = realloc(r->units, 2 * capacity * sizeof *units);
        if (!units)
            return false;
        r->units = units;
        r->scratch = units + capacity;
        r->capacity = capacity;
    }
    r->units[r->n++] = (struct unit){c, combining_class(c)};
    return true;
}

static bool push_decomposed(struct region *r, uint32_t c, bool compatible) {
    if (c - S_BASE < S_COUNT) {
        uint32_t s = c - S_BASE, t = s % T_COUNT;
        return region_push(r, L_BASE + s / (V_COUNT * T_COUNT)) &&
               region_push(r, V_BASE + s % (V_COUNT * T_COUNT) / T_COUNT) &&
               (t == 0 || region_push(r, T_BASE + t));
    }
    const struct unicode_mapping *m = NULL;
    if (compatible)
        m = find_mapping(unicode_compatible, unicode_n_compatible, c);
    if (!m)
        m = find_mapping(unicode_canonical, unicode_n_canonical, c);
    if (!m)
        return region_push(r, c);
    for (size_t i = 0; i < m->len; i++)
        if (!region_push(r, unicode_mapping_data[m->offset + i]))
            return false;
    return true;
}

/* Stable, by class; counting, so that a million marks on one letter take linear time. */
static void sort_marks(struct unit *marks, size_t n, struct unit *scratch) {
    if (n < 24) {
        for (size_t i = 1; i < n; i++) {
            struct unit u = marks[i];
            size_t j = i;
            for (; j > 0 && marks[j - 1].ccc > u.ccc; j--)
                marks[j] = marks[j - 1];
            marks[j] = u;
        }
        return;
    }
    size_t place[257] = {0};
    for (size_t i = 0; i < n; i++)
        place[marks[i].ccc + 1]++;
    for (size_t i = 1; i < 257; i++)
        place[i] += place[i - 1];
    for (size_t i = 0; i < n; i++)
        scratch[place[marks[i].ccc]++] = marks[i];
    memcpy(marks, scratch, n * sizeof *marks);
}

static void region_order(struct region *r) {
    for (size_t i = 0; i < r->n;) {
        size_t start = i;
        while (i < r->n && r->units[i].ccc)
            i++;
        if (i - start > 1)
            sort_marks(r->units + start, i - start, r->scratch);
        if (i == start)
            i++;
    }
}

/* A mark is blocked from the starter by one of its own class or a higher one between them. */
static void region_compose(struct region *r) {
    size_t starter = SIZE_MAX, n = 0;
    uint32_t last_class = 0;
    for (size_t i = 0; i < r->n; i++) {
        struct unit u = r->units[i];
        bool adjacent = starter != SIZE_MAX && n == starter + 1;
        if (starter != SIZE_MAX && (adjacent || (last_class < u.ccc))) {
            uint32_t c = compose(r->units[starter].c, u.c);
            if (c) {
                r->units[starter].c = c;
                continue;
            }
        }
        if (u.ccc == 0)
            starter = n;
        last_class = u.ccc;
        r->units[n++] = u;
    }
    r->n = n;
}

static void region_write(const struct region *r, struct buffer *out) {
    char bytes[4];
    for (size_t i = 0; i < r->n; i++) {
        int n = utf8_encode((int32_t)r->units[i].c, bytes);
        buffer_append(out, bytes, (size_t)n);
    }
}

/* Where the last character of s[0, len) begins. */
static size_t last_character(struct str s, size_t len) {
    while (len > 0 && (s.ptr[--len] & 0xC0) == 0x80)
        continue;
    return len;
}

/* Appends the form of the region that begins at s.ptr[0] and ends before the first stable
 * character after an unstable one; *used: its bytes. */
static bool normalize_region(struct str s, enum unicode_form form, struct region *r,
                             struct buffer *out, size_t *used) {
    const unsigned char *start = (const unsigned char *)s.ptr, *p = start, *end = p + s.len;
    unsigned unstable = (unsigned)UNICODE_UNSTABLE << form;
    bool compatible = form == UNICODE_NFKC || form == UNICODE_NFKD, met = false;
    r->n = 0;
    while (p < end) {
        int32_t c;
        int n = utf8_decode(p, end, &c);
        bool stable = !(unicode_entry(c) & unstable);
        if (stable && met)
            break;
        met = met || !stable;
        if (!push_decomposed(r, (uint32_t)c, compatible))
            return false;
        p += n;
    }
    region_order(r);
    if (form == UNICODE_NFC || form == UNICODE_NFKC)
        region_compose(r);
    region_write(r, out);
    *used = (size_t)(p - start);
    return true;
}

enum quern_status unicode_normalize(struct str s, enum unicode_form form, struct buffer *out) {
    struct region region = {0};
    while (s.len) {
        size_t stable = unicode_stable_prefix(s, form);
        /* What follows may join with the last stable character. */
        size_t keep = stable == s.len ? s.len : last_character(s, stable);
        buffer_append(out, s.ptr, keep);
        s = (struct str){s.ptr + keep, s.len - keep};
        size_t used = 0;
        if (s.len && !normalize_region(s, form, &region, out, &used)) {
            out->failed = QUERN_ERR_NOMEM;
            break;
        }
        s = (struct str){s.ptr + used, s.len - used};
    }
    free(region.units);
    return out->failed;
}
