/* The report of `quern inspect` for people: labels in one column, facts in the next. */
#include <stdio.h>

#include "cli/cli_format.h"
#include "cli/inspect_facts.h"

enum { LABEL_WIDTH = 15 };

/* "  Label          " */
static void label(struct buffer *b, const char *text) {
    buffer_printf(b, "  %-*s", LABEL_WIDTH, text);
}

static void heading(struct buffer *b, const char *text) {
    buffer_printf(b, "\n%s\n", text);
}

static const char *counted(int64_t n, char out[CLI_NUMBER_BYTES]) {
    return cli_format_count(n, out);
}

static void write_attention(const struct hf_config *c, struct buffer *b) {
    label(b, "Attention");
    buffer_printf(b, "%d query and %d key/value heads of %d", (int)c->n_heads, (int)c->n_kv_heads,
                  (int)c->head_dim);
    if (c->qk_norm)
        buffer_puts(b, ", q/k norms");
    if (c->qkv_bias)
        buffer_puts(b, c->o_bias ? ", q/k/v/o biases" : ", q/k/v biases");
    int32_t windowed = 0, window = 0;
    for (int32_t i = 0; i < c->n_layers; i++) {
        windowed += c->layer_window[i] > 0;
        window = c->layer_window[i] ? c->layer_window[i] : window;
    }
    char n[CLI_NUMBER_BYTES];
    if (windowed)
        buffer_printf(b, ", window of %s tokens on %d layers", counted(window, n), (int)windowed);
    buffer_putc(b, '\n');
}

static void write_mlp(const struct hf_config *c, struct buffer *b) {
    int32_t moe = 0;
    for (int32_t i = 0; i < c->n_layers; i++)
        moe += c->layer_is_moe[i];
    if (moe < c->n_layers) {
        label(b, "MLP");
        buffer_printf(b, "%d wide, SiLU%s", (int)c->intermediate_size,
                      c->mlp_bias ? ", with biases" : "");
        if (moe)
            buffer_printf(b, ", on %d layers", (int)(c->n_layers - moe));
        buffer_putc(b, '\n');
    }
    if (moe) {
        label(b, "Experts");
        buffer_printf(b, "%d of %d at each token, %d wide, on %d layers, %s\n",
                      (int)c->n_experts_per_token, (int)c->n_experts, (int)c->moe_intermediate_size,
                      (int)moe, c->norm_topk_prob ? "weights normalised" : "weights as routed");
    }
}

static void write_positions(const struct inspect_facts *f, struct buffer *b) {
    const struct rope_config *r = &f->config.rope;
    char n[CLI_NUMBER_BYTES];
    label(b, "Context");
    buffer_printf(b, "%s tokens", counted(f->config.max_position_embeddings, n));
    if (f->max_context != f->config.max_position_embeddings)
        buffer_printf(b, ", %s with scaling", counted(f->max_context, n));
    buffer_putc(b, '\n');
    label(b, "RoPE");
    buffer_printf(b, "theta %s", counted((int64_t)r->theta, n));
    if (r->type != ROPE_DEFAULT)
        buffer_printf(b, ", %s by %g", rope_type_name(r->type), r->factor);
    if (r->type == ROPE_YARN || r->type == ROPE_LLAMA3)
        buffer_printf(b, " from %s", counted(r->original_max_positions, n));
    if (r->type == ROPE_YARN)
        buffer_printf(b, ", beta %g to %g, attention factor %.6g", r->beta_fast, r->beta_slow,
                      f->attention_factor);
    if (r->type == ROPE_LLAMA3)
        buffer_printf(b, ", frequency factors %g and %g", r->low_freq_factor, r->high_freq_factor);
    buffer_putc(b, '\n');
}

static void write_model(const struct inspect_facts *f, struct buffer *b) {
    const struct hf_config *c = &f->config;
    char n[CLI_NUMBER_BYTES];
    label(b, "Architecture");
    buffer_printf(b, "%s, %d layers, hidden size %d\n", c->architecture_name, (int)c->n_layers,
                  (int)c->hidden_size);
    label(b, "Parameters");
    buffer_puts(b, counted(f->n_params, n));
    if (f->n_active != f->n_params)
        buffer_printf(b, ", %s active at each token", counted(f->n_active, n));
    buffer_putc(b, '\n');
    write_attention(c, b);
    write_mlp(c, b);
    label(b, "Vocabulary");
    buffer_printf(b, "%s rows, %s\n", counted(c->vocab_size, n),
                  c->tie_word_embeddings ? "head tied to the embedding" : "head of its own");
    write_positions(f, b);
    if (c->has_quantization) {
        char text[256];
        quant_config_describe(&c->quant, text, sizeof text);
        label(b, "Quantization");
        buffer_printf(b, "%s", text);
        if (f->n_coded)
            buffer_printf(b, ", %s matrices", counted((int64_t)f->n_coded, n));
        buffer_putc(b, '\n');
    }
}

