#include "cli/grammar_sample.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "grammar/ending.h"

enum { GIVE_UP_FACTOR = 4, TEXT_BYTES_MAX = 16 << 20, GRAMMAR_BYTES = 48 << 20 };

struct sampler_state {
    const struct grammar_sample_args *args;
    struct matcher m;
    const struct token_image *image;
    struct ending ending;
    uint32_t *mask;
    uint64_t stream, drawn;
    bool closing;
};

static void write_text(const struct grammar_sample_args *args, const char *text, size_t len) {
    cli_write(text, len);
    cli_write(args->null_separated ? "\0" : "\n", 1);
}

static uint32_t draw(struct sampler_state *s, uint32_t below) {
    const double x = rng_uniform((uint64_t)s->args->seed, s->stream, s->drawn++);
    const uint32_t i = (uint32_t)(x * below);
    return i < below ? i : below - 1;
}

/* One of the tokens of the mask, each alike; of those of one byte only when `short_ones`, so that
 * what closes a part is not lost among a hundred thousand words. -1: there is none, or the text's
 * end was drawn. */
static int32_t draw_token(struct sampler_state *s, bool short_ones) {
    const struct tokenizer *t = s->image->tokenizer;
    const int32_t n_tokens = s->image->n_tokens;
    uint32_t n = matcher_can_end(&s->m);
    for (int pass = 0; pass < 2; pass++) {
        const uint32_t chosen = pass && n ? draw(s, n) : 0;
        uint32_t seen = matcher_can_end(&s->m);
        if (pass && (n == 0 || chosen < seen))
            return -1;
        for (int32_t i = 0; i < n_tokens; i++) {
            if (!(s->mask[i / 32] >> (i % 32) & 1) ||
                (short_ones && tokenizer_token_bytes(t, i).len != 1))
                continue;
            if (pass && seen++ == chosen)
                return i;
            n += !pass;
        }
    }
    return -1;
}

/* -1: the text ends here. */
static enum quern_status next_token(struct sampler_state *s, int64_t n_made, int32_t *out,
                                    struct quern_error *err) {
    size_t n;
    if (!s->closing && n_made >= s->args->max_tokens) {
        s->closing = ending_find(&s->m, &s->ending);
        if (!s->closing)
            return error_set(err, QUERN_ERR_LIMIT, "no end was found after %lld tokens",
                             (long long)n_made);
    }
    if (s->closing) {
        *out = ending_next_token(&s->ending, s->image, &n);
        s->ending.at += n;
        return QUERN_OK;
    }
    *out = -1;
    if (matcher_can_end(&s->m) && draw(s, 8) == 0)
        return QUERN_OK;
    enum quern_status st = matcher_mask(&s->m, s->mask, s->image->n_tokens, err);
    if (st != QUERN_OK) /* nothing may follow: fine where the text may end */
        return matcher_can_end(&s->m) ? QUERN_OK : st;
    *out = draw_token(s, draw(s, 2) == 0);
    if (*out < 0 && !matcher_can_end(&s->m))
        *out = draw_token(s, false);
    return QUERN_OK;
}

static enum quern_status one_text(struct sampler_state *s, struct buffer *text,
                                  struct quern_error *err) {
    enum quern_status st = QUERN_OK;
    s->closing = false;
    s->drawn = 0;
    buffer_clear(text);
    for (int64_t i = 0;; i++) {
        int32_t token = -1;
        if (i > s->args->max_tokens * GIVE_UP_FACTOR + ENDING_MAX)
            return error_set(err, QUERN_ERR_LIMIT, "no end was found within %lld tokens",
                             (long long)i);
        st = next_token(s, i, &token, err);
        if (st != QUERN_OK || token < 0)
            return st;
        st = matcher_accept_token(&s->m, token, err);
        if (st == QUERN_OK)
            st = buffer_append_str(text, tokenizer_token_bytes(s->image->tokenizer, token));
        if (st != QUERN_OK)
            return st;
    }
}

static enum quern_status by_chance(struct sampler_state *s, struct grammar *g, int64_t *done,
                                   struct buffer *text, struct quern_error *err) {
    enum quern_status st = matcher_init(&s->m, g, s->image, NULL, 0, err);
    const struct matcher_state start = s->m.state;
    while (*done < s->args->n && st == QUERN_OK && grammar_bytes(g) < GRAMMAR_BYTES) {
        s->m.state = start;
        s->stream = (uint64_t)*done;
        st = one_text(s, text, err);
        if (st != QUERN_OK)
            break;
        write_text(s->args, text->len ? text->data : "", text->len);
        ++*done;
    }
    return st;
}

