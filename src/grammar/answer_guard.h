/* answer_guard.h - what an answer must look like, as a constraint on its tokens: a form for the
 * text, tool calls, and a thinking block before them that stays free. */
#ifndef QUERN_GRAMMAR_ANSWER_GUARD_H
#define QUERN_GRAMMAR_ANSWER_GUARD_H

#include "grammar/answer_form.h"
#include "grammar/token_image.h"
#include "sampler/constraint.h"

enum answer_calls {
    CALLS_NONE,
    CALLS_AUTO,     /* an answer, or calls, or (free form only) both */
    CALLS_REQUIRED, /* calls only */
};

/* Between the markers, on lines of their own. */
enum call_style {
    CALL_JSON,  /* {"name": NAME, "arguments": {...}} */
    CALL_CODER, /* <function=NAME>, <parameter=KEY>, a value, </parameter>, </function> */
};

struct answer_tool {
    struct str name;
    struct str parameters; /* a JSON Schema; empty: any object */
    bool strict;           /* a keyword that cannot be enforced is an error */
};

/* Where the prompt leaves the model. */
enum answer_thinking {
    THINKING_OVER,     /* no block follows: the prompt has closed it, or there is none */
    THINKING_POSSIBLE, /* the answer may begin with one */
    THINKING_OPEN,     /* the prompt has opened it */
};

/* Ids of marker tokens, -1 where there is none: then their text stands for them. */
struct answer_markers {
    int32_t think_begin, think_end, tool_begin, tool_end;
};

struct answer_rules {
    enum answer_form form;
    struct str text;
    const struct str *choices;
    size_t n_choices;
    enum answer_calls calls;
    enum call_style style;
    const struct answer_tool *tools;
    size_t n_tools;
    bool parallel; /* more than one call */
    enum answer_thinking thinking;
    struct answer_markers markers;
    const struct schema_options *schema; /* NULL: flexible spacing, formats asserted */
    /* Tokens of the answer, thinking not counted, after which it is brought to its shortest end
     * (where one is found); 0: never. */
    uint32_t close_after;
    /* Where the answer would not end within the tokens that may be made (thinking counted), the
     * shortest way is taken just in time, out of the thinking block too. A limit below the shortest
     * text cuts that. */
    bool close_in_time;
};

/* The markers of a tokenizer, by Qwen3's spellings. */
void answer_markers_find(const struct tokenizer *t, struct answer_markers *out);
/* From the end of the prompt; `may_think`: the template leaves thinking on. */
enum answer_thinking answer_thinking_of(const struct tokenizer *t, const struct answer_markers *m,
                                        const int32_t *ids, size_t n, bool may_think);

struct answer_guard;

/* `image` and end_tokens are borrowed, the rules are not. `report` as in json_schema_build. The
 * failure of a schema or grammar is the caller's request's: FORMAT, UNSUPPORTED or LIMIT. */
enum quern_status answer_guard_create(const struct token_image *image, const int32_t *end_tokens,
                                      size_t n_end_tokens, const struct answer_rules *rules,
                                      struct buffer *report, struct answer_guard **out,
                                      struct quern_error *err);
void answer_guard_destroy(struct answer_guard *g); /* NULL is fine */
/* Lives as long as the guard. One thread at a time. */
struct constraint *answer_guard_constraint(struct answer_guard *g);

#endif
