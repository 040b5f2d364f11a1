/* call_splitter.h - one tool call taken apart while it is written: its name, then its arguments as
 * JSON, piece by piece. Reads both forms, {"name": ..., "arguments": {...}} and Qwen3-Coder's
 * <function=NAME><parameter=KEY>, whose values become JSON by the types of the tool's schema.
 *
 * Made for calls that a grammar keeps in form. For others it only tells whether a marker stands
 * inside a string; tool_call_parse reads them as a whole. */
#ifndef QUERN_OPENAI_CALL_SPLITTER_H
#define QUERN_OPENAI_CALL_SPLITTER_H

#include "base/buffer.h"
#include "text/json.h"

struct call_splitter {
    const json_t *tools; /* borrowed: OpenAI's array of tools, or NULL */
    int state;
    bool is_json;                 /* the first character says */
    bool inside_string, escaped;  /* of JSON */
    int depth;                    /* of the arguments, in JSON */
    struct buffer held;           /* a name, tag or value being read */
    size_t matched;               /* bytes of the closing tag that may have begun */
    unsigned types;               /* of the parameter being read */
    const json_t *parameters;     /* the function's schema */
    size_t n_parameters;          /* begun */
    bool has_name, failed;
    struct buffer name;
    struct buffer arguments; /* new ones; whoever takes them clears it */
};

void call_splitter_init(struct call_splitter *c, const json_t *tools);
void call_splitter_release(struct call_splitter *c); /* zeroed is fine */
void call_splitter_restart(struct call_splitter *c); /* for the next call */

/* The text after <tool_call>, in pieces cut anywhere. */
void call_splitter_push(struct call_splitter *c, struct str text);
/* The arguments are complete. */
bool call_splitter_is_done(const struct call_splitter *c);
bool call_splitter_failed(const struct call_splitter *c); /* out of memory */

/* The parameters' schema of a tool, NULL when there is none of this name. */
const json_t *tool_parameters(const json_t *tools, struct str name);
/* Appends a parameter's text as JSON of one of these types (enum value_type). */
void call_write_value(struct str text, unsigned types, struct buffer *out);

#endif
