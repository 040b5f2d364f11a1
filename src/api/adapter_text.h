/* adapter_text.h - adapters as they are named on a command line: "DIR" or "DIR:SCALE". */
#ifndef QUERN_API_ADAPTER_TEXT_H
#define QUERN_API_ADAPTER_TEXT_H

#include "base/error.h"

/* What follows the last colon is a scale when it is a number, unless the whole is a directory.
 * *path is freed by the caller. */
enum quern_status adapter_text_parse(const char *text, char **path, float *scale,
                                     struct quern_error *err);

#endif
