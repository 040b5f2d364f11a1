/* chat_template.h - a model's own chat template applied to messages. */
#ifndef QUERN_CHAT_CHAT_TEMPLATE_H
#define QUERN_CHAT_CHAT_TEMPLATE_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"
#include "text/json.h"

struct chat_template; /* immutable after opening; renders may run on several threads */

/* The template of a model directory: chat_template.jinja, else chat_template.json, else
 * tokenizer_config.json's chat_template: a string, or a list of {name, template} of which
 * "tool_use" is taken when tools are given and "default" otherwise.
 * *out is NULL, without an error, when the directory has none. Also reads bos_token, eos_token
 * and the other special tokens from tokenizer_config.json (strings or {"content": ..} objects)
 * for the template's use. */
enum quern_status chat_template_open(const char *dir, struct chat_template **out,
                                     struct quern_error *err);
/* `bos` and `eos` may be NULL: undefined in the template, which prints nothing. `name` starts
 * error messages: "NAME, line 3: unknown filter 'foo'". */
enum quern_status chat_template_parse(const char *source, size_t len, const char *name,
                                      const char *bos, const char *eos, struct chat_template **out,
                                      struct quern_error *err);
/* Another template with the special tokens of `base`, which may be NULL. */
enum quern_status chat_template_parse_like(const struct chat_template *base, const char *source,
                                           size_t len, const char *name, struct chat_template **out,
                                           struct quern_error *err);
void chat_template_close(struct chat_template *t); /* NULL is fine */

bool chat_template_can_think(const struct chat_template *t); /* knows enable_thinking or <think> */
bool chat_template_has_tools(const struct chat_template *t);
/* Calls are written <function=NAME> (Qwen3-Coder), not as JSON. */
bool chat_template_has_coder_calls(const struct chat_template *t);

struct chat_render_options {
    const json_t *tools;  /* array, or NULL */
    const json_t *kwargs; /* object of further variables, or NULL */
    int enable_thinking;  /* -1: not defined for the template, 0, 1 */
    bool add_generation_prompt;
    /* transformers' continue_final_message: the text ends right after the last message's
     * content. Not together with add_generation_prompt. */
    bool continue_final_message;
    const int64_t *now; /* the time strftime_now sees, seconds since 1970; NULL: the clock's */
};

/* A part of a rendered text. */
struct chat_span {
    size_t begin, end; /* equal: the template wrote nothing in a loop over the messages */
    bool scattered;    /* something else stands between */
};

struct chat_spans {
    struct chat_span *messages; /* [n_messages] what the template's loop wrote for each: its frame,
                                   content, calls, and what follows it within the loop */
    size_t n_messages;
    struct chat_span *generated; /* [n_generated] what the template's `generation` blocks wrote */
    size_t n_generated;
};
void chat_spans_release(struct chat_spans *s); /* zeroed is fine */

/* `messages`: an array of objects with role and content (string, null, or an array of
 * {"type":"text","text":..}), reasoning_content, tool_calls, name, tool_call_id. The text is
 * appended to *out. Limits (steps, output, memory, depth) are in jinja_run.h. */
enum quern_status chat_template_render(const struct chat_template *t, const json_t *messages,
                                       const struct chat_render_options *options,
                                       struct buffer *out, struct quern_error *err);
/* The same; *spans, counted from where the text begins in *out, is released by the caller, also after
 * a failure. Not with continue_final_message. */
enum quern_status chat_template_render_spans(const struct chat_template *t, const json_t *messages,
                                             const struct chat_render_options *options,
                                             struct buffer *out, struct chat_spans *spans,
                                             struct quern_error *err);

#endif
