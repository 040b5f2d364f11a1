"""Random texts of the forms (quern grammar sample), read by the real readers of what they claim to be."""
import ast
import io
import json
import shutil
import sqlite3
import subprocess
import sys
import warnings

import jsonschema
import pytest
import yaml
from lxml import etree

import conftest

PERSON = {"type": "object", "properties": {
    "name": {"type": "string", "maxLength": 20}, "on": {"enum": ["yes", "no", "null", "1", 1, None, True]}, "n": {"type": "number", "minimum": -3},
    "tags": {"type": "array", "items": {"type": "array", "items": {"type": ["integer", "string"]}, "maxItems": 3}},
    "more": {"type": "object", "additionalProperties": {"$ref": "#"}}}, "required": ["name", "on"], "additionalProperties": False}
DTD = """<!DOCTYPE note [
<!ELEMENT note (to+, (from | via)?, body)><!ATTLIST note prio (low | high) #REQUIRED lang NMTOKEN #IMPLIED note CDATA #IMPLIED>
<!ELEMENT to (#PCDATA)><!ELEMENT from (#PCDATA)><!ELEMENT via EMPTY>
<!ELEMENT body (#PCDATA | b | note)*><!ELEMENT b (#PCDATA)>]>
"""
DEMO = conftest.ROOT / "models" / "quern-demo"


@pytest.fixture
def sample(quern, tmp_path):
    """Texts of a form, whose file is written first."""
    def run(option, text, n=20, seed=0, max_tokens=30, is_file=True, tokenizer=conftest.TOKENIZER):
        if is_file:
            (tmp_path / "form").write_text(text)
            text = str(tmp_path / "form")
        result = quern("grammar", "sample", option, text, "--tokenizer", str(tokenizer), "-n", str(n), "-s", str(seed),
                       "--max-tokens", str(max_tokens), "--null", text=False)
        assert result.code == 0, result.err
        out = result.out.decode() if isinstance(result.out, bytes) else result.out
        texts = out.split("\0")[:-1]
        assert len(texts) == n
        return texts
    return run


def test_sql(sample):
    base = sqlite3.connect(":memory:")
    for text in sample("--code", "sql", is_file=False):
        try:
            base.execute("EXPLAIN " + text)
        except sqlite3.Error as e:
            assert "syntax" not in str(e) and "incomplete" not in str(e) and "unrecognized" not in str(e), (text, e)


def test_python(sample):
    for text in sample("--code", "python", is_file=False) + sample("--code", "python", is_file=False, tokenizer=DEMO):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "1 is 2", "2()"
            ast.parse(text)


@pytest.mark.skipif(not shutil.which("gcc"), reason="there is no gcc")
def test_c(sample):
    for text in sample("--code", "c", n=15, is_file=False):
        done = subprocess.run(["gcc", "-fsyntax-only", "-w", "-x", "c", "-"], input=text.encode(), capture_output=True)
        wrong = [line for line in done.stderr.decode().splitlines() if " error: expected" in line or "stray" in line]
        assert not wrong, (text, wrong)


def test_json(sample):
    for text in sample("--code", "json", is_file=False):
        json.loads(text)


def test_yaml_and_json_of_a_schema(sample):
    for max_tokens in (5, 60):
        for text in sample("--yaml-schema", json.dumps(PERSON), max_tokens=max_tokens):
            jsonschema.validate(yaml.safe_load(text), PERSON)
        for text in sample("--schema", json.dumps(PERSON), max_tokens=max_tokens):
            jsonschema.validate(json.loads(text), PERSON)


def test_xml_of_a_dtd(sample):
    dtd = etree.DTD(io.StringIO(DTD[DTD.index("[") + 1:DTD.rindex("]")]))
    for max_tokens in (5, 60):
        for text in sample("--xml", DTD, max_tokens=max_tokens):
            assert dtd.validate(etree.fromstring(text.encode())), (text, dtd.error_log)


@pytest.mark.parametrize("names, max_tokens", [
    ("a note", 5), ("a note", 60), ("any", 5), ("any", 60),
])
def test_xml_of_names(sample, names, max_tokens):
    for text in sample("--xml-names", names, max_tokens=max_tokens, is_file=False):
        etree.fromstring(text.encode())


TAG = {"type": "structural_tag", "triggers": ["<f="], "structures": [
    {"begin": "<f=one>", "schema": {"const": {"a": 1}}, "end": "</f>"}, {"begin": "<f=two>", "schema": {"type": "integer"}, "end": "</f>"}]}
