"""/v1/responses over raw HTTP: items in and out, typed events, structured output, calls, and the answers that are kept."""
import json
import subprocess
import time

import pytest

from conftest import ANSWER, THINKING
from test_serve_operation import ROOT, python_with
from test_structured import BOMB
from test_tools_server import TOOLS as CHAT_TOOLS, check_arguments, coder_server, any_server  # noqa: F401

URL = "/v1/responses"
TOOLS = [{"type": "function", **t["function"]} for t in CHAT_TOOLS]
SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "n": {"type": "integer", "minimum": 0, "maximum": 9}},
          "required": ["name", "n"], "additionalProperties": False}
FORMAT = {"type": "json_schema", "name": "thing", "strict": True, "schema": SCHEMA}


def body(seed=0, **more):
    return {"input": "Hi", "temperature": 1.5, "seed": seed, "max_output_tokens": 400, "reasoning": {"effort": "none"}, **more}


def calling(seed=0, **more):
    return body(seed, tools=TOOLS, tool_choice="required", parallel_tool_calls=False, **more)


def events_of(reply):
    """The events, checked for their numbers, their names and their places: what opens is filled and closed, one item after the other."""
    assert reply.status == 200, reply.body
    events = []
    for name, data in reply.events():
        event = json.loads(data)
        assert event["type"] == name and event["sequence_number"] == len(events)
        events.append(event)
    assert [e["type"] for e in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] in ("response.completed", "response.incomplete", "response.failed")
    items, text, is_open = [], "", False
    for e in events[2:-1]:
        kind = e["type"].removeprefix("response.")
        assert e["output_index"] == len(items)
        if kind == "output_item.added":
            assert not is_open and e["item"]["status"] == "in_progress"
            is_open, text, item_id = True, "", e["item"]["id"]
        elif kind == "output_item.done":
            assert e["item"]["id"] == item_id
            is_open = False
            items.append(e["item"])
        elif kind.endswith(".delta"):
            assert is_open and e["item_id"] == item_id and e["delta"]
            text += e["delta"]
        elif kind.endswith("_text.done") or kind.endswith("arguments.done"):
            assert e.get("text", e.get("arguments")) == text
        else:
            assert kind in ("content_part.added", "content_part.done") and e["part"]["text"] == ("" if kind.endswith("added") else text)
    assert not is_open and items == events[-1]["response"]["output"]
    return events


def text_of(response):
    return "".join(p["text"] for i in response["output"] if i["type"] == "message" for p in i["content"])


def calls_of(response):
    return [i for i in response["output"] if i["type"] == "function_call"]


def alike(a, b):
    """Two answers to one request, but for ids and times."""
    def plain(x):
        if isinstance(x, dict):
            return {k: plain(v) for k, v in x.items() if k not in ("id", "call_id", "created_at", "completed_at", "timings", "cached_tokens")}
        return [plain(v) for v in x] if isinstance(x, list) else x
    return plain(a) == plain(b)


# ---- answers -----------------------------------------------------------------------------------------------------

def test_an_answer_has_its_thoughts_and_its_text_as_items(scripted_server):
    r = scripted_server.post(URL, {"input": "Hi", "temperature": 0, "instructions": "Be brief.", "metadata": {"a": "b"}, "user": "u"}).json
    assert r["object"] == "response" and r["id"].startswith("resp_") and r["status"] == "completed" and r["error"] is None
    thoughts, message = r["output"]
    assert thoughts["type"] == "reasoning" and thoughts["summary"] == [] and thoughts["content"] == [{"type": "reasoning_text", "text": THINKING}]
    assert message["role"] == "assistant" and message["status"] == "completed"
    assert message["content"] == [{"type": "output_text", "text": ANSWER, "annotations": [], "logprobs": []}]
    assert r["instructions"] == "Be brief." and r["metadata"] == {"a": "b"} and r["user"] == "u" and r["store"] is True
    assert r["tool_choice"] == "auto" and r["tools"] == [] and r["truncation"] == "disabled" and r["text"]["format"] == {"type": "text"}
    u = r["usage"]
    assert u["total_tokens"] == u["input_tokens"] + u["output_tokens"] and u["output_tokens_details"]["reasoning_tokens"] > 0


