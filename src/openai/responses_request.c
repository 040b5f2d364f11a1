#include "openai/responses_request.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/os.h"
#include "openai/responses_fields.h"
#include "openai/responses_items.h"

void responses_request_release(struct responses_request *r) {
    json_decref(r->chat);
    json_decref(r->items);
    json_decref(r->echo);
    if (r->store)
        response_store_drop_turn(r->store, r->previous);
    *r = (struct responses_request){0};
}

/* ---- the conversation ---------------------------------------------------------------- */

static enum quern_status count_items(const struct raw_responses *raw, size_t n_before,
                                     const struct api_limits *limits, struct api_error *err) {
    const size_t n = n_before + json_array_size(raw->input);
    if (n <= (size_t)limits->messages)
        return QUERN_OK;
    return api_fail(err, API_VALUE, "input",
                    "Invalid value for 'input': %zu items, %zu of them from the answers before; at "
                    "most %lld are allowed.",
                    n, n_before, (long long)limits->messages);
}

static enum quern_status read_conversation(const struct raw_responses *raw,
                                           const struct responses_source *source,
                                           const struct api_limits *limits, struct items_reader *reader,
                                           struct responses_request *out, struct api_error *err) {
    json_t *before = NULL;
    enum quern_status status = QUERN_OK;
    if (raw->previous && !source->store)
        return api_fail(err, API_NO_PREVIOUS, "previous_response_id",
                        "Previous response with id '%.64s' not found.", raw->previous);
    if (raw->previous)
        status = response_store_context(source->store, raw->previous, source->owner,
                                        source->max_bytes, "previous_response_id", &out->previous,
                                        &before, err);
    if (!status)
        status = count_items(raw, json_array_size(before), limits, err);
    if (!status && raw->instructions)
        status = items_add_instructions(reader, raw->instructions, err);
    if (!status)
        status = items_read_kept(reader, before, err);
    if (!status && raw->input)
        status = items_read_input(reader, raw->input, err);
    if (!status && !json_array_size(reader->messages))
        status = api_fail(err, API_MISSING, "input", "Missing required parameter: 'input'.");
    json_decref(before);
    return status;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static enum quern_status build(const struct raw_responses *raw, const json_t *root,
                               const struct responses_source *source,
                               const struct api_context *context, struct responses_request *out,
                               struct api_error *err) {
    struct items_reader reader = {0};
    enum quern_status status =
        items_reader_init(&reader, source->store, source->owner, out->id + strlen("resp_"), err);
    if (!status)
        status = read_conversation(raw, source, context->limits, &reader, out, err);
    if (!status)
        status = responses_fields_to_chat(raw, root, out->chat, err);
    if (!status)
        status = responses_fields_echo(raw, context, out->echo, err);
    if (!status && json_object_set(out->chat, "messages", reader.messages))
        status = api_nomem(err);
    out->items = json_incref(reader.kept);
    items_reader_release(&reader);
    return status;
}

enum quern_status responses_request_parse(const json_t *root, const struct responses_source *source,
                                          const struct api_context *context, bool counting,
                                          struct responses_request *out, struct api_error *err) {
    struct raw_responses raw;
    *out = (struct responses_request){.store = source->store};
    enum quern_status status = responses_fields_read(root, context, counting, &raw, err);
    if (status)
        return status;
    snprintf(out->id, sizeof out->id, "resp_%016" PRIx64 "%08" PRIx32, os_random(),
             (uint32_t)os_random());
    snprintf(out->owner, sizeof out->owner, "%s", source->owner);
    out->keep = raw.store;
    out->stream = raw.stream;
    out->chat = json_object();
    out->echo = json_object();
    status = out->chat && out->echo ? build(&raw, root, source, context, out, err) : api_nomem(err);
    if (status)
        responses_request_release(out);
    return status;
}

/* ---- errors ----------------------------------------------------------------------------------- */

/* Longer names first. */
static const struct {
    const char *chat, *here;
} names[] = {
    {"response_format.json_schema", "text.format"},
    {"response_format", "text.format"},
    {"reasoning_effort", "reasoning.effort"},
    {"max_completion_tokens", "max_output_tokens"},
    {"messages", "input"},
};

void responses_rename_error(struct api_error *err) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        api_error_rename(err, names[i].chat, names[i].here);
}
