#include "cli/grammar_source.h"

#include <string.h>

#include "grammar/ebnf/gbnf.h"
#include "grammar/regex/regex_emit.h"
#include "grammar/regex/regex_syntax.h"

enum { SOURCE_BYTES_MAX = 16 << 20, REPORT_BYTES_MAX = 1 << 20 };

void grammar_schema_options(const struct grammar_source_args *args, struct schema_options *out) {
    *out = (struct schema_options){
        .policy = args->strict ? SCHEMA_STRICT : SCHEMA_DEFAULT,
        .any_order = args->any_order,
        .assert_formats = !args->no_formats,
        .all_spellings = true,
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

static enum quern_status build(struct grammar_builder *b, const struct grammar_source_args *args,
                               struct str text, struct buffer *report, struct quern_error *err) {
    symbol_id start;
    if (args->schema) {
        struct schema_options options;
        grammar_schema_options(args, &options);
        enum quern_status st =
            json_schema_build(b, text, args->schema, &options, &start, report, err);
        if (st != QUERN_OK)
            return st;
    } else if (args->gbnf) {
        if (gbnf_build(b, text, args->gbnf, &start, err) != QUERN_OK)
            return QUERN_ERR_FORMAT;
    } else {
        expr_id x;
        if (expr_regex(b, text, REGEX_ECMA, &x, err) != QUERN_OK)
            return QUERN_ERR_FORMAT;
        start = grammar_terminal(b, x, "the pattern");
    }
    grammar_start(b, start);
    return QUERN_OK;
}

int grammar_source_compile(const struct cli_command *command,
                           const struct grammar_source_args *args, struct grammar **out) {
    struct quern_error err = {0};
    struct grammar_builder *b = NULL;
    struct buffer text, report;
    int code = CLI_GO_ON;
    if (!!args->schema + !!args->gbnf + !!args->regex != 1)
        return cli_usage_error(command, "give one of --schema, --gbnf and --regex");
    buffer_init(&text, SOURCE_BYTES_MAX);
    buffer_init(&report, REPORT_BYTES_MAX);
    if (args->regex)
        buffer_puts(&text, args->regex);
    else
        code = cli_read_input(args->schema ? args->schema : args->gbnf, &text);
    if (code == CLI_GO_ON && (grammar_builder_create(NULL, &b, &err) != QUERN_OK ||
                              build(b, args, buffer_str(&text), &report, &err) != QUERN_OK ||
                              grammar_compile(b, out, &err) != QUERN_OK)) {
        cli_fail(&err);
        code = CLI_USAGE; /* 1 is the answer "no" */
    }
    if (code == CLI_GO_ON)
        print_report(&report);
    grammar_builder_destroy(b);
    buffer_release(&report);
    buffer_release(&text);
    return code;
}