def test_a_stream_brings_the_same_answer(scripted_server):
    whole = scripted_server.post(URL, {"input": "Hi", "temperature": 0}).json
    events = events_of(scripted_server.post(URL, {"input": "Hi", "temperature": 0, "stream": True}))
    assert alike(events[-1]["response"], whole) and events[-1]["type"] == "response.completed"
    kinds = [e["type"] for e in events]
    assert kinds.count("response.output_item.added") == 2
    assert kinds.index("response.reasoning_text.done") < kinds.index("response.output_text.delta")


def test_an_answer_that_is_cut_is_incomplete(scripted_server):
    for n in (1, 3, 8):
        whole = scripted_server.post(URL, {"input": "Hi", "temperature": 0, "max_output_tokens": n}).json
        assert whole["status"] == "incomplete" and whole["incomplete_details"] == {"reason": "max_output_tokens"}
        assert whole["output"] and whole["output"][-1]["status"] == "incomplete" and whole["usage"]["output_tokens"] == n
        events = events_of(scripted_server.post(URL, {"input": "Hi", "temperature": 0, "max_output_tokens": n, "stream": True}))
        assert events[-1]["type"] == "response.incomplete" and alike(events[-1]["response"], whole)


def test_items_become_the_chat_they_stand_for(tiny_server):
    """The prompt is that of the same conversation in the words of chat completions: as many tokens, the same answer."""
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "x"}'}}
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "ab"},
                {"role": "assistant", "content": "c", "reasoning_content": "t", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": "d"}, {"role": "user", "content": "e"}]
    items = [{"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
             {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "t"}]},
             {"type": "message", "role": "assistant", "id": "msg_x", "status": "completed", "content": [{"type": "output_text", "text": "c", "annotations": []}]},
             {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"at": "x"}'},
             {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "d"}]},
             {"type": "message", "role": "user", "content": "e"}]
    more = {"temperature": 1, "seed": 3}
    chat = tiny_server.post("/v1/chat/completions", {"messages": messages, "tools": CHAT_TOOLS, "max_tokens": 20, **more}).json
    r = tiny_server.post(URL, {"input": items, "instructions": "Be brief.", "tools": TOOLS, "max_output_tokens": 20, **more}).json
    assert r["usage"]["input_tokens"] == chat["usage"]["prompt_tokens"]
    message = chat["choices"][0]["message"]
    thoughts = [p["text"] for i in r["output"] if i["type"] == "reasoning" for p in i["content"]]
    assert text_of(r) == (message["content"] or "") and "".join(thoughts) == message.get("reasoning_content", "")
    count = tiny_server.post(URL + "/input_tokens", {"input": items, "instructions": "Be brief.", "tools": TOOLS}).json
    assert count == {"object": "response.input_tokens", "input_tokens": chat["usage"]["prompt_tokens"]}


def test_logprobs_come_when_they_are_included(tiny_server):
    request = body(max_output_tokens=8, include=["message.output_text.logprobs"], top_logprobs=2)
    r = tiny_server.post(URL, request).json
    entries = [e for i in r["output"] for e in i["content"][0]["logprobs"]]
    assert len(entries) == r["usage"]["output_tokens"] and all(len(e["top_logprobs"]) == 2 and e["bytes"] and e["logprob"] <= 0 for e in entries)
    events = events_of(tiny_server.post(URL, {**request, "stream": True}))
    done = [e for e in events if e["type"] == "response.output_text.done"]
    assert [e for d in done for e in d["logprobs"]] == entries


# ---- structured output and calls ------------------------------------------------------------------------------------

@pytest.mark.parametrize("effort", ["none", "low"])
@pytest.mark.parametrize("stream", [False, True])
def test_text_has_the_form_of_the_schema(tiny_server, effort, stream):
    for seed in range(4):
        request = body(seed, text={"format": FORMAT, "verbosity": "low"}, reasoning={"effort": effort}, max_thinking_tokens=10, stream=stream)
        reply = tiny_server.post(URL, request)
        r = events_of(reply)[-1]["response"] if stream else reply.json
        value = json.loads(text_of(r))
        assert sorted(value) == ["n", "name"] and 0 <= value["n"] <= 9 and len(value["name"]) <= 8
        assert r["text"] == {"format": FORMAT, "verbosity": "low"} and r["reasoning"]["effort"] == effort


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_are_free_where_text_is_not(scripted_server, stream):
    reply = scripted_server.post(URL, {"input": "Hi", "temperature": 0, "text": {"format": FORMAT}, "stream": stream, "max_output_tokens": 300})
    r = events_of(reply)[-1]["response"] if stream else reply.json
    assert [i["type"] for i in r["output"]] == ["reasoning", "message"] and r["output"][0]["content"][0]["text"] == THINKING
    assert r["status"] == "incomplete" or sorted(json.loads(text_of(r))) == ["n", "name"]


