/* answer_parts.h - an answer as its tokens come, told apart: thinking, content, tool calls. Markers
 * are recognized by their token ids, so that a text that merely spells one is text. */
#ifndef QUERN_OPENAI_ANSWER_PARTS_H
#define QUERN_OPENAI_ANSWER_PARTS_H

#include "openai/call_splitter.h"
#include "openai/served_model.h"
#include "tokenizer/tokenizer.h"

enum answer_part {
    PART_CONTENT,
    PART_REASONING,
    PART_TOOL_CALL, /* a call begins: its id and name */
    PART_ARGUMENTS, /* a piece of the last call's arguments */
    PART_CALL_END,  /* the last call is whole */
};

struct tool_call {
    char id[40]; /* "call_..." */
    struct str name;
    struct str arguments; /* JSON, as the model wrote it; empty in a delta */
};

struct answer_delta {
    enum answer_part part;
    struct str text;              /* of content, reasoning and arguments; never empty */
    const struct tool_call *call; /* of PART_TOOL_CALL */
    size_t call_index;            /* of the three about calls */
};

struct answer_parts_setup {
    const struct tokenizer *tokenizer; /* borrowed */
    struct marker_tokens markers;
    bool thinking;    /* the prompt has opened a thinking block */
    bool tools;       /* look for calls */
    const json_t *tool_list; /* OpenAI's array, borrowed: the types of parameters; or NULL */
    bool calls_keep_form; /* a grammar sees to it: arguments are told as they come */
    size_t max_calls; /* further ones are dropped */
    /* Everything in the delta is valid during the call. */
    void (*on_delta)(void *user, const struct answer_delta *delta);
    void *user;
};

/* A marker token: the bytes of the text that it is. */
struct answer_mark {
    size_t begin, end;
    int32_t token;
};

struct answer_parts {
    struct answer_parts_setup setup;
    struct token_stream stream; /* how long the text is that the tokens so far will give */
    size_t n_stream;
    struct buffer scratch;
    struct answer_mark *marks; /* not yet reached by the text */
    size_t n_marks, marks_capacity;
    size_t at;            /* bytes of text seen */
    enum answer_part now; /* what the next byte of text belongs to */
    bool marker;          /* the last token was a marker's */
    bool only_newlines;   /* or nothing but newlines */
    bool fresh;           /* newlines at the beginning of the part are still to be dropped */
    bool began;           /* some text was no newline and no marker */
    size_t held_newlines; /* at the end of the part: dropped if a marker follows */
    struct buffer call;   /* the text of the call being read */
    struct call_splitter splitter;
    bool call_began; /* it was told of */
    size_t n_calls;
    bool no_memory;
};

void answer_parts_init(struct answer_parts *a, const struct answer_parts_setup *setup);
void answer_parts_release(struct answer_parts *a); /* zeroed is fine */

/* One event of a ticket. */
enum quern_status answer_parts_push(struct answer_parts *a, const struct quern_event *event);
/* After the last event: what was held back. */
enum quern_status answer_parts_finish(struct answer_parts *a);

/* Whether the last token pushed is part of the content, for log-probabilities. */
bool answer_parts_token_is_content(const struct answer_parts *a);

/* tool_call_parse.c: the text between <tool_call> and </tool_call>, either
 * {"name": ..., "arguments": ...} or Qwen3-Coder's <function=...><parameter=...>, whose values have
 * the types that `tools` (may be NULL) say. `storage` keeps what had to be written anew. False: it
 * is no call. */
bool tool_call_parse(struct str text, const json_t *tools, struct buffer *storage,
                     struct tool_call *out);

#endif
