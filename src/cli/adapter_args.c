#include "cli/adapter_args.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/number.h"
#include "base/os.h"

enum quern_status cli_adapter_parse(const char *text, char **path, float *scale,
                                    struct quern_error *err) {
    const char *colon = strrchr(text, ':');
    size_t len = strlen(text);
    double value = 1;
    /* A directory may have a colon in its name. */
    if (colon && !os_is_dir(text)) {
        char *end;
        const double parsed = number_parse(colon + 1, &end);
        if (end != colon + 1 && !*end) {
            value = parsed;
            len = (size_t)(colon - text);
        }
    }
    if (len == 0 || !isfinite(value))
        return error_set(err, QUERN_ERR_ARG, "--adapter \"%.80s\": expected DIR or DIR:SCALE",
                         text);
    char *copy = malloc(len + 1);
    if (!copy)
        return error_nomem(err);
    memcpy(copy, text, len);
    copy[len] = '\0';
    *path = copy;
    *scale = (float)value;
    return QUERN_OK;
}

enum quern_status cli_adapters_parse(const struct option_list *words, struct cli_adapter_list *out,
                                     struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    *out = (struct cli_adapter_list){0};
    if (words->n == 0)
        return QUERN_OK;
    out->sources = calloc(words->n, sizeof *out->sources);
    if (!out->sources)
        return error_nomem(err);
    for (size_t i = 0; i < words->n && !status; i++) {
        char *path = NULL;
        status = cli_adapter_parse(words->items[i], &path, &out->sources[i].scale, err);
        out->sources[i].dir = path;
        out->n += !status;
    }
    if (status)
        cli_adapters_release(out);
    return status;
}

void cli_adapters_release(struct cli_adapter_list *list) {
    for (size_t i = 0; i < list->n; i++)
        free((char *)(uintptr_t)list->sources[i].dir);
    free(list->sources);
    *list = (struct cli_adapter_list){0};
}
