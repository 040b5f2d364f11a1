"""The tools of quern serve --tools and --mcp over raw HTTP: listed, called, limited, and kept from other pages."""
import json
import pathlib
import subprocess
import sys
import threading
import time

import pytest

import serving
from test_tools_cli import ANSWERS, tools  # noqa: F401: a fixture

MCP = pathlib.Path(__file__).with_name("mcp_server.py")
CALL = "/tools/call"
LISBON = {"name": "get_report", "arguments": {"city": "Lisbon"}}


@pytest.fixture
def server(serve, tiny_model, tools):  # noqa: F811
    """server(body, **more): a server with get_report, which does that."""
    def start(body=ANSWERS, *options, **more):
        return serve("-m", tiny_model, "--tools", tools(body, **more), *options)
    return start


def test_tools_are_listed_and_called(server):
    s = server()
    (tool,) = s.get("/tools").json["tools"]
    assert tool == {"name": "get_report", "description": "Get a report", "source": "command", "mcp": False, "allow": False, "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
    reply = s.post(CALL, LISBON)
    assert reply.status == 200 and reply.json == {"content": '{"city": "Lisbon", "time": "12:34"}', "is_error": False}
    s.wait_until(lambda: s.entries("tool"))
    assert s.entries("tool")[0]["tool"] == "get_report" and s.entries("tool")[0]["end"] == "done"


def test_without_tools_the_paths_are_not_there(tiny_server):
    for reply in (tiny_server.get("/tools"), tiny_server.post(CALL, LISBON)):
        assert reply.status == 404 and "--tools" in reply.error["message"]


@pytest.mark.parametrize("body, status, param, part", [
    (b"{", 400, None, "parse"), (b"[]", 400, None, "object"), ({}, 400, "name", "name"), ({"name": 1}, 400, "name", "string"),
    ({"name": "get_reports"}, 400, "name", "get_reports"), ({**LISBON, "x": 1}, 400, "x", "x"),
    ({"name": "get_report", "arguments": "{}"}, 400, "arguments", "object"),
    ({"name": "get_report"}, 400, "arguments", "city"), ({"name": "get_report", "arguments": {}}, 400, "arguments", "city"),
    ({"name": "get_report", "arguments": {"city": 5}}, 400, "arguments", "not valid by its schema: after '{\"city\": '"),
    (b"{\"name\": \"get_report\", \"arguments\": " + b"[" * 100000, 400, None, "parse"),
])
def test_a_bad_call_is_refused_and_nothing_runs(server, tmp_path, body, status, param, part):
    s = server(f"open({str(tmp_path / 'ran')!r}, 'w')")
    reply = s.post(CALL, body)
    assert reply.status == status and reply.error["param"] == param and part in reply.error["message"], reply.body
    assert not (tmp_path / "ran").exists() and s.get("/tools").status == 200


def test_members_come_in_any_order(serve, tiny_model, tmp_path):
    file = tmp_path / "tools.json"
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "é"]}}, "required": ["a", "b"], "additionalProperties": False}
    file.write_text(json.dumps([{"type": "function", "function": {"name": "f", "parameters": schema}, "command": ["cat"]},
                                {"type": "function", "function": {"name": "g"}, "command": ["cat"]}]))
    s = serve("-m", tiny_model, "--tools", file)
    assert s.post(CALL, {"name": "f", "arguments": {"b": "é", "a": 1}}).json["content"] == '{"b": "é", "a": 1}'
    assert s.post(CALL, {"name": "f", "arguments": {"b": "x", "a": 1, "c": 2}}).status == 400
    assert s.post(CALL, {"name": "g", "arguments": {"what": [1, {}]}}).json["content"] == '{"what": [1, {}]}'
    assert s.post(CALL, {"name": "g"}).json["content"] == "{}"


@pytest.mark.parametrize("body, more, content, is_error", [
    ("time.sleep(60)", {"timeout": 0.3}, "error: the tool was ended after 0.3 seconds", True),
    ("print('x' * 100000)", {"max_output_bytes": 10}, "x" * 10 + "\n[cut after 10 bytes]", False),
    ("sys.exit('no such city')", {}, "error: the tool ended with exit code 1\nno such city", True),
    ("os.write(1, b'\\xff\\x00')", {}, "\ufffd\x00", False),
    # Of what the server has open the tool sees nothing but its own pipes.
    ("print([os.readlink(f'/proc/self/fd/{n}').split(':')[0] for n in os.listdir('/proc/self/fd') if int(n) < 64 and os.path.exists(f'/proc/self/fd/{n}') and n not in '012'])", {}, None, False),
])
def test_limits_hold(server, body, more, content, is_error):
    begin = time.monotonic()
    reply = server(body, **more).post(CALL, LISBON)
    assert reply.status == 200 and reply.json["is_error"] == is_error and time.monotonic() - begin < 20, reply.body
    if content is None:
        assert "socket" not in reply.json["content"] and "safetensors" not in reply.json["content"], reply.json
    else:
        assert reply.json["content"] == content


