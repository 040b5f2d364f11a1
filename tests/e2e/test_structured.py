"""Answers of a given form: a model that knows nothing (random weights, temperature 1.5) must still give texts that parse and
validate, by the program and by the server, thinking or not, streamed or not."""
import json
import re
import time

import pytest

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
                   "kind": {"enum": ["cat", "dog", None]}},
    "required": ["name", "age", "kind"], "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": n, "parameters": {
    "type": "object", "properties": {k: {"enum": ["x", "y"]}}, "required": [k], "additionalProperties": False}}}
    for n, k in (("look", "at"), ("look_up", "word"), ("go", "to"))]
CHAT = "/v1/chat/completions"


def check_person(value):
    assert list(value) == ["name", "age", "kind"]
    assert 1 <= len(value["name"]) <= 8 and isinstance(value["age"], int) and 0 <= value["age"] <= 150
    assert value["kind"] in ("cat", "dog", None)


@pytest.fixture(scope="module")
def schema_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("schema") / "person.json"
    path.write_text(json.dumps(PERSON))
    return str(path)


@pytest.mark.parametrize("seed", range(6))
def test_run_gives_json_of_a_schema(quern, tiny_model, schema_file, seed):
    result = quern("run", "-m", tiny_model, "-p", "Hi", "--schema", schema_file, "--no-think", "--temp", "1.5", "--seed", str(seed), "-n", "400")
    assert result.code == 0, result.err
    check_person(json.loads(result.out))


def test_run_with_pattern_choice_and_grammar(quern, tiny_model, tmp_path):
    run = lambda *o: quern("run", "-m", tiny_model, "-p", "Hi", "--no-think", "--temp", "1.5", "--seed", "1", "-n", "200", *o).out  # noqa: E731
    assert re.fullmatch(r"[A-Z]{3}-\d\d", run("--regex", r"[A-Z]{3}-\d\d"))
    assert run("--choice", "yes", "--choice", "no") in ("yes", "no")
    grammar = tmp_path / "g.gbnf"
    grammar.write_text('root ::= "(" root ")" | [0-9]{1,4}')
    out = run("--gbnf", str(grammar))
    assert re.fullmatch(r"\(*\d{1,4}\)*", out) and out.count("(") == out.count(")")


def test_forms_exclude_each_other_and_errors_are_named(quern, tiny_model, schema_file):
    assert quern("run", "-m", tiny_model, "-p", "x", "--json", "--regex", "a").code == 2
    broken = quern("run", "-m", tiny_model, "-p", "x", "--regex", "(")
    assert broken.code == 1 and "regex" in broken.err


