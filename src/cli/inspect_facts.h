/* inspect_facts.h - what `quern inspect` knows about a model directory, a GGUF file, a config.json
 * or a .safetensors file, gathered before anything is printed. */
#ifndef QUERN_CLI_INSPECT_FACTS_H
#define QUERN_CLI_INSPECT_FACTS_H

#include "base/arena.h"
#include "chat/chat_template.h"
#include "formats/checkpoint.h"
#include "formats/hf_config.h"
#include "formats/quantized_linear.h"
#include "formats/tensor_layout.h"
#include "kernels/kv_layout.h"
#include "tokenizer/tokenizer.h"

/* Ways to hold the weights. Quantized ones keep embedding, head, router and norms in bf16. */
struct inspect_format {
    const char *name;
    double matrix_bits; /* of a weight of a layer's matrices, its share of the scales included */
    double other_bits;  /* of all other weights */
    const char *note;
};
enum { INSPECT_N_FORMATS = 5, INSPECT_N_CONTEXTS = 3, INSPECT_KEPT_MAX = 100 };
extern const struct inspect_format inspect_formats[INSPECT_N_FORMATS];

/* So many tensors of a type. */
struct inspect_count {
    const char *name;
    size_t n;
};
enum { INSPECT_TYPES_MAX = 48 };

struct inspect_strings {
    const char *items[INSPECT_KEPT_MAX]; /* the first ones */
    size_t n;                            /* all of them */
};

struct inspect_facts {
    struct arena arena;
    const char *path;
    bool has_config, has_generation, has_tokenizer, has_chat;
    struct hf_config config;
    struct generation_config generation;
    struct checkpoint *weights;  /* or NULL */
    struct tokenizer *tokenizer; /* or NULL */
    struct chat_template *chat;  /* or NULL */

    int64_t n_params, n_active, n_matrix_params;
    double format_bytes[INSPECT_N_FORMATS];
    int32_t contexts[INSPECT_N_CONTEXTS]; /* in tokens, rising; n_contexts of them */
    int n_contexts;
    int32_t max_context;     /* with the scaling the config asks for */
    double attention_factor; /* YaRN's, as transformers computes it */
    struct inspect_count types[INSPECT_TYPES_MAX]; /* of tensors; [n_types] */
    int n_types;
    int32_t n_tokens, n_added, n_special;
    size_t n_coded; /* matrices of a quantized checkpoint that are coded */

    struct inspect_strings missing;  /* files that are not here */
    struct inspect_strings notes;    /* what is unusual and harmless */
    struct inspect_strings problems; /* what will keep the model from running */
};

/* Fails only when nothing can be said; else what is wrong stands in `problems`. Release in
 * either case. */
enum quern_status inspect_collect(const char *path, struct inspect_facts *f,
                                  struct quern_error *err);
void inspect_release(struct inspect_facts *f);

/* Keys and values of a position, as a cache of this type holds them. */
double inspect_kv_bytes(const struct inspect_facts *f, enum kv_type type);

/* The report for people and for programs. */
void inspect_write_text(const struct inspect_facts *f, bool tensors, struct buffer *out);
enum quern_status inspect_write_json(const struct inspect_facts *f, bool tensors,
                                     struct buffer *out, struct quern_error *err);

#endif
