/* Oniguruma (in Ruby's syntax, the engine of Hugging Face's tokenizers) and PCRE2 agree on most
 * of what patterns of tokenizers use. Where they differ, either the pattern is rewritten:
 *     \p{L} \p{N}   with the code points that came after PCRE2's Unicode
 *     \s \S         without U+180E, which PCRE2 counts in
 *     \w            letters, marks, digits and connectors, as Oniguruma has it
 *     \uXXXX, \v, {,n}
 * or it is refused: better no tokenizer than one that is wrong for some text. In a class, \S, \W
 * and \P{..} keep PCRE2's meaning; they differ in U+180E and letters newer than Unicode 14 only. */
#include <stdint.h>
#include <string.h>

#include "text/unicode_tables.h"
#include "tokenizer/pcre_splitter.h"

struct translation {
    const char *p, *end;
    struct buffer *out;
    bool in_class;
    const char *problem; /* what was met, when it is refused */
};

static const char spaces[] = "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}"
                             "\\x{202F}\\x{205F}\\x{3000}";
/* Letters, marks, decimal digits, letter numbers, connectors, circled and squared letters. */
static const char words[] = "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24B6}-\\x{24E9}"
                            "\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}";

static bool refuse(struct translation *t, const char *what) {
    t->problem = what;
    return false;
}

static void put(struct translation *t, size_t n) {
    buffer_append(t->out, t->p, n);
    t->p += n;
}

static void put_class(struct translation *t, bool negated, const char *content,
                      const struct unicode_range *extra, size_t n_extra) {
    if (!t->in_class)
        buffer_puts(t->out, negated ? "[^" : "[");
    buffer_puts(t->out, content);
    for (size_t i = 0; i < n_extra; i++)
        buffer_printf(t->out, "\\x{%X}-\\x{%X}", (unsigned)extra[i].first, (unsigned)extra[i].last);
    if (!t->in_class)
        buffer_puts(t->out, "]");
}

static bool put_shorthand(struct translation *t, char kind) {
    bool negated = kind == 'S' || kind == 'W';
    if (t->in_class && negated) {
        put(t, 2);
        return true;
    }
    put_class(t, negated, kind == 's' || kind == 'S' ? spaces : words, NULL, 0);
    t->p += 2;
    return true;
}

static bool put_property(struct translation *t) {
    const char *close =
        t->end - t->p > 2 && t->p[2] == '{' ? memchr(t->p, '}', (size_t)(t->end - t->p)) : NULL;
    if (!close)
        return refuse(t, "\\p without {NAME}");
    struct str name = {t->p + 3, (size_t)(close - t->p - 3)};
    bool negated = t->p[1] == 'P';
    if (name.len && name.ptr[0] == '^') {
        negated = !negated;
        name = (struct str){name.ptr + 1, name.len - 1};
    }
    bool letters = str_is(name, "L"), numbers = str_is(name, "N");
    if ((letters || numbers) && !(negated && t->in_class)) {
        put_class(t, negated, letters ? "\\p{L}" : "\\p{N}",
                  letters ? unicode_new_letters : unicode_new_numbers,
                  letters ? unicode_n_new_letters : unicode_n_new_numbers);
    } else {
        buffer_puts(t->out, negated ? "\\P{" : "\\p{");
        buffer_append_str(t->out, name);
        buffer_puts(t->out, "}");
    }
    t->p = close + 1;
    return true;
}

static bool put_unicode_escape(struct translation *t) {
    if (t->end - t->p < 6)
        return refuse(t, "\\u without four digits");
    for (int i = 2; i < 6; i++)
        if (!strchr("0123456789abcdefABCDEF", t->p[i]) || !t->p[i])
            return refuse(t, "\\u without four digits");
    buffer_puts(t->out, "\\x{");
    buffer_append(t->out, t->p + 2, 4);
    buffer_puts(t->out, "}");
    t->p += 6;
    return true;
}

