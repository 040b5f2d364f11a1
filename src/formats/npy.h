/* npy.h - NumPy's .npy format, version 1.0, little-endian float32, C order. Written
 * row by row, so that [T, V] logits never need to be held at once. */
#ifndef QUERN_FORMATS_NPY_H
#define QUERN_FORMATS_NPY_H

#include <stdio.h>

#include "base/error.h"

/* Writes the header for shape [rows, cols]; `path` is for messages. */
enum quern_status npy_write_header(FILE *file, const char *path, size_t rows, size_t cols,
                                   struct quern_error *err);
enum quern_status npy_write_rows(FILE *file, const char *path, const float *values, size_t n,
                                 struct quern_error *err);

#endif