static void write_weights(const struct inspect_facts *f, bool tensors, struct buffer *b) {
    char n[CLI_NUMBER_BYTES];
    heading(b, "Weights");
    label(b, "Tensors");
    buffer_printf(b, "%s (", counted((int64_t)checkpoint_count(f->weights), n));
    for (int i = 0; i < f->n_types; i++)
        buffer_printf(b, "%s%s %s", i ? ", " : "", counted((int64_t)f->types[i].n, n),
                      f->types[i].name);
    size_t files = checkpoint_file_count(f->weights);
    buffer_printf(b, ") in %zu file%s\n", files, files == 1 ? "" : "s");
    label(b, "Size");
    buffer_printf(b, "%s\n", cli_format_bytes((double)checkpoint_total_bytes(f->weights), n));
    for (size_t i = 0; tensors && i < checkpoint_count(f->weights); i++) {
        const struct tensor *t = checkpoint_at(f->weights, i);
        buffer_printf(b, "  %-60s %-5s [", t->name, tensor_type_name(t));
        for (int k = 0; k < t->rank; k++)
            buffer_printf(b, "%s%zu", k ? ", " : "", t->shape[k]);
        buffer_printf(b, "]  %s\n", t->file);
    }
}

static void write_memory(const struct inspect_facts *f, struct buffer *b) {
    char n[CLI_NUMBER_BYTES], m[CLI_NUMBER_BYTES], k[CLI_NUMBER_BYTES];
    heading(b, "Memory for the weights, by format");
    if (f->n_coded) {
        label(b, "as stored");
        buffer_printf(b, "%8s   the checkpoint's own values, without a second rounding\n",
                      cli_format_bytes((double)checkpoint_total_bytes(f->weights), n));
    }
    for (int i = 0; i < INSPECT_N_FORMATS; i++) {
        label(b, inspect_formats[i].name);
        buffer_printf(b, "%8s", cli_format_bytes(f->format_bytes[i], n));
        if (inspect_formats[i].note)
            buffer_printf(b, "   %s", inspect_formats[i].note);
        buffer_putc(b, '\n');
    }
    buffer_puts(b, "  Quantized formats keep embedding, head, router and norms in bf16.\n");
    heading(b, "Memory for the context");
    label(b, "tokens");
    buffer_printf(b, "%8s  %8s  %8s\n", "float32", "bf16", "int8");
    for (int i = 0; i < f->n_contexts; i++) {
        double tokens = f->contexts[i];
        label(b, counted(f->contexts[i], n));
        buffer_printf(b, "%8s  %8s  %8s\n",
                      cli_format_bytes(tokens * inspect_kv_bytes(f, KV_F32), n),
                      cli_format_bytes(tokens * inspect_kv_bytes(f, KV_BF16), m),
                      cli_format_bytes(tokens * inspect_kv_bytes(f, KV_INT8), k));
    }
}

static void write_tokenizer(const struct inspect_facts *f, struct buffer *b) {
    char n[CLI_NUMBER_BYTES];
    if (!f->tokenizer && !f->chat)
        return;
    heading(b, "Text");
    if (f->tokenizer) {
        label(b, "Tokenizer");
        buffer_printf(b, "byte-level BPE, %s tokens, %d of them added (%d special)\n",
                      counted(f->n_tokens, n), (int)f->n_added, (int)f->n_special);
    }
    if (f->chat) {
        bool think = chat_template_can_think(f->chat), tools = chat_template_has_tools(f->chat);
        label(b, "Chat template");
        buffer_printf(b, "%s%s%s\n", think ? "thinking" : "", think && tools ? ", " : "",
                      tools   ? "tools"
                      : think ? ""
                              : "plain");
    }
}

static void write_token(const struct inspect_facts *f, int32_t id, struct buffer *b) {
    buffer_printf(b, "%d", (int)id);
    if (!f->tokenizer || id >= f->n_tokens || !tokenizer_is_added(f->tokenizer, id))
        return;
    buffer_putc(b, ' ');
    buffer_append_str(b, tokenizer_token_bytes(f->tokenizer, id));
}

static void write_generation(const struct inspect_facts *f, struct buffer *b) {
    const struct generation_config *g = &f->generation;
    if (!f->has_generation)
        return;
    heading(b, "Generation");
    label(b, "Sampling");
    if (!g->do_sample)
        buffer_puts(b, "greedy");
    else
        buffer_printf(b, "temperature %g, top_k %d, top_p %g", (double)g->temperature,
                      (int)g->top_k, (double)g->top_p);
    if (g->min_p > 0)
        buffer_printf(b, ", min_p %g", (double)g->min_p);
    if (g->repetition_penalty > 1 || g->repetition_penalty < 1)
        buffer_printf(b, ", repetition penalty %g", (double)g->repetition_penalty);
    buffer_putc(b, '\n');
    label(b, "Ends at");
    for (int32_t i = 0; i < g->n_eos; i++) {
        buffer_puts(b, i ? ", " : "");
        write_token(f, g->eos_token_ids[i], b);
    }
    buffer_puts(b, g->n_eos ? "\n" : "nothing\n");
}

static void write_strings(const char *title, const struct inspect_strings *list, struct buffer *b) {
    if (!list->n)
        return;
    heading(b, title);
    for (size_t i = 0; i < list->n && i < INSPECT_KEPT_MAX; i++)
        buffer_printf(b, "  %s\n", list->items[i]);
    if (list->n > INSPECT_KEPT_MAX)
        buffer_printf(b, "  and %zu more\n", list->n - INSPECT_KEPT_MAX);
}

void inspect_write_text(const struct inspect_facts *f, bool tensors, struct buffer *b) {
    buffer_printf(b, "%s\n", f->path);
    if (f->has_config)
        write_model(f, b);
    if (f->weights)
        write_weights(f, tensors, b);
    if (f->has_config)
        write_memory(f, b);
    write_tokenizer(f, b);
    write_generation(f, b);
    write_strings("Not here", &f->missing, b);
    write_strings("Notes", &f->notes, b);
    write_strings("Problems", &f->problems, b);
}