static bool put_escape(struct translation *t) {
    if (t->end - t->p < 2)
        return refuse(t, "a backslash at the end");
    char c = t->p[1];
    bool letter_or_digit = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    if (!letter_or_digit) {
        put(t, 2);
        return true;
    }
    switch (c) {
    case 's':
    case 'S':
    case 'w':
    case 'W':
        return put_shorthand(t, c);
    case 'p':
    case 'P':
        return put_property(t);
    case 'u':
        return put_unicode_escape(t);
    case 'v':
        buffer_puts(t->out, "\\x{0B}");
        t->p += 2;
        return true;
    case 'A':
    case 'z':
    case 'Z':
        if (t->in_class)
            break;
        put(t, 2);
        return true;
    case 'd':
    case 'D':
    case 't':
    case 'n':
    case 'r':
    case 'f':
    case 'a':
    case 'e':
    case 'x':
        put(t, 2);
        return true;
    default:
        break;
    }
    return refuse(t, "an escape that engines read differently");
}

/* After "[" and "[^". */
static bool put_class_character(struct translation *t) {
    size_t left = (size_t)(t->end - t->p);
    if (*t->p == '[')
        return refuse(t, "a class within a class");
    if (left >= 2 && t->p[0] == '&' && t->p[1] == '&')
        return refuse(t, "an intersection of classes");
    if (*t->p == ']')
        t->in_class = false;
    put(t, 1);
    return true;
}

static bool open_class(struct translation *t) {
    t->in_class = true;
    put(t, 1);
    if (t->p < t->end && *t->p == '^')
        put(t, 1);
    if (t->p < t->end && *t->p == ']')
        put(t, 1);
    return true;
}

static bool put_group(struct translation *t) {
    static const char *const known[] = {"(?:", "(?=",  "(?!",   "(?<=", "(?<!",
                                        "(?>", "(?i:", "(?-i:", "(?i)"};
    size_t left = (size_t)(t->end - t->p);
    if (left > 1 && t->p[1] == '*')
        return refuse(t, "(*");
    if (left < 2 || t->p[1] != '?') {
        put(t, 1);
        return true;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t n = strlen(known[i]);
        if (left >= n && memcmp(t->p, known[i], n) == 0) {
            put(t, n);
            return true;
        }
    }
    return refuse(t, "a kind of group");
}

static const char *skip_number(const char *p, const char *end) {
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* {n} {n,} {n,m} {,m}; anything else is a brace. */
static bool put_interval(struct translation *t) {
    const char *low = t->p + 1, *after_low = skip_number(low, t->end), *p = after_low;
    bool comma = p < t->end && *p == ',';
    const char *high = p += comma, *after_high = skip_number(high, t->end);
    p = after_high;
    bool any = after_low > low || (comma && after_high > high);
    if (p == t->end || *p != '}' || !any) {
        put(t, 1);
        return true;
    }
    char after = p + 1 < t->end ? p[1] : 0;
    if (after == '+' || (after == '?' && !comma))
        return refuse(t, "{..}+ or {n}?");
    if (after_low == low) {
        buffer_puts(t->out, "{0");
        t->p = after_low;
    }
    put(t, (size_t)(p + 1 - t->p));
    return true;
}

static bool step(struct translation *t) {
    if (*t->p == '\\')
        return put_escape(t);
    if (t->in_class)
        return put_class_character(t);
    switch (*t->p) {
    case '[':
        return open_class(t);
    case '(':
        return put_group(t);
    case '{':
        return put_interval(t);
    default:
        put(t, 1);
        return true;
    }
}

enum quern_status pcre_translate(struct str pattern, struct buffer *out, struct quern_error *err) {
    const char *start = pattern.ptr ? pattern.ptr : "";
    struct translation t = {.p = start, .end = start + pattern.len, .out = out};
    while (t.p < t.end)
        if (!step(&t))
            return error_set(err, QUERN_ERR_UNSUPPORTED, "the pattern holds %s (at byte %zu)",
                             t.problem, (size_t)(t.p - start));
    buffer_append(out, "", 0);
    return buffer_status(out, "the pattern", err);
}