def test_json_object_is_an_object(tiny_server):
    for seed in range(3):
        r = tiny_server.post(URL, body(seed, text={"format": {"type": "json_object"}}, max_output_tokens=300)).json
        assert r["status"] == "incomplete" or isinstance(json.loads(text_of(r)), dict)


@pytest.mark.parametrize("effort", ["none", "minimal"])
def test_a_call_has_a_tools_name_and_valid_arguments(any_server, effort):
    names = set()
    for seed in range(15):
        request = calling(seed, reasoning={"effort": effort}, max_thinking_tokens=10)
        r = any_server.post(URL, request).json
        assert r["status"] == "completed", r
        (call,) = calls_of(r)
        check_arguments(call["name"], call["arguments"])
        assert call["call_id"].startswith("call_") and call["id"].startswith("fc_")
        names.add(call["name"])
        events = events_of(any_server.post(URL, {**request, "stream": True}))
        (streamed,) = calls_of(events[-1]["response"])
        assert (streamed["name"], streamed["arguments"]) == (call["name"], call["arguments"])
    assert len(names) > 1


@pytest.mark.parametrize("choice, names", [
    ({"type": "function", "name": "now"}, {"now"}),
    ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "look"}, {"type": "function", "name": "now"}]}, {"look", "now"}),
    ("none", set()),
])
def test_tool_choice_holds(any_server, choice, names):
    for seed in range(4):
        r = any_server.post(URL, {**calling(seed), "tool_choice": choice, "max_output_tokens": 100}).json
        found = {c["name"] for c in calls_of(r)}
        assert found <= names and bool(found) == bool(names) and r["tool_choice"] == choice


def test_several_calls_are_several_items(any_server):
    most = 0
    for seed in range(6):
        r = events_of(any_server.post(URL, {**calling(seed, stream=True), "parallel_tool_calls": True}))[-1]["response"]
        calls = calls_of(r)
        for call in calls[:-1] if r["status"] == "incomplete" else calls:
            check_arguments(call["name"], call["arguments"])
        assert len({c["call_id"] for c in calls}) == len(calls)
        most = max(most, len(calls))
    assert most > 1


# ---- what is kept ------------------------------------------------------------------------------------------------------

def test_an_answer_is_found_again_until_it_is_deleted(scripted_server):
    r = scripted_server.post(URL, {"input": "Hi", "temperature": 0}).json
    path = f"{URL}/{r['id']}"
    assert scripted_server.get(path).json == r
    assert scripted_server.call("DELETE", path).json == {"id": r["id"], "object": "response", "deleted": True}
    assert scripted_server.get(path).status == scripted_server.call("DELETE", path).status == 404
    assert scripted_server.get(path).error["code"] == "not_found"
    streamed = events_of(scripted_server.post(URL, {"input": "Hi", "temperature": 0, "stream": True}))[-1]["response"]
    assert scripted_server.get(f"{URL}/{streamed['id']}").json == streamed


def test_what_is_not_to_be_kept_is_not(scripted_server):
    r = scripted_server.post(URL, {"input": "Hi", "temperature": 0, "store": False}).json
    assert r["store"] is False and scripted_server.get(f"{URL}/{r['id']}").status == 404
    reply = scripted_server.post(URL, {"input": "Hi", "previous_response_id": r["id"]})
    assert reply.status == 400 and reply.error["code"] == "previous_response_not_found" and reply.error["param"] == "previous_response_id"


