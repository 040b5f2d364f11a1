/* chat_input.h - what the user types: a line editor with history on a terminal, plain lines
 * from a pipe, and in both a turn of several lines by a backslash at a line's end or a block
 * between """ and """. */
#ifndef QUERN_CLI_CHAT_INPUT_H
#define QUERN_CLI_CHAT_INPUT_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"

enum chat_input_event {
    CHAT_INPUT_TURN,      /* something was typed; it may be empty */
    CHAT_INPUT_INTERRUPT, /* Ctrl-C: what was typed so far is gone */
    CHAT_INPUT_END,       /* Ctrl-D or the end of the file */
    CHAT_INPUT_ERROR,
};

struct line_editor;

struct chat_input {
    struct line_editor *editor; /* NULL: plain lines */
    struct buffer line;
    char bytes[4096]; /* read ahead of plain lines: [at, n) */
    size_t at, n;
};

/* A line editor when standard input and output are terminals. `complete` names the words a line
 * may begin with, for the Tab key; NULL ends them. */
enum quern_status chat_input_init(struct chat_input *in, const char *(*complete)(size_t i),
                                  struct quern_error *err);
void chat_input_release(struct chat_input *in);

/* Replaces *turn by the next turn, without its last newline. */
enum chat_input_event chat_input_read(struct chat_input *in, struct buffer *turn,
                                      struct quern_error *err);

#endif
