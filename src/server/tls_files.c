#include "server/tls_files.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/os.h"

enum { PEM_MAX_BYTES = 1 << 20 };

static enum quern_status load(const char *path, const char *begins, const char *ends, char **out,
                              struct quern_error *err) {
    struct buffer text;
    buffer_init(&text, PEM_MAX_BYTES + 1);
    enum quern_status status = os_read_file(path, PEM_MAX_BYTES, &text, err);
    if (!status && buffer_putc(&text, '\0'))
        status = error_nomem(err);
    const char *line = status ? NULL : strstr(text.data, begins);
    if (!status && !(line && strstr(line, ends)))
        status = error_set(err, QUERN_ERR_FORMAT, "%s holds no \"%s... %s\" in PEM form", path,
                           begins, ends);
    if (!status) {
        *out = buffer_detach(&text, NULL);
        status = *out ? QUERN_OK : error_nomem(err);
    }
    if (text.data)
        memset(text.data, 0, text.len);
    buffer_release(&text);
    return status;
}

enum quern_status tls_files_load(struct tls_files *t, const char *certificate_path,
                                 const char *key_path, struct quern_error *err) {
    *t = (struct tls_files){0};
    if (!certificate_path != !key_path)
        return error_set(err, QUERN_ERR_ARG, "%s needs %s too",
                         key_path ? "--tls-key" : "--tls-cert",
                         key_path ? "--tls-cert" : "--tls-key");
    if (!certificate_path)
        return QUERN_OK;
    enum quern_status status =
        load(certificate_path, "-----BEGIN ", "CERTIFICATE-----", &t->certificate, err);
    if (!status)
        status = load(key_path, "-----BEGIN ", "PRIVATE KEY-----", &t->key, err);
    if (status)
        tls_files_release(t);
    return status;
}

void tls_files_release(struct tls_files *t) {
    if (t->key)
        memset(t->key, 0, strlen(t->key));
    free(t->certificate);
    free(t->key);
    *t = (struct tls_files){0};
}
