#include "base/number.h"

#include <locale.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* The C locale, made once and kept. glibc and musl make it without allocating; were it not to be
 * had, the 0 would leave the thread's locale as it is. */
static locale_t c_locale(void) {
    static _Atomic(locale_t) kept;
    locale_t known = atomic_load(&kept);
    if (known)
        return known;
    locale_t made = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (made && !atomic_compare_exchange_strong(&kept, &known, made)) {
        freelocale(made);
        return known;
    }
    return made;
}

double number_parse(const char *text, char **end) {
    locale_t before = uselocale(c_locale());
    double value = strtod(text, end);
    uselocale(before);
    return value;
}

int number_print(char *out, size_t size, const char *fmt, ...) {
    va_list args;
    locale_t before = uselocale(c_locale());
    va_start(args, fmt);
    int n = vsnprintf(out, size, fmt, args);
    va_end(args);
    uselocale(before);
    return n;
}
