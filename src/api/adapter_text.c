#include "api/adapter_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/os.h"

enum quern_status adapter_text_parse(const char *text, char **path, float *scale,
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
        return error_set(err, QUERN_ERR_ARG, "adapter \"%.80s\": expected DIR or DIR:SCALE", text);
    char *copy = malloc(len + 1);
    if (!copy)
        return error_nomem(err);
    memcpy(copy, text, len);
    copy[len] = '\0';
    *path = copy;
    *scale = (float)value;
    return QUERN_OK;
}
