/* prompt_build.h - from requests to the token ids the engine takes. All *ids are freed with
 * free(). */
#ifndef QUERN_OPENAI_PROMPT_BUILD_H
#define QUERN_OPENAI_PROMPT_BUILD_H

#include "openai/chat_request.h"
#include "openai/completion_request.h"
#include "openai/served_model.h"

/* The text the model will see, appended to *out. */
enum quern_status prompt_render_chat(const struct served_model *m, const struct chat_request *r,
                                     struct buffer *out, struct api_error *err);
enum quern_status prompt_build_chat(const struct served_model *m, const struct chat_request *r,
                                    int32_t **ids, size_t *n, struct api_error *err);

/* Spellings of special tokens in a text count as these tokens. `suffix` NULL: none; else prompt
 * and suffix go around the gap in Qwen's fill-in-the-middle form, and their own spellings are
 * text. */
enum quern_status prompt_build_text(const struct served_model *m, const struct prompt_input *input,
                                    const char *suffix, int32_t **ids, size_t *n,
                                    struct api_error *err);

/* A prompt must leave room for one token at least; the error gives the numbers. */
enum quern_status prompt_check_room(const struct served_model *m, size_t n_prompt,
                                    const char *param, struct api_error *err);

/* Whether the prompt ends inside an opened thinking block. */
bool prompt_opens_thinking(const struct marker_tokens *markers, const int32_t *ids, size_t n);

#endif