def test_other_pages_may_not_even_when_cors_lets_them_ask_the_model(server):
    s = server(ANSWERS, "--cors-origin", "*")
    own, other = {"Origin": "http://localhost"}, {"Origin": "http://evil.example"}
    assert s.post(CALL, LISBON, own).status == 200 and s.get("/tools", own).status == 200
    for headers in (other, {"Origin": "null"}, {"Origin": "http://localhost:9"}):
        for reply in (s.post(CALL, LISBON, headers), s.get("/tools", headers)):
            assert reply.status == 403 and reply.error["code"] == "host_not_allowed", headers
    assert s.get("/v1/models", other).status == 200
    with serving.Connection(s.port) as c:  # a page of a name that points here
        c.send(serving.request_bytes("POST", CALL, LISBON).replace(b"Host: localhost", b"Host: evil.example"))
        assert c.read_reply().status == 403


@pytest.mark.parametrize("type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", ""])
def test_what_a_form_can_send_is_refused(server, type):
    s = server()
    with serving.Connection(s.port) as c:
        head = b"" if not type else b"Content-Type: " + type.encode()
        c.send(serving.request_bytes("POST", CALL, LISBON).replace(b"Content-Type: application/json", head or b"X: y"))
        reply = c.read_reply()
    assert reply.status == 415 and reply.error["code"] == "unsupported_media_type"


def test_keys_are_asked_for(server, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("alice sk-1\n")
    s = server(f"open({str(tmp_path / 'ran')!r}, 'w')", "--api-key-file", keys)
    assert s.post(CALL, LISBON).status == 401 and s.get("/tools").status == 401
    assert not (tmp_path / "ran").exists()
    assert s.post(CALL, LISBON, {"Authorization": "Bearer sk-1"}).status == 200 and (tmp_path / "ran").exists()
    s.wait_until(lambda: s.entries("tool"))
    assert s.entries("tool")[0]["key"] == "alice"


def test_beyond_this_machine_tools_want_a_key(quern, tiny_model, tools):  # noqa: F811
    done = quern("serve", "-m", tiny_model, "--host", "0.0.0.0", "--port", 0, "--allow-no-key", "--tools", tools(ANSWERS))
    assert done.code == 1 and "--api-key-file" in done.err and "tools" in done.err


def test_so_many_run_at_once_and_the_model_goes_on(server, tmp_path):
    s = server(f"open({str(tmp_path)!r} + '/' + str(os.getpid()) + '.pid', 'w'); time.sleep(60)", "--tool-calls", "2")
    clients = [serving.Connection(s.port) for _ in range(2)]
    for c in clients:
        c.send(serving.request_bytes("POST", CALL, LISBON))
    s.wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    reply = s.post(CALL, LISBON)
    assert reply.status == 429 and int(reply.headers["retry-after"]) > 0
    assert s.chat("x", max_tokens=3, ignore_eos=True).status == 200
    for c in clients:  # who leaves ends the tool
        c.close()
    s.wait_until(lambda: len(s.entries("tool")) == 2)
    assert {e["end"] for e in s.entries("tool")} == {"stopped"}
    for file in tmp_path.glob("*.pid"):
        pid = int(file.stem)
        s.wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists())


def test_the_end_of_the_server_waits_for_a_tool_and_then_ends_it(serve, tiny_model, tools, tmp_path):  # noqa: F811
    file = tools(f"open({str(tmp_path / 'runs')!r}, 'w'); time.sleep(60)")
    s = serve("-m", tiny_model, "--tools", file, "--drain-timeout", "0.3")
    with serving.Connection(s.port) as c:
        c.send(serving.request_bytes("POST", CALL, LISBON))
        s.wait_until((tmp_path / "runs").exists)
        begin = time.monotonic()
        assert s.stop() == 0 and time.monotonic() - begin < 10


def mcp(mode="fine"):
    return f"'{sys.executable}' \"{MCP}\" --mode {mode}"


def test_tools_of_an_mcp_server(serve, tiny_model, tools):  # noqa: F811
    s = serve("-m", tiny_model, "--tools", tools(ANSWERS), "--mcp", mcp())
    listed = s.get("/tools").json["tools"]
    assert listed[0]["name"] == "get_report" and not listed[0]["mcp"]
    theirs = [t for t in listed if t["mcp"]]
    assert theirs and theirs[0]["name"] == "get_report_2" and theirs[0]["source"] and "python" not in theirs[0]["source"]
    results = []
    threads = [threading.Thread(target=lambda: results.append(s.post(CALL, {**LISBON, "name": "get_report_2"}))) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [r.status for r in results] == [200] * 6 and all("12:34" in r.json["content"] for r in results)


def test_an_mcp_server_that_does_not_start_is_named(quern, tiny_model):
    done = quern("serve", "-m", tiny_model, "--port", 0, "--mcp", "/not/there")
    assert done.code == 1 and "/not/there" in done.err
    done = quern("serve", "-m", tiny_model, "--port", 0, "--tools", "/not/there.json")
    assert done.code == 1 and "/not/there.json" in done.err


def test_a_signal_ends_the_wait_for_an_mcp_server(program, environment, tiny_model, tmp_path):
    silent = f"sh -c 'touch {tmp_path}/started; sleep 300'"
    process = subprocess.Popen([program, "serve", "-m", tiny_model, "--port", "0", "--mcp", silent], env=environment, stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while not (tmp_path / "started").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    process.terminate()
    assert process.wait(60) == 1 and b"stopped" in process.stderr.read()
