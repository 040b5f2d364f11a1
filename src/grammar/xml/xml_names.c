/* xml_names.c - well-formed XML of given names. */
#include "grammar/xml/xml.h"

#include "text/unicode.h"

enum { NAMES_MAX = 500, NAME_BYTES_MAX = 200 };

static const char common_names[] =
    "a answer article author body book category cell chapter city class code comment config "
    "content "
    "count country customer data date description detail email entry error event feature field "
    "file "
    "group head header id image info input item items key label lang line link list location "
    "message "
    "meta name node note number object option order output p page paragraph param part person "
    "phone "
    "price product properties property quantity query question rating record ref reference report "
    "request response result results root row section source status step street subject summary "
    "table "
    "tag tags task text time title type unit url user value version year";

static bool is_separator(char c) {
    return c == ' ' || c == ',' || c == '\n' || c == '\t' || c == '\r';
}

/* Fills names[NAMES_MAX]; returns how many. */
static size_t split(struct grammar_builder *b, struct str list, struct str *names) {
    size_t n = 0;
    if (!utf8_valid(list))
        grammar_builder_fail(b, QUERN_ERR_FORMAT, "XML names: bytes that are no UTF-8");
    for (size_t i = 0; i < list.len && !grammar_builder_failed(b);) {
        const size_t start = i;
        while (i < list.len && !is_separator(list.ptr[i]))
            i++;
        const struct str name = {list.ptr + start, i - start};
        while (i < list.len && is_separator(list.ptr[i]))
            i++;
        if (name.len == 0)
            continue;
        bool fine = name.len <= NAME_BYTES_MAX;
        for (size_t k = 0; k < name.len; k++) /* a colon would need its namespace declared */
            fine = fine && xml_name_char(name.ptr[k], k == 0) && name.ptr[k] != ':';
        bool known = false;
        for (size_t k = 0; k < n; k++)
            known = known || str_eq(names[k], name);
        if (!fine)
            grammar_builder_fail(b, QUERN_ERR_FORMAT, "XML names: \"%.*s\" is no name of XML",
                                 name.len < 100 ? (int)name.len : 100, name.ptr);
        else if (n == NAMES_MAX)
            grammar_builder_fail(b, QUERN_ERR_LIMIT, "XML names: more than %d", NAMES_MAX);
        else if (!known)
            names[n++] = name;
    }
    if (n == 0)
        grammar_builder_fail(b, QUERN_ERR_FORMAT, "XML names: expected at least one");
    return n;
}

enum quern_status xml_names_build(struct grammar_builder *b, struct str list, symbol_id *out,
                                  struct quern_error *err) {
    struct str names[NAMES_MAX];
    struct xml_parts parts;
    const size_t n = split(b, str_is(list, "any") ? str_from(common_names) : list, names);
    expr_id attributes = expr_empty(b);
    xml_parts_make(b, &parts);
    const expr_id quote = expr_text(b, "\"");
    for (size_t i = 0; i < n && !grammar_builder_failed(b); i++) {
        const expr_id part[] = {parts.attribute_gap, expr_literal(b, names[i]), expr_text(b, "=\""),
                                parts.value, quote};
        attributes = expr_concat(b, attributes, expr_optional(b, expr_concat_n(b, part, 5)));
    }
    const symbol_id element = grammar_rule(b, "an element");
    const symbol_id content = xml_mixed(b, &parts, &element, 1);
    for (size_t i = 0; i < n && !grammar_builder_failed(b); i++)
        xml_element(b, &parts, element, names[i], attributes, content, true, false);
    const symbol_id document = xml_document(b, &parts, element);
    if (grammar_builder_failed(b))
        return grammar_builder_status(b, err);
    *out = document;
    return QUERN_OK;
}
