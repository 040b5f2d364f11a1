/* jinja_unescape.h - the escapes of string literals, as Python's unicode-escape codec. */
#ifndef QUERN_CHAT_JINJA_UNESCAPE_H
#define QUERN_CHAT_JINJA_UNESCAPE_H

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

enum quern_status jinja_unescape(struct arena *arena, struct str text, struct str *out,
                                 struct quern_error *err);

#endif
