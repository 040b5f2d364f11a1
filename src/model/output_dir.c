#include "model/output_dir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file_writer.h"
#include "base/os.h"

enum { PATH_BYTES = OUTPUT_DIR_PATH_BYTES, COPY_MAX_BYTES = 1 << 28 };

static enum quern_status copy_file(const char *from_dir, const char *to_dir, const char *name,
                                   struct quern_error *err) {
    char from[PATH_BYTES], to[PATH_BYTES];
    struct buffer b;
    enum quern_status st = os_path_join(from, sizeof from, from_dir, name, err);
    if (st != QUERN_OK || !os_file_exists(from))
        return st;
    buffer_init(&b, COPY_MAX_BYTES);
    st = os_read_regular(from, COPY_MAX_BYTES, &b, err);
    if (st == QUERN_OK)
        st = os_path_join(to, sizeof to, to_dir, name, err);
    if (st == QUERN_OK)
        st = os_write_file(to, b.data, b.len, err);
    buffer_release(&b);
    return st;
}

enum quern_status output_dir_copy_rest(const struct output_dir *out, const char *from,
                                       struct quern_error *err) {
    static const char *const names[] = {"tokenizer.json",
                                        "tokenizer_config.json",
                                        "chat_template.jinja",
                                        "chat_template.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "added_tokens.json",
                                        "special_tokens_map.json",
                                        "generation_config.json",
                                        "LICENSE"};
    enum quern_status st = QUERN_OK;
    for (size_t i = 0; st == QUERN_OK && i < sizeof names / sizeof *names; i++)
        st = copy_file(from, out->temp, names[i], err);
    return st;
}

/* A name of its own beside the target, so that the last step is a rename within one file system. */
enum quern_status output_dir_begin(struct output_dir *out, const char *to,
                                   struct quern_error *err) {
    size_t len = strlen(to);
    while (len > 1 && to[len - 1] == '/')
        len--;
    const int n = snprintf(out->to, sizeof out->to, "%.*s", (int)len, to);
    const int m =
        snprintf(out->temp, sizeof out->temp, "%.*s.%08x.tmp", (int)len, to, (unsigned)os_random());
    if (len == 0 || n < 0 || (size_t)n >= sizeof out->to || m < 0 ||
        (size_t)m >= sizeof out->temp) {
        out->temp[0] = '\0';
        return error_set(err, QUERN_ERR_ARG, "the name of the directory to write is no use");
    }
    bool empty = true;
    enum quern_status st = QUERN_OK;
    if (os_is_dir(out->to))
        st = os_dir_is_empty(out->to, &empty, err);
    if (st == QUERN_OK && (!empty || os_file_exists(out->to)))
        st = error_set(err, QUERN_ERR_ARG, "%s: exists and is not an empty directory", out->to);
    if (st == QUERN_OK)
        st = os_make_dir(out->temp, err);
    if (st != QUERN_OK)
        out->temp[0] = '\0';
    return st;
}

enum quern_status output_dir_publish(struct output_dir *out, struct quern_error *err) {
    file_writer_flush_dir(out->temp);
    if (rename(out->temp, out->to))
        return error_set(err, QUERN_ERR_IO, "%s: cannot be given its name: %s", out->to,
                         strerror(errno));
    out->temp[0] = '\0';
    char *slash = strrchr(out->to, '/');
    if (slash && slash != out->to)
        *slash = '\0';
    file_writer_flush_dir(slash ? out->to : ".");
    return QUERN_OK;
}

void output_dir_release(struct output_dir *out) {
    if (out->temp[0])
        os_remove_dir(out->temp);
    out->temp[0] = '\0';
}
