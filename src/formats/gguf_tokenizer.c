#include "formats/gguf_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "text/json.h"
#include "text/unicode.h"

enum { TOKENS_MAX = 1 << 24 };

/* llama.cpp's kinds of tokens. */
enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER_DEFINED = 4,
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6,
};

/* ---- pre-tokenizers ----------------------------------------------------------------------------- */

#define SPLIT(pattern)                                                                        \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|" pattern           \
    "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}," \
    "\"behavior\":\"Isolated\",\"invert\":false},"                                            \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}"

static const char qwen2_json[] = SPLIT("\\\\p{N}");
static const char llama3_json[] = SPLIT("\\\\p{N}{1,3}");
static const char gpt2_json[] =
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}";
static const char smollm_json[] =
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true},"
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}]}";

/* Names that llama.cpp's converter gives, by the tokenizers it was made from. */
static const struct pretokenizer {
    const char *name, *json;
    bool nfc;           /* the normalizer */
    bool ignore_merges; /* a word that is a token is that token */
    bool add_bos;       /* unless tokenizer.ggml.add_bos_token says otherwise */
} pretokenizers[] = {
    {"qwen2", qwen2_json, true, false, false},
    {"deepseek-r1-qwen", qwen2_json, true, false, false},
    {"megrez", qwen2_json, true, false, false},
    {"llama-bpe", llama3_json, false, true, true},
    {"llama3", llama3_json, false, true, true},
    {"llama-v3", llama3_json, false, true, true},
    {"falcon3", llama3_json, false, true, true},
    {"gpt-2", gpt2_json, false, false, false},
    {"smollm", smollm_json, false, false, false},
};

static const struct pretokenizer *find_pretokenizer(struct str name) {
    for (size_t i = 0; i < sizeof pretokenizers / sizeof *pretokenizers; i++)
        if (str_is(name, pretokenizers[i].name))
            return &pretokenizers[i];
    return NULL;
}

/* ---- tokens --------------------------------------------------------------------------------------- */

struct source {
    const struct gguf *g;
    const struct gguf_value *tokens, *types, *merges;
    const struct pretokenizer *pre;
    size_t n_normal, n_added;
    /* The added tokens' ids follow the vocabulary without a gap, as they do in a tokenizer.json
     * that leaves them out of it. Otherwise the vocabulary must name them, to fix their ids. */
    bool added_follow;
};

static int64_t type_of(const struct gguf_value *types, size_t i) {
    return types ? gguf_integer_item(types, i) : TOKEN_NORMAL;
}

static bool is_special(int64_t type) {
    return type == TOKEN_CONTROL || type == TOKEN_UNKNOWN;
}

static bool is_added(int64_t type) {
    return is_special(type) || type == TOKEN_USER_DEFINED;
}

static enum quern_status check_tokens(struct source *s, struct quern_error *err) {
    const char *name = gguf_name(s->g);
    struct str token;
    size_t at = 0, last_normal = 0, first_added = SIZE_MAX, last_added = 0;
    for (size_t i = 0; gguf_next_string(s->tokens, &at, &token); i++) {
        const int64_t type = type_of(s->types, i);
        if (type < TOKEN_NORMAL || type > TOKEN_BYTE)
            return error_set(err, QUERN_ERR_FORMAT, "%s: token %zu is of unknown type %lld", name,
                             i, (long long)type);
        if (!utf8_valid(token))
            return error_set(err, QUERN_ERR_FORMAT, "%s: token %zu is no valid UTF-8", name, i);
        if (type == TOKEN_UNUSED)
            continue;
        if (is_added(type)) {
            s->n_added++;
            first_added = i < first_added ? i : first_added;
            last_added = i;
        } else {
            s->n_normal++;
            last_normal = i;
        }
    }
    s->added_follow = s->n_added && s->n_normal && last_normal == s->n_normal - 1 &&
                      first_added == s->n_normal &&
                      last_added - first_added == s->n_added - 1;
    return QUERN_OK;
}

static bool is_array(const struct gguf_value *v, enum gguf_type type) {
    return v && v->type == GGUF_ARRAY && v->item_type == type;
}