NEW = {"type": "structural_tag", "format": {"type": "sequence", "elements": [
    {"type": "tag", "begin": "<t>", "content": {"type": "any_text"}, "end": "</t>"},
    {"type": "triggered_tags", "triggers": ["[["], "at_least_one": True, "stop_after_first": True,
     "tags": [{"begin": "[[x", "content": {"type": "regex", "pattern": "[0-9]+"}, "end": ["]]", "!!"]}]}]}}


@pytest.mark.parametrize("tag, text, code", [
    (TAG, "free", 0), (TAG, 'a < b <f=one>{"a": 1}</f> and <f=two>12</f>', 0), (TAG, "<f=two>x</f>", 1), (TAG, "<f=three>", 1), (TAG, "<f=two>1", 1),
    (NEW, "<t>any < thing</t>[[x12]]", 0), (NEW, "<t></t>[[x1!!", 0), (NEW, "<t>a</t>", 1), (NEW, "<t>a</t>x[[x1]]", 1), (NEW, "<t>a</t></t>[[x1]]", 1),
    ({"type": "structural_tag", "format": {"type": "tags_with_separator", "separator": ",", "tags": [
        {"begin": "(", "content": {"type": "const_string", "value": "a"}, "end": ")"}]}}, "(a),(a)", 0),
    ({"type": "structural_tag", "format": {"type": "or", "elements": [
        {"type": "grammar", "grammar": 'root ::= "x"'}, {"type": "json_schema", "json_schema": {"type": "null"}}]}}, "null", 0),
    ({"type": "structural_tag", "format": {"type": "qwen_xml_parameter"}}, "", 2), ({"type": "structural_tag"}, "", 2),
    ({"type": "structural_tag", "triggers": ["<g"], "structures": TAG["structures"]}, "", 2),
])
def test_structural_tags(quern, tmp_path, tag, text, code):
    (tmp_path / "tag").write_text(json.dumps(tag))
    result = quern("grammar", "check", "--tags", str(tmp_path / "tag"), stdin=text.encode())
    assert result.code == code, result.err
    if code == 2:
        assert "structural tag: " in result.err


FORMS = [
    ({"type": "lark", "grammar": 'start: "a"~2'}, lambda t: t == "aa"),
    ({"type": "xml", "dtd": "<!ELEMENT a EMPTY>"}, lambda t: "<a" in t),
    ({"type": "xml_names", "names": "a"}, lambda t: "<a" in t),
    ({"type": "yaml", "schema": {"const": {"a": [1]}}}, lambda t: t.strip() in ("a:\n  - 1", '"a":\n  - 1')),
    ({"type": "code", "language": "json"}, json.loads),
    (TAG, lambda t: True),
]


@pytest.mark.parametrize("form, holds", FORMS, ids=lambda f: f.get("type") if isinstance(f, dict) else "")
def test_the_server_takes_every_form(tiny_server, form, holds):
    for thinking in (True, False):
        reply = tiny_server.post("/v1/chat/completions", {
            "messages": [{"role": "user", "content": "Hi"}], "temperature": 1.5, "seed": 1, "max_tokens": 600, "max_thinking_tokens": 10,
            "chat_template_kwargs": {"enable_thinking": thinking}, "response_format": {**form, "close_after": 20}})
        assert reply.status == 200, reply.body
        assert reply.json["choices"][0]["finish_reason"] == "stop"
        text = reply.json["choices"][0]["message"]["content"].lstrip("\n")  # of the thinking block
        assert holds(text) is not False, text


@pytest.mark.parametrize("more", [[], ["--in-time", "--seed", "1"]], ids=["close-after", "in-time"])
def test_random_answers_under_random_forms_are_valid(program, more):
    done = subprocess.run([sys.executable, str(conftest.ROOT / "tests" / "forms" / "check_forms.py"), "--forms", "40", "-n", "2", "--quern", str(program), *more],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_answer_is_closed_in_time(quern, tiny_model, tmp_path):
    (tmp_path / "s.json").write_text('{"type": "array", "items": {"type": "string"}, "minItems": 2}')
    result = quern("run", "-m", tiny_model, "-p", "Hi", "--no-think", "--temp", "1.5", "--seed", "1", "--schema", str(tmp_path / "s.json"),
                   "--close-after", "5", "-n", "60")
    assert len(json.loads(result.out)) >= 2
