/* Filters on text. */
#include <string.h>

#include "chat/jinja_native.h"
#include "chat/jinja_string.h"

void jinja_escape_html(struct str s, struct buffer *out) {
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '&':
            buffer_puts(out, "&amp;");
            break;
        case '<':
            buffer_puts(out, "&lt;");
            break;
        case '>':
            buffer_puts(out, "&gt;");
            break;
        case '\'':
            buffer_puts(out, "&#39;");
            break;
        case '"':
            buffer_puts(out, "&#34;");
            break;
        default:
            buffer_putc(out, s.ptr[i]);
        }
    }
}

static bool change_case(struct jinja_run *run, struct jnative_call *call) {
    struct str s;
    struct buffer out;
    if (!jnative_self_text(run, call, &s))
        return false;
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    jstring_change_case(s, (enum jcase)call->native->data, &out);
    return jnative_return_buffer(run, call, &out);
}

/* Jinja's own title: words start after spaces, hyphens and opening brackets only. */
static bool title(struct jinja_run *run, struct jnative_call *call) {
    struct str s;
    struct buffer out;
    if (!jnative_self_text(run, call, &s))
        return false;
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    size_t at = 0;
    while (at < s.len) {
        size_t start = at, end = at;
        while (end < s.len) {
            size_t next = end;
            int32_t c = jstring_decode(s, &next);
            bool separator = jstring_is_space(c) || (c < 0x80 && strchr("-({[<", (int)c));
            at = next;
            if (separator)
                break;
            end = next;
        }
        struct str word = jstring_slice(s, start, end);
        size_t first = jstring_offset(word, 1);
        jstring_change_case(jstring_slice(word, 0, first), JCASE_UPPER, &out);
        jstring_change_case(jstring_slice(word, first, word.len), JCASE_LOWER, &out);
        buffer_append(&out, s.ptr + end, at - end);
    }
    return jinja_take_buffer(run, &out, &call->result);
}

static bool center(struct jinja_run *run, struct jnative_call *call) {
    struct jnative_call method = *call;
    bool forbidden;
    struct str s;
    int64_t width;
    if (!jnative_self_text(run, call, &s) || !jnative_int(run, call, 0, 80, &width))
        return false;
    method.self = jvalue_string(s);
    method.self.flag = call->self.kind == JINJA_STRING && call->self.flag;
    method.native = jinja_find_method(method.self, STR_LIT("center"), &forbidden);
    method.arg[0] = jvalue_int(width);
    method.arg[1] = (struct jvalue){.kind = JINJA_MISSING};
    if (!method.native->run(run, &method))
        return false;
    call->result = method.result;
    return true;
}

static bool escape(struct jinja_run *run, struct jnative_call *call) {
    struct str s;
    struct buffer out;
    bool force = call->native->data;
    if (call->self.kind == JINJA_STRING && call->self.flag && !force) {
        call->result = call->self;
        return true;
    }
    if (!jnative_self_text(run, call, &s))
        return false;
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    jinja_escape_html(s, &out);
    if (!jinja_take_buffer(run, &out, &call->result))
        return false;
    call->result.flag = 1;
    return true;
}

static bool safe(struct jinja_run *run, struct jnative_call *call) {
    struct str s;
    if (!jnative_self_text(run, call, &s))
        return false;
    call->result = jvalue_string(s);
    call->result.flag = 1;
    return true;
}

static bool string(struct jinja_run *run, struct jnative_call *call) {
    struct str s;
    return jnative_self_text(run, call, &s) && jnative_return_text(run, call, s);
}

static bool trim(struct jinja_run *run, struct jnative_call *call) {
    struct str s, chars;
    if (!jnative_self_text(run, call, &s) || !jnative_text(run, call, 0, &chars))
        return false;
    return jnative_return_text(run, call, jstring_strip(s, chars.ptr ? &chars : NULL, true, true));
}

