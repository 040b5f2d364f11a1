#include "cli/chat.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "cli/cli_common.h"
#include "cli/interrupt.h"
#include "cli/messages.h"
#include "cli/prefill.h"
#include "cli/term_text.h"

#define DIM "\033[2m"
#define PLAIN "\033[0m"

void chat_error(struct chat *chat, const char *fmt, ...) {
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    cli_error("%s", text);
    chat->failed = true;
}

void chat_note(const char *fmt, ...) {
    if (!os_is_tty(STDERR_FILENO))
        return;
    bool colour = cli_has_colour(stderr);
    fflush(stdout);
    fputs(colour ? DIM : "", stderr);
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "%s\n", colour ? PLAIN : "");
}

/* ---- showing an answer ---------------------------------------------------------------- */

struct view {
    struct answer answer;
    const struct chat *chat;
    bool is_tty, colour;
    bool in_thinking; /* the last piece shown was thinking */
    bool any;
    char last;
    struct buffer out;
};

static void leave_thinking(struct view *view) {
    if (view->in_thinking)
        buffer_puts(&view->out, view->colour ? PLAIN "\n\n" : "\n(answer)\n");
    view->in_thinking = false;
}

static bool flush_view(struct view *view) {
    if (view->out.failed)
        return false;
    return view->out.len == 0 || cli_write(view->out.data, view->out.len);
}

static bool show(void *user, bool thinking, const char *text, size_t len) {
    struct view *view = user;
    if (thinking && !view->is_tty && !view->chat->show_thinking)
        return true;
    buffer_clear(&view->out);
    if (thinking && !view->in_thinking) {
        buffer_puts(&view->out, view->colour ? DIM : "(thinking)\n");
        view->in_thinking = true;
    } else if (!thinking) {
        leave_thinking(view);
    }
    if (view->is_tty)
        term_text_append((struct str){text, len}, &view->out);
    else
        buffer_append(&view->out, text, len);
    view->any = true;
    view->last = text[len - 1];
    return flush_view(view);
}

static bool on_event(void *user, const struct quern_event *event) {
    struct view *view = user;
    return !interrupt_pending() && answer_push(&view->answer, event);
}

/* Closes what is open, so that the next line begins on its own. */
static void finish_view(struct view *view) {
    buffer_clear(&view->out);
    if (view->in_thinking && view->colour)
        buffer_puts(&view->out, PLAIN);
    /* An answer of calls alone has no line of its own. */
    const bool silent = !view->any && view->answer.calls;
    if (!silent && (!view->any || view->last != '\n'))
        buffer_putc(&view->out, '\n');
    flush_view(view);
}

/* ---- answering -------------------------------------------------------------------------- */

struct turn_stats {
    size_t n_prompt, n_reused;
    double prompt_seconds;
};

static void say_context_full(struct chat *chat, size_t n_prompt) {
    int32_t context = quern_session_context(chat->session);
    if (context < chat->info.max_context)
        chat_error(chat,
                   "the conversation has %zu tokens now, but the context holds %d. /clear starts "
                   "anew; quern chat -c N gives a larger context (this model takes up to %d). The "
                   "last message was taken back.",
                   n_prompt, context, chat->info.max_context);
    else
        chat_error(chat,
                   "the conversation has %zu tokens now, but the context holds %d, the most this "
                   "model takes. /clear starts anew. The last message was taken back.",
                   n_prompt, context);
}

static void report(const struct chat *chat, const struct turn_stats *stats,
                   const struct quern_generate_result *result) {
    size_t n_held = 0;
    quern_session_tokens(chat->session, &n_held);
    double speed = result->seconds > 0 ? (double)result->n_tokens / result->seconds : 0;
    if (chat->verbose)
        chat_note("[%zu tokens in %.2f s, %.1f tokens/s; prompt %zu tokens: %zu kept, %zu read in "
                  "%.2f s; context %zu of %d; seed %llu]",
                  result->n_tokens, result->seconds, speed, stats->n_prompt, stats->n_reused,
                  stats->n_prompt - stats->n_reused, stats->prompt_seconds, n_held,
                  quern_session_context(chat->session),
                  (unsigned long long)(chat->sampling.seed + chat->n_again));
    else
        chat_note("[%zu tokens, %.1f tokens/s; prompt %zu, %zu of them new]", result->n_tokens,
                  speed, stats->n_prompt, stats->n_prompt - stats->n_reused);
}

static void say_how_it_ended(const struct chat *chat, const struct quern_generate_result *result) {
    size_t n_held = 0;
    quern_session_tokens(chat->session, &n_held);
    int32_t context = quern_session_context(chat->session);
    if (result->finish == QUERN_FINISH_CANCELLED)
        chat_note("(stopped)");
    else if (result->finish == QUERN_FINISH_LENGTH && n_held >= (size_t)context)
        cli_error("the answer ends here because the context of %d tokens is full; /clear starts "
                  "anew, quern chat -c N gives a larger one (up to %d)",
                  context, chat->info.max_context);
    else if (result->finish == QUERN_FINISH_LENGTH)
        chat_note("(cut at max_tokens, %d)", chat->max_tokens);
}

static enum quern_status prepare(struct chat *chat, int32_t **ids, struct turn_stats *stats,
                                 struct quern_error *err) {
    enum quern_status status =
        messages_encode(chat->model, chat->messages, chat->tools.set->list_json,
                        chat->enable_thinking, ids, &stats->n_prompt, err);
    if (status)
        return status;
    if (stats->n_prompt >= (size_t)quern_session_context(chat->session))
        return error_set(err, QUERN_ERR_CONTEXT, "the context is full");
    uint64_t begin_ns = os_now_ns();
    status = cli_prefill(chat->session, *ids, stats->n_prompt, &stats->n_reused, err);
    stats->prompt_seconds = (double)(os_now_ns() - begin_ns) * 1e-9;
    return status;
}

