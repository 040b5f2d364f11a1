/* stop_filter.h - finds stop strings in streamed text, also across token borders, and
 * holds back only what may still become one. */
#ifndef QUERN_SAMPLER_STOP_FILTER_H
#define QUERN_SAMPLER_STOP_FILTER_H

#include "base/buffer.h"
#include "base/error.h"

struct stop_filter;

/* Copies the strings. Empty strings are an error. n may be 0. */
enum quern_status stop_filter_create(const char *const *strings, size_t n, struct stop_filter **out,
                                     struct quern_error *err);
void stop_filter_destroy(struct stop_filter *f); /* NULL is fine */
/* Feeds text; appends to *out what is certain. *hit: index of the string that ended first (the
 * longest of those that end together), or -1. After a hit the rest of the text is dropped. */
enum quern_status stop_filter_push(struct stop_filter *f, struct str text, struct buffer *out,
                                   int32_t *hit, struct quern_error *err);
enum quern_status stop_filter_finish(struct stop_filter *f,
                                     struct buffer *out); /* what was held back */

#endif
