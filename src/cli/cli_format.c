#include "cli/cli_format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/number.h"

const char *cli_format_count(int64_t n, char out[CLI_NUMBER_BYTES]) {
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)n), at = 0;
    for (int i = 0; i < len; i++) {
        out[at++] = digits[i];
        int left = len - 1 - i;
        if (left > 0 && left % 3 == 0 && digits[i] != '-')
            out[at++] = ',';
    }
    out[at] = '\0';
    return out;
}

const char *cli_format_bytes(double n, char out[CLI_NUMBER_BYTES]) {
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB"};
    size_t unit = 0;
    while (n >= 999.5 && unit < sizeof units / sizeof *units - 1) {
        n /= 1000;
        unit++;
    }
    int decimals = unit == 0 || n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2;
    snprintf(out, CLI_NUMBER_BYTES, "%.*f %s", decimals, n, units[unit]);
    return out;
}

bool cli_parse_bytes(const char *text, size_t *out) {
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1},         {"b", 1},    {"k", 1e3},      {"kb", 1e3},    {"kib", 0x1p10},
                 {"m", 1e6},      {"mb", 1e6}, {"mib", 0x1p20}, {"g", 1e9},     {"gb", 1e9},
                 {"gib", 0x1p30}, {"t", 1e12}, {"tb", 1e12},    {"tib", 0x1p40}};
    if (*text < '0' || *text > '9')
        return false;
    char *end;
    errno = 0;
    double number = number_parse(text, &end);
    while (*end == ' ')
        end++;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcasecmp(end, units[i].name) != 0)
            continue;
        double bytes = number * units[i].factor;
        if (errno || !(bytes >= 1) || bytes > 0x1p62)
            return false;
        *out = (size_t)bytes;
        return true;
    }
    return false;
}