def test_a_conversation_goes_on_as_if_it_had_been_sent_whole(tiny_server):
    """Also when the answers farther up were deleted meanwhile."""
    first = tiny_server.post(URL, calling(1, instructions="Old instructions.")).json
    (call,) = calls_of(first)
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "7"}
    second = tiny_server.post(URL, body(2, input=[result], previous_response_id=first["id"], tools=TOOLS, tool_choice="none", max_output_tokens=12)).json
    assert second["previous_response_id"] == first["id"] and second["instructions"] is None
    third = tiny_server.post(URL, body(3, input="And?", previous_response_id=second["id"], max_output_tokens=12)).json
    items = [{"role": "user", "content": "Hi"}, *first["output"], result, *second["output"], {"role": "user", "content": "And?"}]
    whole = tiny_server.post(URL, body(3, input=items, max_output_tokens=12)).json
    assert whole["usage"]["input_tokens"] == third["usage"]["input_tokens"] and text_of(whole) == text_of(third)
    assert whole["usage"]["input_tokens_details"]["cached_tokens"] > 0
    listed = tiny_server.get(f"{URL}/{third['id']}/input_items?order=asc").json
    assert [i["type"] for i in listed["data"]] == ["message", "function_call", "function_call_output", "message", "message"]
    for gone in (first, second):
        tiny_server.call("DELETE", f"{URL}/{gone['id']}")
    again = tiny_server.post(URL, body(4, input="So?", previous_response_id=third["id"], max_output_tokens=4))
    assert again.status == 200 and again.json["usage"]["input_tokens"] > third["usage"]["input_tokens"]


def test_input_items_come_in_pages(tiny_server):
    items = [{"role": "user", "content": str(i)} for i in range(7)]
    r = tiny_server.post(URL, body(input=items, max_output_tokens=1)).json
    path = f"{URL}/{r['id']}/input_items"
    everything = tiny_server.get(path).json
    assert [i["content"][0]["text"] for i in everything["data"]] == [str(i) for i in reversed(range(7))] and not everything["has_more"]
    page, seen = tiny_server.get(f"{path}?limit=3&order=asc").json, []
    while True:
        seen += page["data"]
        assert page["first_id"] == page["data"][0]["id"] and page["last_id"] == page["data"][-1]["id"]
        if not page["has_more"]:
            break
        page = tiny_server.get(f"{path}?limit=3&order=asc&after={page['last_id']}").json
    assert seen == everything["data"][::-1] and len({i["id"] for i in seen}) == 7
    for bad in ("limit=0", "limit=101", "limit=x", "order=up", "after=nothing"):
        assert tiny_server.get(f"{path}?{bad}").status == 400


def test_an_item_may_be_named_instead_of_sent(tiny_server):
    first = tiny_server.post(URL, calling(1)).json
    (call,) = calls_of(first)
    sent = [{"role": "user", "content": "Hi"}, call, {"type": "function_call_output", "call_id": call["call_id"], "output": "7"}]
    named = [sent[0], {"type": "item_reference", "id": call["id"]}, sent[2]]
    a, b = (tiny_server.post(URL, body(2, input=x, max_output_tokens=4)).json for x in (sent, named))
    assert a["usage"]["input_tokens"] == b["usage"]["input_tokens"]
    reply = tiny_server.post(URL, body(input=[{"type": "item_reference", "id": "msg_0123"}]))
    assert reply.status == 404 and reply.error["param"] == "input[0].id"


def test_the_oldest_answers_go_first(serve, scripted):
    server = serve("-m", f"scripted={scripted}", "--stored-responses", 3)
    ids = [server.post(URL, {"input": "Hi", "temperature": 0}).json["id"] for _ in range(5)]
    assert [server.get(f"{URL}/{i}").status for i in ids] == [404, 404, 200, 200, 200]
    server = serve("-m", f"scripted={scripted}", "--stored-mib", 1)
    ids = [server.post(URL, {"input": [{"role": "user", "content": "Hi"}], "temperature": 0, "metadata": {}, "safety_identifier": "x" * 300_000}).json["id"]
           for _ in range(5)]
    found = [server.get(f"{URL}/{i}").status == 200 for i in ids]
    assert found == [False, False, True, True, True]
    server = serve("-m", f"scripted={scripted}", "--stored-responses", 0)
    reply = server.post(URL, {"input": "Hi", "temperature": 0})
    assert reply.status == 200 and server.get(f"{URL}/{reply.json['id']}").status == 404


