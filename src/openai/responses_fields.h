/* responses_fields.h - the members of a /v1/responses request besides its input: read, made members
 * of a chat request, and repeated in the answer. */
#ifndef QUERN_OPENAI_RESPONSES_FIELDS_H
#define QUERN_OPENAI_RESPONSES_FIELDS_H

#include "openai/generation_params.h"

/* The request as its table of fields fills it; all borrowed from its JSON. */
struct raw_responses {
    const char *model, *previous, *instructions, *truncation, *safety_identifier, *user, *cache_key;
    const json_t *input, *tools, *tool_choice, *text, *reasoning, *include, *metadata;
    const json_t *unsupported[5];
    int64_t max_output_tokens, max_tool_calls; /* -1: not given */
    int32_t top_logprobs;
    float temperature, top_p; /* -1: not given */
    bool store, stream, background, parallel;
    bool logprobs; /* `include` asks for them */
    /* of `reasoning` and `text` */
    const char *effort, *summary, *generate_summary, *verbosity;
    const json_t *format;
};

enum quern_status responses_fields_read(const json_t *root, const struct api_context *context,
                                        bool counting, struct raw_responses *out,
                                        struct api_error *err);
/* Sets everything but the messages. */
enum quern_status responses_fields_to_chat(const struct raw_responses *raw, const json_t *root,
                                           json_t *chat, struct api_error *err);
enum quern_status responses_fields_echo(const struct raw_responses *raw,
                                        const struct api_context *context, json_t *echo,
                                        struct api_error *err);

#endif
