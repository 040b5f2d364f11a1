/* term_text.h - text a model made, written to a terminal without letting it steer the
 * terminal: control characters but newline and tab are shown, not sent. */
#ifndef QUERN_CLI_TERM_TEXT_H
#define QUERN_CLI_TERM_TEXT_H

#include "base/buffer.h"
#include "base/str.h"

/* Appends `text` (valid UTF-8) with ESC as "^[", and so on; C1 controls become U+FFFD. */
enum quern_status term_text_append(struct str text, struct buffer *out);

#endif
