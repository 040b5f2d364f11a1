#include "base/nearest.h"

#include <stdint.h>

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

size_t nearest_distance(struct str a, struct str b) {
    if (a.len > NEAREST_WORD_MAX || b.len > NEAREST_WORD_MAX)
        return SIZE_MAX;
    size_t rows[3][NEAREST_WORD_MAX + 1]; /* of the table of distances between prefixes */
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t replaced = above[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]);
            row[j] = least(replaced, least(above[j], row[j - 1]) + 1);
            bool swapped =
                i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1];
            if (swapped)
                row[j] = least(row[j], before[j - 2] + 1);
        }
    }
    return row[b.len];
}

const char *nearest_name(struct str word, const char *(*name_at)(const void *names, size_t i),
                         const void *names) {
    const char *nearest = NULL;
    size_t best = word.len > 4 ? 3 : 2; /* what is this far away is something else */
    for (size_t i = 0; name_at(names, i); i++) {
        struct str name = str_from(name_at(names, i));
        size_t distance = nearest_distance(word, name);
        if (distance > 1 && word.len >= 2 && str_starts_with(name, word))
            distance = 1;
        if (distance < best) {
            best = distance;
            nearest = name.ptr;
        }
    }
    return nearest;
}