/* What a grammar remembers grows with the texts: it is made anew when it has become large. */
static int by_chance_all(const struct cli_command *command, const struct grammar_sample_args *args,
                         struct sampler_state *s) {
    struct quern_error err = {0};
    struct buffer text;
    int code = CLI_GO_ON;
    buffer_init(&text, TEXT_BYTES_MAX);
    for (int64_t done = 0; done < args->n && code == CLI_GO_ON;) {
        struct grammar *g = NULL;
        const int64_t before = done;
        code = grammar_source_compile(command, &args->source, &g);
        if (code != CLI_GO_ON)
            break;
        const enum quern_status st = by_chance(s, g, &done, &text, &err);
        if (st != QUERN_OK && (st != QUERN_ERR_LIMIT || done == before))
            code = cli_fail(&err);
        else if (done == before)
            code = cli_error("the grammar is too large to make texts of");
        grammar_destroy(g);
    }
    buffer_release(&text);
    return code == CLI_GO_ON ? CLI_OK : code;
}

static int without_model(const struct cli_command *command,
                         const struct grammar_sample_args *args) {
    struct quern_error err = {0};
    struct tokenizer *tokenizer = NULL;
    struct token_image *image = NULL;
    struct sampler_state s = {.args = args};
    int code = CLI_OK;
    enum quern_status st = tokenizer_open(args->tokenizer, &tokenizer, &err);
    if (st == QUERN_OK)
        st = token_image_create(tokenizer, &image, &err);
    if (st == QUERN_OK) {
        s.image = image;
        s.mask = calloc(((size_t)image->n_tokens + 31) / 32, sizeof *s.mask);
        st = s.mask ? QUERN_OK : error_nomem(&err);
    }
    code = st == QUERN_OK ? by_chance_all(command, args, &s) : cli_fail(&err);
    free(s.mask);
    ending_release(&s.ending);
    token_image_destroy(image);
    tokenizer_close(tokenizer);
    return code;
}

/* ---- from a model ------------------------------------------------------------------ */

static bool keep_text(void *user, const struct quern_event *event) {
    return buffer_append(user, event->text, event->text_len) == QUERN_OK;
}

static enum quern_status from_model(quern_session *session, const struct quern_form *form,
                                    const struct grammar_sample_args *args, const int32_t *ids,
                                    size_t n_ids, struct quern_error *err) {
    struct buffer text;
    enum quern_status st = QUERN_OK;
    buffer_init(&text, TEXT_BYTES_MAX);
    for (int64_t i = 0; i < args->n && st == QUERN_OK; i++) {
        const struct quern_generate_options options = {
            .sampling = {.temperature = (float)args->temperature,
                         .top_p = 1.0f,
                         .typical_p = 1.0f,
                         .repetition_penalty = 1.0f,
                         .seed = (uint64_t)(args->seed + i)},
            .n_top_logprobs = -1,
            .max_tokens = (int32_t)(args->max_tokens * GIVE_UP_FACTOR),
            .form = form,
            .on_event = keep_text,
            .user = &text,
        };
        buffer_clear(&text);
        st = quern_session_sync(session, ids, n_ids, NULL, err);
        if (st == QUERN_OK)
            st = quern_generate(session, &options, NULL, err);
        if (st == QUERN_OK)
            write_text(args, text.len ? text.data : "", text.len);
    }
    buffer_release(&text);
    return st;
}

static int with_model(const struct cli_command *command, const struct grammar_sample_args *args) {
    struct quern_error err = {0};
    const struct quern_model_options options = {0};
    const struct quern_session_options session_options = {0};
    struct quern_form form;
    struct buffer text;
    quern_model *model = NULL;
    quern_session *session = NULL;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    const char *prompt = args->prompt ? args->prompt : "Hi.\n";
    buffer_init(&text, CLI_INPUT_MAX_BYTES);
    int code = cli_form_read(command, &args->source.form, &text, &form, NULL);
    if (code == CLI_GO_ON) {
        form.close_after = (int32_t)args->max_tokens;
        code = CLI_OK;
        if (quern_model_open(args->model, &options, &model, &err) != QUERN_OK ||
            quern_tokenize(model, prompt, strlen(prompt), true, true, &ids, &n_ids, &err) !=
                QUERN_OK ||
            quern_session_create(model, &session_options, &session, &err) != QUERN_OK ||
            from_model(session, &form, args, ids, n_ids, &err) != QUERN_OK)
            code = cli_fail(&err);
    }
    quern_session_destroy(session);
    quern_free(ids);
    quern_model_close(model);
    buffer_release(&text);
    return code;
}

int grammar_sample(const struct cli_command *command, const struct grammar_sample_args *args) {
    if (args->model)
        return with_model(command, args);
    if (!args->tokenizer)
        return cli_usage_error(command, "give --tokenizer or --model");
    return without_model(command, args);
}
