/* Normalizer, pre-tokenizer, post-processor and decoder. What is not known is refused by name:
 * ids that are nearly right are worse than none. */
#include <string.h>

#include "tokenizer/json_members.h"
#include "tokenizer/tokenizer_internal.h"

#define GPT2_PATTERN \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

static enum quern_status unsupported(const char *component, struct str what,
                                     struct quern_error *err) {
    return error_set(err, QUERN_ERR_UNSUPPORTED, "%s: \"%.*s\" is not supported", component,
                     STR_FMT(what));
}

static enum quern_status read_type(struct tokenizer *t, struct str json, const char *component,
                                   struct str *type, struct quern_error *err) {
    if (json_kind(json) != '{')
        return error_set(err, QUERN_ERR_FORMAT, "%s is %s, expected an object", component,
                         json_kind_name(json_kind(json)));
    return json_member_string(&t->arena, json, component, "type", type, err);
}

typedef enum quern_status load_fn(struct tokenizer *t, struct str json, struct quern_error *err);

/* The parts of a Sequence, one after another. */
static enum quern_status load_sequence(struct tokenizer *t, struct str json, const char *component,
                                       const char *key, load_fn *load, struct quern_error *err) {
    struct str list, part;
    if (!json_member(json, key, &list) || json_kind(list) != '[')
        return error_set(err, QUERN_ERR_FORMAT, "%s.%s is missing or no array", component, key);
    for (size_t at = 0; json_element(list, &at, &part);) {
        enum quern_status status = load(t, part, err);
        if (status)
            return status;
    }
    return QUERN_OK;
}

/* ---- normalizer ------------------------------------------------------------------ */

enum quern_status load_normalizer(struct tokenizer *t, struct str json, struct quern_error *err) {
    static const char *const names[] = {"NFC", "NFKC", "NFD", "NFKD"};
    static const enum unicode_form forms[] = {UNICODE_NFC, UNICODE_NFKC, UNICODE_NFD, UNICODE_NFKD};
    if (json_kind(json) == 'n')
        return QUERN_OK;
    struct str type;
    enum quern_status status = read_type(t, json, "normalizer", &type, err);
    if (status)
        return status;
    if (str_is(type, "Sequence"))
        return load_sequence(t, json, "normalizer", "normalizers", load_normalizer, err);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (!str_is(type, names[i]))
            continue;
        if (t->n_forms == NORMALIZERS_MAX)
            return error_set(err, QUERN_ERR_LIMIT, "normalizer: more than %d in a row",
                             NORMALIZERS_MAX);
        t->forms[t->n_forms++] = forms[i];
        return QUERN_OK;
    }
    return unsupported("normalizer", type, err);
}

/* ---- pre-tokenizer --------------------------------------------------------------- */

static enum quern_status read_behavior(struct tokenizer *t, struct str json,
                                       enum split_behavior *behavior, struct quern_error *err) {
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    static const enum split_behavior values[] = {SPLIT_ISOLATED, SPLIT_REMOVED,
                                                 SPLIT_MERGED_WITH_PREVIOUS, SPLIT_MERGED_WITH_NEXT,
                                                 SPLIT_CONTIGUOUS};
    struct str name;
    enum quern_status status =
        json_member_string(&t->arena, json, "pre_tokenizer", "behavior", &name, err);
    if (status)
        return status;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_is(name, names[i])) {
            *behavior = values[i];
            return QUERN_OK;
        }
    return unsupported("pre_tokenizer.behavior", name, err);
}

static enum quern_status load_split(struct tokenizer *t, struct str json, struct quern_error *err) {
    enum split_behavior behavior = SPLIT_ISOLATED;
    bool invert;
    struct str holder, value, pattern;
    enum quern_status status = read_behavior(t, json, &behavior, err);
    if (!status)
        status = json_member_bool(json, "pre_tokenizer", "invert", &invert, err);
    if (status)
        return status;
    bool found = json_member(json, "pattern", &holder);
    bool regex = found && json_member(holder, "Regex", &value);
    if (!regex && !(found && json_member(holder, "String", &value)))
        return error_set(err, QUERN_ERR_FORMAT,
                         "pre_tokenizer.pattern has neither a \"Regex\" nor a \"String\"");
    if (json_kind(value) != '"')
        return error_set(err, QUERN_ERR_FORMAT, "pre_tokenizer.pattern is %s, expected a string",
                         json_kind_name(json_kind(value)));
    if (!json_text_value(&t->arena, value, &pattern))
        return error_nomem(err);
    status = pretokenizer_add_split(&t->pretokenizer, pattern, !regex, behavior, invert, err);
    return status ? error_prefix(err, status, "pre_tokenizer.pattern") : QUERN_OK;
}

