/* server_config.h - everything an operator can set, with its default. */
#ifndef QUERN_SERVER_SERVER_CONFIG_H
#define QUERN_SERVER_SERVER_CONFIG_H

#include "base/options.h"
#include "openai/api_limits.h"
#include "tools/tool_set.h"
#include "quern.h"

struct server_config {
    struct option_list models; /* "DIR" or "NAME=DIR" */
    struct option_list adapters; /* "DIR", "NAME=DIR" or either with ":SCALE" */
    struct option_list drafts; /* "DIR" for every model, or "NAME=DIR" for one */
    const char *host;
    int64_t port;
    const char *config_file;

    const char *api_key_file;
    const char *tls_cert, *tls_key; /* PEM files; NULL: HTTP without TLS */
    bool allow_no_key;
    struct option_list allowed_hosts, cors_origins;

    int64_t header_line_bytes, header_bytes, header_fields, body_bytes;
    int64_t connections;
    double header_timeout_s, body_timeout_s, idle_timeout_s, write_timeout_s;
    double request_timeout_s; /* 0: none */
    double keep_alive_s;      /* between comments of a silent stream */
    double drain_timeout_s;
    double stuck_after_s;     /* without a step while there is work: /health says so */
    struct api_limits limits;
    int64_t stored_responses, stored_mib; /* most answers of /v1/responses kept, and their room */

    struct tool_sources tool_sources;
    struct tool_set *tools; /* opened by the caller, of the sources; NULL: none */
    int64_t tool_calls;     /* of them at once */

    double unload_idle_s; /* 0: never */
    bool lazy;            /* models are loaded by their first request */
    const char *log;      /* "json", "text", "off"; NULL: text on a terminal, else json */

    /* The models' and the engine's. */
    struct weights_words {
        const char *weights, *embed_weights, *math;
        bool cache;
    } words; /* as given; the three below, and cache_dir, are what they say */
    enum quern_weights weights, embed_weights;
    enum quern_math math;
    const char *pin, *cache_dir;
    int64_t n_threads, context, running, waiting, waiting_tokens, step_ms, cache_mib;
    const char *cpu, *kv_type, *speculation, *disk_cache;
    int64_t disk_cache_mib;
    bool no_prefix_cache;
};

void server_config_init(struct server_config *c); /* the defaults */

#endif
