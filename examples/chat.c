/* chat.c - a chat program on libquern, in one file.
 *
 *     cc -o chat chat.c $(pkg-config --cflags --libs quern)
 *     ./chat models/Qwen3-0.6B
 *
 * Reads a message a line, prints the answers as they are made. The conversation is kept as the
 * JSON text that quern_render_chat takes; quern_session_sync computes only what is new in it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quern.h"

/* ---- the conversation, as JSON ------------------------------------------------------- */

struct text {
    char *data; /* NUL-terminated once something was added */
    size_t len, capacity;
};

static void add(struct text *t, const char *bytes, size_t n) {
    if (t->len + n + 1 > t->capacity) {
        t->capacity = 2 * (t->len + n + 1);
        t->data = realloc(t->data, t->capacity);
        if (!t->data) {
            fprintf(stderr, "out of memory\n");
            exit(1);
        }
    }
    memcpy(t->data + t->len, bytes, n);
    t->len += n;
    t->data[t->len] = '\0';
}

static void add_text(struct text *t, const char *s) {
    add(t, s, strlen(s));
}

static void add_json_string(struct text *t, const char *s, size_t n) {
    add_text(t, "\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        char escape[8];
        if (c == '"' || c == '\\' || c < 0x20) {
            snprintf(escape, sizeof escape, "\\u%04x", c);
            add_text(t, escape);
        } else {
            add(t, s + i, 1);
        }
    }
    add_text(t, "\"");
}

/* `messages` is "[{..}, {..}" without the closing bracket. */
static void add_message(struct text *messages, const char *role, const char *content, size_t n) {
    add_text(messages, messages->len ? ", " : "[");
    add_text(messages, "{\"role\": ");
    add_json_string(messages, role, strlen(role));
    add_text(messages, ", \"content\": ");
    add_json_string(messages, content, n);
    add_text(messages, "}");
}

/* ---- one turn ------------------------------------------------------------------------- */

static bool on_event(void *user, const struct quern_event *event) {
    fwrite(event->text, 1, event->text_len, stdout);
    fflush(stdout);
    add(user, event->text, event->text_len);
    return true;
}

/* Renders and encodes the conversation so far; *ids is freed with quern_free(). */
static enum quern_status encode(const quern_model *model, struct text *messages, int32_t **ids,
                                size_t *n_ids, struct quern_error *err) {
    struct quern_render_options options = {.enable_thinking = 0, .add_generation_prompt = true};
    char *prompt = NULL;
    size_t len = 0;
    add_text(messages, "]");
    enum quern_status status =
        quern_render_chat(model, messages->data, &options, &prompt, &len, err);
    messages->data[--messages->len] = '\0';
    if (status == QUERN_OK)
        status = quern_tokenize(model, prompt, len, false, true, ids, n_ids, err);
    quern_free(prompt);
    return status;
}

static enum quern_status answer(const quern_model *model, quern_session *session,
                                struct text *messages, struct quern_error *err) {
    struct text said = {0};
    struct quern_generate_options options = {
        .n_top_logprobs = -1, .on_event = on_event, .user = &said};
    quern_sampling_defaults(model, &options.sampling);
    int32_t *ids = NULL;
    size_t n_ids = 0;
    enum quern_status status = encode(model, messages, &ids, &n_ids, err);
    if (status == QUERN_OK)
        status = quern_session_sync(session, ids, n_ids, NULL, err);
    if (status == QUERN_OK)
        status = quern_generate(session, &options, NULL, err);
    if (status == QUERN_OK)
        add_message(messages, "assistant", said.len ? said.data : "", said.len);
    printf("\n");
    quern_free(ids);
    free(said.data);
    return status;
}

/* ---- the program ------------------------------------------------------------------------ */

static enum quern_status converse(quern_model *model, struct quern_error *err) {
    quern_session *session = NULL;
    struct text messages = {0};
    char line[4096];
    enum quern_status status = quern_session_create(model, NULL, &session, err);
    while (status == QUERN_OK && fgets(line, sizeof line, stdin)) {
        add_message(&messages, "user", line, strcspn(line, "\n"));
        status = answer(model, session, &messages, err);
    }
    free(messages.data);
    quern_session_destroy(session);
    return status;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s MODEL_DIR\n", argv[0]);
        return 2;
    }
    struct quern_error err;
    quern_model *model = NULL;
    enum quern_status status = quern_model_open(argv[1], NULL, &model, &err);
    if (status == QUERN_OK)
        status = converse(model, &err);
    if (status != QUERN_OK)
        fprintf(stderr, "%s: %s\n", quern_status_name(status), err.message);
    quern_model_close(model);
    return status == QUERN_OK ? 0 : 1;
}
