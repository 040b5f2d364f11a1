/* pages.h - large zeroed memory straight from the operating system. Pages cost
 * nothing until they are touched. */
#ifndef QUERN_BASE_PAGES_H
#define QUERN_BASE_PAGES_H

#include <stddef.h>

/* `bytes` zeroed bytes, page-aligned; NULL when there is no memory or address space. Address
 * space beyond the physical memory is fine as long as it is not touched. 0 bytes give a valid
 * pointer. */
void *pages_alloc(size_t bytes);
/* `bytes` as given to pages_alloc; NULL is fine. */
void pages_free(void *p, size_t bytes);
/* Gives the memory of a part of such a range back; what is read there later is zero. It must begin
 * and end on pages of the system; else, or where the system cannot, nothing happens. */
void pages_discard(void *p, size_t bytes);

#endif
