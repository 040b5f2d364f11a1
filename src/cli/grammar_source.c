#include "cli/grammar_source.h"

#include <string.h>

#include "api/loaded_model.h"

enum { SOURCE_BYTES_MAX = 16 << 20, REPORT_BYTES_MAX = 1 << 20 };

void grammar_schema_options(const struct grammar_source_args *args, struct schema_options *out) {
    *out = (struct schema_options){
        .policy = args->strict ? SCHEMA_STRICT : SCHEMA_DEFAULT,
        .any_order = args->any_order,
        .assert_formats = !args->no_formats,
        .all_spellings = !args->usual,
    };
    if (args->spacing && strcmp(args->spacing, "python") == 0)
        out->spacing = SCHEMA_PYTHON;
    else if (args->spacing && strcmp(args->spacing, "compact") == 0)
        out->spacing = SCHEMA_COMPACT;
}

static void print_report(const struct buffer *report) {
    for (size_t at = 0; at < report->len;) {
        const char *end = memchr(report->data + at, '\n', report->len - at);
        size_t n = end ? (size_t)(end - report->data) - at : report->len - at;
        fprintf(stderr, "quern: not enforced: %.*s\n", (int)n, report->data + at);
        at += n + 1;
    }
}

static enum quern_status compile(const struct quern_form *form, struct form_source *source,
                                 struct buffer *report, struct grammar **out,
                                 struct quern_error *err) {
    struct grammar_builder *b = NULL;
    struct arena arena = ARENA_INIT(0);
    struct str *choices = arena_calloc(&arena, form->n_choices + 1, sizeof *choices);
    enum quern_status st = form_of_fields(form, &source->form, &source->text, err);
    for (size_t i = 0; choices && i < form->n_choices; i++)
        choices[i] = str_from(form->choices[i]);
    source->choices = choices;
    source->n_choices = form->n_choices;
    if (st == QUERN_OK && !choices)
        st = error_nomem(err);
    if (st == QUERN_OK)
        st = grammar_builder_create(NULL, &b, err);
    if (st == QUERN_OK) {
        grammar_start(b, answer_form_build(b, source, report));
        st = grammar_compile(b, out, err);
    }
    grammar_builder_destroy(b);
    arena_release(&arena);
    return st;
}

int grammar_source_compile(const struct cli_command *command,
                           const struct grammar_source_args *args, struct grammar **out) {
    struct quern_error err = {0};
    struct schema_options schema;
    struct form_source source = {.schema = &schema};
    struct quern_form form;
    struct buffer text, report;
    buffer_init(&text, SOURCE_BYTES_MAX);
    buffer_init(&report, REPORT_BYTES_MAX);
    grammar_schema_options(args, &schema);
    int code = cli_form_read(command, &args->form, &text, &form, &source.name);
    if (code != CLI_GO_ON)
        code = CLI_USAGE;
    else if (compile(&form, &source, &report, out, &err) != QUERN_OK)
        code = (cli_fail(&err), CLI_USAGE); /* 1 is the answer "no" */
    else if (source.form == ANSWER_FREE)
        code = cli_usage_error(command, "give a form: --schema, --regex, ...");
    else
        print_report(&report);
    buffer_release(&report);
    buffer_release(&text);
    return code;
}
