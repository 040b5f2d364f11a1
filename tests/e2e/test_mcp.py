"""quern run and chat with the tools of an MCP server: a small one of our own (mcp_server.py), over both transports."""
import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from test_tools_cli import ASK, MODEL, OPTIONS

SERVER = pathlib.Path(__file__).with_name("mcp_server.py")
pytestmark = pytest.mark.skipif(not (MODEL / "model.safetensors").exists(), reason="models/quern-demo is not there")
PROMPT = "Get a report: city Lisbon."


@pytest.fixture(params=["stdio", "http"])
def server(request, tmp_path):
    """server(mode) -> (what to give --mcp, the file of messages it got)"""
    started = []

    def start(mode="fine"):
        log = tmp_path / "log"
        if request.param == "stdio":
            return f"'{sys.executable}' \"{SERVER}\" --mode {mode} --log {log}", log
        port = tmp_path / "port"
        started.append(subprocess.Popen([sys.executable, SERVER, "--http", port, "--mode", mode, "--log", log]))
        end = time.monotonic() + 20
        while not port.exists():
            assert time.monotonic() < end and started[-1].poll() is None
            time.sleep(0.02)
        return f"http://127.0.0.1:{port.read_text()}/mcp", log
    yield start
    for process in started:
        process.kill()
        process.wait()


def run(quern, target, *more):
    return quern("run", *OPTIONS, "--mcp", target, "--allow-tools", *more, "-p", PROMPT)


def messages(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_tools_are_listed_called_and_fed_back(quern, server):
    target, log = server()
    done = run(quern, target)
    assert done.code == 0 and "12:34" in done.out, done.err
    assert '-> get_report {"city": "Lisbon"}' in done.err and '<- {"city": "Lisbon", "time": "12:34"}' in done.err
    got = messages(log)
    methods = [m["method"] for m in got if "method" in m]
    assert methods[:5] == ["initialize", "notifications/initialized", "tools/list", "tools/list", "tools/call"]
    assert next(m for m in got if m.get("method") == "tools/call")["params"] == {"name": "get_report", "arguments": {"city": "Lisbon"}}
    if not target.startswith("http"):  # its own requests were answered
        assert {"jsonrpc": "2.0", "id": "srv-1", "result": {}} in got
        assert any(m.get("error", {}).get("code") == -32601 for m in got)
    else:
        assert {"method": "DELETE", "session": "s-77"} in got


def test_chat_lists_them_and_names_do_not_clash(quern, server, tmp_path):
    target, _ = server()
    own = tmp_path / "tools.json"
    own.write_text(json.dumps([{"function": {"name": "get_report"}, "command": ["true"]}]))
    done = quern("chat", *OPTIONS, "--mcp", target, "--tools", own, stdin="/tools\n")
    assert done.code == 0 and all(n in done.err for n in ("get_report ", "get_report_2 ", "set_alarm ")), done.err


@pytest.mark.parametrize("mode, part", [("error", "<- no such city"), ("parts", "only text is read] time 12:34 more"), ("structured", '<- {"time": "12:34"}'),
                                        ("open", '"time": "12:34"')])
def test_results_of_many_kinds(quern, server, mode, part):
    begin = time.monotonic()
    done = run(quern, server(mode)[0], "--max-tool-rounds", "1")
    assert done.code == 0 and part in done.err, done.err
    assert time.monotonic() - begin < 20


def test_a_server_that_ends_is_told_and_the_chat_goes_on(quern, server):
    target, _ = server("crash")
    done = quern("chat", *OPTIONS, "--mcp", target, "--allow-tools", "--max-tool-rounds", "1", stdin=f"{PROMPT}\n/clear\n{PROMPT}\nHello\n")
    assert done.code == 0 and len(done.out.splitlines()) >= 3, done.err  # a call is announced in a line of its own
    one = run(quern, target, "--max-tool-rounds", "1") if not target.startswith("http") else None
    if one:
        assert one.code == 0 and "the server has ended with code 3: out of luck" in one.err, one.err


def test_a_server_that_hangs_is_left_in_time(quern, server):
    begin = time.monotonic()
    done = run(quern, server("hang")[0], "--mcp-timeout", "2", "--max-tool-rounds", "1")
    assert done.code == 0 and "no answer in time" in done.err and time.monotonic() - begin < 30, done.err


def test_a_server_that_refuses_is_an_error(quern, server):
    done = run(quern, server("refuse")[0])
    assert done.code == 1 and "no tools today" in done.err


def test_http_errors_are_told(quern, tmp_path):
    port = tmp_path / "port"
    process = subprocess.Popen([sys.executable, SERVER, "--http", port, "--mode", "broken"])
    try:
        while not port.exists():
            time.sleep(0.02)
        done = run(quern, f"http://127.0.0.1:{port.read_text()}/mcp", "--max-tool-rounds", "1")
        assert done.code == 0 and "HTTP status 500: on fire" in done.err
    finally:
        process.kill()
        process.wait()


def test_a_file_of_servers_has_their_logins(quern, server, tmp_path):
    target, log = server("login")
    if target.startswith("http"):
        entry = {"url": target, "headers": {"Authorization": "Bearer ${QUERN_TEST_KEY}"}}
    else:
        entry = {"command": sys.executable, "args": [str(SERVER), "--mode", "login", "--log", str(log)], "env": {"MCP_KEY": "${env:QUERN_TEST_KEY}"}}
    file = tmp_path / "servers.json"
    file.write_text(json.dumps({"mcpServers": {"toy": entry, "off": {"command": "no-such-program", "disabled": True}}}))
    done = quern("run", *OPTIONS, "--mcp", file, "--allow-tools", "-p", PROMPT, env={"QUERN_TEST_KEY": "s3cret"})
    assert done.code == 0 and "12:34" in done.out, done.err
    done = quern("run", *OPTIONS, "--mcp", file, "--allow-tools", "-p", PROMPT, env={"QUERN_TEST_KEY": "wrong"})
    assert done.code == 1 and "toy: " in done.err and "who are you?" in done.err, done.err
    done = run(quern, file)
    assert done.code == 1 and "the variable QUERN_TEST_KEY is not set" in done.err, done.err


@pytest.mark.parametrize("target, part", [("./no-such-server x", "cannot run"), ("'open", "quote"), ("true", "has ended with code 0"), ("", "expected a command"),
                                          ("http://127.0.0.1:1/mcp", "127.0.0.1"), ("sh -c 'echo {}; exit 7'", "code 7")])
def test_what_is_no_server_is_named(quern, target, part):
    done = run(quern, target)
    assert done.code == 1 and part in done.err, done.err


def test_ctrl_c_ends_a_call_and_not_the_chat(terminal_chat, server):
    target, log = server("hang")
    t = terminal_chat(*OPTIONS, "--mcp", target, "--allow-tools")
    t.expect_prompt()
    t.send(PROMPT + "\n")
    end = time.monotonic() + 30
    while "tools/call" not in log.read_text():
        assert time.monotonic() < end
        t._read(0.05)
    t.send("\x03")
    t.expect("the user stopped the tool")
    t.expect_prompt()
