/* The report of `quern inspect --json`. */
#include <stdio.h>
#include <stdlib.h>

#include "base/number.h"
#include "cli/inspect_facts.h"
#include "text/unicode.h"

/* jansson's setters take NULL values and tell of them by -1, so that one check at the end is
 * enough. */
static int put(json_t *o, const char *key, json_t *value) {
    return json_object_set_new(o, key, value);
}

static int put_int(json_t *o, const char *key, int64_t value) {
    return put(o, key, json_integer(value));
}

static int put_real(json_t *o, const char *key, double value) {
    return put(o, key, json_real(value));
}

/* A float32 as the file wrote it, 0.6 and not 0.6000000238: six digits always survive. */
static int put_short(json_t *o, const char *key, float value) {
    char digits[32];
    number_print(digits, sizeof digits, "%.6g", (double)value);
    return put_real(o, key, number_parse(digits, NULL));
}

/* jansson takes only valid UTF-8; paths may be anything, and messages may be cut. */
static json_t *text(const char *s) {
    struct buffer b;
    buffer_init(&b, SIZE_MAX / 4);
    json_t *value =
        utf8_sanitize(str_from(s), &b) ? NULL : json_stringn(b.data ? b.data : "", b.len);
    buffer_release(&b);
    return value;
}

static int put_strings(json_t *o, const char *key, const struct inspect_strings *list) {
    json_t *array = json_array();
    int failed = 0;
    for (size_t i = 0; i < list->n && i < INSPECT_KEPT_MAX; i++)
        failed |= json_array_append_new(array, text(list->items[i]));
    return put(o, key, array) | failed;
}

static int put_rope(json_t *o, const struct inspect_facts *f) {
    const struct rope_config *r = &f->config.rope;
    json_t *rope = json_object();
    int failed =
        put(rope, "type", json_string(rope_type_name(r->type))) | put_real(rope, "theta", r->theta);
    if (r->type != ROPE_DEFAULT)
        failed |= put_real(rope, "factor", r->factor) |
                  put_int(rope, "original_max_positions", r->original_max_positions);
    if (r->type == ROPE_YARN)
        failed |= put_real(rope, "attention_factor", f->attention_factor);
    return put(o, "rope", rope) | failed;
}

static json_t *quantization_json(const struct inspect_facts *f) {
    const struct hf_config *c = &f->config;
    char text[256];
    if (!c->has_quantization)
        return json_null();
    quant_config_describe(&c->quant, text, sizeof text);
    return json_pack("{s:s, s:s, s:I}", "method", c->quant.name, "description", text,
                     "coded_matrices", (json_int_t)f->n_coded);
}

static int put_model(json_t *o, const struct inspect_facts *f) {
    const struct hf_config *c = &f->config;
    json_t *windows = json_array();
    int failed = 0;
    for (int32_t i = 0; i < c->n_layers; i++)
        failed |= json_array_append_new(windows, json_integer(c->layer_window[i]));
    return failed | put(o, "architecture", json_string(c->architecture_name)) |
           put_int(o, "parameters", f->n_params) | put_int(o, "active_parameters", f->n_active) |
           put_int(o, "layers", c->n_layers) | put_int(o, "hidden_size", c->hidden_size) |
           put_int(o, "intermediate_size", c->intermediate_size) | put_int(o, "heads", c->n_heads) |
           put_int(o, "kv_heads", c->n_kv_heads) | put_int(o, "head_dim", c->head_dim) |
           put_int(o, "vocab_size", c->vocab_size) | put_int(o, "experts", c->n_experts) |
           put_int(o, "experts_per_token", c->n_experts_per_token) |
           put(o, "tied_head", json_boolean(c->tie_word_embeddings)) |
           put(o, "layer_windows", windows) | put_int(o, "context", c->max_position_embeddings) |
           put_int(o, "scaled_context", f->max_context) |
           put(o, "quantization", quantization_json(f)) |
           put_rope(o, f);
}

