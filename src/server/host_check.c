#include "server/host_check.h"

#include <ctype.h>
#include <string.h>

#include "base/str.h"

/* The name without the port and without brackets. Empty when it is malformed. */
static struct str name_of(const char *header) {
    if (*header == '[') {
        const char *end = strchr(header, ']');
        if (!end || (end[1] && end[1] != ':'))
            return (struct str){0};
        return (struct str){header + 1, (size_t)(end - header - 1)};
    }
    return (struct str){header, strcspn(header, ":")};
}

static bool same(struct str a, const char *b) {
    if (a.len != strlen(b))
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (tolower((unsigned char)a.ptr[i]) != tolower((unsigned char)b[i]))
            return false;
    return true;
}

bool host_is_allowed(const char *header, const char *listen_host,
                     const struct option_list *allowed) {
    static const char *const own[] = {"localhost", "127.0.0.1", "::1"};
    for (size_t i = 0; i < allowed->n; i++)
        if (strcmp(allowed->items[i], "*") == 0)
            return true;
    if (!header)
        return false;
    struct str name = name_of(header);
    if (!name.len)
        return false;
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (same(name, own[i]))
            return true;
    for (size_t i = 0; i < allowed->n; i++)
        if (same(name, allowed->items[i]))
            return true;
    return same(name, listen_host);
}

bool origin_is_host(const char *origin, const char *host) {
    const char *name = strstr(origin, "://");
    return name && host && same(str_from(name + 3), host);
}
