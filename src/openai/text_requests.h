/* text_requests.h - the requests that generate nothing: embeddings, reranking, tokenizing. */
#ifndef QUERN_OPENAI_TEXT_REQUESTS_H
#define QUERN_OPENAI_TEXT_REQUESTS_H

#include "openai/completion_request.h"

/* In all of them: `root` must outlive *out, and on failure nothing is held. */

struct embedding_request {
    const char *model;
    struct prompt_input *inputs; /* own */
    size_t n_inputs;
    int32_t dimensions; /* 0: all; else the first so many, made a unit vector again */
    bool base64;        /* little-endian float32 */
};
enum quern_status embedding_request_parse(const json_t *root, const struct api_context *context,
                                          struct embedding_request *out, struct api_error *err);
void embedding_request_release(struct embedding_request *r);

struct rerank_request {
    const char *model;
    const char *query;
    const char *instruction; /* NULL: Qwen3-Reranker's own */
    const char **documents;  /* own array of borrowed texts */
    size_t n_documents;
    int32_t top_n; /* most results */
    bool return_documents;
};
enum quern_status rerank_request_parse(const json_t *root, const struct api_context *context,
                                       struct rerank_request *out, struct api_error *err);
void rerank_request_release(struct rerank_request *r);

/* {"content" or "text", "add_special", "parse_special", "with_pieces"} */
struct tokenize_request {
    const char *model;
    struct str text; /* borrowed; it may hold U+0000 */
    bool add_special, parse_special, with_pieces;
};
enum quern_status tokenize_request_parse(const json_t *root, const struct api_context *context,
                                         struct tokenize_request *out, struct api_error *err);

struct detokenize_request {
    const char *model;
    int32_t *ids; /* own */
    size_t n_ids;
    bool skip_special;
};
enum quern_status detokenize_request_parse(const json_t *root, const struct api_context *context,
                                           struct detokenize_request *out, struct api_error *err);

#endif
