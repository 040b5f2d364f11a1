/* chat_commands.c - what begins with a slash in a chat. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "cli/chat.h"
#include "cli/cli_common.h"
#include "cli/messages.h"
#include "cli/sampling_args.h"
#include "cli/term_text.h"

struct command {
    const char *name, *argument, *help;
    void (*run)(struct chat *chat, const char *argument);
};

static const struct command *command_at(size_t i);

static void talk(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* What a command answers: talk, not a result. */
static void talk(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
}

static void help(struct chat *chat, const char *argument) {
    (void)chat;
    (void)argument;
    for (size_t i = 0; command_at(i); i++) {
        const struct command *c = command_at(i);
        char head[40];
        snprintf(head, sizeof head, "%s %s", c->name, c->argument);
        talk("  %-20s %s\n", head, c->help);
    }
    talk("\nA backslash at the end of a line, or \"\"\" before and after, makes a message of "
         "several lines.\nCtrl-C stops an answer; Ctrl-D ends the chat.\n");
}

static bool is_system(const struct chat *chat) {
    return strcmp(messages_role(chat->messages, 0), "system") == 0;
}

static void drop_system(struct chat *chat) {
    if (is_system(chat))
        json_array_remove(chat->messages, 0);
}

static void show_system(const struct chat *chat) {
    if (!is_system(chat)) {
        talk("system: (none; /system TEXT sets it, /system - removes it)\n");
        return;
    }
    const json_t *text = json_object_get(json_array_get(chat->messages, 0), "content");
    struct buffer shown; /* a loaded conversation may hold anything */
    buffer_init(&shown, SIZE_MAX / 4);
    term_text_append(str_from(json_string_value(text)), &shown);
    talk("system: %s\n", shown.data ? shown.data : "");
    buffer_release(&shown);
}

static void set_system(struct chat *chat, const char *argument) {
    if (!*argument) {
        show_system(chat);
        return;
    }
    drop_system(chat);
    if (strcmp(argument, "-") == 0)
        return;
    json_t *head = json_array();
    bool ok = head && messages_add(head, "system", str_from(argument), (struct str){0}) &&
              json_array_insert(chat->messages, 0, json_array_get(head, 0)) == 0;
    json_decref(head);
    if (!ok)
        chat_error(chat, "out of memory");
}

/* ---- /set ------------------------------------------------------------------------------ */

static bool parse_count(const char *text, uint64_t max, uint64_t *out) {
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno || value > max)
        return false;
    *out = value;
    return true;
}

static void show_settings(const struct chat *chat) {
    for (size_t i = 0; sampling_param_at(i); i++) {
        const struct sampling_param *p = sampling_param_at(i);
        char value[40];
        sampling_param_format(p, &chat->sampling, value, sizeof value);
        talk("  %-20s %-12s %s\n", p->name, value, p->help);
    }
    talk("  %-20s %-12llu %s\n", "seed", (unsigned long long)chat->sampling.seed,
         "same seed, same text");
    talk("  %-20s %-12d %s\n", "max_tokens", chat->max_tokens,
         "most tokens of an answer; 0: what the context holds");
    talk("  %-20s %-12s %s\n", "verbose", chat->verbose ? "on" : "off",
         "more figures after each answer");
}

/* Everything /set knows, parameters under both their names. */
static const char *setting_name(const void *unused, size_t i) {
    (void)unused;
    static const char *const others[] = {"seed", "max_tokens", "verbose"};
    enum { N_OTHERS = sizeof others / sizeof others[0] };
    if (i < N_OTHERS)
        return others[i];
    const struct sampling_param *p = sampling_param_at((i - N_OTHERS) / 2);
    return !p ? NULL : (i - N_OTHERS) % 2 ? p->option : p->name;
}

static void set_other(struct chat *chat, const char *name, const char *value) {
    uint64_t number = 0;
    if (strcmp(name, "seed") == 0) {
        if (parse_count(value, UINT64_MAX, &number))
            chat->sampling.seed = number;
        else
            chat_error(chat, "seed takes a whole number, not \"%s\"", value);
    } else if (strcmp(name, "max_tokens") == 0 || strcmp(name, "max-tokens") == 0) {
        if (parse_count(value, INT32_MAX, &number))
            chat->max_tokens = (int32_t)number;
        else
            chat_error(chat, "max_tokens takes a whole number from 0 to %d, not \"%s\"", INT32_MAX,
                       value);
    } else if (strcmp(name, "verbose") == 0) {
        if (strcmp(value, "on") == 0 || strcmp(value, "off") == 0)
            chat->verbose = strcmp(value, "on") == 0;
        else
            chat_error(chat, "verbose is on or off, not \"%s\"", value);
    } else {
        const char *nearest = nearest_name(str_from(name), setting_name, NULL);
        chat_error(chat, "there is no setting \"%s\"%s%s%s; /set lists them", name,
                   nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"" : "");
    }
}

static void set(struct chat *chat, const char *argument) {
    char name[64];
    size_t n = strcspn(argument, " =");
    if (!n) {
        show_settings(chat);
        return;
    }
    const char *value = argument + n + strspn(argument + n, " =");
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), argument);
    const struct sampling_param *p = sampling_param_find(name);
    struct quern_error err = {0};
    if (!*value)
        chat_error(chat, "/set %s: the value is missing (\"/set %s VALUE\")", name, name);
    else if (!p)
        set_other(chat, name, value);
    else if (strcmp(value, "default") == 0)
        memcpy((char *)&chat->sampling + p->offset, (char *)&chat->defaults + p->offset, 4);
    else if (sampling_param_set(p, &chat->sampling, value, &err))
        chat_error(chat, "%s", err.message);
}

