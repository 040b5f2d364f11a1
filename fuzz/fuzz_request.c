/* Requests of every kind: JSON to structs. The first byte chooses the kind. */
#include <stdint.h>
#include <stdlib.h>

#include "openai/anthropic_request.h"
#include "openai/responses_request.h"
#include "openai/text_requests.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_chat(const json_t *root, const struct api_context *context) {
    struct chat_request r;
    struct api_error err;
    if (chat_request_parse(root, context, &r, &err) == QUERN_OK)
        chat_request_release(&r);
}

static void read_messages(const json_t *root, const struct api_context *context) {
    json_t *converted = NULL;
    struct api_error err;
    if (anthropic_to_openai(root, false, context->limits, &converted, &err))
        return;
    read_chat(converted, context);
    json_decref(converted);
}

static void read_responses(const json_t *root, const struct api_context *context) {
    static const char id[] = "resp_0123456789abcdef01234567";
    struct response_store store;
    struct responses_request r;
    struct api_error err;
    if (response_store_init(&store, 2, 1 << 20, NULL))
        return;
    const struct response_to_store what = {
        .id = id,
        .owner = "",
        .answer = STR_LIT("{}"),
        .input = STR_LIT("{\"type\":\"function_call\",\"call_id\":\"1\",\"name\":\"f\",\"arguments\":\"{}\"}"),
        .output = STR_LIT("{\"type\":\"message\",\"id\":\"msg_0123456789abcdef01234567_0\",\"role\":"
                          "\"assistant\",\"content\":\"b\"}")};
    (void)response_store_put(&store, &what);
    const struct responses_source source = {.store = &store, .owner = "", .max_bytes = 1 << 16};
    if (responses_request_parse(root, &source, context, false, &r, &err) == QUERN_OK) {
        read_chat(r.chat, context);
        responses_request_release(&r);
    } else {
        responses_rename_error(&err);
    }
    response_store_release(&store);
}

static void read_text(unsigned kind, const json_t *root, const struct api_context *context) {
    struct completion_request completion;
    struct embedding_request embedding;
    struct rerank_request rerank;
    struct tokenize_request tokenize;
    struct detokenize_request detokenize;
    struct api_error err;
    if (kind == 2 && !completion_request_parse(root, context, &completion, &err))
        completion_request_release(&completion);
    if (kind == 3 && !infill_request_parse(root, context, &completion, &err))
        completion_request_release(&completion);
    if (kind == 4 && !embedding_request_parse(root, context, &embedding, &err))
        embedding_request_release(&embedding);
    if (kind == 5 && !rerank_request_parse(root, context, &rerank, &err))
        rerank_request_release(&rerank);
    if (kind == 6)
        (void)tokenize_request_parse(root, context, &tokenize, &err);
    if (kind == 7 && !detokenize_request_parse(root, context, &detokenize, &err))
        free(detokenize.ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct api_limits limits = API_LIMITS_DEFAULT;
    const struct api_context context = {.limits = &limits, .n_vocab = 512};
    json_t *root = NULL;
    if (!size || json_parse((const char *)data + 1, size - 1, "body", &root, NULL))
        return 0;
    unsigned kind = (unsigned)(data[0] - '0') % 9;
    if (kind == 0)
        read_chat(root, &context);
    else if (kind == 1)
        read_messages(root, &context);
    else if (kind == 8)
        read_responses(root, &context);
    else
        read_text(kind, root, &context);
    json_decref(root);
    return 0;
}
