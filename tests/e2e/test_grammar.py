"""quern grammar check: schemas and patterns against texts, exit codes and messages."""
import json

import pytest

import conftest

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
                   "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture
def check(quern, tmp_path):
    def run(schema, text, *options):
        path = tmp_path / "schema.json"
        path.write_text(schema if isinstance(schema, str) else json.dumps(schema))
        return quern("grammar", "check", "--schema", str(path), *options, stdin=text.encode())
    return run


@pytest.mark.parametrize("text", [
    '{"name": "Ada", "age": 36}',
    '{"name":"Ada","age":0,"tags":["b","a"]}',
    '{\n  "name": "\\u00e9",\n  "age": 150,\n  "tags": []\n}\n',
    '{"name": "Ada", "age": 1.0}',
])
def test_valid_texts_are_accepted(check, text):
    result = check(PERSON, text)
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize("text, byte", [
    ('{"name": ""', 10),                           # too short
    ('{"name": "Ada", "age": 151}', 25),           # too large
    ('{"name": "Ada", "age": 36, "extra": 1}', 28),
    ('{"age": 36, "name": "Ada"}', 2),             # not in the schema's order
    ('{"name": "Ada", "age": 36, "tags": ["a", "a"]}', 42),
    ('{"name": "Ada", "age": 36', 25),             # not finished
])
def test_the_byte_of_a_rejection_is_named(check, text, byte):
    result = check(PERSON, text)
    assert result.code == 1
    assert f"rejected at byte {byte}" in result.err and "expected" in result.err


def test_any_order_when_asked_for(check):
    assert check(PERSON, '{"age": 36, "name": "Ada"}', "--any-order").code == 0


def test_spacing(check):
    assert check(PERSON, '{"name": "Ada", "age": 36}', "--spacing", "compact").code == 1
    assert check(PERSON, '{"name":"Ada","age":36}', "--spacing", "compact").code == 0


def test_what_is_not_enforced_is_named_or_refused(check):
    schema = {"type": "array", "items": {"type": "number"}, "uniqueItems": True}
    loose = check(schema, "[1, 1]")
    assert loose.code == 0 and "not enforced" in loose.err and "uniqueItems" in loose.err
    strict = check(schema, "[1, 2]", "--strict")
    assert strict.code == 2 and "uniqueItems" in strict.err


def test_a_keyword_that_is_not_enforced_is_not_turned_around_by_not(check):
    schema = {"not": {"multipleOf": 0.123456789}}
    assert check(schema, "1").code == 0


@pytest.mark.parametrize("schema, message", [
    ('{"type": "object"', "line 1"),
    ('{"$ref": "#/definitions/x"}', "refers to nothing"),
    ('{"$ref": "#"}', "refers to itself"),
    ('{"minLength": -1}', "minLength"),
    ('{"type": "strange"}', "strange"),
    ('{"pattern": "(?<=a)b"}', "not enforced"),
    ("[" * 100000, "deep"),
])
def test_broken_schemas_get_one_clear_error(check, schema, message):
    result = check(schema, "1", "--strict")
    assert result.code == 2
    assert message in result.err and result.err.count("\n") == 1


def test_a_recursive_schema(check):
    tree = {"$ref": "#/$defs/node", "$defs": {"node": {
        "type": "object", "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
        "required": ["value"], "additionalProperties": False}}}
    assert check(tree, '{"value": 1, "children": [{"value": 2, "children": [{"value": 3}]}]}').code == 0
    assert check(tree, '{"value": 1, "children": [{"value": "2"}]}').code == 1


def test_branches_that_only_their_neighbours_tell_apart(check):
    kinds = [{"type": "object", "properties": {"type": {"enum": [f"kind {i}"]}, "at": {
        "type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}, f"b{i}": {"type": "string"}},
        "additionalProperties": False}}} for i in range(24)]
    schema = {"type": "object", "required": ["type", "at"], "properties": {"note": {"type": "string"}},
              "allOf": [{"oneOf": kinds}]}
    assert check(schema, '{"type": "kind 7", "at": {"a": 1}}', "--any-order").code == 0
    assert check(schema, '{"type": "kind 24", "at": {"a": 1}}', "--any-order").code == 1
    assert check(schema, '{"type": "kind 7", "at": {}}', "--any-order").code == 1


@pytest.mark.parametrize("twice", [lambda x: x, lambda x: {"not": {"not": x}}, lambda x: {"allOf": [{"not": {"not": x}}]}])
def test_no_is_not_is(check, twice):
    schema = twice({"oneOf": [{"required": ["a"]}, {"required": ["b"], "properties": {"b": {"type": "integer"}}}]})
    for text, code in [('{"a": 1}', 0), ('{"b": 1}', 0), ('{"b": ""}', 1), ('{"a": 1, "b": 1}', 1), ('{"a": 1, "b": ""}', 0),
                       ("{}", 1)]:
        assert check(schema, text, "--any-order").code == code, text
    assert check({"not": {"not": {"$ref": "#"}}}, "1").code == 2