def form(schema):
    return {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("stream", [True, False])
def test_response_format_holds_beside_thinking_and_streaming(tiny_server, thinking, stream):
    for seed in range(4):
        reply = tiny_server.post(CHAT, {
            "messages": [{"role": "user", "content": "Hi"}], "temperature": 1.5, "seed": seed, "max_tokens": 600, "stream": stream,
            "max_thinking_tokens": 20, "chat_template_kwargs": {"enable_thinking": thinking}, "response_format": form(PERSON)})
        assert reply.status == 200, reply.body
        if stream:
            text = "".join(c["choices"][0]["delta"].get("content") or "" for c in reply.chunks() if c["choices"])
        else:
            assert reply.json["choices"][0]["finish_reason"] == "stop"
            text = reply.json["choices"][0]["message"]["content"]
        check_person(json.loads(text))


def test_n_answers_each_keep_the_form(tiny_server):
    body = tiny_server.post(CHAT, {"messages": [{"role": "user", "content": "Hi"}], "temperature": 1.5, "seed": 3, "n": 4, "max_tokens": 400,
                                   "chat_template_kwargs": {"enable_thinking": False}, "response_format": form(PERSON)}).json
    texts = [c["message"]["content"] for c in body["choices"]]
    for text in texts:
        check_person(json.loads(text))
    assert len(set(texts)) > 1


@pytest.mark.parametrize("outputs, holds", [
    ({"regex": "[a-f]{4}"}, lambda t: re.fullmatch("[a-f]{4}", t)),
    ({"choice": ["red", "green"]}, lambda t: t in ("red", "green")),
    ({"grammar": 'root ::= "a"{3}'}, lambda t: t == "aaa"),
    ({"grammar": 'start: "b"~3'}, lambda t: t == "bbb"),
    ({"lark": 'start: A " " A\nA: "x".."z"'}, lambda t: re.fullmatch("[x-z] [x-z]", t)),
    ({"json": {"const": [1, "x"]}}, lambda t: json.loads(t) == [1, "x"]),
])
def test_structured_outputs_as_vllm_spells_them(tiny_server, outputs, holds):
    body = tiny_server.post(CHAT, {"messages": [{"role": "user", "content": "Hi"}], "temperature": 1.5, "max_tokens": 100,
                                   "chat_template_kwargs": {"enable_thinking": False}, "structured_outputs": outputs}).json
    assert holds(body["choices"][0]["message"]["content"])


@pytest.mark.parametrize("choice, names", [
    ("required", {"look", "look_up", "go"}),
    ({"type": "function", "function": {"name": "look"}}, {"look"}),
    ({"type": "function", "function": {"name": "look_up"}}, {"look_up"}),
])
def test_a_required_call_is_valid_by_the_tools_schema(tiny_server, choice, names):
    keys = {t["function"]["name"]: t["function"]["parameters"]["required"] for t in TOOLS}
    for seed in range(4):
        message = tiny_server.post(CHAT, {
            "messages": [{"role": "user", "content": "Hi"}], "temperature": 1.5, "seed": seed, "max_tokens": 300, "tools": TOOLS,
            "parallel_tool_calls": False, "chat_template_kwargs": {"enable_thinking": False}, "tool_choice": choice}).json["choices"][0]
        assert message["finish_reason"] == "tool_calls"
        (call,) = message["message"]["tool_calls"]
        assert call["function"]["name"] in names
        arguments = json.loads(call["function"]["arguments"])
        assert list(arguments) == keys[call["function"]["name"]] and set(arguments.values()) <= {"x", "y"}


@pytest.mark.parametrize("change, part", [
    ({"response_format": form({"type": "nonsense"})}, "nonsense"),
    ({"response_format": form({"$ref": "#/nowhere"})}, "refers to nothing"),
    ({"response_format": {"type": "json_schema"}}, "schema"),
    ({"response_format": {"type": "yaml"}}, "response_format"),
    ({"response_format": form({"type": "string", "pattern": "a{100000}{100000}"})}, ""),
    ({"structured_outputs": {"regex": "("}}, "regex"),
    ({"structured_outputs": {}}, "structured_outputs"),
])
def test_a_form_that_cannot_be_is_a_400_and_others_go_on(tiny_server, change, part):
    reply = tiny_server.post(CHAT, {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, **change})
    if part or reply.status != 200:
        assert reply.status == 400 and part in reply.error["message"], reply.body
    assert tiny_server.chat("Hi", max_tokens=2).status == 200


BOMB = {"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"anyOf": [{"$ref": f"#/$defs/a/properties/p{i}"}, {"not": {"required": [f"q{i}"]}}]}
                                                       for i in range(24)],
                                             "properties": {f"p{i}": {"type": "object", "required": [f"q{i}"]} for i in range(24)}}}}


