#include "cli/form_args.h"

#include <string.h>

int cli_form_read(const struct cli_command *command, const struct cli_form_args *args,
                  struct buffer *text, struct quern_form *out) {
    const char *file = args->schema ? args->schema : args->gbnf;
    *out = (struct quern_form){0};
    if (!!args->schema + !!args->gbnf + !!args->regex + args->json + (args->choices.n > 0) > 1)
        return cli_usage_error(command,
                               "--schema, --json, --regex, --gbnf and --choice exclude each other");
    if (file) {
        int code = cli_read_input(file, text);
        if (code != CLI_GO_ON)
            return code;
        if (text->len == 0 || memchr(text->data, '\0', text->len))
            return cli_error("%s: %s", file, text->len ? "it holds a zero byte" : "it is empty");
    }
    out->json_schema = args->schema ? text->data : NULL;
    out->gbnf = args->gbnf ? text->data : NULL;
    out->regex = args->regex;
    out->json_object = args->json;
    out->choices = args->choices.items;
    out->n_choices = args->choices.n;
    return CLI_GO_ON;
}