def test_patterns(quern):
    assert quern("grammar", "check", "--regex", r"\d{4}-\d\d", stdin=b"2024-05").code == 0
    assert quern("grammar", "check", "--regex", r"\d{4}-\d\d", stdin=b"2024-5").code == 1
    assert quern("grammar", "check", "--regex", "(", stdin=b"").code == 2


@pytest.fixture
def gbnf(quern, tmp_path):
    def run(grammar, text):
        path = tmp_path / "g.gbnf"
        path.write_text(grammar)
        return quern("grammar", "check", "--gbnf", str(path), stdin=text.encode())
    return run


@pytest.mark.parametrize("grammar, good, bad", [
    ('root ::= "a" | "b"', ["a", "b"], ["", "c", "ab"]),
    ('root ::= item+\nitem ::= "- " [^\\r\\n\\x0b]+ "\\n"', ["- x\n", "- x\n- y z\n"], ["- \n", "- x", "x\n"]),
    ('root ::= "[" (num ("," num)*)? "]"\nnum ::= [0-9]{1,3}', ["[]", "[1,22,333]"], ["[1,]", "[4444]", "[1"]),
    ('root ::= "(" root ")" | [a-z]', ["x", "((x))"], ["(x", "(x))", "()"]),
    ('root ::= e\n# left recursion\ne ::= e "+" t | t\nt ::= [0-9]+', ["1", "1+22+3"], ["1+", "+1"]),
    ('root ::= [あ-ん]+ "\\u00e9"? .', ["かなé!", "かな"], ["a", "かé!!"]),
    ('root ::= (\n  "a"\n  | "b" # comment\n)\n', ["a", "b"], ["ab"]),
    ('root ::= a{2} a{0,1} b{1,}\na ::= "a"\nb ::= "b"', ["aab", "aaabbb"], ["ab", "aaaab", "aa"]),
])
def test_gbnf(gbnf, grammar, good, bad):
    for text in good:
        assert gbnf(grammar, text).code == 0, text
    for text in bad:
        assert gbnf(grammar, text).code == 1, text


@pytest.mark.parametrize("grammar, message", [
    ('root ::= x', 'line 1: the rule "x" is not defined'),
    ('a ::= "x"', '"root"'),
    ('root ::= "x', "line 1"),
    ('root ::= "x"\nroot ::= "y"', "line 2"),
    ('root ::= [a-', "line 1"),
    ('root ::= [z-a]', "backwards"),
    ('root ::= ("a"', "')'"),
    ('root ::= "a"{3,1}', "n < m"),
    ('root ::= "a"{1,999999}', "repetitions"),
    ('root ::= root', "matches"),
    ('root ::= "\\q"', "escape"),
    ("root ::= " + "(" * 5000, "deep"),
    ("= 5", "expected a rule"),
])
def test_broken_gbnf_gets_one_clear_error(gbnf, grammar, message):
    result = gbnf(grammar, "x")
    assert result.code == 2
    assert message in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize("name, text", [
    ("json", '{"a": [1, 2.5, "x\\n", {"b": null}], "c": true}'),
    ("arithmetic", "1+2*(x-3)=4\n"),
    ("chess", "1. e4 e5\n2. Nf3 Nc6\n"),
    ("english", "Hello, world"),
    ("japanese", "こんにちは 世界"),
    ("list", "- one\n- two\n"),
    ("c", "int main(int x){return 0;}"),
    ("json_arr", "[\n1\n]"),
])
def test_the_samples_of_llama_cpp(quern, shared, name, text):
    path = shared / "data" / "grammars" / "grammars" / f"{name}.gbnf"
    if not path.exists():
        pytest.skip("the sample grammars are not there")
    result = quern("grammar", "check", "--gbnf", str(path), stdin=text.encode())
    assert (result.code, result.err) == (0, "")


def test_usage(quern):
    assert quern("grammar").code == 2
    assert quern("grammar", "chekc").code == 2
    assert quern("grammar", "check").code == 2
    assert quern("grammar", "check", "--help").code == 0


def test_tokens_of_an_accepted_text_are_in_their_masks(check):
    assert check(PERSON, '{"name": "Grüße", "age": 36, "tags": ["a"]}', "--tokenizer", str(conftest.TOKENIZER)).code == 0


def test_a_grammar_in_lark(quern, tmp_path):
    path = tmp_path / "g.lark"
    path.write_text('start: "let" NAME "=" INT\n%import common (CNAME -> NAME, INT, WS)\n%ignore WS\n')
    run = lambda text: quern("grammar", "check", "--lark", str(path), stdin=text)  # noqa: E731
    assert run(b" let x = 12 ").code == 0
    result = run(b"let x = y")
    assert result.code == 1 and "byte 8" in result.err
    path.write_text("start: A\nA.5: /x/\n")
    assert quern("grammar", "check", "--lark", str(path), stdin=b"x").code == 2
