/* endpoints_stored.c - what /v1/responses keeps: GET and DELETE of an answer, its input items, and
 * POST .../cancel. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "openai/responses_replay.h"
#include "server/server_core.h"

/* The id in the path, and what stands behind it: "" or "/input_items". An id that is too long is
 * none there is. */
static const char *split_path(const struct http_call *call, char id[RESPONSE_ID_BYTES + 1]) {
    const char *rest = call->path + strlen("/v1/responses/");
    const size_t n = strcspn(rest, "/");
    const size_t len = n < RESPONSE_ID_BYTES ? n : RESPONSE_ID_BYTES;
    memcpy(id, rest, len);
    id[len] = '\0';
    return rest + n;
}

static void answer_no_path(struct http_call *call) {
    struct api_error err;
    api_fail(&err, API_NOT_FOUND, NULL, "Invalid URL (%s %.200s)", call->method, call->path);
    http_answer_error(call, &err);
}

static void answer(struct http_call *call, enum quern_status status, const struct api_error *err,
                   struct buffer *body) {
    if (status)
        http_answer_error(call, err);
    else
        call_answer_json(call, body);
    buffer_release(body);
}

/* ---- input items -------------------------------------------------------------------------- */

enum { PAGE_DEFAULT = 20, PAGE_MAX = 100 };

struct page {
    long limit;
    bool ascending;
    const char *after;
};

static enum quern_status read_page(const struct http_call *call, struct page *page,
                                   struct api_error *err) {
    const char *limit = http_query(call, "limit"), *order = http_query(call, "order");
    char *end = NULL;
    *page = (struct page){.limit = PAGE_DEFAULT, .after = http_query(call, "after")};
    if (limit)
        page->limit = strtol(limit, &end, 10);
    if (limit && (end == limit || *end || page->limit < 1 || page->limit > PAGE_MAX))
        return api_fail(err, API_VALUE, "limit",
                        "Invalid value for 'limit': expected a whole number from 1 to %d.", PAGE_MAX);
    if (order && strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0)
        return api_fail(err, API_VALUE, "order",
                        "Invalid value for 'order': expected 'asc' or 'desc'.");
    page->ascending = order && strcmp(order, "asc") == 0;
    return QUERN_OK;
}

static const json_t *item_at(const json_t *items, const struct page *page, size_t i) {
    return json_array_get(items, page->ascending ? i : json_array_size(items) - 1 - i);
}

static const char *id_at(const json_t *items, const struct page *page, size_t i) {
    const char *id = json_string_value(json_object_get(item_at(items, page, i), "id"));
    return id ? id : "";
}

static enum quern_status find_begin(const json_t *items, const struct page *page, size_t *begin,
                                    struct api_error *err) {
    *begin = 0;
    if (!page->after)
        return QUERN_OK;
    while (*begin < json_array_size(items))
        if (strcmp(id_at(items, page, (*begin)++), page->after) == 0)
            return QUERN_OK;
    return api_fail(err, API_VALUE, "after", "Invalid value for 'after': there is no item '%.64s'.",
                    page->after);
}

static void write_page(const json_t *items, const struct page *page, size_t begin,
                       struct buffer *out) {
    const size_t n = json_array_size(items);
    const size_t end = n - begin < (size_t)page->limit ? n : begin + (size_t)page->limit;
    buffer_puts(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = begin; i < end; i++) {
        buffer_puts(out, i > begin ? "," : "");
        json_write_python(item_at(items, page, i), -1, out);
    }
    buffer_puts(out, "],\"first_id\":");
    json_write_string(str_from(end > begin ? id_at(items, page, begin) : ""), out);
    buffer_puts(out, ",\"last_id\":");
    json_write_string(str_from(end > begin ? id_at(items, page, end - 1) : ""), out);
    buffer_printf(out, ",\"has_more\":%s}", end < n ? "true" : "false");
}

static void answer_input_items(struct server *s, struct http_call *call, const char *id) {
    struct api_error err;
    struct buffer body;
    struct page page;
    json_t *items = NULL;
    size_t begin = 0;
    buffer_init(&body, SIZE_MAX / 4);
    enum quern_status status = read_page(call, &page, &err);
    if (!status)
        status = response_store_input(&s->responses, id, call->salt, &items, &err);
    if (!status)
        status = find_begin(items, &page, &begin, &err);
    if (!status)
        write_page(items, &page, begin, &body);
    json_decref(items);
    answer(call, status, &err, &body);
}

/* ---- an answer ------------------------------------------------------------------------------ */

static enum quern_status write_replay(const struct http_call *call, const struct buffer *kept,
                                      struct buffer *out, struct api_error *err) {
    const char *after = http_query(call, "starting_after");
    struct quern_error cause = {0};
    json_t *root = NULL;
    char *end = NULL;
    const long from = after ? strtol(after, &end, 10) : -1;
    if (after && (end == after || *end || from < 0))
        return api_fail(err, API_VALUE, "starting_after",
                        "Invalid value for 'starting_after': expected the number of an event.");
    if (json_parse(kept->data, kept->len, "stored answer", &root, &cause))
        return api_fail_from(err, API_INTERNAL, NULL, &cause);
    responses_write_replay(root, from, out);
    json_decref(root);
    return out->failed ? api_nomem(err) : QUERN_OK;
}

static void answer_replay(struct http_call *call, struct buffer *kept) {
    struct api_error err;
    struct buffer events;
    buffer_init(&events, SIZE_MAX / 4);
    if (write_replay(call, kept, &events, &err))
        http_answer_error(call, &err);
    else
        http_answer(call, 200, "text/event-stream; charset=utf-8", &events);
    buffer_release(&events);
    buffer_release(kept);
}

void endpoint_response_get(struct server *s, struct http_call *call) {
    char id[RESPONSE_ID_BYTES + 1];
    const char *rest = split_path(call, id), *stream = http_query(call, "stream");
    struct api_error err;
    struct buffer body;
    if (strcmp(rest, "/input_items") == 0) {
        answer_input_items(s, call, id);
        return;
    }
    if (*rest) {
        answer_no_path(call);
        return;
    }
    buffer_init(&body, SIZE_MAX / 4);
    enum quern_status status = response_store_get(&s->responses, id, call->salt, &body, &err);
    if (!status && stream && strcmp(stream, "true") == 0)
        answer_replay(call, &body);
    else
        answer(call, status, &err, &body);
}

void endpoint_response_delete(struct server *s, struct http_call *call) {
    char id[RESPONSE_ID_BYTES + 1];
    struct api_error err;
    struct buffer body;
    if (*split_path(call, id)) {
        answer_no_path(call);
        return;
    }
    buffer_init(&body, 256);
    enum quern_status status = response_store_delete(&s->responses, id, call->salt, &err);
    if (!status)
        buffer_printf(&body, "{\"id\":\"%s\",\"object\":\"response\",\"deleted\":true}", id);
    answer(call, status, &err, &body);
}

/* An answer that is kept is over. */
void endpoint_response_post(struct server *s, struct http_call *call) {
    char id[RESPONSE_ID_BYTES + 1];
    struct api_error err;
    struct buffer body;
    if (strcmp(split_path(call, id), "/cancel") != 0) {
        answer_no_path(call);
        return;
    }
    buffer_init(&body, SIZE_MAX / 4);
    enum quern_status status = response_store_get(&s->responses, id, call->salt, &body, &err);
    if (!status)
        status = api_fail(&err, API_VALUE, NULL,
                          "Cannot cancel the response '%s': only those made in the background can be "
                          "cancelled. The others end when their client closes the connection.",
                          id);
    answer(call, status, &err, &body);
}
