/* checked.h - size arithmetic on untrusted numbers. True on success; on
 * overflow *out is untouched and the answer is false. */
#ifndef QUERN_BASE_CHECKED_H
#define QUERN_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool checked_add(size_t a, size_t b, size_t *out) {
    if (a > SIZE_MAX - b)
        return false;
    *out = a + b;
    return true;
}

static inline bool checked_mul(size_t a, size_t b, size_t *out) {
    if (b && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

#endif
