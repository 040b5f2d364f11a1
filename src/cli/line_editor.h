/* line_editor.h - libedit with what a chat wants: UTF-8 whatever the locale, a history file,
 * pasted text of several lines taken as one, Ctrl-C that gives the line up. */
#ifndef QUERN_CLI_LINE_EDITOR_H
#define QUERN_CLI_LINE_EDITOR_H

#include "base/buffer.h"
#include "cli/chat_input.h"

/* *out is NULL, without an error, when the terminal is too simple for one. */
enum quern_status line_editor_create(const char *(*complete)(size_t i), struct line_editor **out,
                                     struct quern_error *err);
void line_editor_destroy(struct line_editor *e); /* NULL is fine */

/* Appends one line, without its newline, to *line. A pasted line may hold newlines. */
enum chat_input_event line_editor_read(struct line_editor *e, const char *prompt,
                                       struct buffer *line);

/* Puts a turn into the history and the history into its file. */
void line_editor_remember(struct line_editor *e, const char *turn);

#endif