static bool format(struct jinja_run *run, struct jnative_call *call) {
    struct str s;
    const struct jarguments *all = call->all;
    if (!jnative_self_text(run, call, &s))
        return false;
    if (all->n && all->n_keywords)
        return jinja_fail(run, "format cannot take positional and keyword arguments together");
    struct jvalue args;
    if (all->n_keywords) {
        struct jdict *dict = jdict_create(run, all->n_keywords);
        for (size_t i = 0; dict && i < all->n_keywords; i++)
            if (!jdict_set(run, dict, jvalue_string(all->keywords[i].name), all->keywords[i].value))
                return false;
        args = jvalue_dict(dict);
        if (!dict)
            return false;
    } else {
        struct jlist *list = jlist_create(run, all->n);
        if (!list)
            return false;
        for (size_t i = 0; i < all->n; i++)
            list->items[i] = all->positional[i];
        args = (struct jvalue){.kind = JINJA_TUPLE, .as.list = list};
    }
    if (!jinja_format_percent(run, s, args, &call->result))
        return false;
    return jnative_return_text(run, call, call->result.as.text);
}

static bool replace(struct jinja_run *run, struct jnative_call *call) {
    struct str s, old, new;
    if (!jnative_self_text(run, call, &s) || !jvalue_to_text(run, call->arg[0], &old) ||
        !jvalue_to_text(run, call->arg[1], &new))
        return false;
    struct jnative_call method = *call;
    bool forbidden;
    method.self = jvalue_string(s);
    method.arg[0] = jvalue_string(old);
    method.arg[1] = jvalue_string(new);
    if (method.arg[2].kind == JINJA_NONE)
        method.arg[2].kind = JINJA_MISSING;
    method.native = jinja_find_method(method.self, STR_LIT("replace"), &forbidden);
    if (!method.native->run(run, &method))
        return false;
    call->result = method.result;
    return true;
}

static bool indention(struct jinja_run *run, struct jnative_call *call, struct str *out) {
    struct jvalue width = call->arg[0], spaces;
    if (width.kind == JINJA_STRING) {
        *out = width.as.text;
        return true;
    }
    int64_t n;
    if (!jnative_int(run, call, 0, 4, &n))
        return false;
    n = n < 0 ? 0 : n;
    if (n > JINJA_OUTPUT_BYTES_MAX)
        return jinja_fail_with(run, QUERN_ERR_LIMIT, "an indentation is too wide");
    char *text = jinja_alloc(run, (size_t)n, 1);
    if (!text)
        return false;
    memset(text, ' ', (size_t)n);
    spaces = jvalue_string((struct str){text, (size_t)n});
    *out = spaces.as.text;
    return true;
}

static bool indent(struct jinja_run *run, struct jnative_call *call) {
    struct str s, margin;
    if (call->self.kind == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, call->self);
    if (call->self.kind != JINJA_STRING)
        return jinja_fail(run, "indent needs a string, not %s", jvalue_type_name(call->self));
    if (!jnative_self_text(run, call, &s) || !indention(run, call, &margin))
        return false;
    bool blank = jnative_flag(call, 2, false);
    struct buffer out;
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    if (jnative_flag(call, 1, false))
        buffer_append_str(&out, margin);
    /* a final newline leaves an empty line, as splitlines() of s + "\n" does */
    size_t at = 0, end = 0;
    for (bool first = true, more = true; more && !out.failed; first = false) {
        more = at < s.len;
        struct str line = jstring_next_line(s, &at, &end);
        bool bare_cr = at == s.len && s.len && s.ptr[s.len - 1] == '\r'; /* joins the "\n" */
        more = more && end < s.len && !bare_cr;
        if (!first) {
            buffer_putc(&out, '\n');
            if (line.len || blank)
                buffer_append_str(&out, margin);
        }
        buffer_append_str(&out, line);
    }
    return jnative_return_buffer(run, call, &out);
}

