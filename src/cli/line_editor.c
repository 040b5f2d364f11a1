#include "cli/line_editor.h"

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "base/os.h"
#include "cli/cli_common.h"
#include "cli/history_file.h"
#include "cli/interrupt.h"
#include "text/unicode.h"

enum { PATH_MAX_BYTES = 4096 };

/* Terminals bracket pasted text when asked to. */
#define PASTE_ON "\033[?2004h"
#define PASTE_OFF "\033[?2004l"
#define PASTE_BEGIN "\033[200~"
#define PASTE_END L"\033[201~"

struct line_editor {
    EditLine *el;
    History *history;
    const char *prompt;
    bool colour;
    const char *(*complete)(size_t i);
    char history_path[PATH_MAX_BYTES]; /* "": none */
};

static struct line_editor *editor_of(EditLine *el) {
    void *data = NULL;
    el_get(el, EL_CLIENTDATA, &data);
    return data;
}

/* ---- signals while a line is read --------------------------------------------------- */

static volatile sig_atomic_t resized, resumed;

static void on_signal(int signal_number) {
    if (signal_number == SIGWINCH)
        resized = 1;
    else
        resumed = 1;
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGWINCH, &action, NULL);
    sigaction(SIGCONT, &action, NULL);
}

static void handle_signals(EditLine *el) {
    if (resized) {
        resized = 0;
        el_resize(el);
    }
    if (resumed) { /* the shell has set the terminal to its own liking meanwhile */
        resumed = 0;
        el_set(el, EL_PREP_TERM, 0);
        el_set(el, EL_PREP_TERM, 1);
        fputs(PASTE_ON, stdout);
        el_set(el, EL_REFRESH);
    }
}

/* ---- characters ---------------------------------------------------------------------- */

/* One byte; 1, 0 at the end of input, -1 on error or Ctrl-C. */
static int read_byte(EditLine *el, unsigned char *byte) {
    while (!interrupt_pending()) {
        if (os_wait_readable(STDIN_FILENO))
            return (int)read(STDIN_FILENO, byte, 1);
        handle_signals(el);
    }
    errno = EINTR;
    return -1;
}

/* libedit's own reader repeats a read that Ctrl-C broke off, and knows the locale's encoding only.
 */
static int read_character(EditLine *el, wchar_t *out) {
    unsigned char bytes[4];
    for (size_t n = 0; n < sizeof bytes;) {
        int got = read_byte(el, &bytes[n]);
        if (got <= 0)
            return got;
        n++;
        int32_t code_point = -1;
        if (n < sizeof bytes && utf8_incomplete_tail((struct str){(char *)bytes, n}) == n)
            continue;
        utf8_decode(bytes, bytes + n, &code_point);
        *out = code_point < 0 ? (wchar_t)0xFFFD : (wchar_t)code_point;
        return 1;
    }
    return -1;
}

static char *prompt_of(EditLine *el) {
    struct line_editor *e = editor_of(el);
    static char text[64];
    /* \1 encloses what takes no room on the screen; libedit sends it with the character after
     * it, so the reset stands before the space. */
    int n = (int)strcspn(e->prompt, " ");
    if (e->colour)
        snprintf(text, sizeof text, "\1\033[1;32m\1%.*s\1\033[0m\1%s", n, e->prompt, e->prompt + n);
    else
        snprintf(text, sizeof text, "%s", e->prompt);
    return text;
}

/* Bound to the sequence that begins a paste: newlines in it are text, not the Enter key. */
static unsigned char take_paste(EditLine *el, int key) {
    (void)key;
    static const wchar_t end[] = PASTE_END;
    const size_t end_len = sizeof end / sizeof end[0] - 1;
    size_t n = 0, capacity = 256;
    wchar_t *text = malloc(capacity * sizeof *text);
    wchar_t c;
    while (text && read_character(el, &c) == 1) {
        text[n++] = c == L'\r' ? L'\n' : c;
        if (n >= end_len && wmemcmp(text + n - end_len, end, end_len) == 0) {
            n -= end_len;
            break;
        }
        if (n + 1 >= capacity) {
            wchar_t *grown = realloc(text, 2 * capacity * sizeof *text);
            if (!grown)
                break;
            text = grown;
            capacity *= 2;
        }
    }
    /* A newline at the end came with the copied lines; Enter is still the user's to press. */
    while (n && text[n - 1] == L'\n')
        n--;
    int result = CC_REFRESH;
    if (text) {
        text[n] = L'\0';
        if (n && el_winsertstr(el, text) != 0)
            result = CC_ERROR;
    }
    free(text);
    return (unsigned char)result;
}

/* Completes a command at the beginning of the line as far as it is unambiguous. */
static unsigned char complete_command(EditLine *el, int key) {
    (void)key;
    struct line_editor *e = editor_of(el);
    const LineInfo *info = el_line(el);
    size_t n = (size_t)(info->cursor - info->buffer);
    const char *match = NULL;
    size_t common = 0;
    if (n == 0 || info->cursor != info->lastchar)
        return CC_ERROR;
    for (size_t i = 0; e->complete && e->complete(i); i++) {
        const char *word = e->complete(i);
        if (strncmp(word, info->buffer, n) != 0)
            continue;
        size_t same = 0;
        while (match && same < common && word[same] == match[same])
            same++;
        common = match ? same : strlen(word);
        match = word;
    }
    char rest[64];
    if (!match || common <= n || common - n >= sizeof rest)
        return CC_ERROR;
    memcpy(rest, match + n, common - n);
    rest[common - n] = '\0';
    return el_insertstr(el, rest) == 0 ? CC_REFRESH : CC_ERROR;
}

