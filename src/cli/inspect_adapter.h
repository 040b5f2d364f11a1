/* inspect_adapter.h - what `quern inspect` says about a LoRA adapter's directory. */
#ifndef QUERN_CLI_INSPECT_ADAPTER_H
#define QUERN_CLI_INSPECT_ADAPTER_H

#include "base/buffer.h"
#include "base/error.h"

/* Appends the report. *problem is set to a static text when the adapter would not work, else NULL.
 */
enum quern_status inspect_adapter(const char *dir, bool json, bool tensors, struct buffer *out,
                                  const char **problem, struct quern_error *err);

#endif
