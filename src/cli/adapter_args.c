#include "cli/adapter_args.h"

#include <stdint.h>
#include <stdlib.h>

#include "api/adapter_text.h"

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
        status = adapter_text_parse(words->items[i], &path, &out->sources[i].scale, err);
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
