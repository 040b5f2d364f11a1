/* history_file.h - what was typed in earlier chats: one turn a line, oldest first, newlines
 * written as \n and backslashes as \\. Turns are appended, so that chats side by side do not
 * undo each other's. */
#ifndef QUERN_CLI_HISTORY_FILE_H
#define QUERN_CLI_HISTORY_FILE_H

#include "base/error.h"

enum { HISTORY_TURNS = 1000 };

/* Calls `each` with the last HISTORY_TURNS turns, oldest first. A file that has grown far beyond
 * them is cut. A file that is not there, or cannot be read, has none. */
void history_file_load(const char *path, void (*each)(void *user, const char *turn), void *user);

enum quern_status history_file_append(const char *path, const char *turn, struct quern_error *err);

#endif