static bool keep_answer(struct chat *chat, const struct answer *a) {
    if (!messages_add(chat->messages, "assistant", answer_content(a), answer_thinking(a)))
        return false;
    json_t *message = json_array_get(chat->messages, json_array_size(chat->messages) - 1);
    return !a->calls || json_object_set(message, "tool_calls", a->calls) == 0;
}

static enum quern_status generate(struct chat *chat, struct view *view, bool may_call,
                                  struct quern_generate_result *result, struct quern_error *err) {
    struct quern_form form = chat->form;
    form.tools_json = chat->tools.set->list_json;
    form.tool_use = may_call ? QUERN_TOOLS_AUTO : QUERN_TOOLS_NONE;
    form.may_think = chat->enable_thinking != 0;
    struct quern_generate_options options = {
        .sampling = chat->sampling,
        .max_tokens = chat->max_tokens,
        .stop_strings = chat->stop_strings,
        .n_stop_strings = chat->n_stop_strings,
        .n_top_logprobs = -1,
        .form = &form,
        .on_event = on_event,
        .user = view,
    };
    options.sampling.seed += chat->n_again;
    enum quern_status status = quern_generate(chat->session, &options, result, err);
    answer_finish(&view->answer);
    finish_view(view);
    if (!status && view->answer.failed)
        return error_nomem(err);
    if (!status && !keep_answer(chat, &view->answer))
        return error_nomem(err);
    return status;
}

/* Answers the conversation as it stands. */
static enum quern_status answer(struct chat *chat, bool may_call, struct turn_stats *stats,
                                struct quern_generate_result *result, struct quern_error *err) {
    int32_t *ids = NULL;
    enum quern_status status = prepare(chat, &ids, stats, err);
    if (!status) {
        struct view view = {
            .chat = chat,
            .is_tty = os_is_tty(STDOUT_FILENO),
            .colour = cli_has_colour(stdout),
        };
        buffer_init(&view.out, SIZE_MAX / 4);
        bool inside = think_tokens_left_open(chat->think, ids, stats->n_prompt);
        answer_init(&view.answer, chat->model, chat->think, inside, show, &view);
        if (chat->tools.set->list && !answer_use_tools(&view.answer, chat->tools.set->list))
            status = error_nomem(err);
        if (!status)
            status = generate(chat, &view, may_call, result, err);
        answer_release(&view.answer);
        buffer_release(&view.out);
    }
    quern_free(ids);
    return status;
}

static bool has_calls(const struct chat *chat) {
    const json_t *last = json_array_get(chat->messages, json_array_size(chat->messages) - 1);
    return json_object_get(last, "tool_calls") != NULL;
}

/* Answers, runs the tools that the answer calls, and answers again; after max_tool_rounds without
 * them. A call that was cut or stopped is not run. */
static enum quern_status answer_with_tools(struct chat *chat, struct turn_stats *stats,
                                           struct quern_generate_result *result,
                                           struct quern_error *err) {
    for (int32_t round = 0;; round++) {
        bool failed = false;
        enum quern_status status = answer(chat, round < chat->max_tool_rounds, stats, result, err);
        if (status || !has_calls(chat))
            return status;
        if (result->finish != QUERN_FINISH_STOP) { /* no results: the calls are no more */
            json_t *last = json_array_get(chat->messages, json_array_size(chat->messages) - 1);
            json_object_del(last, "tool_calls");
            return QUERN_OK;
        }
        if (!tool_rounds_run(&chat->tools, chat->messages, &failed)) {
            result->finish = QUERN_FINISH_CANCELLED;
            return QUERN_OK;
        }
        if (failed)
            return error_nomem(err);
    }
}

/* Answers; when that fails, leaves n_before messages. */
static void answer_or_take_back(struct chat *chat, size_t n_before) {
    struct turn_stats stats = {0};
    struct quern_generate_result result = {0};
    struct quern_error err = {0};
    interrupt_clear();
    enum quern_status status = answer_with_tools(chat, &stats, &result, &err);
    interrupt_clear();
    if (!status) {
        say_how_it_ended(chat, &result);
        report(chat, &stats, &result);
        return;
    }
    messages_truncate(chat->messages, n_before);
    if (status == QUERN_ERR_CANCELLED)
        chat_note("(stopped before the answer; the last message was taken back)");
    else if (status == QUERN_ERR_CONTEXT)
        say_context_full(chat, stats.n_prompt);
    else
        chat_error(chat, "%s", err.message);
}

void chat_turn(struct chat *chat, struct str text) {
    size_t n_before = json_array_size(chat->messages);
    if (!messages_add(chat->messages, "user", text, (struct str){0})) {
        chat_error(chat, "out of memory");
        return;
    }
    chat->n_again = 0;
    answer_or_take_back(chat, n_before);
}

void chat_regenerate(struct chat *chat) {
    long last = messages_last(chat->messages, "user");
    if (last < 0) {
        chat_error(chat, "there is no message to answer yet");
        return;
    }
    bool was_answered = json_array_size(chat->messages) > (size_t)last + 1;
    messages_truncate(chat->messages, (size_t)last + 1);
    chat->n_again += was_answered;
    answer_or_take_back(chat, (size_t)last + 1);
}
