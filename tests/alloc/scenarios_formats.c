#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/scenarios.h"
#include "base/os.h"
#include "formats/hf_config.h"
#include "formats/random_checkpoint.h"
#include "formats/safetensors.h"
#include "support/support.h"

static const char config_text[] =
    "{\"architectures\": [\"Qwen3MoeForCausalLM\"], \"vocab_size\": 32, \"hidden_size\": 8,"
    "\"intermediate_size\": 8, \"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"head_dim\": "
    "4,"
    "\"num_key_value_heads\": 1, \"num_experts\": 3, \"num_experts_per_tok\": 1,"
    "\"moe_intermediate_size\": 4, \"mlp_only_layers\": [0], \"eos_token_id\": [1, 2],"
    "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2.0},"
    "\"quantization_config\": {\"quant_method\": \"none\"}}";

static enum quern_status parse_configurations(struct quern_error *err) {
    static const char generation[] = "{\"do_sample\": true, \"eos_token_id\": [3], \"top_k\": 5}";
    struct hf_config c;
    struct generation_config g;
    enum quern_status st = hf_config_parse(config_text, sizeof config_text - 1, "c", &c, err);
    if (!st)
        st = generation_config_parse(generation, sizeof generation - 1, "g", &c, &g, err);
    if (!st && (c.n_experts != 3 || g.top_k != 5 || g.eos_token_ids[0] != 3))
        st = error_set(err, QUERN_ERR_STATE, "wrong values");
    return st;
}

/* 16 tensors, one of them a matrix of experts' routing; in one file, or in several. */
static enum quern_status write_and_read(const char *dir, size_t max_shard_bytes,
                                        struct quern_error *err) {
    struct hf_config c;
    struct safetensors *st = NULL;
    struct random_checkpoint_options options = {
        .seed = 1, .dtype = DTYPE_BF16, .max_shard_bytes = max_shard_bytes};
    enum quern_status status = hf_config_parse(config_text, sizeof config_text - 1, "c", &c, err);
    if (!status)
        status = os_make_dir(dir, err);
    if (!status)
        status = random_checkpoint_write(&c, dir, &options, err);
    if (!status)
        status = safetensors_open(dir, &st, err);
    if (!status && (safetensors_count(st) != tensor_layout_count(&c) ||
                    (safetensors_file_count(st) > 1) != (max_shard_bytes > 0)))
        status = error_set(err, QUERN_ERR_STATE, "wrong number of tensors or files");
    safetensors_close(st);
    return status;
}

static enum quern_status write_and_read_one_file(struct quern_error *err) {
    static const char *dir;
    if (!dir)
        dir = support_temp_path("one_file");
    return write_and_read(dir, 0, err);
}

static enum quern_status write_and_read_shards(struct quern_error *err) {
    static const char *dir;
    if (!dir)
        dir = support_temp_path("shards");
    return write_and_read(dir, 1800, err);
}

const struct scenario formats_scenarios[] = {
    {"parse_configurations", parse_configurations},
    {"write_and_read_one_file", write_and_read_one_file},
    {"write_and_read_shards", write_and_read_shards},
    {NULL, NULL},
};