static int put_memory(json_t *o, const struct inspect_facts *f) {
    json_t *weights = json_object(), *kv = json_object();
    int failed = 0;
    for (int i = 0; i < INSPECT_N_FORMATS; i++)
        failed |= put_int(weights, inspect_formats[i].name, (int64_t)f->format_bytes[i]);
    for (int type = 0; type < KV_TYPE_COUNT; type++)
        failed |= put_int(kv, kv_type_name((enum kv_type)type),
                          (int64_t)inspect_kv_bytes(f, (enum kv_type)type));
    return failed | put(o, "weight_bytes", weights) | put(o, "kv_bytes_per_token", kv);
}

static json_t *tensor_json(const struct tensor *t) {
    json_t *o = json_object(), *shape = json_array();
    int failed = 0;
    for (int i = 0; i < t->rank; i++)
        failed |= json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    failed |= put(o, "name", json_string(t->name)) |
              put(o, "dtype", json_string(tensor_type_name(t))) | put(o, "shape", shape) |
              put_int(o, "bytes", (int64_t)t->size_bytes) | put(o, "file", json_string(t->file));
    if (!failed)
        return o;
    json_decref(o);
    return NULL;
}

static int put_weights(json_t *o, const struct inspect_facts *f, bool tensors) {
    json_t *w = json_object(), *dtypes = json_object(), *list = json_array();
    int failed = 0;
    for (int i = 0; i < f->n_types; i++)
        failed |= put_int(dtypes, f->types[i].name, (int64_t)f->types[i].n);
    for (size_t i = 0; tensors && i < checkpoint_count(f->weights); i++)
        failed |= json_array_append_new(list, tensor_json(checkpoint_at(f->weights, i)));
    failed |= put_int(w, "tensors", (int64_t)checkpoint_count(f->weights)) |
              put_int(w, "files", (int64_t)checkpoint_file_count(f->weights)) |
              put_int(w, "bytes", (int64_t)checkpoint_total_bytes(f->weights)) |
              put(w, "dtypes", dtypes);
    if (tensors)
        failed |= put(w, "list", json_incref(list));
    json_decref(list);
    return put(o, "weights", w) | failed;
}

static int put_text(json_t *o, const struct inspect_facts *f) {
    json_t *t = f->tokenizer ? json_object() : json_null();
    json_t *c = f->chat ? json_object() : json_null();
    int failed = 0;
    if (f->tokenizer)
        failed |= put(t, "kind", json_string("byte-level BPE")) |
                  put_int(t, "tokens", f->n_tokens) | put_int(t, "added", f->n_added) |
                  put_int(t, "special", f->n_special);
    if (f->chat)
        failed |= put(c, "thinking", json_boolean(chat_template_can_think(f->chat))) |
                  put(c, "tools", json_boolean(chat_template_has_tools(f->chat)));
    return failed | put(o, "tokenizer", t) | put(o, "chat_template", c);
}

static int put_generation(json_t *o, const struct inspect_facts *f) {
    const struct generation_config *g = &f->generation;
    json_t *j = json_object(), *eos = json_array();
    int failed = 0;
    for (int32_t i = 0; i < g->n_eos; i++)
        failed |= json_array_append_new(eos, json_integer(g->eos_token_ids[i]));
    return failed | put(j, "do_sample", json_boolean(g->do_sample)) |
           put_short(j, "temperature", g->temperature) | put_int(j, "top_k", g->top_k) |
           put_short(j, "top_p", g->top_p) | put_short(j, "min_p", g->min_p) |
           put_short(j, "repetition_penalty", g->repetition_penalty) |
           put(j, "eos_token_ids", eos) | put(o, "generation", j);
}

enum quern_status inspect_write_json(const struct inspect_facts *f, bool tensors,
                                     struct buffer *out, struct quern_error *err) {
    json_t *o = json_object();
    int failed = put(o, "path", text(f->path));
    if (f->has_config)
        failed |= put_model(o, f) | put_memory(o, f);
    if (f->weights)
        failed |= put_weights(o, f, tensors);
    failed |= put_text(o, f);
    if (f->has_generation)
        failed |= put_generation(o, f);
    failed |= put_strings(o, "missing", &f->missing) | put_strings(o, "notes", &f->notes) |
              put_strings(o, "problems", &f->problems);
    enum quern_status status = failed ? error_nomem(err) : QUERN_OK;
    if (!status) {
        json_write_python(o, 2, out);
        buffer_putc(out, '\n');
        status = buffer_status(out, "the report", err);
    }
    json_decref(o);
    return status;
}
