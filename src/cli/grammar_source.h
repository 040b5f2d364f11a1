/* grammar_source.h - a grammar named on the command line: exactly one form (form_args.h). */
#ifndef QUERN_CLI_GRAMMAR_SOURCE_H
#define QUERN_CLI_GRAMMAR_SOURCE_H

#include "cli/form_args.h"
#include "grammar/answer_form.h"

struct grammar_source_args {
    struct cli_form_args form;
    const char *spacing;
    bool any_order, strict, no_formats;
    bool usual; /* numbers as programs write them, to make texts; else every spelling */
};

#define GRAMMAR_SCHEMA_OPTIONS(type, field)                                                    \
    OPT_CHOICE(0, "spacing", "flexible|python|compact", type, field.spacing,                   \
               "white space in JSON: some anywhere, as Python's json.dumps, or none "          \
               "(default: flexible)"),                                                         \
        OPT_FLAG(0, "any-order", type, field.any_order,                                        \
                 "members of objects in any order (default: in the schema's)"),                \
        OPT_FLAG(0, "strict", type, field.strict,                                              \
                 "refuse a schema with a keyword that cannot be enforced (default: name it)"), \
        OPT_FLAG(0, "no-formats", type, field.no_formats, "take \"format\" for a comment")
#define GRAMMAR_SOURCE_OPTIONS(type, field) \
    CLI_FORM_OPTIONS(type, field.form), GRAMMAR_SCHEMA_OPTIONS(type, field)

void grammar_schema_options(const struct grammar_source_args *args, struct schema_options *out);
/* Compiles it; keywords that are not enforced go to stderr. CLI_GO_ON, or the exit code after an
 * error, which was printed. *out is the caller's. */
int grammar_source_compile(const struct cli_command *command,
                           const struct grammar_source_args *args, struct grammar **out);

#endif