static enum quern_status find_parts(struct source *s, struct quern_error *err) {
    const char *name = gguf_name(s->g);
    struct str model, pre;
    if (!gguf_string(gguf_find(s->g, "tokenizer.ggml.model"), &model))
        return error_set(err, QUERN_ERR_FORMAT, "%s: tokenizer.ggml.model is missing", name);
    if (!str_is(model, "gpt2"))
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "%s: tokenizer.ggml.model \"%.*s\" is not supported, only byte-level BPE "
                         "(\"gpt2\") is",
                         name, (int)(model.len < 60 ? model.len : 60), model.ptr);
    if (!gguf_string(gguf_find(s->g, "tokenizer.ggml.pre"), &pre))
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "%s: tokenizer.ggml.pre is missing: how text is cut into words is not "
                         "known (files made before May 2024 lack it)",
                         name);
    s->pre = find_pretokenizer(pre);
    if (!s->pre)
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "%s: tokenizer.ggml.pre \"%.*s\" is not supported (qwen2, llama-bpe, "
                         "gpt-2, smollm and their like are)",
                         name, (int)(pre.len < 60 ? pre.len : 60), pre.ptr);
    s->tokens = gguf_find(s->g, "tokenizer.ggml.tokens");
    s->types = gguf_find(s->g, "tokenizer.ggml.token_type");
    s->merges = gguf_find(s->g, "tokenizer.ggml.merges");
    if (!is_array(s->tokens, GGUF_STRING) || s->tokens->n_items > TOKENS_MAX)
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: tokenizer.ggml.tokens is missing or no array of up to 2^24 strings",
                         name);
    if (!is_array(s->merges, GGUF_STRING))
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: tokenizer.ggml.merges is missing or no array of strings", name);
    if (s->types && (!gguf_is_integers(s->types) || s->types->n_items != s->tokens->n_items))
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: tokenizer.ggml.token_type is no array of %zu integers", name,
                         s->tokens->n_items);
    return check_tokens(s, err);
}

/* ---- tokenizer.json ------------------------------------------------------------------------------- */

static void write_added(const struct source *s, struct buffer *out) {
    struct str token;
    size_t at = 0;
    bool first = true;
    buffer_puts(out, ",\"added_tokens\":[");
    for (size_t i = 0; gguf_next_string(s->tokens, &at, &token); i++) {
        const int64_t type = type_of(s->types, i);
        if (!is_added(type))
            continue;
        buffer_printf(out, "%s{\"id\":%zu,\"content\":", first ? "" : ",", i);
        json_write_string(token, out);
        buffer_printf(out,
                      ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                      "\"normalized\":false,\"special\":%s}",
                      is_special(type) ? "true" : "false");
        first = false;
    }
    buffer_puts(out, "]");
}

static void write_model(const struct source *s, struct buffer *out) {
    struct str text;
    bool first = true;
    buffer_printf(out, ",\"model\":{\"type\":\"BPE\",\"ignore_merges\":%s,\"vocab\":{",
                  s->pre->ignore_merges ? "true" : "false");
    size_t at = 0;
    for (size_t i = 0; gguf_next_string(s->tokens, &at, &text); i++) {
        const int64_t type = type_of(s->types, i);
        if (type == TOKEN_UNUSED || (is_added(type) && s->added_follow))
            continue;
        if (!first)
            buffer_putc(out, ',');
        json_write_string(text, out);
        buffer_printf(out, ":%zu", i);
        first = false;
    }
    buffer_puts(out, "},\"merges\":[");
    at = 0;
    for (size_t i = 0; gguf_next_string(s->merges, &at, &text); i++) {
        if (i)
            buffer_putc(out, ',');
        json_write_string(text, out);
    }
    buffer_puts(out, "]}");
}

static bool flag(const struct gguf *g, const char *key, bool fallback) {
    bool value = fallback;
    return gguf_bool(gguf_find(g, key), &value) ? value : fallback;
}

static bool token_id(const struct gguf *g, const char *key, size_t n_tokens, size_t *id) {
    int64_t value;
    if (!gguf_integer(gguf_find(g, key), &value) || value < 0 || (uint64_t)value >= n_tokens)
        return false;
    *id = (size_t)value;
    return true;
}

