"""Every form in every place: thinking or not, quern run, quern chat and the server, streamed or not. The demo model writes at temperature
1.2, answers are closed in time, and each is read by the reference reader of its form."""
import ast
import io
import json
import re

import jsonschema
import pytest
import yaml
from lxml import etree

import conftest
import serving

DEMO = conftest.ROOT / "models" / "quern-demo"
CHAT = "/v1/chat/completions"
N = 220  # most tokens of an answer, thinking included
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}, "people": {"type": "integer", "minimum": 0, "maximum": 9999},
                                         "parts": {"type": "array", "items": {"enum": ["north", "south", 7]}, "maxItems": 3}},
        "required": ["city", "people", "parts"], "additionalProperties": False}
DTD = "<!ELEMENT list (item+)><!ELEMENT item (#PCDATA)><!ATTLIST item kind (a|b) #REQUIRED>"
CHOICES = ["yes", "no", "it depends"]
REGEX = r"[A-Z]{2}-[0-9]{3}(, [a-z]+)?"
GBNF = 'root ::= "(" root ")" | [0-9]{1,4}'
LARK = 'start: NAME ("," NAME)*\nNAME: /[a-z]{1,5}/'
TOOLS = [{"type": "function", "function": {"name": name, "description": what, "parameters": {
    "type": "object", "properties": {"level": {"type": "integer"}, "item": {"type": "string", "maxLength": 10}, "mode": {"enum": ["a", "b"]}},
    "required": ["level", "item"], "additionalProperties": False}}} for name, what in (("open_book", "Open a book"), ("open_book_list", "Open a list"))]
ASK_TOOL = "Please open a book with item clock and level 17."


def valid_json(text):
    jsonschema.validate(json.loads(text), CITY)


def valid_yaml(text):
    jsonschema.validate(yaml.safe_load(text), CITY)


def valid_xml(text):
    assert etree.DTD(io.StringIO(DTD)).validate(etree.fromstring(text.encode()))


def valid_choice(text):
    assert text in CHOICES


def valid_regex(text):
    assert re.fullmatch(REGEX, text)


def valid_gbnf(text):
    assert re.fullmatch(r"\(*[0-9]{1,4}\)*", text) and text.count("(") == text.count(")")


def valid_lark(text):
    assert re.fullmatch(r"[a-z]{1,5}(,[a-z]{1,5})*", text)


