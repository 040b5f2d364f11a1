#include <stdlib.h>
#include <string.h>

#include "alloc/scenarios.h"
#include "grammar/answer_tools.h"
#include "openai/anthropic_request.h"
#include "openai/call_splitter.h"
#include "openai/responses_request.h"
#include "openai/text_requests.h"

static const struct api_limits limits = API_LIMITS_DEFAULT;
static const struct api_context context = {.limits = &limits, .n_vocab = 512};

/* An error of this layer as the library tells errors. */
static enum quern_status told(enum quern_status status, const struct api_error *fault,
                              struct quern_error *err) {
    if (status == QUERN_ERR_NOMEM)
        return error_nomem(err);
    return status ? error_set(err, status, "%s", fault->message) : QUERN_OK;
}

static enum quern_status read_json(const char *text, json_t **root, struct quern_error *err) {
    return json_parse(text, strlen(text), "body", root, err);
}

static enum quern_status read_a_chat(struct quern_error *err) {
    json_t *root = NULL;
    struct chat_request r;
    struct api_error fault;
    enum quern_status status = read_json(
        "{\"messages\":[{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]},"
        "{\"role\":\"assistant\",\"content\":null,\"reasoning\":\"r\",\"tool_calls\":[{\"id\":"
        "\"1\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}],\"stop\":[\"x\"],"
        "\"logit_bias\":{\"1\":2},\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"
        ","
        "\"chat_template_kwargs\":{\"documents\":[1],\"enable_thinking\":true}}",
        &root, err);
    if (!status) {
        status = told(chat_request_parse(root, &context, &r, &fault), &fault, err);
        if (!status)
            chat_request_release(&r);
    }
    json_decref(root);
    return status;
}

static enum quern_status convert_anthropics_messages(struct quern_error *err) {
    json_t *root = NULL, *converted = NULL;
    struct api_error fault;
    enum quern_status status = read_json(
        "{\"max_tokens\":1,\"model\":\"m\",\"system\":\"s\",\"temperature\":0.5,\"stop_sequences\":"
        "[\"a\"],"
        "\"thinking\":{\"type\":\"disabled\"},\"output_config\":{\"effort\":\"low\",\"format\":{"
        "\"schema\":{}}},"
        "\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":"
        "\"t\"},"
        "{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"f\",\"input\":{\"x\":1}}]},{\"role\":"
        "\"user\","
        "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"i\",\"content\":\"r\"}]}],"
        "\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{}}],"
        "\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\",\"disable_parallel_tool_use\":true}}",
        &root, err);
    if (!status)
        status = told(anthropic_to_openai(root, false, &limits, &converted, &fault), &fault, err);
    if (!status && json_array_size(json_object_get(converted, "messages")) != 3)
        status = error_set(err, QUERN_ERR_STATE, "a message is missing");
    json_decref(converted);
    json_decref(root);
    return status;
}

static const char stored_id[] = "resp_0123456789abcdef01234567";

static enum quern_status keep_an_answer(struct response_store *store, struct stored_turn *parent,
                                        struct quern_error *err) {
    const struct response_to_store what = {
        .id = stored_id,
        .owner = "",
        .parent = parent,
        .answer = STR_LIT("{}"),
        .input = STR_LIT("{\"role\":\"user\",\"content\":\"a\"}"),
        .output = STR_LIT("{\"type\":\"function_call\",\"id\":\"fc_0123456789abcdef01234567_0\","
                          "\"call_id\":\"1\",\"name\":\"f\",\"arguments\":\"{}\"}")};
    return response_store_put(store, &what) ? QUERN_OK : error_nomem(err);
}

