#include "tokenizer/pcre_splitter.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdint.h>
#include <stdlib.h>

struct pcre_splitter {
    pcre2_code *code;
    bool jit;
};

enum {
    JIT_STACK_MAX = 16 << 20,
    MATCH_LIMIT_BASE = 10 * 1000 * 1000, /* PCRE2's default */
    MATCH_LIMIT_PER_BYTE = 16,           /* no pattern of a tokenizer needs as much */
};

static enum quern_status compile(struct pcre_splitter *s, struct str pattern, uint32_t options,
                                 struct quern_error *err) {
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context)
        return error_nomem(err);
    int code;
    PCRE2_SIZE where;
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    s->code = pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len, options, &code, &where, context);
    pcre2_compile_context_free(context);
    if (!s->code) {
        PCRE2_UCHAR message[128] = "";
        pcre2_get_error_message(code, message, sizeof message);
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "the pattern does not compile: %s (at byte %zu)", (const char *)message,
                         (size_t)where);
    }
    s->jit = pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE) == 0;
    return QUERN_OK;
}

enum quern_status pcre_splitter_create(struct str pattern, bool literal, struct pcre_splitter **out,
                                       struct quern_error *err) {
    if (pattern.len > PCRE_PATTERN_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "the pattern is longer than %d bytes",
                         PCRE_PATTERN_MAX);
    struct buffer translated;
    buffer_init(&translated, 64 * (size_t)PCRE_PATTERN_MAX);
    enum quern_status status = QUERN_OK;
    struct pcre_splitter *s = calloc(1, sizeof *s);
    if (!s) {
        status = error_nomem(err);
        goto done;
    }
    /* MULTILINE: Ruby's ^ and $ always mean lines. */
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_UTF_CHECK;
    if (literal)
        options = PCRE2_UTF | PCRE2_LITERAL | PCRE2_NO_UTF_CHECK;
    else if ((status = pcre_translate(pattern, &translated, err)))
        goto done;
    status = compile(s, literal ? pattern : buffer_str(&translated), options, err);
done:
    buffer_release(&translated);
    if (status) {
        pcre_splitter_destroy(s);
        return status;
    }
    *out = s;
    return QUERN_OK;
}

void pcre_splitter_destroy(struct pcre_splitter *s) {
    if (!s)
        return;
    pcre2_code_free(s->code);
    free(s);
}

void pcre_scratch_release(struct pcre_scratch *s) {
    pcre2_match_data_free(s->match_data);
    pcre2_match_context_free(s->match_context);
    pcre2_jit_stack_free(s->jit_stack);
    *s = (struct pcre_scratch){0};
}

static bool prepare(struct pcre_scratch *s) {
    if (!s->match_data)
        s->match_data = pcre2_match_data_create(1, NULL);
    if (!s->match_context)
        s->match_context = pcre2_match_context_create(NULL);
    if (!s->jit_stack) {
        s->jit_stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK_MAX, NULL);
        /* NULL where PCRE2 has no JIT: then none is needed. */
        if (s->match_context && s->jit_stack)
            pcre2_jit_stack_assign(s->match_context, NULL, s->jit_stack);
    }
    return s->match_data && s->match_context;
}

enum quern_status pcre_splitter_find(const struct pcre_splitter *s, struct pcre_scratch *scratch,
                                     struct str text, size_t from, struct pcre_match *out,
                                     struct quern_error *err) {
    if ((!scratch->match_data || !scratch->match_context) && !prepare(scratch))
        return error_nomem(err);
    uint64_t limit = MATCH_LIMIT_BASE + MATCH_LIMIT_PER_BYTE * (uint64_t)text.len;
    pcre2_set_match_limit(scratch->match_context,
                          limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit);
    PCRE2_SPTR subject = (PCRE2_SPTR)text.ptr;
    int n = s->jit ? pcre2_jit_match(s->code, subject, text.len, from, 0, scratch->match_data,
                                     scratch->match_context)
                   : pcre2_match(s->code, subject, text.len, from, PCRE2_NO_UTF_CHECK,
                                 scratch->match_data, scratch->match_context);
    *out = (struct pcre_match){0};
    if (n == PCRE2_ERROR_NOMATCH)
        return QUERN_OK;
    if (n < 0) {
        PCRE2_UCHAR message[128] = "";
        pcre2_get_error_message(n, message, sizeof message);
        return error_set(err, QUERN_ERR_LIMIT, "pre_tokenizer: its pattern gave up at byte %zu: %s",
                         from, (const char *)message);
    }
    PCRE2_SIZE *ends = pcre2_get_ovector_pointer(scratch->match_data);
    *out = (struct pcre_match){ends[0], ends[1], true};
    return QUERN_OK;
}
