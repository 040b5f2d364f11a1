#include "tokenizer/pretokenize.h"

#include <stdint.h>
#include <stdlib.h>

#include "text/unicode.h"
#include "tokenizer/qwen_scanner.h"

void pretokenizer_release(struct pretokenizer *p) {
    for (int i = 0; i < p->n_stages; i++)
        pcre_splitter_destroy(p->stages[i].pcre);
    *p = (struct pretokenizer){0};
}

void pretokenizer_state_release(struct pretokenizer_state *s) {
    pcre_scratch_release(&s->pcre);
    free(s->spans[0].items);
    free(s->spans[1].items);
    buffer_release(&s->prefixed);
    *s = (struct pretokenizer_state){0};
}

static enum quern_status add_stage(struct pretokenizer *p, struct pretokenizer_stage stage,
                                   struct quern_error *err) {
    if (p->n_stages == PRETOKENIZER_STAGES_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "more than %d pre-tokenizers in a row",
                         PRETOKENIZER_STAGES_MAX);
    p->stages[p->n_stages++] = stage;
    return QUERN_OK;
}

enum quern_status pretokenizer_add_split(struct pretokenizer *p, struct str pattern, bool literal,
                                         enum split_behavior behavior, bool invert,
                                         struct quern_error *err) {
    struct pretokenizer_stage stage = {.kind = STAGE_PCRE, .behavior = behavior, .invert = invert};
    int digits = literal ? 0 : qwen_scanner_digits(pattern);
    if (digits) {
        stage.kind = STAGE_QWEN;
        stage.max_digits = digits;
        return add_stage(p, stage, err);
    }
    enum quern_status status = pcre_splitter_create(pattern, literal, &stage.pcre, err);
    if (!status && (status = add_stage(p, stage, err)))
        pcre_splitter_destroy(stage.pcre);
    return status;
}

enum quern_status pretokenizer_add_prefix_space(struct pretokenizer *p, struct quern_error *err) {
    return add_stage(p, (struct pretokenizer_stage){.kind = STAGE_PREFIX_SPACE}, err);
}

static bool spans_push(struct spans *s, size_t begin, size_t end) {
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 64;
        struct span *items = capacity < SIZE_MAX / sizeof *items
                                 ? realloc(s->items, capacity * sizeof *items)
                                 : NULL;
        if (!items)
            return false;
        s->items = items;
        s->capacity = capacity;
    }
    s->items[s->n++] = (struct span){begin, end};
    return true;
}

/* ---- one stage over one span --------------------------------------------------- */

/* Collects the pieces of a span, matches and what lies between, as the behavior wants them. */
struct collector {
    const struct pretokenizer_stage *stage;
    struct spans *out;
    size_t first;  /* where this span's pieces begin in `out` */
    bool previous; /* was the last piece a match? */
    bool failed;
};

static void collect(struct collector *c, size_t begin, size_t end, bool match) {
    struct span *last = c->out->n > c->first ? &c->out->items[c->out->n - 1] : NULL;
    bool is_match = match != c->stage->invert, join = false;
    switch (c->stage->behavior) {
    case SPLIT_ISOLATED:
        break;
    case SPLIT_REMOVED:
        if (is_match)
            return;
        break;
    case SPLIT_MERGED_WITH_PREVIOUS:
        join = is_match && !c->previous;
        break;
    case SPLIT_MERGED_WITH_NEXT:
        join = !is_match && c->previous;
        break;
    case SPLIT_CONTIGUOUS:
        join = is_match == c->previous;
        break;
    }
    c->previous = is_match;
    if (join && last)
        last->end = end;
    else if (!spans_push(c->out, begin, end))
        c->failed = true;
}

/* Matches one after another, as the onig crate finds them: an empty match right after another
 * match does not count, and the search goes on one character further. */
static enum quern_status split_with_pcre(struct collector *c, struct pcre_scratch *scratch,
                                         struct str text, size_t offset, struct quern_error *err) {
    size_t from = 0, previous_end = 0;
    bool any = false;
    while (from <= text.len && !c->failed) {
        struct pcre_match m;
        enum quern_status status = pcre_splitter_find(c->stage->pcre, scratch, text, from, &m, err);
        if (status)
            return status;
        if (!m.found)
            break;
        if (m.begin == m.end && any && previous_end == m.end) {
            int32_t ignored;
            const unsigned char *p = (const unsigned char *)text.ptr;
            from += from < text.len ? (size_t)utf8_decode(p + from, p + text.len, &ignored) : 1;
            continue;
        }
        if (previous_end != m.begin)
            collect(c, offset + previous_end, offset + m.begin, false);
        collect(c, offset + m.begin, offset + m.end, true);
        from = previous_end = m.end;
        any = true;
    }
    if (previous_end != text.len)
        collect(c, offset + previous_end, offset + text.len, false);
    return QUERN_OK;
}

