#include "grammar/xml/xml.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/form_check.h"
#include "support/support.h"

static void judges(const char *dtd, const char *const *accepted, const char *const *refused) {
    form_judges(ANSWER_XML, dtd, accepted, refused);
}

static void content_models(void **state) {
    (void)state;
    judges("<!ELEMENT r (a+, b?, (c | (a, b))*)><!ELEMENT a EMPTY><!ELEMENT b EMPTY><!ELEMENT c "
           "EMPTY>",
           ACCEPTED("<r><a/></r>", "<r><a/><a/><b/><c/><a/><b/></r>", "<r>\n  <a></a>\n</r>\n",
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<r><a /></r>"),
           REFUSED("<r/>", "<r><b/></r>", "<r><a/><b/><b/></r>", "<r><a/>x</r>", "<r><a> </a></r>",
                   "<r><a/>", "<a/>", "<r><a/></r><r><a/></r>", "<r><a/></s>"));
    judges("<!ELEMENT r (a?)><!ELEMENT a (r*)>",
           ACCEPTED("<r/>", "<r></r>", "<r><a><r/><r/></a></r>"), REFUSED("<r><a/><a/></r>"));
}

static void mixed_content_and_any(void **state) {
    (void)state;
    judges("<!ELEMENT p (#PCDATA | b | i)*><!ELEMENT b (#PCDATA)><!ELEMENT i ANY>",
           ACCEPTED("<p/>", "<p>x &lt; <b>y</b>z<i><p/>t</i></p>", "<p>\n</p>", "<p>]] &gt;</p>"),
           REFUSED("<p>x < y</p>", "<p>&nbsp;</p>", "<p>]]></p>", "<p><b><b/></b></p>",
                   "<p>a & b</p>", "<p>\x01</p>"));
}

static void character_references_name_characters_of_xml(void **state) {
    (void)state;
    judges("<!ELEMENT p (#PCDATA)>",
           ACCEPTED("<p>&#10;&#xe9;&#x10FFFF;&#65;&#xFFFD;&#xD7ff;&#x9;</p>"),
           REFUSED("<p>&#0;</p>", "<p>&#x0;</p>", "<p>&#xD800;</p>", "<p>&#xFFFE;</p>",
                   "<p>&#x110000;</p>", "<p>&#31;</p>", "<p>&#x1F;</p>", "<p>&#65</p>"));
}

static void attributes(void **state) {
    (void)state;
    judges("<!ELEMENT r EMPTY><!ATTLIST r k (low | high) #REQUIRED n NMTOKEN #IMPLIED\n"
           " v CDATA #FIXED 'a\"b' l NMTOKENS 'x' t CDATA #IMPLIED>\n<!ATTLIST r k CDATA #IMPLIED>",
           ACCEPTED("<r k=\"low\"/>",
                    "<r k=\"high\" n=\"a.1-2\" v=\"a&quot;b\" l=\"a 1 b\" t=\"'&amp;\"/>",
                    "<r\n  k=\"low\"\n  t=\"\"></r>"),
           REFUSED("<r/>", "<r k=\"mid\"/>", "<r n=\"a\" k=\"low\"/>", "<r k=\"low\" k=\"low\"/>",
                   "<r k=\"low\" n=\"a b\"/>", "<r k=\"low\" v=\"x\"/>", "<r k=\"low\" t=\"<\"/>",
                   "<r k=\"low\"t=\"\"/>", "<r k=\"low\" z=\"\"/>"));
}

static void doctypes_name_the_root_and_parameter_entities_are_expanded(void **state) {
    (void)state;
    judges(
        "<!-- c --><?pi x?>\n<!DOCTYPE b PUBLIC \"x\" 'y' [\n<!ENTITY % in \"a | %more;\">\n"
        "<!ENTITY % more 'c'>\n<!ENTITY % att \"x CDATA #IMPLIED\">\n<!ENTITY copy \"(c)\">\n"
        "<!NOTATION n SYSTEM 'v'>\n<!ELEMENT a EMPTY>\n<!ELEMENT b (%in;)*>\n<!ELEMENT c EMPTY>\n"
        "<!ATTLIST c %att; y CDATA #IMPLIED>\n<!ENTITY % all \"<!ELEMENT d (b)>\">%all;\n]>\n",
        ACCEPTED("<b><a/><c x=\"\" y=\"\"/></b>", "<b/>"), REFUSED("<a/>", "<b><b/></b>"));
}

static void well_formed_xml_of_given_names(void **state) {
    (void)state;
    form_judges(
        ANSWER_XML_NAMES, "a, bb\nid",
        ACCEPTED("<a/>", "<a id=\"1\">x<bb>y<a/></bb></a>", "<bb a=\"1\" bb=\"2\" id=\"3\"/>"),
        REFUSED("<c/>", "<a><bb></a></bb>", "<a id=\"1\" id=\"2\"/>", "<a>", "x", "<a/><a/>"));
    form_judges(ANSWER_XML_NAMES, "any", ACCEPTED("<item id=\"1\"><name>n</name></item>"),
                REFUSED("<unheard/>"));
}

static void refusals_name_the_line_and_what_was_expected(void **state) {
    (void)state;
    const struct {
        const char *dtd, *part;
    } cases[] = {
        {"", "no element is declared"},
        {"<!ELEMENT a (b)>", "the element \"b\" is not declared"},
        {"<!ELEMENT a EMPTY>\n<!ELEMENT a EMPTY>", "line 2: the element \"a\" is declared twice"},
        {"<!ELEMENT a (b, c | d)>", "side by side"},
        {"<!ELEMENT a (b>", "expected ',', '|' or ')'"},
        {"<!ELEMENT a (#PCDATA | b)>", "mixed content is written"},
        {"<!ELEMENT a (#PCDATA, b)*>", "expected \")\""},
        {"<!ELEMENT a>", "expected EMPTY, ANY or '('"},
        {"<!ELEMENT a EMPTY", "expected \">\""},
        {"<!ATTLIST a x ENTITY #IMPLIED>", "ENTITY and NOTATION are not supported"},
        {"<!ATTLIST a x CDATA>", "expected a text in quotes"},
        {"<!ELEMENT a EMPTY>\n<![INCLUDE[ ]]>", "line 2: conditional sections"},
        {"<!ENTITY % e SYSTEM 'x'>%e;", "external"},
        {"%nope;", "is not declared"},
        {"<!-- ", "not closed by \"-->\""},
        {"<!DOCTYPE a [<!ELEMENT a EMPTY>", "not closed by \"]>\""},
        {"<!DOCTYPE a SYSTEM 'x'>", "expected a name and '['"},
        {"<xs:schema/>", "expected a declaration"},
        {"<!ELEMENT a (a)>", "nothing matches"},
        {"\xff", "not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        form_refused(ANSWER_XML, str_from(cases[i].dtd), cases[i].part);
    form_refused(ANSWER_XML_NAMES, STR_LIT(" ,\n"), "at least one");
    form_refused(ANSWER_XML_NAMES, STR_LIT("a 1b"), "\"1b\" is no name");
}

static void bombs_end_with_a_message(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    char *text = malloc(N + 1);
    assert_non_null(text);
    memset(text, '(', N);
    memcpy(text, "<!ELEMENT a ", 12);
    form_refused(ANSWER_XML, (struct str){text, N}, "nested more than");
    /* A billion laughs. */
    size_t n = (size_t)snprintf(text, N, "<!ENTITY %% e0 'a,a,a,a,a,a,a,a,a,a'>\n");
    for (int i = 1; i < 12; i++) {
        n += (size_t)snprintf(text + n, N - n, "<!ENTITY %% e%d '", i);
        for (int k = 0; k < 10; k++)
            n += (size_t)snprintf(text + n, N - n, "%s%%e%d;", k ? "," : "", i - 1);
        n += (size_t)snprintf(text + n, N - n, "'>\n");
    }
    snprintf(text + n, N - n, "<!ELEMENT a (%%e11;)>");
    form_refused(ANSWER_XML, str_from(text), "");
    form_refused(ANSWER_XML, STR_LIT("<!ENTITY % a '%b;'><!ENTITY % b '%a;'>%a;"),
                 "nested too deep");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_models),
        cmocka_unit_test(mixed_content_and_any),
        cmocka_unit_test(character_references_name_characters_of_xml),
        cmocka_unit_test(attributes),
        cmocka_unit_test(doctypes_name_the_root_and_parameter_entities_are_expanded),
        cmocka_unit_test(well_formed_xml_of_given_names),
        cmocka_unit_test(refusals_name_the_line_and_what_was_expected),
        cmocka_unit_test(bombs_end_with_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
