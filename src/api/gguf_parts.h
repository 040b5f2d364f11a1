/* gguf_parts.h - the parts of a GGUF file that belong to layers above formats. */
#ifndef QUERN_API_GGUF_PARTS_H
#define QUERN_API_GGUF_PARTS_H

#include "chat/chat_template.h"
#include "formats/gguf.h"
#include "tokenizer/tokenizer.h"

enum quern_status gguf_open_tokenizer(const struct gguf *g, struct tokenizer **out,
                                      struct quern_error *err);
/* *out is NULL, without an error, when the file has no template. */
enum quern_status gguf_open_template(const struct gguf *g, struct chat_template **out,
                                     struct quern_error *err);
/* Of a model by its path: a GGUF file, else a directory. */
enum quern_status model_template_open(const char *path, struct chat_template **out,
                                      struct quern_error *err);

#endif
