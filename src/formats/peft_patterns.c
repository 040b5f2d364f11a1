#include "formats/peft_patterns.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/str.h"

/* A module's name has some dozens of bytes: an honest pattern takes a few hundred steps. */
enum {
    MATCH_LIMIT = 200 * 1000,
    DEPTH_LIMIT = 10 * 1000,
    HEAP_LIMIT_KIB = 1024,
    PATTERN_BYTES_MAX = 16384
};

struct pattern {
    char *exact; /* a plain name: compared */
    pcre2_code *code;
};

struct peft_patterns {
    const struct peft_config *config;
    struct pattern target; /* with target_pattern */
    struct pattern excluded; /* with exclude_pattern */
    struct pattern *ranks, *alphas;
    pcre2_match_data *data;
    pcre2_match_context *context;
};

/* Letters, digits and underscores mean themselves; so does a dot often enough, since nothing but a
 * dot stands there in a module's name. */
static bool is_plain(const char *s) {
    return *s && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
                     strlen(s);
}

static enum quern_status compile(struct pattern *p, const char *before, const char *pattern,
                                 const char *after, const char *what, struct quern_error *err) {
    struct buffer text;
    int code = 0;
    PCRE2_SIZE at = 0;
    buffer_init(&text, PATTERN_BYTES_MAX);
    buffer_printf(&text, "%s%s%s", before, pattern, after);
    enum quern_status status = buffer_status(&text, what, err);
    if (!status) {
        p->code = pcre2_compile((PCRE2_SPTR)text.data, text.len,
                                PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C, &code,
                                &at, NULL);
        PCRE2_UCHAR reason[128] = "";
        if (!p->code)
            pcre2_get_error_message(code, reason, sizeof reason);
        if (!p->code && code == PCRE2_ERROR_HEAP_FAILED)
            status = error_nomem(err);
        else if (!p->code)
            status = error_set(err, QUERN_ERR_FORMAT, "%s: \"%.80s\" is no regular expression: %s",
                               what, pattern, (const char *)reason);
    }
    buffer_release(&text);
    return status;
}

/* As peft looks them up: re.match(rf"(.*\.)?({key})$", module). */
static enum quern_status compile_key(struct pattern *p, const char *key, const char *what,
                                     struct quern_error *err) {
    if (!is_plain(key))
        return compile(p, "\\A(.*\\.)?(", key, ")$", what, err);
    p->exact = strdup(key);
    return p->exact ? QUERN_OK : error_nomem(err);
}

static enum quern_status compile_all(struct pattern **out, const struct peft_pattern *keys,
                                     size_t n, const char *what, struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    *out = calloc(n ? n : 1, sizeof **out);
    if (!*out)
        return error_nomem(err);
    for (size_t i = 0; i < n && !status; i++)
        status = compile_key(&(*out)[i], keys[i].key, what, err);
    return status;
}

enum quern_status peft_patterns_create(const struct peft_config *config, struct peft_patterns **out,
                                       struct quern_error *err) {
    struct peft_patterns *p = calloc(1, sizeof *p);
    if (!p)
        return error_nomem(err);
    p->config = config;
    p->data = pcre2_match_data_create(1, NULL);
    p->context = pcre2_match_context_create(NULL);
    enum quern_status status = p->data && p->context ? QUERN_OK : error_nomem(err);
    if (!status) {
        pcre2_set_match_limit(p->context, MATCH_LIMIT);
        pcre2_set_depth_limit(p->context, DEPTH_LIMIT);
        pcre2_set_heap_limit(p->context, HEAP_LIMIT_KIB);
        status = compile_all(&p->ranks, config->ranks, config->n_ranks, "rank_pattern", err);
    }
    if (!status)
        status = compile_all(&p->alphas, config->alphas, config->n_alphas, "alpha_pattern", err);
    if (!status && config->target_pattern && strcmp(config->target_pattern, "all-linear") != 0)
        status =
            compile(&p->target, "\\A(?:", config->target_pattern, ")\\z", "target_modules", err);
    if (!status && config->exclude_pattern)
        status = compile(&p->excluded, "\\A(?:", config->exclude_pattern, ")\\z", "exclude_modules", err);
    if (status) {
        peft_patterns_destroy(p);
        return status;
    }
    *out = p;
    return QUERN_OK;
}

static void release_all(struct pattern *patterns, size_t n) {
    for (size_t i = 0; patterns && i < n; i++) {
        free(patterns[i].exact);
        pcre2_code_free(patterns[i].code);
    }
    free(patterns);
}