static enum quern_status load_byte_level(struct tokenizer *t, struct str json,
                                         struct quern_error *err) {
    bool prefix_space, use_regex = true;
    struct str value;
    enum quern_status status =
        json_member_bool(json, "pre_tokenizer", "add_prefix_space", &prefix_space, err);
    if (!status && json_member(json, "use_regex", &value))
        status = json_member_bool(json, "pre_tokenizer", "use_regex", &use_regex, err);
    if (!status && prefix_space)
        status = pretokenizer_add_prefix_space(&t->pretokenizer, err);
    if (!status && use_regex)
        status = pretokenizer_add_split(&t->pretokenizer, STR_LIT(GPT2_PATTERN), false,
                                        SPLIT_ISOLATED, false, err);
    t->pretokenizer.byte_level = true;
    return status;
}

/* Rust's char::is_numeric: Unicode 17, one version later than the regular expressions. */
#define DIGITS_PATTERN "[\\p{N}\\x{11DE0}-\\x{11DE9}\\x{16FF4}-\\x{16FF6}]"

static enum quern_status load_digits(struct tokenizer *t, struct str json,
                                     struct quern_error *err) {
    bool individual;
    enum quern_status status =
        json_member_bool(json, "pre_tokenizer", "individual_digits", &individual, err);
    if (status)
        return status;
    return pretokenizer_add_split(&t->pretokenizer, STR_LIT(DIGITS_PATTERN), false,
                                  individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, false, err);
}

static enum quern_status load_pretokenizer_part(struct tokenizer *t, struct str json,
                                                struct quern_error *err) {
    struct str type;
    enum quern_status status = read_type(t, json, "pre_tokenizer", &type, err);
    if (status)
        return status;
    if (str_is(type, "Sequence"))
        return load_sequence(t, json, "pre_tokenizer", "pretokenizers", load_pretokenizer_part,
                             err);
    if (t->pretokenizer.byte_level)
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "pre_tokenizer: \"%.*s\" after ByteLevel is not supported", STR_FMT(type));
    if (str_is(type, "ByteLevel"))
        return load_byte_level(t, json, err);
    if (str_is(type, "Split"))
        return load_split(t, json, err);
    if (str_is(type, "Digits"))
        return load_digits(t, json, err);
    return unsupported("pre_tokenizer", type, err);
}

enum quern_status load_pretokenizer(struct tokenizer *t, struct str json, struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    if (json_kind(json) != 'n')
        status = load_pretokenizer_part(t, json, err);
    if (!status && !t->pretokenizer.byte_level)
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "pre_tokenizer: there is no ByteLevel, and only byte-level tokenizers are "
                         "supported");
    return status;
}

/* ---- post-processor ---------------------------------------------------------------- */

/* Of pieces, and of ids on each side of a text. Real ones have one or two; without a limit, pieces
 * times ids of a piece is quadratic in the file's size, in time and in memory. */
enum { AROUND_MAX = 64 };

static enum quern_status push_id(struct token_ids *ids, uint32_t id, struct quern_error *err) {
    if (ids->n == AROUND_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "post_processor: more than %d ids around a text",
                         AROUND_MAX);
    if (token_ids_reserve(ids, 1))
        return error_nomem(err);
    ids->ids[ids->n++] = (int32_t)id;
    return QUERN_OK;
}

/* The ids of a special token of a template. */
static enum quern_status push_template_token(struct tokenizer *t, struct str json, struct str piece,
                                             struct token_ids *to, struct quern_error *err) {
    struct str id, table, entry, list, value;
    enum quern_status status =
        json_member_string(&t->arena, piece, "post_processor.SpecialToken", "id", &id, err);
    if (status)
        return status;
    char *key = arena_strndup(&t->arena, id.ptr, id.len);
    if (!key)
        return error_nomem(err);
    if (!json_member(json, "special_tokens", &table) || !json_member(table, key, &entry) ||
        !json_member(entry, "ids", &list) || json_kind(list) != '[')
        return error_set(err, QUERN_ERR_FORMAT,
                         "post_processor.special_tokens has no ids for \"%s\"", key);
    for (size_t at = 0; !status && json_element(list, &at, &value);) {
        uint32_t n;
        if (!json_id_value(value, &n))
            return error_set(err, QUERN_ERR_FORMAT,
                             "post_processor.special_tokens: \"%s\" has the id %.*s", key,
                             STR_FMT(value));
        status = push_id(to, n, err);
    }
    return status;
}

/* A processor further on in a Sequence puts its tokens around those of the ones before it. */
static enum quern_status wrap(struct tokenizer *t, struct token_ids *before,
                              struct token_ids *after, struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; !status && i < t->before.n; i++)
        status = push_id(before, (uint32_t)t->before.ids[i], err);
    for (size_t i = 0; !status && i < after->n; i++)
        status = push_id(&t->after, (uint32_t)after->ids[i], err);
    struct token_ids old = t->before;
    t->before = *before;
    *before = old;
    return status;
}

