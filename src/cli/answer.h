/* answer.h - an answer as it is generated, split into thinking and answer by the ids of
 * <think> and </think>, and shown on the way. */
#ifndef QUERN_CLI_ANSWER_H
#define QUERN_CLI_ANSWER_H

#include <stdbool.h>

#include "base/buffer.h"
#include "quern.h"
#include "text/json.h"

struct answer_parts;

struct think_tokens {
    int32_t begin, end; /* -1: the model has none */
};
struct think_tokens think_tokens_find(const quern_model *model);
/* True when a rendered prompt ends inside an opened thinking block. */
bool think_tokens_left_open(struct think_tokens think, const int32_t *ids, size_t n_ids);

struct answer {
    const quern_model *model;
    struct think_tokens think;
    /* Called with what became certain. `thinking`: it belongs to the thinking. */
    bool (*show)(void *user, bool thinking, const char *text, size_t len);
    void *user;

    int32_t *ids;
    size_t n_ids, capacity;
    struct buffer text; /* all text so far, markers included */
    bool thinking;      /* what is shown next belongs to the thinking */
    size_t shown;       /* bytes of text shown or passed over */
    size_t begin;       /* where the thinking starts */
    size_t end, resume; /* the last </think>: where it starts, where it ends */
    bool ended;         /* there was one */
    bool fresh;         /* newlines after a marker are still to be passed over */
    enum quern_status failed;

    /* With tools the parts are told apart by the code that serves requests. */
    struct answer_parts *parts; /* NULL: no tools */
    struct buffer reasoning, content;
    json_t *calls; /* own: as messages have them, arguments as text */
    bool stopped;  /* `show` said so */
};

/* `inside`: the prompt has opened the thinking already. */
void answer_init(struct answer *a, const quern_model *model, struct think_tokens think, bool inside,
                 bool (*show)(void *user, bool thinking, const char *text, size_t len), void *user);
void answer_release(struct answer *a);
/* Right after answer_init: calls of these tools (OpenAI's array, borrowed) are taken out of the content,
 * and kept in a->calls. False: out of memory. */
bool answer_use_tools(struct answer *a, const json_t *tools);
/* After the last event. */
void answer_finish(struct answer *a);

/* Takes one event of quern_generate. False to stop: `show` said so or memory ran out. */
bool answer_push(struct answer *a, const struct quern_event *event);

/* The two parts, split at the last </think>, without the newlines around the markers. */
struct str answer_thinking(const struct answer *a);
struct str answer_content(const struct answer *a);

#endif