static enum quern_status go_on_from_a_response(struct quern_error *err) {
    json_t *root = NULL;
    struct response_store store;
    struct responses_request r = {0};
    struct api_error fault;
    const struct responses_source source = {.store = &store, .owner = "", .max_bytes = 1 << 16};
    enum quern_status status = response_store_init(&store, 2, 1 << 20, err);
    if (status)
        return status;
    status = read_json(
        "{\"previous_response_id\":\"resp_0123456789abcdef01234567\",\"instructions\":\"s\",\"input\":["
        "{\"type\":\"function_call_output\",\"call_id\":\"1\",\"output\":\"r\"},{\"type\":\"reasoning\","
        "\"content\":[{\"type\":\"reasoning_text\",\"text\":\"t\"}]},{\"role\":\"assistant\",\"content\":"
        "\"b\"},{\"type\":\"item_reference\",\"id\":\"fc_0123456789abcdef01234567_0\"}],\"tools\":[{\"type\":"
        "\"function\",\"name\":\"f\"}],\"text\":{\"format\":{\"type\":\"json_schema\",\"schema\":{}}},"
        "\"reasoning\":{\"effort\":\"low\"},\"top_logprobs\":1}",
        &root, err);
    if (!status)
        status = keep_an_answer(&store, NULL, err);
    if (!status)
        status = told(responses_request_parse(root, &source, &context, false, &r, &fault), &fault, err);
    if (!status)
        status = keep_an_answer(&store, r.previous, err);
    responses_request_release(&r);
    json_decref(root);
    response_store_release(&store);
    return status;
}

static enum quern_status read_prompts(struct quern_error *err) {
    json_t *root = NULL;
    struct completion_request r;
    struct api_error fault;
    enum quern_status status =
        read_json("{\"prompt\":[[1,2],[3]],\"logit_bias\":{\"5\":1}}", &root, err);
    if (!status) {
        status = told(completion_request_parse(root, &context, &r, &fault), &fault, err);
        if (!status)
            completion_request_release(&r);
    }
    json_decref(root);
    return status;
}

static enum quern_status read_documents(struct quern_error *err) {
    json_t *root = NULL;
    struct rerank_request r;
    struct api_error fault;
    enum quern_status status =
        read_json("{\"query\":\"q\",\"documents\":[\"a\",{\"text\":\"b\"}]}", &root, err);
    if (!status) {
        status = told(rerank_request_parse(root, &context, &r, &fault), &fault, err);
        if (!status)
            rerank_request_release(&r);
    }
    json_decref(root);
    return status;
}

static enum quern_status split(const char *text, const char *arguments, struct quern_error *err) {
    struct call_splitter c;
    call_splitter_init(&c, NULL);
    call_splitter_restart(&c);
    call_splitter_push(&c, str_from(text));
    enum quern_status status = call_splitter_failed(&c) ? error_nomem(err) : QUERN_OK;
    if (!status && (!call_splitter_is_done(&c) || !str_is(buffer_str(&c.arguments), arguments)))
        status = error_set(err, QUERN_ERR_STATE, "the arguments are others");
    call_splitter_release(&c);
    return status;
}

static enum quern_status split_a_call(struct quern_error *err) {
    return split("{\"name\": \"f\", \"arguments\": {\"a\": [1]}}", "{\"a\": [1]}", err);
}

static enum quern_status split_coders_call(struct quern_error *err) {
    return split("<function=f>\n<parameter=a>\n[1, {}]\n</parameter>\n</function>",
                 "{\"a\": [1, {}]}", err);
}

static enum quern_status read_tools(struct quern_error *err) {
    json_t *root = NULL;
    struct arena arena = ARENA_INIT(0);
    struct answer_tool *tools = NULL;
    size_t n = 0;
    enum quern_status status = read_json("[{\"function\":{\"name\":\"f\",\"parameters\":{"
                                         "\"properties\":{\"a\":{}}}}},{\"function\":{\"name\":\"g\"}}]",
                                         &root, err);
    if (!status)
        status = answer_tools_read(root, NULL, NULL, &arena, &tools, &n, err);
    if (!status && n != 2)
        status = error_set(err, QUERN_ERR_STATE, "a tool is missing");
    json_decref(root);
    arena_release(&arena);
    return status;
}

const struct scenario openai_scenarios[] = {
    {"split_a_call", split_a_call},
    {"split_coders_call", split_coders_call},
    {"read_tools", read_tools},
    {"read_a_chat", read_a_chat},
    {"convert_anthropics_messages", convert_anthropics_messages},
    {"go_on_from_a_response", go_on_from_a_response},
    {"read_prompts", read_prompts},
    {"read_documents", read_documents},
    {NULL, NULL},
};