static bool truncate(struct jinja_run *run, struct jnative_call *call) {
    struct str s, ending;
    int64_t length, leeway;
    bool sized;
    size_t n;
    if (!jvalue_length(run, call->self, &sized, &n) || !jnative_int(run, call, 0, 255, &length) ||
        !jnative_text(run, call, 2, &ending))
        return false;
    if (call->arg[3].kind == JINJA_NONE)
        call->arg[3].kind = JINJA_MISSING;
    if (!jnative_int(run, call, 3, 5, &leeway))
        return false;
    if (!ending.ptr)
        ending = STR_LIT("...");
    int64_t ending_length = (int64_t)jstring_length(ending);
    if (length < ending_length || leeway < 0)
        return jinja_fail(run, "truncate: expected length >= %lld and leeway >= 0",
                          (long long)ending_length);
    call->result = call->self;
    if (sized && (int64_t)n - leeway <= length)
        return true;
    if (call->self.kind != JINJA_STRING)
        return jinja_fail(run, "truncate needs a string, not %s", jvalue_type_name(call->self));
    s = call->self.as.text;
    struct str kept = jstring_slice(s, 0, jstring_offset(s, (size_t)(length - ending_length)));
    if (!jnative_flag(call, 1, false)) {
        size_t space = jstring_rfind(kept, STR_LIT(" "));
        kept = space == JSTRING_NONE ? kept : jstring_slice(kept, 0, space);
    }
    struct buffer out;
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    buffer_append_str(&out, kept);
    buffer_append_str(&out, ending);
    return jnative_return_buffer(run, call, &out);
}

static bool wordcount(struct jinja_run *run, struct jnative_call *call) {
    struct str s;
    if (!jnative_self_text(run, call, &s))
        return false;
    int64_t n = 0;
    bool inside = false;
    for (size_t at = 0; at < s.len;) {
        bool word = jstring_is_word(jstring_decode(s, &at));
        n += word && !inside;
        inside = word;
    }
    call->result = jvalue_int(n);
    return true;
}

static void quote_url(struct str s, bool query, struct buffer *out) {
    static const char plain[] = "_.-~";
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z' && c < 0x80);
        if (alnum || (c && c < 0x80 && strchr(plain, c)) || (c == '/' && !query))
            buffer_putc(out, (char)c);
        else if (c == ' ' && query)
            buffer_putc(out, '+');
        else
            buffer_printf(out, "%%%02X", c);
    }
}

static bool urlencode(struct jinja_run *run, struct jnative_call *call) {
    struct buffer out;
    struct str s;
    struct jlist *pairs;
    if (call->self.kind == JINJA_STRING || !jvalue_is_iterable(call->self)) {
        if (!jnative_self_text(run, call, &s))
            return false;
        buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
        quote_url(s, false, &out);
        return jinja_take_buffer(run, &out, &call->result);
    }
    struct jview view = {call->self.as.dict, JVIEW_ITEMS};
    struct jvalue items = call->self;
    if (items.kind == JINJA_DICT)
        items = (struct jvalue){.kind = JINJA_VIEW, .as.view = &view};
    if (!jvalue_to_list(run, items, &pairs))
        return false;
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    for (size_t i = 0; i < pairs->n; i++) {
        struct jlist *pair;
        bool ok = jvalue_to_list(run, pairs->items[i], &pair) &&
                  (pair->n == 2 || jinja_fail(run, "urlencode needs pairs"));
        for (size_t k = 0; ok && k < 2; k++) {
            ok = jvalue_to_text(run, pair->items[k], &s);
            buffer_puts(&out, k ? "=" : i ? "&" : "");
            if (ok)
                quote_url(s, true, &out);
        }
        if (!ok) {
            buffer_release(&out);
            return false;
        }
    }
    return jinja_take_buffer(run, &out, &call->result);
}

const struct jnative jinja_text_filters[] = {
    {"upper", "", change_case, JCASE_UPPER},
    {"lower", "", change_case, JCASE_LOWER},
    {"capitalize", "", change_case, JCASE_CAPITALIZE},
    {"title", "", title, 0},
    {"center", "?width", center, 0},
    {"escape", "", escape, 0},
    {"e", "", escape, 0},
    {"forceescape", "", escape, 1},
    {"safe", "", safe, 0},
    {"string", "", string, 0},
    {"trim", "?chars", trim, 0},
    {"format", NULL, format, 0},
    {"replace", "old,new,?count", replace, 0},
    {"indent", "?width,first,blank", indent, 0},
    {"truncate", "?length,killwords,end,leeway", truncate, 0},
    {"wordcount", "", wordcount, 0},
    {"urlencode", "", urlencode, 0},
    {NULL, NULL, NULL, 0},
};