/* ---- the rest --------------------------------------------------------------------------- */

static void think(struct chat *chat, const char *argument) {
    static const char *const names[] = {"default", "off", "on"};
    if (!*argument) {
        talk("thinking: %s\n", names[chat->enable_thinking + 1]);
        return;
    }
    for (int i = 0; i < 3; i++) {
        if (strcmp(argument, names[i]) != 0)
            continue;
        chat->enable_thinking = i - 1;
        if (!chat->info.can_think)
            talk("This model's template knows no thinking; the setting changes nothing.\n");
        return;
    }
    chat_error(chat, "/think takes on, off or default, not \"%s\"", argument);
}

static void clear(struct chat *chat, const char *argument) {
    (void)argument;
    messages_truncate(chat->messages, is_system(chat) ? 1 : 0);
    chat->n_again = 0;
    chat_note("(the conversation is empty%s)", is_system(chat) ? "; the system message stays" : "");
}

static void regenerate(struct chat *chat, const char *argument) {
    (void)argument;
    chat_regenerate(chat);
}

/* "~/x" as a shell takes it. */
static void expand_home(const char *path, char *out, size_t size) {
    const char *home = getenv("HOME");
    bool is_home = path[0] == '~' && path[1] == '/' && home;
    snprintf(out, size, "%s%s", is_home ? home : "", is_home ? path + 1 : path);
}

static void save(struct chat *chat, const char *argument) {
    struct quern_error err = {0};
    char path[4096];
    expand_home(argument, path, sizeof path);
    if (!*argument)
        chat_error(chat, "/save: the file is missing (\"/save FILE\")");
    else if (messages_save(chat->messages, path, &err))
        chat_error(chat, "%s", err.message);
    else
        chat_note("(%zu messages saved)", json_array_size(chat->messages));
}

static void load(struct chat *chat, const char *argument) {
    struct quern_error err = {0};
    json_t *messages = NULL;
    char path[4096];
    expand_home(argument, path, sizeof path);
    if (!*argument) {
        chat_error(chat, "/load: the file is missing (\"/load FILE\")");
        return;
    }
    if (messages_load(path, &messages, &err)) {
        chat_error(chat, "%s", err.message);
        return;
    }
    json_decref(chat->messages);
    chat->messages = messages;
    chat->n_again = 0;
    size_t n = json_array_size(messages);
    bool is_open = n > 0 && strcmp(messages_role(messages, n - 1), "user") == 0;
    chat_note("(%zu messages loaded%s)", n, is_open ? "; /regenerate answers the last one" : "");
}

static void list_tools(struct chat *chat, const char *argument) {
    const struct tool_set *set = chat->tools.set;
    (void)argument;
    if (!set->n_tools)
        talk("There are no tools; quern chat --tools FILE gives some.\n");
    for (size_t i = 0; i < set->n_tools; i++) {
        const json_t *function = json_object_get(json_array_get(set->list, i), "function");
        const char *what = json_string_value(json_object_get(function, "description"));
        const bool asks = !chat->tools.allow && !set->tools[i].allow;
        talk("  %-20s %s%s\n", set->tools[i].name, what ? what : "", asks ? " (asks first)" : "");
    }
}

static void leave(struct chat *chat, const char *argument) {
    (void)argument;
    chat->quit = true;
}

static const struct command commands[] = {
    {"/help", "", "this list", help},
    {"/system", "[TEXT]", "show or set the system message; \"-\" removes it", set_system},
    {"/set", "[NAME VALUE]", "show or set sampling parameters, max_tokens, seed, verbose", set},
    {"/think", "on|off|default", "whether the model may think before it answers", think},
    {"/tools", "", "what the model may call", list_tools},
    {"/clear", "", "forget the conversation, keep the system message", clear},
    {"/regenerate", "", "answer the last message once more, with another seed", regenerate},
    {"/save", "FILE", "write the conversation as a JSON array of messages", save},
    {"/load", "FILE", "read a conversation", load},
    {"/exit", "", "end the chat (also Ctrl-D)", leave},
};

enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static const struct command *command_at(size_t i) {
    return i < N_COMMANDS ? &commands[i] : NULL;
}

static const char *command_name(const void *unused, size_t i) {
    (void)unused;
    return i < N_COMMANDS ? commands[i].name : NULL;
}

const char *chat_command_name(size_t i) {
    return command_name(NULL, i);
}

void chat_command(struct chat *chat, const char *line) {
    char name[32];
    size_t n = strcspn(line, " \t\n");
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), line);
    char *argument = strdup(line + n + strspn(line + n, " \t\n"));
    if (!argument) {
        chat_error(chat, "out of memory");
        return;
    }
    for (size_t len = strlen(argument); len && isspace((unsigned char)argument[len - 1]); len--)
        argument[len - 1] = '\0';
    const struct command *found = NULL;
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, strcmp(name, "/quit") == 0 ? "/exit" : name) == 0)
            found = &commands[i];
    const char *nearest = nearest_name(str_from(name), command_name, NULL);
    if (found)
        found->run(chat, argument);
    else
        chat_error(chat,
                   "%s is no command%s%s; /help lists them (a message may begin with a space)",
                   name, nearest ? "; did you mean " : "", nearest ? nearest : "");
    free(argument);
}
