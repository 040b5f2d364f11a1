#include "server/config_file.h"

#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "base/os.h"

struct reading {
    const struct option_spec *specs;
    struct config_file *file;
    struct quern_error problem; /* the first; without the line */
};

static const struct option_spec *find(const struct option_spec *specs, const char *name) {
    for (; specs->kind != OPTION_END; specs++)
        if (strcmp(specs->name, name) == 0)
            return specs;
    return NULL;
}

static const char *name_at(const void *specs, size_t i) {
    const struct option_spec *spec = (const struct option_spec *)specs + i;
    return spec->kind == OPTION_END ? NULL : spec->name;
}

static enum quern_status unknown(struct reading *r, const char *name) {
    const char *nearest = nearest_name(str_from(name), name_at, r->specs);
    if (nearest)
        return error_set(&r->problem, QUERN_ERR_ARG,
                         "there is no option \"%s\"; did you mean \"%s\"?", name, nearest);
    return error_set(&r->problem, QUERN_ERR_ARG, "there is no option \"%s\"", name);
}

static bool is_one_of(const char *word, const char *const words[4]) {
    for (int i = 0; i < 4; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

static enum quern_status add_entry(struct reading *r, const char *name, const char *value) {
    static const char *const yes[4] = {"yes", "true", "on", "1"};
    static const char *const no[4] = {"no", "false", "off", "0"};
    const struct option_spec *spec = find(r->specs, name);
    if (!spec || strcmp(name, "config") == 0)
        return unknown(r, name);
    bool is_flag = spec->kind == OPTION_FLAG;
    if (is_flag && is_one_of(value, no))
        return QUERN_OK;
    if (is_flag && !is_one_of(value, yes))
        return error_set(&r->problem, QUERN_ERR_ARG, "%s: \"%s\" is neither yes nor no", name,
                         value);
    if (r->file->n == CONFIG_FILE_ENTRIES_MAX)
        return error_set(&r->problem, QUERN_ERR_LIMIT, "more than %d entries",
                         CONFIG_FILE_ENTRIES_MAX);
    struct buffer word;
    buffer_init(&word, SIZE_MAX / 4);
    buffer_printf(&word, is_flag ? "--%s" : "--%s=%s", name, value);
    char *text = buffer_detach(&word, NULL);
    buffer_release(&word);
    if (!text)
        return error_nomem(&r->problem);
    r->file->args[r->file->n++] = text;
    return QUERN_OK;
}

/* inih's form: 0 is a failure. */
static int on_entry(void *user, const char *section, const char *name, const char *value) {
    struct reading *r = user;
    (void)section;
    return r->problem.code || add_entry(r, name, value) ? 0 : 1;
}

enum { FILE_MAX_BYTES = 1 << 20 };

enum quern_status config_file_read(const char *path, const struct option_spec *specs,
                                   struct config_file *out, struct quern_error *err) {
    struct reading r = {.specs = specs, .file = out};
    struct buffer text;
    *out = (struct config_file){0};
    buffer_init(&text, FILE_MAX_BYTES);
    enum quern_status status = os_read_file(path, FILE_MAX_BYTES, &text, err);
    int line = status || !text.data ? 0 : ini_parse_string(text.data, on_entry, &r);
    buffer_release(&text);
    if (line && r.problem.code)
        status = error_set(err, r.problem.code, "%s, line %d: %s", path, line, r.problem.message);
    else if (line)
        status = error_set(err, QUERN_ERR_FORMAT, "%s, line %d: expected NAME = VALUE or [SECTION]",
                           path, line);
    if (status)
        config_file_release(out);
    return status;
}

void config_file_release(struct config_file *f) {
    for (size_t i = 0; i < f->n; i++)
        free(f->args[i]);
    *f = (struct config_file){0};
}
