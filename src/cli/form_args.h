/* form_args.h - the form of an answer on the command line: --schema, --json, --regex, --gbnf,
 * --lark, --choice. */
#ifndef QUERN_CLI_FORM_ARGS_H
#define QUERN_CLI_FORM_ARGS_H

#include "cli/cli_common.h"

struct cli_form_args {
    const char *schema, *regex, *gbnf, *lark, *xml, *xml_names, *yaml_schema, *tags, *code;
    bool json;
    struct option_list choices;
    int64_t close_after;
    bool close_in_time;
};

#define CLI_FORM_OPTIONS(type, field)                                                             \
    OPT_STRING(0, "schema", "FILE", type, field.schema,                                           \
               "the answer is JSON that is valid under this JSON Schema"),                        \
        OPT_FLAG(0, "json", type, field.json, "the answer is a JSON object"),                     \
        OPT_STRING(0, "regex", "PATTERN", type, field.regex,                                      \
                   "the answer is a text this pattern (ECMA-262) matches as a whole"),            \
        OPT_STRING(0, "gbnf", "FILE", type, field.gbnf,                                           \
                   "the answer is a text of this grammar (llama.cpp's GBNF)"),                    \
        OPT_STRING(0, "lark", "FILE", type, field.lark,                                           \
                   "the answer is a text of this grammar (Lark's language)"),                     \
        OPT_STRING(0, "tags", "FILE", type, field.tags,                                           \
                   "the answer is free text with parts in a form of their own: a structural tag " \
                   "(docs/grammar.md)"),                                                          \
        OPT_CHOICE(0, "code", "sql|python|c|json", type, field.code,                              \
                   "the answer is a SELECT of SQL, or source of this language"),                  \
        OPT_STRING(0, "yaml-schema", "FILE", type, field.yaml_schema,                             \
                   "the answer is YAML that is valid under this JSON Schema"),                    \
        OPT_STRING(0, "xml", "FILE", type, field.xml,                                             \
                   "the answer is XML that is valid under this DTD"),                             \
        OPT_STRING(0, "xml-names", "NAMES", type, field.xml_names,                                \
                   "the answer is XML of tags and attributes with these names "                   \
                   "(a,b,c), or with common ones (any)"),                                         \
        OPT_LIST(0, "choice", "TEXT", type, field.choices,                                        \
                 "the answer is this text, or another --choice")
#define CLI_CLOSE_OPTION(type, field)                                     \
    OPT_INT(0, "close-after", "N", type, field.close_after, 0, INT32_MAX, \
            "with a form: after N tokens of the answer take the shortest way to a whole text"), \
        OPT_FLAG(0, "close-in-time", type, field.close_in_time,                             \
                 "with a form: take it just before --max-tokens would cut the answer")

/* Reads the file it names into *text, which *out borrows from. *out is all zero without a form.
 * *name (NULL: not wanted) is set to what messages call it. CLI_GO_ON, or the exit code after an
 * error, which was printed. */
int cli_form_read(const struct cli_command *command, const struct cli_form_args *args,
                  struct buffer *text, struct quern_form *out, const char **name);

#endif
