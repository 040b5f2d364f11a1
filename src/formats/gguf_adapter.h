/* gguf_adapter.h - writing an adapter as the GGUF file that llama.cpp takes beside a model
 * (--lora).
 *
 * general.type "adapter", general.architecture, adapter.type "lora", adapter.lora.alpha; tensors in
 * float32, "blk.N.attn_q.weight.lora_a" [in, r] and ".lora_b" [r, out] (GGUF's order of sides). A
 * reader scales by alpha / r of each tensor: rsLoRA and patterns are folded into alpha, and where
 * one alpha cannot say it for all modules, into B. */
#ifndef QUERN_FORMATS_GGUF_ADAPTER_H
#define QUERN_FORMATS_GGUF_ADAPTER_H

#include "formats/hf_config.h"
#include "formats/peft_adapter.h"

/* `config` is that of the base model: names and shapes are checked against it. `scale` multiplies
 * s. The file appears when it is complete. QUERN_ERR_UNSUPPORTED, naming it: DoRA, modules saved
 * whole, experts, a head that is the embedding, architectures whose rows GGUF puts in another
 * order. *folded (may be NULL): B had to be scaled. */
enum quern_status gguf_adapter_write(const char *path, const struct peft_adapter *adapter,
                                     float scale, const struct hf_config *config, bool *folded,
                                     struct quern_error *err);

#endif
