/* chat_request.h - /v1/chat/completions: the request, checked and typed. */
#ifndef QUERN_OPENAI_CHAT_REQUEST_H
#define QUERN_OPENAI_CHAT_REQUEST_H

#include "openai/generation_params.h"

enum tool_choice {
    TOOL_CHOICE_AUTO = 0,
    TOOL_CHOICE_NONE,
    TOOL_CHOICE_REQUIRED,
    TOOL_CHOICE_NAMED, /* tool_name */
};

/* -1, 0, 1: as the template decides, off, on. */
struct thinking_params {
    int enabled;
    int32_t budget; /* most tokens of thinking; -1: no limit */
};

struct chat_request {
    struct generation_params generation;
    json_t *messages;    /* own copy, in the form templates know: text parts joined, "developer"
                            become "system", "reasoning" become "reasoning_content" */
    const json_t *tools; /* borrowed; NULL: none, or none are to be called */
    enum tool_choice tool_choice;
    const char *tool_name;
    const json_t *allowed_tools; /* borrowed: of {"function": {"name"}}; NULL: all may be called */
    bool parallel_tool_calls;
    json_t *kwargs; /* own; further variables for the template, or NULL */
    struct thinking_params thinking;
    const json_t *response_format;    /* borrowed; NULL: plain text */
    const json_t *structured_outputs; /* vLLM's; borrowed, or NULL */
    bool logprobs;
    bool add_generation_prompt, continue_final_message;
};

/* `root` is the request's JSON and must outlive *out. On failure nothing is held. */
enum quern_status chat_request_parse(const json_t *root, const struct api_context *context,
                                     struct chat_request *out, struct api_error *err);
void chat_request_release(struct chat_request *r); /* zeroed is fine */
/* Whether tool_choice lets the model call the function of this name. */
bool chat_request_may_call(const struct chat_request *r, const char *name);

/* chat_messages.c: the copy described above, each message checked. */
enum quern_status chat_messages_normalize(const json_t *messages, const struct api_limits *limits,
                                          json_t **out, struct api_error *err);
/* Tools as OpenAI has them: {"type": "function", "function": {"name", ...}}. */
enum quern_status chat_tools_check(const json_t *tools, const struct api_limits *limits,
                                   struct api_error *err);

#endif