static enum quern_status load_template(struct tokenizer *t, struct str json,
                                       struct quern_error *err) {
    struct token_ids before = {0}, after = {0};
    struct str single, element, piece;
    int sequences = 0, pieces = 0;
    enum quern_status status = QUERN_OK;
    if (!json_member(json, "single", &single) || json_kind(single) != '[')
        return error_set(err, QUERN_ERR_FORMAT, "post_processor.single is missing or no array");
    for (size_t at = 0; !status && json_element(single, &at, &element);) {
        if (++pieces > AROUND_MAX) {
            status = error_set(err, QUERN_ERR_LIMIT, "post_processor.single: more than %d pieces",
                               AROUND_MAX);
        } else if (json_member(element, "Sequence", &piece)) {
            struct str id;
            status =
                json_member_string(&t->arena, piece, "post_processor.Sequence", "id", &id, err);
            if (!status && (!str_is(id, "A") || ++sequences > 1))
                status = error_set(err, QUERN_ERR_UNSUPPORTED,
                                   "post_processor.single: only one sequence A is supported");
        } else if (json_member(element, "SpecialToken", &piece)) {
            status = push_template_token(t, json, piece, sequences ? &after : &before, err);
        } else {
            status =
                error_set(err, QUERN_ERR_FORMAT,
                          "post_processor.single: a piece is neither Sequence nor SpecialToken");
        }
    }
    if (!status && sequences == 0)
        status =
            error_set(err, QUERN_ERR_UNSUPPORTED, "post_processor.single: there is no sequence A");
    if (!status)
        status = wrap(t, &before, &after, err);
    token_ids_release(&before);
    token_ids_release(&after);
    return status;
}

/* ["<s>", 0] */
static enum quern_status read_pair_id(struct str json, const char *key, uint32_t *id,
                                      struct quern_error *err) {
    struct str pair, value = {0};
    size_t at = 0;
    if (!json_member(json, key, &pair) || json_kind(pair) != '[' ||
        !json_element(pair, &at, &value) || !json_element(pair, &at, &value) ||
        !json_id_value(value, id))
        return error_set(err, QUERN_ERR_FORMAT, "post_processor.%s is not [token, id]", key);
    return QUERN_OK;
}

/* cls before, sep after: RoBERTa's and BERT's. */
static enum quern_status load_cls_and_sep(struct tokenizer *t, struct str json,
                                          struct quern_error *err) {
    uint32_t cls, sep;
    struct token_ids before = {0}, after = {0};
    enum quern_status status = read_pair_id(json, "cls", &cls, err);
    if (!status)
        status = read_pair_id(json, "sep", &sep, err);
    if (!status)
        status = push_id(&before, cls, err);
    if (!status)
        status = push_id(&after, sep, err);
    if (!status)
        status = wrap(t, &before, &after, err);
    token_ids_release(&before);
    token_ids_release(&after);
    return status;
}

enum quern_status load_post_processor(struct tokenizer *t, struct str json,
                                      struct quern_error *err) {
    if (json_kind(json) == 'n')
        return QUERN_OK;
    struct str type;
    enum quern_status status = read_type(t, json, "post_processor", &type, err);
    if (status)
        return status;
    if (str_is(type, "Sequence"))
        return load_sequence(t, json, "post_processor", "processors", load_post_processor, err);
    if (str_is(type, "ByteLevel")) /* it trims offsets, which nobody asks for here */
        return QUERN_OK;
    if (str_is(type, "TemplateProcessing"))
        return load_template(t, json, err);
    if (str_is(type, "RobertaProcessing") || str_is(type, "BertProcessing"))
        return load_cls_and_sep(t, json, err);
    return unsupported("post_processor", type, err);
}

/* ---- decoder ----------------------------------------------------------------------- */

static enum quern_status load_decoder_part(struct tokenizer *t, struct str json,
                                           struct quern_error *err) {
    struct str type;
    enum quern_status status = read_type(t, json, "decoder", &type, err);
    if (status)
        return status;
    if (str_is(type, "Sequence"))
        return load_sequence(t, json, "decoder", "decoders", load_decoder_part, err);
    if (str_is(type, "ByteLevel") && !t->has_decoder) {
        t->has_decoder = true;
        return QUERN_OK;
    }
    if (str_is(type, "Fuse") && t->has_decoder) /* the text is one piece by now */
        return QUERN_OK;
    return unsupported("decoder", type, err);
}

enum quern_status load_decoder(struct tokenizer *t, struct str json, struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    if (json_kind(json) != 'n')
        status = load_decoder_part(t, json, err);
    if (!status && !t->has_decoder)
        return error_set(err, QUERN_ERR_UNSUPPORTED, "decoder: there is no ByteLevel");
    return status;
}
