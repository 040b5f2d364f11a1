#include "train/data/example.h"

#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"
#include "train/data/example_forms.h"

enum { TEXT_MAX_BYTES = 64 << 20 };

/* ---- what opens an answer ------------------------------------------------------------------ */

/* The template's generation prompt: what it writes more when asked for one. */
static enum quern_status find_header(const struct chat_template *chat, int enable_thinking,
                                     struct buffer *out, struct quern_error *err) {
    struct chat_render_options options = {.enable_thinking = enable_thinking};
    struct buffer without, with;
    json_t *messages = json_pack("[{s:s, s:s}]", "role", "user", "content", "x");
    buffer_init(&without, TEXT_MAX_BYTES);
    buffer_init(&with, TEXT_MAX_BYTES);
    buffer_init(out, TEXT_MAX_BYTES);
    enum quern_status status = messages ? QUERN_OK : error_nomem(err);
    if (!status)
        status = chat_template_render(chat, messages, &options, &without, err);
    options.add_generation_prompt = true;
    if (!status)
        status = chat_template_render(chat, messages, &options, &with, err);
    if (!status && str_starts_with(buffer_str(&with), buffer_str(&without)) &&
        buffer_append(out, with.data + without.len, with.len - without.len))
        status = buffer_status(out, "the generation prompt", err);
    json_decref(messages);
    buffer_release(&with);
    buffer_release(&without);
    return status;
}

enum quern_status example_maker_init(struct example_maker *m, const struct tokenizer *tokenizer,
                                     const struct chat_template *chat,
                                     const struct example_options *options,
                                     struct quern_error *err) {
    static const char *const ends[] = {"<|endoftext|>", "<|end_of_text|>", "</s>", "<|im_end|>"};
    enum quern_status status = QUERN_OK;
    *m = (struct example_maker){tokenizer, chat, *options, .end_of_text = TOKENIZER_NONE};
    for (size_t i = 0; i < sizeof ends / sizeof *ends && m->end_of_text == TOKENIZER_NONE; i++)
        m->end_of_text = tokenizer_added_id(tokenizer, str_from(ends[i]));
    for (int i = 0; i < 3 && chat && !status; i++)
        status = find_header(chat, i - 1, &m->headers[i], err);
    if (status)
        example_maker_release(m);
    return status;
}

void example_maker_release(struct example_maker *m) {
    for (int i = 0; i < 3; i++)
        buffer_release(&m->headers[i]);
    *m = (struct example_maker){0};
}

/* The first line that both begin with: a turn may be without the thinking that the prompt opens. */
static size_t first_line(struct str header, struct str answer) {
    const char *end = header.len ? memchr(header.ptr, '\n', header.len) : NULL;
    const size_t n = end ? (size_t)(end - header.ptr) + 1 : 0;
    return str_starts_with(answer, (struct str){header.ptr, n}) ? n : 0;
}

/* How much of an answer's text the prompt has written already. */
static size_t header_length(const struct example_maker *m, int enable_thinking, struct str answer) {
    struct str own = buffer_str(&m->headers[enable_thinking + 1]), plain = buffer_str(&m->headers[0]);
    if (own.len && str_starts_with(answer, own))
        return own.len;
    return plain.len && str_starts_with(answer, plain) ? plain.len : first_line(plain, answer);
}

/* ---- which messages ------------------------------------------------------------------------- */

static bool has_role(const json_t *message, const char *role) {
    const char *is = json_string_value(json_object_get(message, "role"));
    return is && strcmp(is, role) == 0;
}

