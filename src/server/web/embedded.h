/* embedded.h - the files of this folder inside the program (the Makefile puts them there). */
#ifndef QUERN_SERVER_WEB_EMBEDDED_H
#define QUERN_SERVER_WEB_EMBEDDED_H

#include <stdbool.h>
#include <stddef.h>

struct embedded_file {
    const char *data;
    size_t size_bytes;
    const char *type; /* the Content-Type */
};

struct embedded_file embedded_docs_page(void);
struct embedded_file embedded_openapi(void);

/* What the chat page loads: "" is the page itself. False: there is no such file. */
bool embedded_find(const char *name, struct embedded_file *out);

#endif
