#include "server/server_config.h"

void server_config_init(struct server_config *c) {
    const struct api_limits limits = API_LIMITS_DEFAULT;
    *c = (struct server_config){
        .host = "127.0.0.1",
        .port = 8080,
        .header_line_bytes = 8 << 10,
        .header_bytes = 32 << 10,
        .header_fields = 100,
        .body_bytes = 4 << 20,
        .connections = 1024,
        .header_timeout_s = 10,
        .body_timeout_s = 30,
        .idle_timeout_s = 60,
        .write_timeout_s = 30,
        .keep_alive_s = 10,
        .drain_timeout_s = 30,
        .stuck_after_s = 60,
        .limits = limits,
        .stored_responses = 1000,
        .stored_mib = 64,
        .tool_calls = 8,
    };
}
