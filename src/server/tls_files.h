/* tls_files.h - a certificate chain and its key, from PEM files. */
#ifndef QUERN_SERVER_TLS_FILES_H
#define QUERN_SERVER_TLS_FILES_H

#include <stdbool.h>

#include "base/error.h"

struct tls_files {
    char *certificate, *key; /* PEM, ended by zero; both NULL without TLS */
};

/* Both paths or neither. What the files hold is looked at only so far that mistaking one for the
 * other is told. */
enum quern_status tls_files_load(struct tls_files *t, const char *certificate_path,
                                 const char *key_path, struct quern_error *err);
void tls_files_release(struct tls_files *t); /* zeroed is fine; wipes the key */

static inline bool tls_files_given(const struct tls_files *t) {
    return t->certificate && t->key;
}

#endif