def test_nobody_finds_the_answers_of_another_key(serve, scripted, tmp_path):
    (tmp_path / "keys").write_text("one first-key-0123456789\ntwo other-key-0123456789\n")
    server = serve("-m", f"scripted={scripted}", "--api-key-file", tmp_path / "keys", ready=False)
    one, two = ({"Authorization": f"Bearer {k}-key-0123456789"} for k in ("first", "other"))
    server.wait_ready()
    r = server.post(URL, {"input": "Hi", "temperature": 0}, one).json
    path = f"{URL}/{r['id']}"
    assert server.get(path, one).status == 200
    assert server.get(path, two).status == server.call("DELETE", path, headers=two).status == server.get(path + "/input_items", two).status == 404
    assert server.post(URL, {"input": "Hi", "previous_response_id": r["id"]}, two).status == 400
    assert server.get(path).status == 401


def test_an_answer_that_is_kept_can_be_streamed(scripted_server, any_server):
    for server, request in ((scripted_server, {"input": "Hi", "temperature": 0}), (any_server, calling(2)), (any_server, body(1, max_output_tokens=3))):
        r = server.post(URL, request).json
        path = f"{URL}/{r['id']}?stream=true"
        events = events_of(server.get(path))
        assert events[-1]["response"] == r
        rest = [json.loads(d) for _, d in server.get(path + "&starting_after=3").events()]
        assert rest == events[4:]
        assert server.get(path + "&starting_after=x").status == 400


def test_cancelling_is_for_what_runs_in_the_background(scripted_server):
    r = scripted_server.post(URL, {"input": "Hi", "temperature": 0}).json
    reply = scripted_server.post(f"{URL}/{r['id']}/cancel", {})
    assert reply.status == 400 and "background" in reply.error["message"]
    assert scripted_server.post(f"{URL}/resp_no/cancel", {}).status == 404
    assert scripted_server.get(f"{URL}/{r['id']}/nothing").status == scripted_server.post(f"{URL}/{r['id']}", {}).status == 404


# ---- what is refused -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("change, param, part", [
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", "web_search"),
    ({"tools": [{"type": "file_search", "vector_store_ids": ["a"]}]}, "tools[0].type", "file_search"),
    ({"tools": [TOOLS[0], {"type": "mcp", "server_label": "a"}]}, "tools[1].type", "mcp"),
    ({"tools": [{"type": "function"}]}, "tools[0].name", "tools[0].name"),
    ({"tools": TOOLS, "tool_choice": {"type": "web_search_preview"}}, "tool_choice.type", "web_search_preview"),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "name": "other"}}, "tool_choice", "other"),
    ({"background": True}, "background", "background"),
    ({"conversation": "conv_1"}, "conversation", "not available"),
    ({"prompt": {"id": "p"}}, "prompt", "not available"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x"}]}]}, "input[0].content", "input_image"),
    ({"input": [{"type": "web_search_call"}]}, "input[0].type", "web_search_call"),
    ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role", "robot"),
    ({"input": [{"role": "user"}]}, "input[0].content", "Missing"),
    ({"input": [3]}, "input[0]", "object"),
    ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id", "Missing"),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input[0].call_id", "No tool call"),
    ({"input": []}, "input", "Missing"),
    ({"input": None}, "input", "Missing"),
    ({"input": 5}, "input", "integer"),
    ({"include": ["everything"]}, "include", "everything"),
    ({"metadata": {"a": 1}}, "metadata", "metadata"),
    ({"metadata": {str(i): "" for i in range(17)}}, "metadata", "16"),
    ({"reasoning": {"effort": "some"}}, "reasoning.effort", "some"),
    ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema", "schema"),
    ({"text": {"format": {"type": "poem"}}}, "text.format.type", "text.format.type"),
    ({"text": {"verbosity": "loud"}}, "text.verbosity", "loud"),
    ({"truncation": "much"}, "truncation", "much"),
    ({"messages": []}, "messages", "Unknown"),
    ({"max_output_tokens": 0}, "max_output_tokens", "max_output_tokens"),
    ({"temperature": 3}, "temperature", "temperature"),
    ({"input": "x " * 5000}, "input", "context length"),
])
def test_what_cannot_be_is_a_400_that_names_its_field(tiny_server, change, param, part):
    reply = tiny_server.post(URL, {**body(), **change})
    assert reply.status == 400 and reply.error["param"] == param and part in reply.error["message"], reply.body


