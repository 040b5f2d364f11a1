#include "openai/text_requests.h"

#include <stdlib.h>
#include <string.h>

/* ---- embeddings ------------------------------------------------------------------ */

enum quern_status embedding_request_parse(const json_t *root, const struct api_context *context,
                                          struct embedding_request *out, struct api_error *err) {
    struct raw {
        struct embedding_request r;
        const json_t *input;
        const char *encoding_format;
    } raw = {0};
    static const struct field_spec specs[] = {
        FIELD_OF(FIELD_STRING, "model", struct raw, r.model),
        FIELD_OF(FIELD_ANY, "input", struct raw, input),
        FIELD_NUMBER(FIELD_INT, "dimensions", struct raw, r.dimensions, 1, INT32_MAX),
        FIELD_OF(FIELD_STRING, "encoding_format", struct raw, encoding_format),
        FIELD_IGNORED("user"),
        FIELD_LAST,
    };
    enum quern_status status =
        fields_read(root, "", specs, context->limits->ignore_unknown, &raw, err);
    if (status)
        return status;
    if (raw.encoding_format && strcmp(raw.encoding_format, "base64") == 0)
        raw.r.base64 = true;
    else if (raw.encoding_format && strcmp(raw.encoding_format, "float") != 0)
        return api_fail(err, API_VALUE, "encoding_format",
                        "Invalid value for 'encoding_format': expected 'float' or 'base64'.");
    status = prompt_inputs_read(raw.input, "input", context->limits->inputs, context->n_vocab,
                                &raw.r.inputs, &raw.r.n_inputs, err);
    if (!status)
        *out = raw.r;
    return status;
}

void embedding_request_release(struct embedding_request *r) {
    prompt_inputs_free(r->inputs, r->n_inputs);
    *r = (struct embedding_request){0};
}

/* ---- reranking ---------------------------------------------------------------------- */

/* A document is a string, or an object with one under "text". */
static enum quern_status read_document(const json_t *value, const char **out,
                                       struct api_error *err) {
    if (json_is_object(value))
        value = json_object_get(value, "text");
    return fields_string(value, "documents", out, err);
}

static enum quern_status read_documents(const json_t *documents, int64_t max,
                                        struct rerank_request *r, struct api_error *err) {
    size_t n = json_array_size(documents);
    if (!n || n > (size_t)max)
        return api_fail(err, documents ? API_VALUE : API_MISSING, "documents",
                        "Invalid value for 'documents': %zu documents, expected 1 to %lld.", n,
                        (long long)max);
    r->documents = calloc(n, sizeof *r->documents);
    if (!r->documents)
        return api_nomem(err);
    r->n_documents = n;
    for (size_t i = 0; i < n; i++) {
        enum quern_status status =
            read_document(json_array_get(documents, i), &r->documents[i], err);
        if (status)
            return status;
    }
    return QUERN_OK;
}

enum quern_status rerank_request_parse(const json_t *root, const struct api_context *context,
                                       struct rerank_request *out, struct api_error *err) {
    struct raw {
        struct rerank_request r;
        const json_t *documents;
    } raw = {.r.top_n = INT32_MAX};
    static const struct field_spec specs[] = {
        FIELD_OF(FIELD_STRING, "model", struct raw, r.model),
        FIELD_OF(FIELD_STRING, "query", struct raw, r.query),
        FIELD_OF(FIELD_STRING, "instruction", struct raw, r.instruction),
        FIELD_OF(FIELD_ARRAY, "documents", struct raw, documents),
        FIELD_NUMBER(FIELD_INT, "top_n", struct raw, r.top_n, 1, INT32_MAX),
        FIELD_OF(FIELD_BOOL, "return_documents", struct raw, r.return_documents),
        FIELD_IGNORED("user"),
        FIELD_LAST,
    };
    enum quern_status status =
        fields_read(root, "", specs, context->limits->ignore_unknown, &raw, err);
    if (!status && !raw.r.query)
        return api_fail(err, API_MISSING, "query", "Missing required parameter: 'query'.");
    if (!status)
        status = read_documents(raw.documents, context->limits->inputs, &raw.r, err);
    if (status)
        rerank_request_release(&raw.r);
    else
        *out = raw.r;
    return status;
}

void rerank_request_release(struct rerank_request *r) {
    free(r->documents);
    *r = (struct rerank_request){0};
}

/* ---- tokens --------------------------------------------------------------------------- */

enum quern_status tokenize_request_parse(const json_t *root, const struct api_context *context,
                                         struct tokenize_request *out, struct api_error *err) {
    struct raw {
        struct tokenize_request r;
        const json_t *content, *text, *prompt;
    } raw = {.r.parse_special = true};
    static const struct field_spec specs[] = {
        FIELD_OF(FIELD_STRING, "model", struct raw, r.model),
        FIELD_OF(FIELD_ANY, "content", struct raw, content),
        FIELD_OF(FIELD_ANY, "text", struct raw, text),
        FIELD_OF(FIELD_ANY, "prompt", struct raw, prompt),
        FIELD_OF(FIELD_BOOL, "add_special", struct raw, r.add_special),
        FIELD_OF(FIELD_BOOL, "add_special_tokens", struct raw, r.add_special),
        FIELD_OF(FIELD_BOOL, "parse_special", struct raw, r.parse_special),
        FIELD_OF(FIELD_BOOL, "with_pieces", struct raw, r.with_pieces),
        FIELD_OF(FIELD_BOOL, "return_token_strs", struct raw, r.with_pieces),
        FIELD_LAST,
    };
    enum quern_status status =
        fields_read(root, "", specs, context->limits->ignore_unknown, &raw, err);
    if (status)
        return status;
    const json_t *text = raw.content ? raw.content : raw.text ? raw.text : raw.prompt;
    if (!text)
        return api_fail(err, API_MISSING, "content", "Missing required parameter: 'content'.");
    if (!json_is_string(text))
        return api_fail(err, API_TYPE, "content",
                        "Invalid type for 'content': expected a string, but got %s.",
                        json_type_name(text));
    raw.r.text = (struct str){json_string_value(text), json_string_length(text)};
    *out = raw.r;
    return QUERN_OK;
}

enum quern_status detokenize_request_parse(const json_t *root, const struct api_context *context,
                                           struct detokenize_request *out, struct api_error *err) {
    struct raw {
        struct detokenize_request r;
        const json_t *tokens;
    } raw = {0};
    static const struct field_spec specs[] = {
        FIELD_OF(FIELD_STRING, "model", struct raw, r.model),
        FIELD_OF(FIELD_ARRAY, "tokens", struct raw, tokens),
        FIELD_OF(FIELD_BOOL, "skip_special", struct raw, r.skip_special),
        FIELD_LAST,
    };
    enum quern_status status =
        fields_read(root, "", specs, context->limits->ignore_unknown, &raw, err);
    if (!status && !raw.tokens)
        return api_fail(err, API_MISSING, "tokens", "Missing required parameter: 'tokens'.");
    if (!status && json_array_size(raw.tokens))
        status =
            token_array_read(raw.tokens, "tokens", context->n_vocab, &raw.r.ids, &raw.r.n_ids, err);
    if (!status)
        *out = raw.r;
    return status;
}
