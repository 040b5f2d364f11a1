#include "cli/form_args.h"

#include <string.h>

static int read_file(const char *file, struct buffer *text) {
    int code = cli_read_input(file, text);
    if (code == CLI_GO_ON && (text->len == 0 || memchr(text->data, '\0', text->len)))
        return cli_error("%s: %s", file, text->len ? "it holds a zero byte" : "it is empty");
    return code;
}

int cli_form_read(const struct cli_command *command, const struct cli_form_args *args,
                  struct buffer *text, struct quern_form *out, const char **name) {
    const struct {
        const char *file;
        const char **field;
    } files[] = {
        {args->schema, &out->json_schema},  {args->gbnf, &out->gbnf},
        {args->lark, &out->lark},           {args->xml, &out->xml_dtd},
        {args->tags, &out->structural_tag}, {args->yaml_schema, &out->yaml_schema},
    };
    const size_t n_files = sizeof files / sizeof *files;
    int n = (args->regex != NULL) + (args->xml_names != NULL) + (args->code != NULL) + args->json +
            (args->choices.n > 0);
    *out = (struct quern_form){0};
    for (size_t i = 0; i < n_files; i++)
        n += files[i].file != NULL;
    if (n > 1)
        return cli_usage_error(command, "forms of a text (--schema, --regex, ...) exclude each "
                                        "other");
    for (size_t i = 0; i < n_files; i++) {
        if (!files[i].file)
            continue;
        int code = read_file(files[i].file, text);
        if (code != CLI_GO_ON)
            return code;
        *files[i].field = text->data;
        if (name)
            *name = files[i].file;
    }
    out->regex = args->regex;
    out->xml_names = args->xml_names;
    out->code = args->code;
    out->json_object = args->json;
    out->choices = args->choices.items;
    out->n_choices = args->choices.n;
    out->close_after = (int32_t)args->close_after;
    out->close_in_time = args->close_in_time;
    return CLI_GO_ON;
}
