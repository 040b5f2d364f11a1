#include "grammar/code/code_grammar.h"

#include "base/buffer.h"
#include "grammar/ebnf/lark.h"
#include "grammar/schema/json_schema.h"

enum { PYTHON_LEVELS = 6, TEXT_BYTES_MAX = 1 << 16 };

/* Indentation is no matter of a context-free grammar: the rules of statements once for each
 * depth. */
static void write_python(struct buffer *out) {
    buffer_puts(out, code_python);
    for (int n = 0; n < PYTHON_LEVELS; n++) {
        const int in = n + 1;
        buffer_printf(out, "block%d: stmt%d+\nIND%d: \" \"~%d\n", n, n, n, 4 * n);
        buffer_printf(out, "stmt%d: IND%d simple \"\\n\"\n", n, n);
        if (in == PYTHON_LEVELS)
            break;
        buffer_printf(out,
                      " | IND%d \"if \" expr \":\\n\" block%d (IND%d \"elif \" expr \":\\n\" "
                      "block%d)* (IND%d \"else:\\n\" block%d)?\n",
                      n, in, n, in, n, in);
        buffer_printf(out, " | IND%d (\"while \" expr | for) \":\\n\" block%d\n", n, in);
        buffer_printf(out, " | IND%d (def | class) \":\\n\" block%d\n", n, in);
        buffer_printf(out, " | IND%d \"with \" expr (\" as \" NAME)? \":\\n\" block%d\n", n, in);
        buffer_printf(
            out,
            " | IND%d \"try:\\n\" block%d IND%d \"except\" (\" \" NAME (\" as \" NAME)?)? "
            "\":\\n\" block%d (IND%d \"finally:\\n\" block%d)?\n",
            n, in, n, in, n, in);
    }
}

enum quern_status code_grammar_build(struct grammar_builder *b, struct str language, symbol_id *out,
                                     struct quern_error *err) {
    struct buffer text;
    if (str_is(language, "json"))
        return json_schema_build(b, STR_LIT("true"), "JSON", NULL, out, NULL, err);
    buffer_init(&text, TEXT_BYTES_MAX);
    if (str_is(language, "sql"))
        buffer_puts(&text, code_sql);
    else if (str_is(language, "c"))
        buffer_puts(&text, code_c);
    else if (str_is(language, "python"))
        write_python(&text);
    else
        grammar_builder_fail(b, QUERN_ERR_UNSUPPORTED,
                             "code: \"%.*s\" is not known, expected sql, python, c or json",
                             language.len < 40 ? (int)language.len : 40, language.ptr);
    if (text.failed)
        grammar_builder_fail(b, QUERN_ERR_NOMEM, "out of memory");
    lark_build(b, buffer_str(&text), "code", out, NULL);
    buffer_release(&text);
    return grammar_builder_status(b, err);
}
