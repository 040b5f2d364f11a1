/* routes.c - which endpoint answers which path. Files and batches get their rows here. */
#include <string.h>

#include "server/server_core.h"

/* A path that ends in "/" stands for everything below it. */
static const struct route routes[] = {
    {"POST", "/v1/chat/completions", endpoint_chat_completions, ROUTE_WORK},
    {"POST", "/v1/completions", endpoint_completions, ROUTE_WORK},
    {"POST", "/v1/embeddings", endpoint_embeddings, ROUTE_WORK},
    {"POST", "/v1/rerank", endpoint_rerank, ROUTE_WORK},
    {"POST", "/rerank", endpoint_rerank, ROUTE_WORK},
    {"POST", "/v1/responses", endpoint_responses, ROUTE_WORK},
    {"POST", "/v1/responses/input_tokens", endpoint_input_tokens, ROUTE_WORK},
    {"POST", "/v1/responses/", endpoint_response_post, 0},
    {"GET", "/v1/responses/", endpoint_response_get, 0},
    {"DELETE", "/v1/responses/", endpoint_response_delete, 0},
    {"POST", "/v1/messages", endpoint_messages, ROUTE_WORK},
    {"POST", "/v1/messages/count_tokens", endpoint_count_tokens, ROUTE_WORK},
    {"POST", "/infill", endpoint_infill, ROUTE_WORK},
    {"POST", "/tokenize", endpoint_tokenize, ROUTE_WORK},
    {"POST", "/detokenize", endpoint_detokenize, ROUTE_WORK},
    {"POST", "/apply-template", endpoint_apply_template, ROUTE_WORK},
    {"GET", "/tools", endpoint_tools, ROUTE_OWN_PAGE},
    {"POST", "/tools/call", endpoint_tool_call, ROUTE_WORK | ROUTE_OWN_PAGE},
    {"GET", "/v1/models", endpoint_models, 0},
    {"GET", "/v1/models/", endpoint_model, 0},
    {"GET", "/metrics", endpoint_metrics, 0},
    {"GET", "/health", endpoint_health, ROUTE_PUBLIC},
    {"GET", "/ready", endpoint_ready, ROUTE_PUBLIC},
    {"GET", "/docs", endpoint_docs, ROUTE_PUBLIC},
    {"GET", "/openapi.json", endpoint_openapi, ROUTE_PUBLIC},
    {"GET", "/web/", endpoint_page_file, ROUTE_PUBLIC},
    {"GET", "/", endpoint_page, ROUTE_PUBLIC},
};

static bool path_matches(const char *pattern, const char *path) {
    size_t n = strlen(pattern);
    if (n > 1 && pattern[n - 1] == '/')
        return strncmp(pattern, path, n) == 0 && path[n];
    return strcmp(pattern, path) == 0;
}

const struct route *route_find(const char *method, const char *path, bool *known_path) {
    *known_path = false;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!path_matches(routes[i].path, path))
            continue;
        *known_path = true;
        bool head = strcmp(method, "HEAD") == 0 && strcmp(routes[i].method, "GET") == 0;
        if (head || strcmp(routes[i].method, method) == 0)
            return &routes[i];
    }
    return NULL;
}
