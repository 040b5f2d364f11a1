/* form_request.h - response_format and vLLM's structured_outputs: from JSON to the form of an
 * answer. */
#ifndef QUERN_OPENAI_FORM_REQUEST_H
#define QUERN_OPENAI_FORM_REQUEST_H

#include <jansson.h>

#include "grammar/answer_form.h"
#include "openai/api_error.h"

enum { FORM_CHOICES_MAX = 1024 };

/* What a form points to besides the request itself. Zeroed before use. */
struct form_texts {
    struct buffer text;
    struct str choices[FORM_CHOICES_MAX];
};
void form_texts_release(struct form_texts *t);

/* {"type": "json_schema", "json_schema": {"schema": ...}}, "json_object", "regex" (pattern),
 * "grammar" (grammar: GBNF or Lark), "lark". *out borrows from both. */
enum quern_status form_from_response_format(const json_t *format, struct form_texts *t,
                                            struct form_source *out, struct api_error *err);
/* {"json": ...} or {"regex": ...}, {"choice": [...]}, {"grammar": ...} (GBNF or Lark), {"lark":
 * ...},
 * {"json_object": true} */
enum quern_status form_from_structured_outputs(const json_t *from, struct form_texts *t,
                                               struct form_source *out, struct api_error *err);

/* "close_after", our own: tokens of the answer after which it is brought to its end. */
enum quern_status form_close_after(const json_t *from, uint32_t *out, struct api_error *err);
/* "close_in_time", our own: max_tokens does not cut the answer. */
enum quern_status form_close_in_time(const json_t *from, bool *out, struct api_error *err);

#endif
