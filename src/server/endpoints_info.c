/* endpoints_info.c - /v1/models, /health, /ready, /metrics. */
#include <inttypes.h>
#include <string.h>

#include "base/os.h"
#include "server/server_core.h"

/* ---- models ------------------------------------------------------------------------ */

static void write_model(struct server *s, size_t i, struct buffer *out) {
    const struct model_entry *e = &s->models.entries[i];
    buffer_puts(out, "{\"id\":");
    json_write_string(str_from(e->name), out);
    buffer_printf(out, ",\"object\":\"model\",\"created\":%" PRId64 ",\"owned_by\":\"quern\"",
                  e->created);
    if (e->base) {
        buffer_puts(out, ",\"parent\":");
        json_write_string(str_from(e->base->name), out);
    }
    struct model_entry *ready = model_registry_peek(&s->models, i);
    if (ready) {
        const struct served_model *m = &ready->served;
        buffer_printf(out,
                      ",\"max_model_len\":%d,\"meta\":{\"n_vocab\":%d,\"n_params\":%" PRId64
                      ",\"architecture\":",
                      m->n_context, m->info.n_vocab, m->info.n_params);
        json_write_string(str_from(m->info.architecture), out);
        buffer_puts(out, "}");
        model_registry_unpeek(&s->models, ready);
    }
    buffer_puts(out, "}");
}

void endpoint_models(struct server *s, struct http_call *call) {
    struct buffer body;
    buffer_init(&body, SIZE_MAX / 4);
    buffer_puts(&body, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < s->models.n_entries; i++) {
        buffer_puts(&body, i ? "," : "");
        write_model(s, i, &body);
    }
    buffer_puts(&body, "]}");
    call_answer_json(call, &body);
}

void endpoint_model(struct server *s, struct http_call *call) {
    const char *name = call->path + strlen("/v1/models/");
    for (size_t i = 0; i < s->models.n_entries; i++) {
        if (strcmp(s->models.entries[i].name, name) != 0)
            continue;
        struct buffer body;
        buffer_init(&body, SIZE_MAX / 4);
        write_model(s, i, &body);
        call_answer_json(call, &body);
        return;
    }
    struct api_error err;
    api_fail(&err, API_NO_MODEL, "model", "The model '%.100s' does not exist", name);
    http_answer_error(call, &err);
}

/* ---- health ------------------------------------------------------------------------- */

static void answer_state(struct http_call *call, int status, const char *state,
                         struct buffer *body) {
    buffer_printf(body, "{\"status\":\"%s\"}", state);
    http_answer(call, status, "application/json", body);
}

/* Alive means: there is no work, or it goes on. */
void endpoint_health(struct server *s, struct http_call *call) {
    struct buffer body;
    buffer_init(&body, SIZE_MAX / 4);
    bool stuck = false;
    for (size_t i = 0; i < s->models.n_entries; i++) {
        struct model_entry *e = model_registry_peek(&s->models, i);
        if (!e)
            continue;
        struct quern_engine_stats stats;
        quern_engine_get_stats(e->served.engine, &stats);
        stuck = stuck || stats.idle_ms > s->config->stuck_after_s * 1000;
        model_registry_unpeek(&s->models, e);
    }
    answer_state(call, stuck ? 503 : 200, stuck ? "stuck" : "ok", &body);
}

static const char *state_name(enum model_state state) {
    static const char *const names[] = {"unloaded", "loading", "ready", "failed"};
    return names[state];
}

void endpoint_ready(struct server *s, struct http_call *call) {
    struct buffer body;
    buffer_init(&body, SIZE_MAX / 4);
    bool draining = atomic_load(&s->draining), ready = !draining;
    buffer_puts(&body, "\"models\":[");
    for (size_t i = 0; i < s->models.n_entries; i++) {
        struct model_facts facts = model_registry_facts(&s->models, i);
        ready = ready && (facts.state == MODEL_READY || facts.state == MODEL_UNLOADED);
        buffer_puts(&body, i ? ",{\"id\":" : "{\"id\":");
        json_write_string(str_from(s->models.entries[i].name), &body);
        buffer_printf(&body, ",\"state\":\"%s\"", state_name(facts.state));
        if (facts.state == MODEL_LOADING)
            buffer_printf(&body, ",\"progress_percent\":%d", facts.progress_percent);
        if (facts.state == MODEL_FAILED) {
            buffer_puts(&body, ",\"message\":");
            json_write_string(str_from(facts.failure), &body);
        }
        buffer_putc(&body, '}');
    }
    buffer_puts(&body, "]}");
    struct buffer whole;
    buffer_init(&whole, SIZE_MAX / 4);
    buffer_printf(&whole, "{\"status\":\"%s\",",
                  draining ? "draining"
                  : ready  ? "ready"
                           : "loading");
    buffer_append_str(&whole, buffer_str(&body));
    buffer_release(&body);
    http_answer(call, ready ? 200 : 503, "application/json", &whole);
}

/* ---- metrics --------------------------------------------------------------------------- */

void endpoint_metrics(struct server *s, struct http_call *call) {
    struct metrics_view views[REGISTRY_MODELS_MAX];
    size_t n = s->models.n_entries;
    memset(views, 0, sizeof views);
    for (size_t i = 0; i < n; i++) {
        views[i].model = s->models.entries[i].name;
        mutex_lock(&s->metrics.lock);
        views[i].counted = s->counted[i];
        mutex_unlock(&s->metrics.lock);
        /* An adapter has no engine of its own. */
        const bool is_model = !s->models.entries[i].base;
        struct model_entry *e = is_model ? model_registry_peek(&s->models, i) : NULL;
        views[i].loaded = e != NULL;
        if (!e)
            continue;
        quern_engine_get_stats(e->served.engine, &views[i].stats);
        model_registry_unpeek(&s->models, e);
    }
    struct buffer body;
    buffer_init(&body, SIZE_MAX / 4);
    metrics_write_models(views, n, &body);
    metrics_write_responses(&s->metrics, &body);
    metrics_write_value("quern_http_connections", "gauge", "open connections",
                        http_server_n_connections(call->server), &body);
    metrics_write_value("process_resident_memory_bytes", "gauge", "resident memory",
                        (double)os_rss_bytes(), &body);
    metrics_write_value("process_uptime_seconds", "gauge", "time since the start",
                        (double)(os_now_ns() - s->started_ns) / 1e9, &body);
    http_answer(call, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}
