/* The same text as config.json and as generation_config.json. */
#include <stdlib.h>

#include "formats/hf_config.h"
#include "formats/tensor_layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the rest of the program relies on. */
static void check(const struct hf_config *c) {
    int64_t active, params = hf_config_param_count(c, &active);
    if (params <= 0 || active <= 0 || active > params || hf_config_kv_bytes_per_token(c, 4) <= 0)
        abort();
    if (c->n_layers < 1 || c->n_layers > HF_CONFIG_LAYERS_MAX || c->n_heads % c->n_kv_heads ||
        c->head_dim % 2 || c->n_eos < 0 || c->n_eos > HF_CONFIG_EOS_MAX ||
        c->bos_token_id >= c->vocab_size)
        abort();
    for (int32_t i = 0; i < c->n_eos; i++)
        if (c->eos_token_ids[i] < 0 || c->eos_token_ids[i] >= c->vocab_size)
            abort();
    if (c->n_experts * c->n_layers < 1000 && tensor_layout_count(c) < 1)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct hf_config config = {.vocab_size = 1000, .bos_token_id = -1};
    struct generation_config generation;
    struct quern_error err;
    const char *text = size ? (const char *)data : "";
    if (hf_config_parse(text, size, "config.json", &config, &err) == QUERN_OK)
        check(&config);
    if (generation_config_parse(text, size, "generation_config.json", &config, &generation, &err) ==
        QUERN_OK)
        if (generation.n_eos > HF_CONFIG_EOS_MAX || !(generation.top_p >= 0))
            abort();
    return 0;
}
