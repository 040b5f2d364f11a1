"""Thinking {on, off} x {schema, regex, choice, grammar, tools} x {command line, server, server streaming} with the demo model: the
thinking stays free and apart, the answer has its form. A failure of such a pair is what users of other servers report most."""
import json
import pathlib
import re

import pytest

import serving

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "quern-demo"
pytestmark = pytest.mark.skipif(not (MODEL / "model.safetensors").exists(), reason="models/quern-demo is not there")

PROMPT = "Get a report: city Lisbon."
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}, "n": {"type": "integer", "minimum": 0, "maximum": 99}},
          "required": ["city", "n"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "get_report", "description": "Get a report", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}}}


def holds_schema(text):
    value = json.loads(text)
    return list(value) == ["city", "n"] and len(value["city"]) <= 12 and 0 <= value["n"] <= 99


FORMS = {
    "schema": ({"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}}, holds_schema),
    "regex": ({"structured_outputs": {"regex": "[A-Z][a-z]{2,5}-[0-9]{2}"}}, lambda t: re.fullmatch("[A-Z][a-z]{2,5}-[0-9]{2}", t)),
    "choice": ({"structured_outputs": {"choice": ["red", "green", "blue"]}}, lambda t: t in ("red", "green", "blue")),
    "grammar": ({"structured_outputs": {"grammar": 'root ::= "(" [a-z]{1,4} ")" | "[" root "]"'}}, lambda t: re.fullmatch(r"(\[{0,200})\([a-z]{1,4}\)\]*", t)
                and t.count("[") == t.count("]")),
    "tools": ({"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}, None),
}


@pytest.fixture(scope="module")
def demo_server(program, environment):
    server = serving.Server(program, environment, "-m", f"demo={MODEL}")
    yield server
    assert server.stop() == 0


def gathered(reply, stream):
    """(thinking, content, calls, finish reason)"""
    if not stream:
        choice = reply.json["choices"][0]
        m = choice["message"]
        return m.get("reasoning_content", ""), m["content"] or "", [c["function"] for c in m.get("tool_calls", [])], choice["finish_reason"]
    thinking, content, calls, reason = "", "", [], None
    for chunk in reply.chunks():
        for choice in chunk["choices"]:
            delta = choice["delta"]
            thinking += delta.get("reasoning_content") or ""
            content += delta.get("content") or ""
            for call in delta.get("tool_calls", []):
                if call["index"] == len(calls):
                    calls.append(dict(call["function"]))
                else:
                    calls[call["index"]]["arguments"] += call["function"]["arguments"]
            reason = choice["finish_reason"] or reason
    return thinking, content, calls, reason


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("thinking", [True, False], ids=["thinking", "at once"])
@pytest.mark.parametrize("form", FORMS)
def test_server(demo_server, form, thinking, stream):
    more, holds = FORMS[form]
    for seed in range(4):
        reply = demo_server.post("/v1/chat/completions", {
            "messages": [{"role": "user", "content": PROMPT}], "chat_template_kwargs": {"enable_thinking": thinking}, "temperature": 0.5 * seed,
            "seed": seed, "max_tokens": 700, "max_thinking_tokens": 100, "stream": stream, **more}, timeout=120)
        assert reply.status == 200, reply.body
        thought, content, calls, reason = gathered(reply, stream)
        assert "</think>" not in content and "<tool_call>" not in content
        assert bool(thought) <= thinking and (seed or bool(thought) == thinking)  # a model may choose to skip it when warm
        if form == "tools":
            (call,) = calls
            assert reason == "tool_calls" and call["name"] == "get_report" and list(json.loads(call["arguments"])) == ["city"]
        elif reason == "stop":
            assert not calls and holds(content), content
        else:
            assert form == "grammar"  # may nest without end


@pytest.mark.parametrize("thinking", [True, False], ids=["thinking", "at once"])
@pytest.mark.parametrize("form", FORMS)
def test_command_line(quern, tmp_path, form, thinking):
    file = tmp_path / "form"
    file.write_text({"schema": json.dumps(SCHEMA), "grammar": FORMS["grammar"][0]["structured_outputs"]["grammar"],
                     "tools": json.dumps([{**TOOL, "command": ["cat"], "allow": True}])}.get(form, ""))
    options = {"schema": ["--schema", file], "regex": ["--regex", "[A-Z][a-z]{2,5}-[0-9]{2}"], "grammar": ["--gbnf", file],
               "choice": ["--choice", "red", "--choice", "green", "--choice", "blue"], "tools": ["--tools", file, "--max-tool-rounds", "1"]}[form]
    done = quern("run", "-m", MODEL, "--think" if thinking else "--no-think", "--temp", "0", "-n", "700", *options, "-p", PROMPT)
    assert done.code == 0, done.err
    assert "think>" not in done.out and "<tool_call>" not in done.out
    if form == "tools":
        assert '-> get_report {"city": "Lisbon"}' in done.err and '<- {"city": "Lisbon"}' in done.err and done.out
    elif form != "grammar" or ")" in done.out:
        assert FORMS[form][1](done.out), done.out
    shown = quern("run", "-m", MODEL, "--think" if thinking else "--no-think", "--temp", "0", "-n", "700", "--show-thinking", *options, "-p", PROMPT)
    assert len(shown.out) > len(done.out) or not thinking
