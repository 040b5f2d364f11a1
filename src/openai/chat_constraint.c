#include "openai/chat_constraint.h"

enum quern_status chat_constraint_create(const struct served_model *m, const struct chat_request *r,
                                         struct answer_constraint *out, struct api_error *err) {
    (void)m;
    *out = (struct answer_constraint){0};
    if (r->response_format)
        return api_fail(err, API_UNSUPPORTED, "response_format",
                        "Invalid value for 'response_format': this server answers in plain text "
                        "(type 'text').");
    if (r->tool_choice == TOOL_CHOICE_REQUIRED || r->tool_choice == TOOL_CHOICE_NAMED)
        return api_fail(err, API_UNSUPPORTED, "tool_choice",
                        "Invalid value for 'tool_choice': this server leaves the choice to the "
                        "model ('auto') or forbids calls ('none').");
    return QUERN_OK;
}
