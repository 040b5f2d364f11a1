/* mcp_stdio.c - a server that is a program: a message a line on its standard streams. */
#include <stdlib.h>
#include <string.h>

#include "base/process.h"
#include "mcp/mcp_transport.h"

enum { ERRORS_BYTES = 2048, GRACE_MS = 1000 };

struct stdio {
    struct process process;
    struct buffer in;     /* read, not yet taken */
    struct buffer errors; /* the last of what it said on standard error */
};

/* ---- messages ------------------------------------------------------------------------------ */

/* Takes whole lines out of what was read. */
static void take_lines(struct stdio *s, struct mcp_exchange *x) {
    size_t done = 0;
    const char *end;
    while (done < s->in.len &&
           (end = memchr(s->in.data + done, '\n', s->in.len - done)) != NULL) {
        const size_t len = (size_t)(end - s->in.data) - done;
        mcp_take_message(x, (struct str){s->in.data + done, len});
        done += len + 1;
    }
    if (!done)
        return;
    memmove(s->in.data, s->in.data + done, s->in.len - done);
    s->in.len -= done;
    s->in.data[s->in.len] = '\0';
}

/* The last of it is what matters. */
static void keep_tail(struct buffer *b) {
    if (b->len < b->max)
        return;
    memmove(b->data, b->data + b->len / 2, b->len - b->len / 2);
    b->len -= b->len / 2;
    b->data[b->len] = '\0';
}

static enum quern_status gone(struct stdio *s, struct quern_error *err) {
    if (!process_wait(&s->process, GRACE_MS))
        return error_set(err, QUERN_ERR_IO, "the server has closed its output");
    const struct str said = buffer_str(&s->errors);
    return error_set(err, QUERN_ERR_IO, "the server has ended with code %d%s%.*s", s->process.code,
                     said.len ? ": " : "", STR_FMT(said));
}

static enum quern_status exchange(void *state, struct mcp_exchange *x, struct quern_error *err) {
    struct stdio *s = state;
    struct buffer out;
    buffer_init(&out, 2 * MCP_MESSAGE_BYTES_MAX);
    buffer_append_str(&out, x->message);
    buffer_putc(&out, '\n');
    enum quern_status status = buffer_status(&out, "the message", err);
    struct str rest = buffer_str(&out);
    while (!status && (rest.len || (x->id >= 0 && !x->reply))) {
        status = mcp_check_time(x, err);
        if (!status && process_pump(&s->process, &rest, &s->in, &s->errors) == PROCESS_CLOSED)
            status = gone(s, err);
        keep_tail(&s->errors);
        take_lines(s, x);
        if (!status && s->in.len == s->in.max)
            status = error_set(err, QUERN_ERR_LIMIT, "a message has more than %d bytes",
                               MCP_MESSAGE_BYTES_MAX);
        if (x->reply) /* what came before the end counts */
            status = QUERN_OK;
        if (!status && !rest.len && x->own.len) {
            buffer_clear(&out);
            buffer_append_str(&out, buffer_str(&x->own));
            buffer_clear(&x->own);
            rest = buffer_str(&out);
        }
    }
    buffer_release(&out);
    return status;
}

static void set_version(void *state, const char *version) {
    (void)state;
    (void)version;
}

static void close_stdio(void *state) {
    struct stdio *s = state;
    process_close_input(&s->process);
    process_wait(&s->process, GRACE_MS); /* a good server ends with its input */
    process_end(&s->process, GRACE_MS);
    buffer_release(&s->in);
    buffer_release(&s->errors);
    free(s);
}

enum quern_status mcp_stdio_open(const struct mcp_server *server, struct mcp_transport *out,
                                 struct quern_error *err) {
    static const struct mcp_transport_ops ops = {exchange, set_version, close_stdio};
    struct stdio *s = calloc(1, sizeof *s);
    if (!s)
        return error_nomem(err);
    buffer_init(&s->in, MCP_MESSAGE_BYTES_MAX);
    buffer_init(&s->errors, ERRORS_BYTES);
    enum quern_status status = process_start(&s->process, (const char *const *)server->argv,
                                             (const char *const *)server->env, err);
    if (status)
        free(s);
    else
        *out = (struct mcp_transport){&ops, s};
    return status;
}
