/* schema_format.c - the formats of JSON Schema as patterns: RFC 3339 dates and times, RFC 5321
 * mailboxes, RFC 1123 host names, RFC 2673 and 4291 addresses, RFC 3986 URIs, RFC 4122 UUIDs, RFC
 * 6570 templates, RFC 6901 pointers. Day numbers follow the month and the year, which is 0001 or
 * later, as most libraries have it; a second of 60 is allowed where the RFC allows it, in any
 * minute. */
#include <stdio.h>

#include "grammar/regex/regex_emit.h"
#include "grammar/regex/regex_syntax.h"
#include "grammar/schema/schema.h"

#define YEAR "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
#define FOURTH "(?:0[48]|[2468][048]|[13579][26])"
#define DATE                                                                             \
    "(?:" YEAR "-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-"        \
    "(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9]{2}" FOURTH "|" FOURTH \
    "00)-02-29)"
#define CLOCK "(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\\.[0-9]+)?"
#define ZONE "(?:[zZ]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
#define LABEL "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
#define BYTE "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define IPV4 BYTE "(?:\\." BYTE "){3}"
#define H16 "[0-9a-fA-F]{1,4}"
#define LS32 "(?:" H16 ":" H16 "|" IPV4 ")"
#define UCHAR "(?:[a-zA-Z0-9._~!$&'()*+,;=:@/?-]|%[0-9a-fA-F]{2})"
#define AUTHORITY                                            \
    "(?:(?:[a-zA-Z0-9._~!$&'()*+,;=:-]|%[0-9a-fA-F]{2})*@)?" \
    "(?:\\[[0-9a-fA-F:.]+\\]|(?:[a-zA-Z0-9._~!$&'()*+,;=-]|%[0-9a-fA-F]{2})*)(?::[0-9]*)?"
#define ATOM "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+"
#define DURATION_TIME "T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"

#define VARNAME "(?:[a-zA-Z0-9_]|%[0-9a-fA-F]{2})(?:\\.?(?:[a-zA-Z0-9_]|%[0-9a-fA-F]{2}))*"
#define VARSPEC VARNAME "(?:\\*|:[1-9][0-9]{0,3})?"

static const struct {
    const char *name, *pattern;
} formats[] = {
    {"date", DATE},
    {"time", CLOCK ZONE},
    {"date-time", DATE "[tT]" CLOCK ZONE},
    {"duration",
     "P(?:[0-9]+W|(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)(?:" DURATION_TIME
     ")?|" DURATION_TIME ")"},
    {"email", "(?:" ATOM "(?:\\." ATOM ")*|\"(?:[ !#-\\[\\]-~]|\\\\[ -~])*\")@(?:" LABEL
              "(?:\\." LABEL ")*|\\[(?:" IPV4 "|IPv6:[0-9a-fA-F:.]+)\\])"},
    {"hostname", LABEL "(?:\\." LABEL ")*"},
    {"ipv4", IPV4},
    {"ipv6", "(?:" H16 ":){6}" LS32 "|::(?:" H16 ":){5}" LS32 "|(?:" H16 ")?::(?:" H16 ":){4}" LS32
             "|(?:(?:" H16 ":){0,1}" H16 ")?::(?:" H16 ":){3}" LS32 "|(?:(?:" H16 ":){0,2}" H16
             ")?::(?:" H16 ":){2}" LS32 "|(?:(?:" H16 ":){0,3}" H16 ")?::" H16 ":" LS32
             "|(?:(?:" H16 ":){0,4}" H16 ")?::" LS32 "|(?:(?:" H16 ":){0,5}" H16 ")?::" H16
             "|(?:(?:" H16 ":){0,6}" H16 ")?::"},
    {"uri", "[a-zA-Z][a-zA-Z0-9+.-]*:(?://" AUTHORITY "(?:/" UCHAR "*)?|" UCHAR "*)(?:\\?" UCHAR
            "*)?(?:#" UCHAR "*)?"},
    {"uri-reference", "(?:" UCHAR "|[\\[\\]])*(?:#" UCHAR "*)?"},
    {"uri-template", "(?:[^\\x00-\\x20\"'%<>\\\\^`{|}]|%[0-9a-fA-F]{2}|\\{[+#./;?&=,!@|]?" VARSPEC
                     "(?:," VARSPEC ")*\\})*"},
    {"uuid", "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"},
    {"json-pointer", "(?:/(?:[^~/]|~[01])*)*"},
    {"relative-json-pointer", "(?:0|[1-9][0-9]*)(?:#|(?:/(?:[^~/]|~[01])*)*)"},
};

bool schema_format(struct schema *s, const struct sj_node *node, struct str name, expr_id *out) {
    char why[80];
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (str_is(name, formats[i].name))
            return expr_regex(s->b, str_from(formats[i].pattern), REGEX_ECMA, out, NULL) ==
                   QUERN_OK;
    snprintf(why, sizeof why, "\"%.*s\" is not among the known formats",
             (int)(name.len < 40 ? name.len : 40), name.len ? name.ptr : "");
    schema_report(s, node, "format", why);
    return false;
}
