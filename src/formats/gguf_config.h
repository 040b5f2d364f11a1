/* gguf_config.h - what a GGUF file's values say about the model, in the form of Hugging Face's
 * files: config.json and generation_config.json are written out in memory and read by the code
 * that reads them from directories, so that both kinds of model pass the same checks and get the
 * same defaults. */
#ifndef QUERN_FORMATS_GGUF_CONFIG_H
#define QUERN_FORMATS_GGUF_CONFIG_H

#include "formats/gguf.h"
#include "formats/hf_config.h"

/* general.architecture qwen3, qwen3moe, qwen2 or llama. */
enum quern_status gguf_hf_config(const struct gguf *g, struct hf_config *out,
                                 struct quern_error *err);
/* Of a model by its path: a GGUF file, else a directory with config.json. */
enum quern_status model_config_load(const char *path, struct hf_config *out,
                                    struct quern_error *err);
/* From general.sampling.*; without them greedy decoding and the configuration's ids. */
enum quern_status gguf_generation_config(const struct gguf *g, const struct hf_config *config,
                                         struct generation_config *out, struct quern_error *err);

#endif
