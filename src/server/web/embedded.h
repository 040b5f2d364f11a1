/* embedded.h - the files of this folder inside the program (the Makefile puts them there). */
#ifndef QUERN_SERVER_WEB_EMBEDDED_H
#define QUERN_SERVER_WEB_EMBEDDED_H

#include <stddef.h>

struct embedded_file {
    const char *data;
    size_t size_bytes;
};

struct embedded_file embedded_docs_page(void);
struct embedded_file embedded_openapi(void);

#endif
