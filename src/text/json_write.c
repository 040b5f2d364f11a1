/* Values written as Python's json module writes them. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "text/json.h"

/* ---- floats ------------------------------------------------------------------- */

static void round_to_digits(double value, int digits, char out[40]) {
    number_print(out, 40, "%.*e", digits - 1, value);
}

/* Python prints the shortest digits that read back and, among those, the closest. Below a
 * power of two doubles lie twice as dense as above it, so there the nearest 16-digit
 * decimal may fail to read back while its upper neighbour does: 2^-1017. */
static bool step_up_reads_back(double value, char text[40]) {
    char *exponent = strchr(text, 'e');
    char stepped[40];
    memcpy(stepped, text, 40);
    char *last = stepped + (exponent - text) - 1;
    if (*last == '9') /* a carry would shorten it, and 15 digits were tried before */
        return false;
    ++*last;
    if (number_parse(stepped, NULL) != value)
        return false;
    memcpy(text, stepped, 40);
    return true;
}

/* "D.DDDDe+XX" with the fewest D that read back. */
static void shortest_digits(double value, char text[40]) {
    for (int digits = value < DBL_MIN ? 1 : DBL_DIG; digits <= 17; digits++) {
        round_to_digits(value, digits, text);
        if (number_parse(text, NULL) == value || (digits == 16 && step_up_reads_back(value, text)))
            return;
    }
}

/* Python's repr: fixed notation for 1e-4 <= value < 1e16. */
static void spell(const char *digits, int n, int exponent, char *out) {
    if (exponent < -4 || exponent >= 16) {
        snprintf(out, 36, n > 1 ? "%c.%.*se%c%02d" : "%c%.*se%c%02d", digits[0], n - 1, digits + 1,
                 exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        snprintf(out, 36, "0.%.*s%.*s", -exponent - 1, "000", n, digits);
    } else if (n <= exponent + 1) {
        snprintf(out, 36, "%.*s%.*s.0", n, digits, exponent + 1 - n, "0000000000000000");
    } else {
        snprintf(out, 36, "%.*s.%s", exponent + 1, digits, digits + exponent + 1);
    }
}

void json_format_float(double value, char out[40]) {
    if (isnan(value)) {
        memcpy(out, "nan", 4);
        return;
    }
    if (signbit(value))
        *out++ = '-';
    value = fabs(value);
    if (isinf(value)) {
        memcpy(out, "inf", 4);
        return;
    }
    if (value == 0.0) {
        memcpy(out, "0.0", 4);
        return;
    }
    char text[40], digits[20];
    shortest_digits(value, text);
    int n = 0;
    const char *p = text;
    for (; *p != 'e'; p++)
        if (*p >= '0' && *p <= '9')
            digits[n++] = *p;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    digits[n] = '\0';
    spell(digits, n, (int)strtol(p + 1, NULL, 10), out);
}

/* ---- values --------------------------------------------------------------------- */

void json_write_escaped(struct str s, struct buffer *out) {
    static const char short_escapes[] = "btn\0fr"; /* from U+0008 */
    size_t start = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buffer_append(out, s.ptr + start, i - start);
        start = i + 1;
        if (c >= 0x20)
            buffer_printf(out, "\\%c", c);
        else if (c >= 8 && c <= 13 && short_escapes[c - 8])
            buffer_printf(out, "\\%c", short_escapes[c - 8]);
        else
            buffer_printf(out, "\\u%04x", c);
    }
    buffer_append(out, s.ptr + start, s.len - start);
}

void json_write_string(struct str s, struct buffer *out) {
    buffer_putc(out, '"');
    json_write_escaped(s, out);
    buffer_putc(out, '"');
}

static void write_value(const json_t *value, int indent, int depth, struct buffer *out);

static void new_line(int indent, int depth, struct buffer *out) {
    if (indent < 0)
        return;
    buffer_putc(out, '\n');
    for (int i = 0; i < indent * depth; i++)
        buffer_putc(out, ' ');
}

static void write_separator(int indent, bool first, struct buffer *out) {
    if (!first)
        buffer_puts(out, indent < 0 ? ", " : ",");
}

static void write_array(const json_t *array, int indent, int depth, struct buffer *out) {
    size_t i;
    const json_t *item;
    buffer_putc(out, '[');
    json_array_foreach(array, i, item) {
        write_separator(indent, i == 0, out);
        new_line(indent, depth + 1, out);
        write_value(item, indent, depth + 1, out);
    }
    if (json_array_size(array))
        new_line(indent, depth, out);
    buffer_putc(out, ']');
}

static void write_object(const json_t *object, int indent, int depth, struct buffer *out) {
    json_t *walked = (json_t *)(uintptr_t)object; /* jansson's iterators want it writable */
    bool first = true;
    buffer_putc(out, '{');
    for (void *it = json_object_iter(walked); it; it = json_object_iter_next(walked, it)) {
        write_separator(indent, first, out);
        new_line(indent, depth + 1, out);
        json_write_string((struct str){json_object_iter_key(it), json_object_iter_key_len(it)},
                          out);
        buffer_puts(out, ": ");
        write_value(json_object_iter_value(it), indent, depth + 1, out);
        first = false;
    }
    if (!first)
        new_line(indent, depth, out);
    buffer_putc(out, '}');
}

static void write_value(const json_t *value, int indent, int depth, struct buffer *out) {
    char number[40];
    if (out->failed)
        return;
    if (depth > JSON_WRITE_DEPTH_MAX) {
        out->failed = QUERN_ERR_LIMIT;
        return;
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_object(value, indent, depth, out);
        break;
    case JSON_ARRAY:
        write_array(value, indent, depth, out);
        break;
    case JSON_STRING:
        json_write_string((struct str){json_string_value(value), json_string_length(value)}, out);
        break;
    case JSON_INTEGER:
        buffer_printf(out, "%lld", (long long)json_integer_value(value));
        break;
    case JSON_REAL:
        json_format_float(json_real_value(value), number);
        buffer_puts(out, number);
        break;
    case JSON_TRUE:
        buffer_puts(out, "true");
        break;
    case JSON_FALSE:
        buffer_puts(out, "false");
        break;
    case JSON_NULL:
        buffer_puts(out, "null");
        break;
    }
}

enum quern_status json_write_python(const json_t *value, int indent, struct buffer *out) {
    write_value(value, indent, 0, out);
    return out->failed;
}