static enum quern_status split_span(const struct pretokenizer_stage *stage,
                                    struct pcre_scratch *scratch, struct str text, struct span span,
                                    struct spans *out, struct quern_error *err) {
    struct collector c = {.stage = stage, .out = out, .first = out->n};
    struct str part = {text.ptr + span.begin, span.end - span.begin};
    enum quern_status status = QUERN_OK;
    if (stage->kind == STAGE_QWEN) {
        for (size_t at = 0; at < part.len && !c.failed;) {
            size_t end = qwen_scanner_next(part, at, stage->max_digits);
            collect(&c, span.begin + at, span.begin + end, true);
            at = end;
        }
    } else {
        status = split_with_pcre(&c, scratch, part, span.begin, err);
    }
    if (!status && c.failed)
        status = error_nomem(err);
    return status;
}

/* Copies the words to `prefixed`, with a space before those that begin with none, and moves the
 * spans there. */
static enum quern_status prefix_spaces(struct buffer *prefixed, struct str *text,
                                       struct spans *spans, struct quern_error *err) {
    struct buffer copy;
    buffer_init(&copy, SIZE_MAX / 4);
    for (size_t i = 0; i < spans->n; i++) {
        struct span *span = &spans->items[i];
        size_t begin = copy.len;
        if (text->ptr[span->begin] != ' ')
            buffer_putc(&copy, ' ');
        buffer_append(&copy, text->ptr + span->begin, span->end - span->begin);
        *span = (struct span){begin, copy.len};
    }
    buffer_release(prefixed);
    *prefixed = copy;
    *text = buffer_str(prefixed);
    return buffer_status(prefixed, "the text with its spaces", err);
}

static enum quern_status run_stage(const struct pretokenizer_stage *stage,
                                   struct pretokenizer_state *s, struct str *text,
                                   struct spans **spans, struct quern_error *err) {
    if (stage->kind == STAGE_PREFIX_SPACE)
        return prefix_spaces(&s->prefixed, text, *spans, err);
    struct spans *in = *spans, *out = in == &s->spans[0] ? &s->spans[1] : &s->spans[0];
    out->n = 0;
    for (size_t i = 0; i < in->n; i++) {
        size_t first = out->n;
        enum quern_status status = split_span(stage, &s->pcre, *text, in->items[i], out, err);
        if (status)
            return status;
        size_t kept = first;
        for (size_t j = first; j < out->n; j++)
            if (out->items[j].begin < out->items[j].end)
                out->items[kept++] = out->items[j];
        out->n = kept;
    }
    *spans = out;
    return QUERN_OK;
}

/* Qwen's and Llama's form, without lists of words. */
static enum quern_status scan(int max_digits, struct str text, word_fn *fn, void *ctx) {
    for (size_t at = 0; at < text.len;) {
        size_t end = qwen_scanner_next(text, at, max_digits);
        enum quern_status status = fn(ctx, text, at, end);
        if (status)
            return status;
        at = end;
    }
    return QUERN_OK;
}

enum quern_status pretokenize(const struct pretokenizer *p, struct pretokenizer_state *s,
                              struct str text, word_fn *fn, void *ctx, struct quern_error *err) {
    const struct pretokenizer_stage *first = &p->stages[0];
    if (p->n_stages == 1 && first->kind == STAGE_QWEN && first->behavior == SPLIT_ISOLATED)
        return scan(first->max_digits, text, fn, ctx);
    struct spans *spans = &s->spans[0];
    spans->n = 0;
    if (text.len && !spans_push(spans, 0, text.len))
        return error_nomem(err);
    enum quern_status status = QUERN_OK;
    for (int i = 0; i < p->n_stages; i++)
        if ((status = run_stage(&p->stages[i], s, &text, &spans, err)))
            return status;
    for (size_t i = 0; !status && i < spans->n; i++)
        status = fn(ctx, text, spans->items[i].begin, spans->items[i].end);
    return status;
}
