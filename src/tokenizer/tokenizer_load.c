#include <stdlib.h>

#include "base/os.h"
#include "tokenizer/json_members.h"
#include "tokenizer/tokenizer_internal.h"

enum { PATH_BYTES = 4096 };

/* The values of the members that are looked into at the end, when all is there. */
struct parts {
    struct str version, added_tokens, normalizer, pre_tokenizer, post_processor, decoder;
    bool has_model;
};

static const struct str null_json = {"null", 4};

static enum quern_status read_members(struct tokenizer *t, struct json_reader *r,
                                      struct parts *parts, bool *syntax, struct quern_error *err) {
    struct {
        const char *key;
        struct str *value;
    } known[] = {{"version", &parts->version},
                 {"added_tokens", &parts->added_tokens},
                 {"normalizer", &parts->normalizer},
                 {"pre_tokenizer", &parts->pre_tokenizer},
                 {"post_processor", &parts->post_processor},
                 {"decoder", &parts->decoder}};
    enum json_token token = json_reader_next(r);
    *syntax = true;
    if (token != JSON_TOKEN_OBJECT)
        return QUERN_ERR_FORMAT;
    while ((token = json_reader_next(r)) == JSON_TOKEN_KEY) {
        struct str *value = NULL;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            if (str_is(r->value, known[i].key))
                value = known[i].value;
        if (!str_is(r->value, "model")) {
            if (!json_reader_skip(r, value))
                return QUERN_ERR_FORMAT;
            continue;
        }
        if (parts->has_model || json_reader_next(r) != JSON_TOKEN_OBJECT) {
            r->problem = r->problem ? r->problem : "model: one object was expected";
            return QUERN_ERR_FORMAT;
        }
        parts->has_model = true;
        enum quern_status status = load_model(t, r, syntax, err);
        if (status)
            return status;
        *syntax = true;
    }
    if (token != JSON_TOKEN_OBJECT_END || json_reader_next(r) != JSON_TOKEN_END)
        return QUERN_ERR_FORMAT;
    *syntax = false;
    return QUERN_OK;
}

static enum quern_status load_parts(struct tokenizer *t, const struct parts *parts,
                                    struct quern_error *err) {
    struct str version;
    if (!parts->has_model)
        return error_set(err, QUERN_ERR_FORMAT, "model is missing");
    if (json_kind(parts->version) != 'n' &&
        (!json_text_value(&t->arena, parts->version, &version) || !str_is(version, "1.0")))
        return error_set(err, QUERN_ERR_UNSUPPORTED, "version is %.*s, expected \"1.0\"",
                         STR_FMT(parts->version));
    enum quern_status status = load_normalizer(t, parts->normalizer, err);
    if (!status)
        status = load_pretokenizer(t, parts->pre_tokenizer, err);
    if (!status)
        status = load_decoder(t, parts->decoder, err);
    if (!status)
        status = load_added_tokens(t, parts->added_tokens, err);
    if (!status)
        status = load_post_processor(t, parts->post_processor, err);
    return status;
}

static enum quern_status check_ids(const struct tokenizer *t, const struct token_ids *ids,
                                   struct quern_error *err) {
    for (size_t i = 0; i < ids->n; i++)
        if (ids->ids[i] >= t->n_ids)
            return error_set(err, QUERN_ERR_FORMAT,
                             "post_processor: id %d is beyond the last token, %d", ids->ids[i],
                             t->n_ids - 1);
    return QUERN_OK;
}

enum quern_status tokenizer_parse(struct str json, const char *name, struct tokenizer **out,
                                  struct quern_error *err) {
    struct parts parts = {null_json, null_json, null_json, null_json, null_json, null_json, false};
    struct json_reader r;
    bool syntax = false;
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return error_nomem(err);
    json_reader_init(&r, json, &t->arena);
    enum quern_status status = read_members(t, &r, &parts, &syntax, err);
    if (status && syntax) {
        status = json_reader_error(&r, name, err);
        goto fail;
    }
    if (!status)
        status = load_parts(t, &parts, err);
    if (!status)
        status = check_ids(t, &t->before, err);
    if (!status)
        status = check_ids(t, &t->after, err);
    if (status) {
        status = error_prefix(err, status, "%s", name);
        goto fail;
    }
    *out = t;
    return QUERN_OK;
fail:
    tokenizer_close(t);
    return status;
}

enum quern_status tokenizer_open(const char *dir, struct tokenizer **out, struct quern_error *err) {
    char path[PATH_BYTES];
    struct os_map map;
    enum quern_status status = os_path_join(path, sizeof path, dir, "tokenizer.json", err);
    if (!status)
        status = os_map_open(&map, path, err);
    if (status)
        return status;
    struct str text = {(const char *)map.data, map.size_bytes};
    status = tokenizer_parse(text, path, out, err);
    os_map_close(&map);
    return status;
}
