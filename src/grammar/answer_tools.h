/* answer_tools.h - OpenAI's array of tools as the rules of an answer take them. */
#ifndef QUERN_GRAMMAR_ANSWER_TOOLS_H
#define QUERN_GRAMMAR_ANSWER_TOOLS_H

#include "base/arena.h"
#include "grammar/answer_guard.h"
#include "text/json.h"

/* [{"type": "function", "function": {"name", "parameters", "strict"}}] in the arena; names and texts
 * live as long as both. Arguments are an object, whether a schema says so or not; one that says
 * otherwise is an error. `may_call` (NULL: all) chooses by name. */
enum quern_status answer_tools_read(const json_t *list,
                                    bool (*may_call)(const void *user, const char *name),
                                    const void *user, struct arena *arena, struct answer_tool **out,
                                    size_t *n, struct quern_error *err);

#endif