static struct str thoughts_of(const json_t *message) {
    const json_t *value = json_object_get(message, "reasoning_content");
    struct str s = {json_string_value(value), json_string_length(value)};
    while (s.len && strchr(" \n\t\r", s.ptr[0]))
        s = (struct str){s.ptr + 1, s.len - 1};
    while (s.len && strchr(" \n\t\r", s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* A weight of 0 is OpenAI's way to say that an answer is context only. */
static bool is_wanted(const json_t *message) {
    const json_t *weight = json_object_get(message, "weight");
    return has_role(message, "assistant") && (!weight || json_number_value(weight) != 0);
}

static size_t first_trained(const struct example_maker *m, const struct example_form *form) {
    size_t first = form->first_trained;
    for (size_t i = first; m->options.last_turns && i < json_array_size(form->messages); i++)
        if (has_role(json_array_get(form->messages, i), "user"))
            first = i + 1;
    return first;
}

static enum quern_status drop_thoughts(struct example_form *form, struct quern_error *err) {
    json_t *copies = json_array();
    bool ok = copies != NULL;
    for (size_t i = 0; ok && i < json_array_size(form->messages); i++) {
        json_t *copy = json_copy(json_array_get(form->messages, i));
        json_object_del(copy, "reasoning_content");
        json_object_del(copy, "reasoning");
        ok = json_array_append_new(copies, copy) == 0;
    }
    if (!ok) {
        json_decref(copies);
        return error_nomem(err);
    }
    json_decref(form->messages);
    form->messages = copies;
    return QUERN_OK;
}

/* ---- tokens ----------------------------------------------------------------------------------- */

static enum quern_status append(const struct example_maker *m, struct str text, bool trained,
                                struct example *out, struct quern_error *err) {
    const struct encode_options options = {.parse_special = true};
    const size_t before = out->tokens.n;
    if (!text.len)
        return QUERN_OK;
    enum quern_status status = tokenizer_encode(m->tokenizer, text, options, &out->tokens, err);
    for (size_t i = before; !status && i < out->tokens.n; i++)
        if (buffer_putc(&out->trained, (char)trained))
            status = error_nomem(err);
    return status;
}

static bool is_white(const struct example_maker *m, int32_t id) {
    struct str bytes = tokenizer_token_bytes(m->tokenizer, id);
    for (size_t i = 0; i < bytes.len; i++)
        if (!strchr(" \n\r\t", bytes.ptr[i]))
            return false;
    return true;
}

/* White space after the token that ends an answer is the template's. */
static void unmask_tail(const struct example_maker *m, size_t begin, struct example *e) {
    size_t end = e->tokens.n;
    while (end > begin && is_white(m, e->tokens.ids[end - 1]) &&
           !tokenizer_is_special(m->tokenizer, e->tokens.ids[end - 1]))
        end--;
    if (end > begin && end < e->tokens.n &&
        tokenizer_is_special(m->tokenizer, e->tokens.ids[end - 1]))
        memset(e->trained.data + end, 0, e->tokens.n - end);
}

/* How much of an answer belongs to the prompt. */
static size_t given_length(const struct example_maker *m, const struct example_form *f,
                           struct str answer) {
    const struct str empty = STR_LIT("<think>\n\n</think>\n\n");
    const size_t header = header_length(m, f->enable_thinking, answer);
    const size_t line = first_line(buffer_str(&m->headers[0]), answer);
    const struct str rest = {answer.ptr + line, answer.len - line};
    const bool hide = m->options.thinking != EXAMPLE_THINK_KEEP && str_starts_with(rest, empty);
    return hide && line + empty.len > header ? line + empty.len : header;
}

/* Text between trained ones is tokenized in one piece, as in a prompt. */
static enum quern_status append_spans(const struct example_maker *m, const struct example_form *f,
                                      struct str text, const struct chat_spans *spans,
                                      struct example *out, struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    size_t at = 0;
    for (size_t i = first_trained(m, f); i < spans->n_messages && !status; i++) {
        const struct chat_span *span = &spans->messages[i];
        const json_t *message = json_array_get(f->messages, i);
        if (!is_wanted(message))
            continue;
        if (span->begin == span->end || span->scattered || span->begin < at)
            return error_set(err, QUERN_ERR_UNSUPPORTED,
                             "the chat template does not write messages[%zu] in one piece in a loop "
                             "over the messages, so that it cannot be told from the prompt",
                             i);
        struct str answer = {text.ptr + span->begin, span->end - span->begin};
        struct str thoughts = thoughts_of(message);
        /* Thoughts that the template leaves out: the answer would be learnt without them. */
        if (thoughts.len && !memmem(answer.ptr, answer.len, thoughts.ptr, thoughts.len)) {
            out->n_thoughtless++;
            continue;
        }
        const size_t given = given_length(m, f, answer);
        status = append(m, (struct str){text.ptr + at, span->begin + given - at}, false, out, err);
        const size_t begin = out->tokens.n;
        if (!status)
            status = append(m, (struct str){answer.ptr + given, answer.len - given}, true, out, err);
        if (!status)
            unmask_tail(m, begin, out);
        at = span->end;
    }
    if (!status)
        status = append(m, (struct str){text.ptr + at, text.len - at}, false, out, err);
    return status;
}

/* The template says itself what the model wrote. */
static enum quern_status append_generated(const struct example_maker *m, struct str text,
                                          const struct chat_spans *spans, struct example *out,
                                          struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    size_t at = 0;
    for (size_t i = 0; i < spans->n_generated && !status; i++) {
        const struct chat_span *span = &spans->generated[i];
        status = append(m, (struct str){text.ptr + at, span->begin - at}, false, out, err);
        if (!status)
            status = append(m, (struct str){text.ptr + span->begin, span->end - span->begin}, true,
                            out, err);
        at = span->end;
    }
    return status ? status
                  : append(m, (struct str){text.ptr + at, text.len - at}, false, out, err);
}

static enum quern_status make_chat(const struct example_maker *m, struct example_form *f,
                                   struct example *out, struct quern_error *err) {
    const struct chat_render_options options = {
        .tools = f->tools, .kwargs = f->kwargs, .enable_thinking = f->enable_thinking};
    struct chat_spans spans = {0};
    struct buffer text;
    buffer_init(&text, TEXT_MAX_BYTES);
    enum quern_status status = QUERN_OK;
    if (!m->chat)
        status = error_set(err, QUERN_ERR_UNSUPPORTED, "the model has no chat template");
    if (!status && m->options.thinking == EXAMPLE_THINK_DROP)
        status = drop_thoughts(f, err);
    if (!status)
        status = chat_template_render_spans(m->chat, f->messages, &options, &text, &spans, err);
    if (!status)
        status = spans.n_generated ? append_generated(m, buffer_str(&text), &spans, out, err)
                                   : append_spans(m, f, buffer_str(&text), &spans, out, err);
    chat_spans_release(&spans);
    buffer_release(&text);
    return status;
}

static enum quern_status make_text(const struct example_maker *m, const struct example_form *f,
                                   struct example *out, struct quern_error *err) {
    enum quern_status status = append(m, f->given, false, out, err);
    if (!status)
        status = append(m, f->target, true, out, err);
    if (!status && m->end_of_text != TOKENIZER_NONE) {
        struct str end = tokenizer_token_bytes(m->tokenizer, m->end_of_text);
        status = append(m, end, true, out, err);
    }
    return status;
}

/* The first token can be no label: nothing stands before it. */
static void finish(const struct example_maker *m, struct example *e) {
    const size_t max = m->options.max_length;
    size_t last = 0;
    e->was_cut = max && e->tokens.n > max;
    if (e->was_cut)
        e->tokens.n = max;
    if (e->tokens.n)
        e->trained.data[0] = 0;
    e->n_trained = 0;
    for (size_t i = 1; i < e->tokens.n; i++)
        if (e->trained.data[i]) {
            e->n_trained++;
            last = i;
        }
    if (e->n_trained)
        e->tokens.n = last + 1;
    e->trained.len = e->tokens.n;
}

void example_init(struct example *e) {
    *e = (struct example){0};
    buffer_init(&e->trained, TEXT_MAX_BYTES);
}

void example_release(struct example *e) {
    token_ids_release(&e->tokens);
    buffer_release(&e->trained);
}

enum quern_status example_make(const struct example_maker *m, const json_t *record,
                               struct example *out, struct quern_error *err) {
    struct example_form form;
    out->tokens.n = 0;
    buffer_clear(&out->trained);
    out->n_thoughtless = 0;
    enum quern_status status = example_form_read(record, m->options.raw, &form, err);
    if (!status)
        status = form.is_text ? make_text(m, &form, out, err) : make_chat(m, &form, out, err);
    example_form_release(&form);
    if (!status)
        finish(m, out);
    return status;
}

/* ---- a view ------------------------------------------------------------------------------------- */

#define GREEN "\033[32m"
#define PLAIN "\033[0m"

enum quern_status example_show(const struct example *e, const struct tokenizer *tokenizer,
                               bool colour, size_t max_tokens, struct buffer *out,
                               struct quern_error *err) {
    const size_t n = max_tokens && max_tokens < e->tokens.n ? max_tokens : e->tokens.n;
    enum quern_status status = QUERN_OK;
    for (size_t i = 0, end; i < n && !status; i = end) {
        const bool trained = e->trained.data[i] != 0;
        for (end = i + 1; end < n && (e->trained.data[end] != 0) == trained;)
            end++;
        if (trained)
            buffer_puts(out, colour ? GREEN : "[[");
        struct buffer text;
        buffer_init(&text, TEXT_MAX_BYTES);
        status = tokenizer_decode(tokenizer, e->tokens.ids + i, end - i, false, &text, err);
        for (size_t j = 0; j < text.len; j++) {
            const unsigned char c = (unsigned char)text.data[j];
            buffer_putc(out, c < 0x20 && c != '\n' && c != '\t' ? '?' : (char)c);
        }
        buffer_release(&text);
        if (trained)
            buffer_puts(out, colour ? PLAIN : "]]");
    }
    buffer_puts(out, n < e->tokens.n ? " ...\n" : "\n");
    return status ? status : buffer_status(out, "the view", err);
}