@pytest.mark.parametrize("change, fine", [
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": "{"}}}, False),
    ({"response_format": form(BOMB)}, False),
    ({"response_format": form({"$ref": "#"})}, False),
    ({"structured_outputs": {"regex": "(a|b)*a" + "(a|b)" * 100_000}}, False),
    ({"structured_outputs": {"regex": "x" * 700_000}}, None),
    ({"response_format": form({"type": "string", "pattern": "^(.{1,63}\\.){1,127}(?![0-9]*$)[a-z]+$", "maxLength": 255, "minLength": 200})}, None),
    ({"response_format": form({"type": "string", "minLength": 100000})}, True),
    ({"response_format": form({"type": "array", "minItems": 100000, "items": {"type": "integer"}})}, None),
])
def test_bombs_are_refused_in_time_and_harm_nobody(tiny_server, change, fine):
    begin = time.monotonic()
    reply = tiny_server.post(CHAT, {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3,
                                    "chat_template_kwargs": {"enable_thinking": False}, **change})
    assert time.monotonic() - begin < 30  # 3 s for the grammar; the machine may have other work
    if fine is not None:
        assert (reply.status == 200) == fine, reply.body[:300]
    assert reply.status == 200 or 400 <= reply.status < 500 and reply.error["message"]
    assert tiny_server.chat("Hi", max_tokens=2).status == 200


@pytest.mark.parametrize("schema, fine", [
    ({"type": "nonsense"}, False),
    ({"type": "object", "properties": {"x": {"$ref": "#/nowhere"}}}, False),
    ({"type": "object", "properties": {"x": {"type": "string", "pattern": "("}}}, None),
    (BOMB, False),
    ({"type": "object", "properties": {"x": {"type": "string", "pattern": "(a|b)*a" + "(a|b)" * 30_000}}}, None),
    ({"type": "object", "properties": {"x": {"type": "string", "minLength": 100000}}, "required": ["x"]}, True),
    ({"type": "object", "properties": {"x": {"$ref": "#"}}}, True),
])
@pytest.mark.parametrize("dialect", ["chat", "messages"])
def test_bombs_among_tools_are_refused_in_time_and_harm_nobody(tiny_server, dialect, schema, fine):
    """None: what cannot be enforced is an error for strict tools only."""
    common = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
    begin = time.monotonic()
    for strict in (False, True) if dialect == "chat" else (False,):
        if dialect == "chat":
            tool = {"type": "function", "function": {"name": "f", "parameters": schema, "strict": strict}}
            reply = tiny_server.post(CHAT, {**common, "tools": [tool], "tool_choice": "required", "chat_template_kwargs": {"enable_thinking": False}})
        else:
            reply = tiny_server.post("/v1/messages", {**common, "model": "tiny", "tools": [{"name": "f", "input_schema": schema}],
                                                      "tool_choice": {"type": "any"}})
        assert time.monotonic() - begin < 30  # as above
        expected = not strict if fine is None else fine
        assert (reply.status == 200) == expected, reply.body[:300]
        if not expected:
            assert reply.status == 400 and reply.error["message"], reply.body[:300]
    assert tiny_server.chat("Hi", max_tokens=2).status == 200


def test_a_pattern_of_ten_megabytes_is_too_large_for_a_request(tiny_server):
    try:  # answered and closed while it is being sent
        reply = tiny_server.post(CHAT, {"messages": [{"role": "user", "content": "Hi"}], "structured_outputs": {"regex": "x" * 10_000_000}})
        assert reply.status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert tiny_server.chat("Hi", max_tokens=2).status == 200


def test_a_pattern_of_ten_megabytes_that_a_request_may_hold_is_refused_by_its_length(serve, tiny_model):
    server = serve("-m", tiny_model, "--max-body-bytes", 32 << 20)
    began = time.monotonic()
    reply = server.post(CHAT, {"messages": [{"role": "user", "content": "Hi"}], "structured_outputs": {"regex": "(a|b)" * 2_000_000}})
    assert reply.status == 400 and reply.error["param"] == "structured_outputs" and "10000000 bytes" in reply.error["message"]
    assert time.monotonic() - began < 10  # the deadline of compiling; it takes 10 ms
    assert server.chat("Hi", max_tokens=2).status == 200


def test_text_without_a_choice_is_guessed_and_the_answer_stays_the_same(tiny_model, tiny_server, serve):
    value = {"description": "a text that is the same in every answer", "numbers": [1, 22, 333], "list": ["one", "two", "three"]}
    body = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 1.5, "max_tokens": 400,
            "chat_template_kwargs": {"enable_thinking": False}, "structured_outputs": {"choice": [json.dumps(value)]}}
    plain = serve("-m", tiny_model, "--speculation", "off")
    for seed in range(3):
        guessed, alone = (s.post(CHAT, {**body, "seed": seed}).json for s in (tiny_server, plain))
        assert json.loads(guessed["choices"][0]["message"]["content"]) == value
        assert guessed["choices"][0]["message"] == alone["choices"][0]["message"]
        assert guessed["usage"]["completion_tokens"] == alone["usage"]["completion_tokens"]
        assert guessed["timings"]["draft_n"] > alone["timings"]["draft_n"] == 0


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_closed_in_time_is_whole_whatever_max_tokens_says(tiny_server, thinking, stream):
    ask = lambda n, seed: tiny_server.post(CHAT, {  # noqa: E731
        "messages": [{"role": "user", "content": "Hi"}], "temperature": 1.5, "seed": seed, "max_tokens": n, "stream": stream,
        "chat_template_kwargs": {"enable_thinking": thinking}, "response_format": {**form(PERSON), "close_in_time": True}})
    for n in (60, 63, 66, 70, 90):  # {"name": "x", "age": 0, "kind": "cat"} is 30 tokens or so, blanks included
        for seed in range(3):
            reply = ask(n, seed)
            assert reply.status == 200, reply.body
            if stream:
                text = "".join(c["choices"][0]["delta"].get("content") or "" for c in reply.chunks() if c["choices"])
            else:
                text = reply.json["choices"][0]["message"]["content"]
                assert reply.json["usage"]["completion_tokens"] <= n and reply.json["choices"][0]["finish_reason"] == "stop"
            check_person(json.loads(text))
    assert tiny_server.post(CHAT, {"messages": [{"role": "user", "content": "Hi"}], "response_format": {**form(PERSON), "close_in_time": 3}}).status == 400


def test_run_closes_in_time(quern, tiny_model, schema_file):
    for n in ("60", "64", "80"):
        result = quern("run", "-m", tiny_model, "-p", "Hi", "--schema", schema_file, "--temp", "1.5", "--seed", n, "-n", n, "--close-in-time")
        assert result.code == 0, result.err
        check_person(json.loads(result.out.split("</think>")[-1]))
