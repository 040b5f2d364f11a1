/* number.h - numbers in files and templates, which are spelled with a point in every locale. */
#ifndef QUERN_BASE_NUMBER_H
#define QUERN_BASE_NUMBER_H

#include <stddef.h>

#include "base/error.h"

/* strtod and snprintf of the C locale, whatever the program using the library has called
 * setlocale() with. */
double number_parse(const char *text, char **end);
int number_print(char *out, size_t size, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
