/* anthropic_request.h - Anthropic's messages as a chat request: the JSON is brought to OpenAI's
 * form, and then read by the same parser. */
#ifndef QUERN_OPENAI_ANTHROPIC_REQUEST_H
#define QUERN_OPENAI_ANTHROPIC_REQUEST_H

#include "openai/chat_request.h"

/* *out is a new JSON object for chat_request_parse. `counting`: /v1/messages/count_tokens, which
 * has no max_tokens. */
enum quern_status anthropic_to_openai(const json_t *root, bool counting,
                                      const struct api_limits *limits, json_t **out,
                                      struct api_error *err);

#endif
