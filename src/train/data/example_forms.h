/* example_forms.h - a record of training data, whatever form it has, as messages or as plain text. */
#ifndef QUERN_TRAIN_EXAMPLE_FORMS_H
#define QUERN_TRAIN_EXAMPLE_FORMS_H

#include <stdbool.h>

#include "base/str.h"
#include "text/json.h"

struct example_form {
    /* Either messages, of which those before `first_trained` are never trained, ... */
    json_t *messages, *tools, *kwargs; /* own; tools and kwargs may be NULL */
    size_t first_trained;
    int enable_thinking; /* -1: the record does not say */
    /* ... or text: `given`, then `target`, which is trained. Borrowed from the record. */
    bool is_text;
    struct str given, target;
};

/* Forms: {"messages"}, {"prompt", "completion"} (texts or messages), {"text"} with or without "target",
 * Alpaca's {"instruction", "input", "output"}, ShareGPT's {"conversations"}. With `raw`, prompt and
 * completion that are texts are taken as they are, else as a user's message and its answer. *out is
 * released by the caller, also after a failure. */
enum quern_status example_form_read(const json_t *record, bool raw, struct example_form *out,
                                    struct quern_error *err);
void example_form_release(struct example_form *f); /* zeroed is fine */

#endif
