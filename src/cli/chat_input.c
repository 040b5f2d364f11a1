#include "cli/chat_input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "cli/interrupt.h"
#include "cli/line_editor.h"

enum { TURN_MAX_BYTES = 64 << 20 };

#define BLOCK_MARK "\"\"\""

enum quern_status chat_input_init(struct chat_input *in, const char *(*complete)(size_t i),
                                  struct quern_error *err) {
    *in = (struct chat_input){0};
    buffer_init(&in->line, TURN_MAX_BYTES);
    if (!os_is_tty(STDIN_FILENO) || !os_is_tty(STDOUT_FILENO))
        return QUERN_OK;
    return line_editor_create(complete, &in->editor, err);
}

void chat_input_release(struct chat_input *in) {
    line_editor_destroy(in->editor);
    buffer_release(&in->line);
    *in = (struct chat_input){0};
}

/* More bytes; TURN when there are some. */
static enum chat_input_event read_ahead(struct chat_input *in) {
    while (!interrupt_pending()) {
        if (!os_wait_readable(STDIN_FILENO))
            continue;
        ssize_t n = read(STDIN_FILENO, in->bytes, sizeof in->bytes);
        in->at = 0;
        in->n = n > 0 ? (size_t)n : 0;
        return n > 0 ? CHAT_INPUT_TURN : n == 0 ? CHAT_INPUT_END : CHAT_INPUT_ERROR;
    }
    interrupt_clear();
    return CHAT_INPUT_INTERRUPT;
}

static enum chat_input_event read_plain(struct chat_input *in) {
    for (;;) {
        if (in->at == in->n) {
            enum chat_input_event event = read_ahead(in);
            bool is_last_line = event == CHAT_INPUT_END && in->line.len > 0;
            if (event != CHAT_INPUT_TURN)
                return is_last_line ? CHAT_INPUT_TURN : event;
        }
        char c = in->bytes[in->at++];
        if (c == '\n')
            return CHAT_INPUT_TURN;
        if (buffer_putc(&in->line, c))
            return CHAT_INPUT_ERROR;
    }
}

static enum chat_input_event read_line(struct chat_input *in, const char *prompt) {
    buffer_clear(&in->line);
    buffer_puts(&in->line, "");
    if (!in->editor && os_is_tty(STDIN_FILENO))
        fprintf(stderr, "%s", prompt);
    return in->editor ? line_editor_read(in->editor, prompt, &in->line) : read_plain(in);
}

/* After the opening mark: the rest of the line and the following ones, to the closing mark. */
static enum chat_input_event read_block(struct chat_input *in, struct buffer *turn) {
    struct str rest = buffer_str(&in->line);
    rest.ptr += strlen(BLOCK_MARK);
    rest.len -= strlen(BLOCK_MARK);
    bool first = true;
    for (;;) {
        bool last = str_ends_with(rest, STR_LIT(BLOCK_MARK));
        if (last)
            rest.len -= strlen(BLOCK_MARK);
        /* Text may begin on the line after the mark and end on the line before it. */
        bool is_mark_alone = rest.len == 0 && (first || last);
        if (!is_mark_alone) {
            if (turn->len)
                buffer_putc(turn, '\n');
            buffer_append_str(turn, rest);
        }
        if (last)
            return CHAT_INPUT_TURN;
        first = false;
        enum chat_input_event event = read_line(in, "... ");
        if (event == CHAT_INPUT_END)
            return turn->len ? CHAT_INPUT_TURN : CHAT_INPUT_END;
        if (event != CHAT_INPUT_TURN)
            return event;
        rest = buffer_str(&in->line);
    }
}

static enum chat_input_event read_lines(struct chat_input *in, struct buffer *turn) {
    enum chat_input_event event = read_line(in, "> ");
    if (event != CHAT_INPUT_TURN)
        return event;
    if (str_starts_with(buffer_str(&in->line), STR_LIT(BLOCK_MARK)))
        return read_block(in, turn);
    while (in->line.len && in->line.data[in->line.len - 1] == '\\') {
        buffer_append(turn, in->line.data, in->line.len - 1);
        buffer_putc(turn, '\n');
        event = read_line(in, "... ");
        if (event == CHAT_INPUT_END)
            return CHAT_INPUT_TURN;
        if (event != CHAT_INPUT_TURN)
            return event;
    }
    buffer_append_str(turn, buffer_str(&in->line));
    return CHAT_INPUT_TURN;
}

enum chat_input_event chat_input_read(struct chat_input *in, struct buffer *turn,
                                      struct quern_error *err) {
    buffer_clear(turn);
    buffer_puts(turn, "");
    enum chat_input_event event = read_lines(in, turn);
    if (buffer_status(&in->line, "a line", err) || buffer_status(turn, "a turn", err))
        return CHAT_INPUT_ERROR;
    if (event == CHAT_INPUT_ERROR)
        error_set(err, QUERN_ERR_IO, "standard input: %s", strerror(errno));
    if (event == CHAT_INPUT_TURN && in->editor && turn->len)
        line_editor_remember(in->editor, turn->data);
    return event;
}