/* Around a text: the token of beginning, that of the end. */
static enum quern_status write_post_processor(const struct source *s, struct buffer *out,
                                              struct quern_error *err) {
    const size_t n = s->tokens->n_items;
    size_t bos = 0, eos = 0;
    const bool add_bos = flag(s->g, "tokenizer.ggml.add_bos_token", s->pre->add_bos);
    const bool add_eos = flag(s->g, "tokenizer.ggml.add_eos_token", false);
    if ((add_bos && !token_id(s->g, "tokenizer.ggml.bos_token_id", n, &bos)) ||
        (add_eos && !token_id(s->g, "tokenizer.ggml.eos_token_id", n, &eos)))
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: a token is to be added around a text, but there is no valid "
                         "tokenizer.ggml.bos_token_id or eos_token_id",
                         gguf_name(s->g));
    if (!add_bos && !add_eos)
        return QUERN_OK;
    static const char bos_piece[] = "{\"SpecialToken\":{\"id\":\"b\",\"type_id\":0}},";
    static const char eos_piece[] = ",{\"SpecialToken\":{\"id\":\"e\",\"type_id\":0}}";
    buffer_printf(out,
                  ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[%s"
                  "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}%s],\"pair\":[],\"special_tokens\":{"
                  "\"b\":{\"id\":\"b\",\"ids\":[%zu],\"tokens\":[\"b\"]},"
                  "\"e\":{\"id\":\"e\",\"ids\":[%zu],\"tokens\":[\"e\"]}}}",
                  add_bos ? bos_piece : "", add_eos ? eos_piece : "", bos, eos);
    return QUERN_OK;
}

enum quern_status gguf_tokenizer_json(const struct gguf *g, struct buffer *out,
                                      struct quern_error *err) {
    struct source s = {.g = g};
    enum quern_status status = find_parts(&s, err);
    if (status)
        return status;
    buffer_puts(out, "{\"version\":\"1.0\",\"normalizer\":");
    buffer_puts(out, s.pre->nfc ? "{\"type\":\"NFC\"}" : "null");
    buffer_puts(out, ",\"pre_tokenizer\":");
    buffer_puts(out, s.pre->json);
    status = write_post_processor(&s, out, err);
    if (status)
        return status;
    buffer_puts(out, ",\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
                     "\"trim_offsets\":true,\"use_regex\":true}");
    write_added(&s, out);
    write_model(&s, out);
    buffer_putc(out, '}');
    return out->failed ? buffer_status(out, gguf_name(g), err) : QUERN_OK;
}

/* ---- template and ends ------------------------------------------------------------------------------ */

bool gguf_chat_template(const struct gguf *g, struct str *out) {
    return gguf_string(gguf_find(g, "tokenizer.chat_template"), out);
}

bool gguf_special_token(const struct gguf *g, const char *key, struct str *out) {
    const struct gguf_value *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    size_t id, at = 0;
    if (!is_array(tokens, GGUF_STRING) || !token_id(g, key, tokens->n_items, &id))
        return false;
    for (size_t i = 0; gguf_next_string(tokens, &at, out); i++)
        if (i == id)
            return true;
    return false;
}

static size_t add_id(int32_t *ids, size_t n, size_t max, size_t id) {
    for (size_t i = 0; i < n; i++)
        if (ids[i] == (int32_t)id)
            return n;
    if (n == max || id > INT32_MAX)
        return n;
    ids[n] = (int32_t)id;
    return n + 1;
}

size_t gguf_end_ids(const struct gguf *g, int32_t *ids, size_t max) {
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    static const char *const names[] = {"<|im_end|>", "<|endoftext|>",   "<|eot_id|>",
                                        "<|eom_id|>", "<|end_of_text|>", "<|end|>"};
    const struct gguf_value *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    const struct gguf_value *types = gguf_find(g, "tokenizer.ggml.token_type");
    struct str token;
    size_t id, n = 0, at = 0;
    if (!is_array(tokens, GGUF_STRING))
        return 0;
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        if (token_id(g, keys[k], tokens->n_items, &id))
            n = add_id(ids, n, max, id);
    if (!gguf_is_integers(types) || types->n_items != tokens->n_items)
        return n;
    for (size_t i = 0; gguf_next_string(tokens, &at, &token); i++)
        for (size_t k = 0; k < sizeof names / sizeof *names; k++)
            if (str_is(token, names[k]) && type_of(types, i) == TOKEN_CONTROL)
                n = add_id(ids, n, max, i);
    return n;
}