@pytest.mark.parametrize("change, fine", [
    ({"text": {"format": {**FORMAT, "schema": {"type": "nonsense"}}}}, False),
    ({"text": {"format": {**FORMAT, "schema": BOMB}}}, False),
    ({"text": {"format": {**FORMAT, "schema": {"$ref": "#"}}}}, False),
    ({"text": {"format": {**FORMAT, "schema": {"type": "string", "minLength": 100000}}}}, None),
    ({"text": {"format": {**FORMAT, "schema": {"type": "string", "pattern": "(((a{1,99}){1,99}){1,99}){1,99}"}}}}, None),
    ({"text": {"format": {"type": "regex", "pattern": "(a|b)*a" + "(a|b)" * 100_000}}}, False),
    ({"text": {"format": {"type": "regex", "pattern": "x" * 3_000_000}}}, False),
    ({"tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"a": BOMB}}}], "tool_choice": "required"}, False),
    ({"tools": TOOLS * 40}, False),
    ({"input": [{"role": "user", "content": "a"}] * 5000}, False),
    ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}] * 50000}]}, False),
])
def test_bombs_are_refused_in_time_and_harm_nobody(tiny_server, change, fine):
    start = time.monotonic()
    reply = tiny_server.post(URL, {**body(max_output_tokens=4), **change})
    assert time.monotonic() - start < 30  # 3 s for the grammar; the machine may have other work
    assert fine is None or (reply.status == 200) == fine, reply.body[:500]
    assert reply.status == 200 or reply.status == 400 and reply.error["message"]
    assert tiny_server.post(URL, body(max_output_tokens=2)).status == 200


def test_a_stream_that_fails_says_so_in_its_last_event(serve, endless):
    server = serve("-m", f"endless={endless}", "--request-timeout", "0.4")
    last = events_of(server.post(URL, {"input": "Hi", "stream": True, "temperature": 0}))[-1]
    assert last["type"] == "response.incomplete" and last["response"]["status"] == "incomplete"


def test_a_client_that_leaves_ends_its_answer(serve, endless):
    from serving import Connection, request_bytes
    server = serve("-m", f"endless={endless}")
    with Connection(server.port) as c:
        c.send(request_bytes("POST", URL, {"input": "Hi", "stream": True, "ignore_eos": True}))
        c.read_head()
        c.read_chunk()
    server.wait_until(server.idle)


def test_a_silent_stream_is_kept_alive(serve, endless):
    """The first answer must outlast the second one's wait, however fast the machine is."""
    server = serve("-m", f"endless={endless}", "--parallel", 1, "--keep-alive", "0.05", "--context", 100000)
    body = {"input": "Hi", "stream": True, "ignore_eos": True, "max_output_tokens": 90000}
    from serving import Connection, request_bytes
    with Connection(server.port) as c, Connection(server.port) as d:
        c.send(request_bytes("POST", URL, body))
        c.read_head()
        c.read_chunk()
        d.send(request_bytes("POST", URL, body))
        d.read_head()
        text = b""
        while b": keep-alive" not in text:
            chunk = d.read_chunk()
            assert chunk, "the stream ended before a keep-alive"
            text += chunk
    server.wait_until(server.idle)


def test_the_routes_are_described(tiny_server):
    paths = tiny_server.get("/openapi.json").json["paths"]
    for path, methods in {URL: ["post"], URL + "/input_tokens": ["post"], URL + "/{response_id}": ["get", "delete"],
                          URL + "/{response_id}/input_items": ["get"], URL + "/{response_id}/cancel": ["post"]}.items():
        assert set(methods) <= set(paths[path]), path


def test_the_published_client_understands_responses(tiny_server, scripted_server):
    script = ROOT / "tests" / "e2e" / "client_responses.py"
    done = subprocess.run([python_with("openai"), script, *(f"http://127.0.0.1:{s.port}/v1" for s in (tiny_server, scripted_server))],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["done"] >= 40