# name: options of the command line (a file's text in braces), fields of the server, what reads it
FORMS = {
    "schema": (["--schema", (json.dumps(CITY),)], {"response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}}, valid_json),
    "object": (["--json"], {"response_format": {"type": "json_object"}}, lambda t: json.loads(t).keys()),
    "regex": (["--regex", REGEX], {"structured_outputs": {"regex": REGEX}}, valid_regex),
    "choice": (sum((["--choice", c] for c in CHOICES), []), {"structured_outputs": {"choice": CHOICES}}, valid_choice),
    "gbnf": (["--gbnf", (GBNF,)], {"structured_outputs": {"grammar": GBNF}}, valid_gbnf),
    "lark": (["--lark", (LARK,)], {"structured_outputs": {"lark": LARK}}, valid_lark),
    "xml": (["--xml", (DTD,)], {"structured_outputs": {"xml": DTD}}, valid_xml),
    "yaml": (["--yaml-schema", (json.dumps(CITY),)], {"structured_outputs": {"yaml": CITY}}, valid_yaml),
    "python": (["--code", "python"], {"structured_outputs": {"code": "python"}}, ast.parse),
}


@pytest.fixture(scope="module")
def demo_server(program, environment):
    server = serving.Server(program, environment, "-m", f"demo={DEMO}")
    yield server
    assert server.stop() == 0


def with_files(options, directory):
    out = []
    for i, option in enumerate(options):
        if isinstance(option, tuple):
            path = directory / f"form{i}"
            path.write_text(option[0])
            option = str(path)
        out.append(option)
    return out


def seeds(name, thinking):
    return [len(name) + 10 * thinking, 100 + len(name)]


def streamed(reply):
    """The message of a stream."""
    message = {"content": "", "reasoning_content": "", "tool_calls": []}
    for chunk in reply.chunks():
        for choice in chunk["choices"]:
            delta = choice["delta"]
            message["content"] += delta.get("content") or ""
            message["reasoning_content"] += delta.get("reasoning_content") or ""
            for call in delta.get("tool_calls", []):
                if call["index"] == len(message["tool_calls"]):
                    message["tool_calls"].append(call)
                else:
                    message["tool_calls"][call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    return message


@pytest.mark.parametrize("thinking", [True, False], ids=["thinking", "at-once"])
@pytest.mark.parametrize("name", FORMS)
def test_run_and_chat(quern, tmp_path, name, thinking):
    options, _, check = FORMS[name]
    options = with_files(options, tmp_path) + ["--close-in-time", "-n", str(N), "--temp", "1.2", "--think" if thinking else "--no-think"]
    for seed in seeds(name, thinking):
        ran = quern("run", "-m", DEMO, "-p", "Tell me about Paris.", *options, "--seed", str(seed))
        assert ran.code == 0, ran.err
        check(ran.out)
        asks = "Tell me about Paris.\n"
        twice = name in ("regex", "choice", "lark")  # answers of one line
        talked = quern("chat", "-m", DEMO, *options, "--seed", str(seed), stdin=asks + "And Rome?\n" * twice)
        assert talked.code == 0, talked.err
        for text in talked.out.strip("\n").split("\n") if twice else [talked.out[:-1]]:
            check(text)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("thinking", [True, False], ids=["thinking", "at-once"])
@pytest.mark.parametrize("name", FORMS)
def test_server(demo_server, name, thinking, stream):
    _, fields, check = FORMS[name]
    fields = {key: {**value, "close_in_time": True} for key, value in fields.items()}
    for seed in seeds(name, thinking):
        reply = demo_server.post(CHAT, {
            "messages": [{"role": "user", "content": "Tell me about Paris."}], "temperature": 1.2, "seed": seed, "max_tokens": N, "stream": stream,
            "chat_template_kwargs": {"enable_thinking": thinking}, **fields})
        assert reply.status == 200, reply.body
        message = streamed(reply) if stream else reply.json["choices"][0]["message"]
        check(message["content"])
        assert thinking or not message.get("reasoning_content")


def check_calls(calls):
    assert calls
    for call in calls:
        tool = next(t["function"] for t in TOOLS if t["function"]["name"] == call["function"]["name"])
        jsonschema.validate(json.loads(call["function"]["arguments"]), tool["parameters"])


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("thinking", [True, False], ids=["thinking", "at-once"])
@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "open_book"}}], ids=["auto", "required", "named"])
def test_server_tools(demo_server, thinking, stream, choice):
    n_calls = 0
    for seed in range(3):
        reply = demo_server.post(CHAT, {
            "messages": [{"role": "user", "content": ASK_TOOL}], "temperature": 0.7, "seed": seed, "max_tokens": 400,
            "stream": stream, "tools": TOOLS, "tool_choice": choice, "parallel_tool_calls": False, "max_thinking_tokens": 100,
            "chat_template_kwargs": {"enable_thinking": thinking}})
        assert reply.status == 200, reply.body
        message = streamed(reply) if stream else reply.json["choices"][0]["message"]
        calls = message.get("tool_calls") or []
        if calls or choice != "auto":
            check_calls(calls)
        n_calls += len(calls)
    assert n_calls > 0


@pytest.mark.parametrize("thinking", [True, False], ids=["thinking", "at-once"])
@pytest.mark.parametrize("command", ["run", "chat"])
def test_tools_of_the_command_line(quern, tmp_path, command, thinking):
    """Each call reaches the command as JSON that its schema allows."""
    tool = {**TOOLS[0], "command": ["tee", "-a", str(tmp_path / "calls")], "allow": True}
    (tmp_path / "tools.json").write_text(json.dumps([tool]))
    options = ["--tools", str(tmp_path / "tools.json"), "-n", "400", "--temp", "0.7", "--think" if thinking else "--no-think"]
    for seed in range(3):
        more, stdin = (["-p", ASK_TOOL], b"") if command == "run" else ([], ASK_TOOL + "\n")
        done = quern(command, "-m", DEMO, *options, "--seed", str(seed), *more, stdin=stdin)
        assert done.code == 0, done.err
    text, n = (tmp_path / "calls").read_text(), 0
    while text.strip():
        value, end = json.JSONDecoder().raw_decode(text.strip())
        jsonschema.validate(value, tool["function"]["parameters"])
        text = text.strip()[end:]
        n += 1
    assert n > 0