/* ---- history --------------------------------------------------------------------------- */

/* The directory of the history file, made when missing. */
static bool state_dir(char *dir, size_t size) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char base[PATH_MAX_BYTES];
    int n;
    if (state && *state == '/')
        n = snprintf(base, sizeof base, "%s", state);
    else if (home && *home == '/')
        n = snprintf(base, sizeof base, "%s/.local/state", home);
    else
        return false;
    if (n < 0 || (size_t)n >= sizeof base)
        return false;
    /* What one types is nobody else's business. */
    return os_path_join(dir, size, base, "quern", NULL) == QUERN_OK &&
           os_make_private_dir(dir, NULL) == QUERN_OK;
}

static void enter(void *history_object, const char *turn) {
    HistEvent event;
    history(history_object, &event, H_ENTER, turn);
}

static void load_history(struct line_editor *e) {
    HistEvent event;
    char dir[PATH_MAX_BYTES];
    history(e->history, &event, H_SETSIZE, HISTORY_TURNS);
    history(e->history, &event, H_SETUNIQUE, 1);
    if (!state_dir(dir, sizeof dir) ||
        os_path_join(e->history_path, sizeof e->history_path, dir, "history", NULL)) {
        e->history_path[0] = '\0';
        return;
    }
    history_file_load(e->history_path, enter, e->history);
}

void line_editor_remember(struct line_editor *e, const char *turn) {
    enter(e->history, turn);
    if (e->history_path[0])
        (void)history_file_append(e->history_path, turn, NULL);
}

/* ---- the editor -------------------------------------------------------------------------- */

/* Width and output of characters follow the locale, so it must be a UTF-8 one. */
static void use_utf8_locale(void) {
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0 && !setlocale(LC_CTYPE, "C.UTF-8"))
        setlocale(LC_CTYPE, "en_US.UTF-8");
}

static bool set_up(struct line_editor *e) {
    e->history = history_init();
    e->el = e->history ? el_init("quern", stdin, stdout, stderr) : NULL;
    if (!e->el)
        return false;
    el_set(e->el, EL_CLIENTDATA, e);
    el_set(e->el, EL_PROMPT_ESC, prompt_of, '\1');
    el_set(e->el, EL_EDITOR, "emacs");
    el_set(e->el, EL_SIGNAL, 0);
    el_wset(e->el, EL_GETCFN, read_character);
    el_set(e->el, EL_HIST, history, e->history);
    el_set(e->el, EL_ADDFN, "quern-paste", "take pasted text as it is", take_paste);
    el_set(e->el, EL_ADDFN, "quern-complete", "complete a command", complete_command);
    el_set(e->el, EL_BIND, PASTE_BEGIN, "quern-paste", NULL);
    el_set(e->el, EL_BIND, "\t", "quern-complete", NULL);
    /* Ctrl-D pressed during an answer arrives as NUL, which would quote the next key. */
    el_set(e->el, EL_BIND, "^@", "em-set-mark", NULL);
    el_set(e->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(e->el, NULL);
    return true;
}

enum quern_status line_editor_create(const char *(*complete)(size_t i), struct line_editor **out,
                                     struct quern_error *err) {
    const char *term = getenv("TERM");
    *out = NULL;
    if (!term || !*term || strcmp(term, "dumb") == 0)
        return QUERN_OK;
    struct line_editor *e = calloc(1, sizeof *e);
    if (!e)
        return error_nomem(err);
    use_utf8_locale();
    e->complete = complete;
    e->colour = cli_has_colour(stdout);
    if (!set_up(e)) {
        line_editor_destroy(e);
        return error_nomem(err);
    }
    load_history(e);
    catch_signals();
    *out = e;
    return QUERN_OK;
}

void line_editor_destroy(struct line_editor *e) {
    if (!e)
        return;
    if (e->el)
        el_end(e->el);
    if (e->history)
        history_end(e->history);
    free(e);
}

static bool append_wide(struct buffer *line, const wchar_t *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char bytes[4];
        buffer_append(line, bytes, (size_t)utf8_encode((int32_t)text[i], bytes));
    }
    return line->failed == QUERN_OK;
}

enum chat_input_event line_editor_read(struct line_editor *e, const char *prompt,
                                       struct buffer *line) {
    e->prompt = prompt;
    /* el_wgets shows the prompt first and sets the terminal then: a key pressed in between would
     * be taken as it is for lines. */
    el_set(e->el, EL_PREP_TERM, 1);
    fputs(PASTE_ON, stdout);
    fflush(stdout);
    int n = 0;
    const wchar_t *text = el_wgets(e->el, &n);
    fputs(PASTE_OFF, stdout);
    fflush(stdout);
    if (interrupt_pending()) {
        interrupt_clear();
        putchar('\n');
        return CHAT_INPUT_INTERRUPT;
    }
    if (!text || n <= 0) {
        putchar('\n');
        return CHAT_INPUT_END;
    }
    size_t len = (size_t)n;
    if (text[len - 1] == L'\n')
        len--;
    return append_wide(line, text, len) ? CHAT_INPUT_TURN : CHAT_INPUT_ERROR;
}
