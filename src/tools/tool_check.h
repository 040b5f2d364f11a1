/* tool_check.h - whether arguments are what a tool asks for. */
#ifndef QUERN_TOOLS_TOOL_CHECK_H
#define QUERN_TOOLS_TOOL_CHECK_H

#include "tools/tool_set.h"

/* Arguments are a JSON object, valid by the tool's schema; members come in any order. `text`: they
 * as JSON. QUERN_ERR_FORMAT tells where it is not so and what was expected there, or that the
 * schema itself is broken. What the schema's grammar does not enforce (docs/grammar.md) is the
 * tool's to refuse. */
enum quern_status tool_check_arguments(const struct tool *tool, const json_t *arguments,
                                       struct buffer *text, struct quern_error *err);

#endif
