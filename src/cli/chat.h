/* chat.h - a conversation with a model: its messages, its settings, answering. */
#ifndef QUERN_CLI_CHAT_H
#define QUERN_CLI_CHAT_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/answer.h"
#include "cli/tool_rounds.h"
#include "quern.h"
#include "text/json.h"

struct chat {
    const quern_model *model;
    struct quern_model_info info;
    quern_session *session;
    struct think_tokens think;
    json_t *messages;
    struct quern_sampling sampling, defaults;
    int32_t max_tokens;  /* 0: what the context holds */
    int enable_thinking; /* -1: the template's own choice, 0, 1 */
    struct quern_form form; /* of every answer; without tools */
    const char *const *stop_strings;
    size_t n_stop_strings;
    struct tool_rounds tools; /* its set may be empty */
    int32_t max_tool_rounds;
    uint64_t n_again;   /* how often the last answer was made anew */
    bool show_thinking; /* also where standard output is no terminal */
    bool verbose;
    bool quit;
    bool failed; /* something went wrong on the way: the exit code tells a script */
};

/* Takes a turn of the user and answers it. What fails is said and taken back. */
void chat_turn(struct chat *chat, struct str text);
/* Answers the last message of the user once more, with another seed. */
void chat_regenerate(struct chat *chat);

/* ---- commands (chat_commands.c) ---- */

/* Words that begin with a slash, for completion; NULL after the last. */
const char *chat_command_name(size_t i);
/* Runs "/name argument". */
void chat_command(struct chat *chat, const char *line);

/* Talk on standard error: "quern: ..." for errors, dimmed for the rest. */
void chat_error(struct chat *chat, const char *fmt, ...) PRINTF_LIKE(2, 3);
void chat_note(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