void peft_patterns_destroy(struct peft_patterns *p) {
    if (!p)
        return;
    release_all(p->ranks, p->config->n_ranks);
    release_all(p->alphas, p->config->n_alphas);
    pcre2_code_free(p->target.code);
    pcre2_code_free(p->excluded.code);
    pcre2_match_data_free(p->data);
    pcre2_match_context_free(p->context);
    free(p);
}

/* NAME, or what ends in .NAME */
static bool ends_in_name(const char *module, const char *name) {
    const size_t len = strlen(module), n = strlen(name);
    return n <= len && memcmp(module + len - n, name, n) == 0 &&
           (n == len || module[len - n - 1] == '.');
}

static enum quern_status matches(struct peft_patterns *p, const struct pattern *pattern,
                                 const char *module, bool *out, struct quern_error *err) {
    if (pattern->exact) {
        *out = ends_in_name(module, pattern->exact);
        return QUERN_OK;
    }
    const int n =
        pcre2_match(pattern->code, (PCRE2_SPTR)module, strlen(module), 0, 0, p->data, p->context);
    *out = n >= 0;
    if (n >= 0 || n == PCRE2_ERROR_NOMATCH)
        return QUERN_OK;
    if (n == PCRE2_ERROR_NOMEMORY)
        return error_nomem(err);
    return error_set(err, QUERN_ERR_LIMIT, "a pattern takes too long to match \"%s\"", module);
}

/* The number in "layers.12." or the like: the first number that is a part of its own behind two
 * parts. */
static bool layer_of(const char *module, size_t *out) {
    const char *dot = strchr(module, '.');
    while (dot) {
        const char *name = dot + 1, *number = strchr(name, '.');
        if (!number)
            return false;
        const size_t digits = strspn(number + 1, "0123456789");
        if (digits > 0 && digits < 10 && number[1 + digits] == '.') {
            *out = (size_t)strtoul(number + 1, NULL, 10);
            return true;
        }
        dot = number;
    }
    return false;
}

static bool layer_is_among(const struct peft_config *c, const char *module) {
    size_t layer;
    if (!c->layers || c->n_layers == 0)
        return true;
    if (!layer_of(module, &layer))
        return false;
    for (size_t i = 0; i < c->n_layers; i++)
        if (c->layers[i] == layer)
            return true;
    return false;
}

/* Excluded, or in a module that is saved whole. */
static enum quern_status is_excluded(struct peft_patterns *p, const char *module, bool *out,
                                     struct quern_error *err) {
    const struct peft_config *c = p->config;
    for (size_t i = 0; i < c->n_excluded && !*out; i++)
        *out = ends_in_name(module, c->excluded[i]);
    for (size_t i = 0; i < c->n_saved && !*out; i++)
        *out = ends_in_name(module, c->saved[i]);
    return *out || !p->excluded.code ? QUERN_OK : matches(p, &p->excluded, module, out, err);
}

enum quern_status peft_patterns_is_target(struct peft_patterns *p, const char *module, bool *out,
                                          struct quern_error *err) {
    const struct peft_config *c = p->config;
    bool excluded = false;
    enum quern_status status = is_excluded(p, module, &excluded, err);
    *out = false;
    if (status || excluded)
        return status;
    if (p->target.code)
        return matches(p, &p->target, module, out, err);
    if (c->target_pattern) /* all-linear leaves the head out */
        *out = !ends_in_name(module, "lm_head");
    for (size_t i = 0; i < c->n_targets && !*out && !c->target_pattern; i++)
        *out = ends_in_name(module, c->targets[i]) && layer_is_among(c, module);
    return QUERN_OK;
}

static enum quern_status look_up(struct peft_patterns *p, const struct pattern *patterns,
                                 const struct peft_pattern *values, size_t n, const char *module,
                                 double *out, struct quern_error *err) {
    for (size_t i = 0; i < n; i++) {
        bool match = false;
        enum quern_status status = matches(p, &patterns[i], module, &match, err);
        if (status)
            return status;
        if (match) {
            *out = values[i].value;
            return QUERN_OK;
        }
    }
    return QUERN_OK;
}

enum quern_status peft_patterns_rank(struct peft_patterns *p, const char *module, size_t *out,
                                     struct quern_error *err) {
    double rank = (double)p->config->rank;
    enum quern_status status =
        look_up(p, p->ranks, p->config->ranks, p->config->n_ranks, module, &rank, err);
    *out = (size_t)rank;
    return status;
}

enum quern_status peft_patterns_alpha(struct peft_patterns *p, const char *module, double *out,
                                      struct quern_error *err) {
    *out = p->config->alpha;
    return look_up(p, p->alphas, p->config->alphas, p->config->n_alphas, module, out, err);
}
