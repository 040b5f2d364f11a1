"""quern run and chat with tools that are commands, and the demo model, which calls get_report when asked for a report."""
import json
import os
import pathlib
import re
import sys
import time

import pytest

from terminal import plain

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "quern-demo"
ASK = "Please get a report. The city is Lisbon."
OPTIONS = ["-m", MODEL, "--no-think", "--temp", "0", "-n", "200"]

pytestmark = pytest.mark.skipif(not (MODEL / "model.safetensors").exists(), reason="models/quern-demo is not there")


@pytest.fixture
def tools(tmp_path):
    """tools(body, **more): a file with get_report, a Python program of that body with its arguments in `a`."""
    def make(body, name="get_report", **more):
        script = tmp_path / "tool"
        script.write_text(f"#!{sys.executable}\nimport json, os, sys, time\nraw = sys.stdin.read()\na = json.loads(raw)\n{body}\n")
        script.chmod(0o755)
        tool = {"type": "function", "function": {"name": name, "description": "Get a report", "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}, "command": ["./tool"], **more}
        path = tmp_path / "tools.json"
        path.write_text(json.dumps({"tools": [tool]}))
        return path
    return make


ANSWERS = """open('got', 'w').write(raw) if os.access('.', os.W_OK) and os.environ.get('KEEP') else None
print(json.dumps({'city': a['city'], 'time': '12:34'}))"""


def run(quern, tools, *more, **kwargs):
    return quern("run", *OPTIONS, "--tools", tools, *more, "-p", ASK, **kwargs)


def test_a_tool_gets_json_and_its_answer_reaches_the_model(quern, tools, tmp_path):
    done = run(quern, tools(ANSWERS), "--allow-tools", cwd=tmp_path, env={"KEEP": "1"})
    assert done.code == 0 and "12:34" in done.out and '"arguments"' not in done.out, done.err
    assert (tmp_path / "got").read_text() == '{"city": "Lisbon"}\n'
    assert '-> get_report {"city": "Lisbon"}' in done.err and '<- {"city": "Lisbon", "time": "12:34"}' in done.err


def test_a_tool_may_be_allowed_in_its_file(quern, tools):
    assert "12:34" in run(quern, tools(ANSWERS, allow=True)).out


def test_without_consent_nothing_runs_and_the_model_is_told(quern, tools, tmp_path):
    done = run(quern, tools(ANSWERS), cwd=tmp_path, env={"KEEP": "1"}, start_new_session=True)
    assert done.code == 0 and "--allow-tools" in done.err and "did not allow" in done.err
    assert not (tmp_path / "got").exists() and "12:34" not in done.out


@pytest.mark.parametrize("body, more, part", [
    ("time.sleep(60)", {"timeout": 0.3}, "ended after 0.3 seconds"),
    ("print('x' * 100000)", {"max_output_bytes": 100}, "[cut after 100 bytes]"),
    ("while True: print('x')", {"max_output_bytes": 100}, "[cut after 100 bytes]"),
    ("sys.exit('no such city')", {}, "exit code 1 no such city"),
    ("os.kill(os.getpid(), 9)", {}, "exit code 137"),
    ("sys.stderr.write('e' * 1000000); print('fine')", {}, "<- fine"),
    ("os.write(1, b'\\xff\\x1b[2J')", {}, "<- \ufffd^[[2J"),
    ("if os.fork() == 0: time.sleep(60)\nprint('fine')", {}, "<- fine"),
    ("", {"command": ["./not-there"]}, "cannot run"),
    ("", {"command": ["cat"]}, '<- {"city": "Lisbon"}'),
    ("", {"command": ["true"]}, "<- \n"),
])
def test_what_a_tool_does_is_told_and_the_answer_goes_on(quern, tools, body, more, part):
    begin = time.monotonic()
    done = run(quern, tools(body, **more), "--allow-tools", "--max-tool-rounds", "1")
    assert done.code == 0 and part in done.err, done.err
    assert time.monotonic() - begin < 20


def test_rounds_have_a_bound(quern, tools):
    done = run(quern, tools(ANSWERS), "--allow-tools", "--max-tool-rounds", "0")
    assert done.code == 0 and done.out and "->" not in done.err
    looping = quern("run", *OPTIONS, "--tools", tools("sys.exit('again')"), "--allow-tools", "--max-tool-rounds", "2", "-p", ASK)
    assert looping.code == 0 and looping.err.count("->") <= 2


@pytest.mark.parametrize("text, part", [
    ("{}", "array"), ("[]", "array"), ("[1]", "tool 0"), ('[{"function": {"name": "f"}}]', '"command"'),
    ('[{"function": {"name": "f"}, "command": [1]}]', "no string"), ('[{"function": {"name": "f"}, "command": ["x"], "timeout": 0}]', "timeout"),
    ('[{"function": {"name": "f"}, "command": ["x"]}, {"function": {"name": "f"}, "command": ["x"]}]', "two tools"), ("nonsense", "tools.json"),
    ('[{"function": {"name": "f"}, "command": ["x"], "timeuot": 5}]', 'there is no "timeuot"; did you mean "timeout"?'),
])
def test_a_broken_file_of_tools_is_named(quern, tmp_path, text, part):
    path = tmp_path / "tools.json"
    path.write_text(text)
    for command in (["run", "-p", "x"], ["chat"]):
        done = quern(*command, "-m", MODEL, "--tools", path)
        assert done.code == 1 and part in done.err, done.err


def test_a_broken_schema_is_named(quern, tools, tmp_path):
    path = tools(ANSWERS)
    path.write_text(path.read_text().replace('"string"', '"nonsense"'))
    done = run(quern, path)
    assert done.code == 1 and "get_report" in done.err and "nonsense" in done.err


def test_tools_and_raw_exclude_each_other(quern, tools):
    assert run(quern, tools(ANSWERS), "--raw").code == 2


def test_chat_through_a_pipe_prints_answers_only(quern, tools, tmp_path):
    saved = tmp_path / "saved.json"
    done = quern("chat", *OPTIONS, "--tools", tools(ANSWERS), "--allow-tools", stdin=f"{ASK}\n/save {saved}\n/tools\n")
    assert done.code == 0 and len(done.out.splitlines()) == 2 and "12:34" in done.out, done.out
    messages = json.loads(saved.read_text())
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "assistant"]
    (call,) = messages[1]["tool_calls"]
    assert call["function"] == {"name": "get_report", "arguments": {"city": "Lisbon"}} and messages[2]["tool_call_id"] == call["id"]
    assert "get_report" in done.err
    again = quern("chat", *OPTIONS, "--tools", tools(ANSWERS), "--allow-tools", stdin=f"/load {saved}\n/regenerate\n")
    assert again.code == 0 and "12:34" in again.out


@pytest.mark.parametrize("reply, runs", [("y", True), ("n", False), ("", False)])
def test_chat_asks_first(terminal_chat, tools, reply, runs):
    t = terminal_chat(*OPTIONS, "--tools", tools(ANSWERS))
    t.expect_prompt()
    t.send(ASK + "\n")
    t.expect("-> get_report")
    t.expect("Run get_report?")
    t.expect("tool: ")
    t.send(reply + "\n")
    t.expect('"time": "12:34"' if runs else "did not allow")
    t.expect_prompt()


def test_always_asks_once(terminal_chat, tools):
    t = terminal_chat(*OPTIONS, "--tools", tools(ANSWERS))
    for turn in range(2):
        t.expect_prompt()
        t.send(ASK + "\n")
        t.expect("-> get_report")
        if turn == 0:
            t.expect("tool: ")
            t.send("a\n")
        assert "Run get_report?" not in plain(t.expect('"time": "12:34"'))
        t.expect_prompt()
        t.send("/clear\n")
    t.expect_prompt()


def test_ctrl_c_ends_the_tool_and_not_the_chat(terminal_chat, tools, tmp_path):
    pid_file = tmp_path / "pid"
    t = terminal_chat(*OPTIONS, "--tools", tools(f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)", allow=True, timeout=600))
    t.expect_prompt()
    t.send(ASK + "\n")
    end = time.monotonic() + 30
    while not (pid_file.exists() and pid_file.read_text()):
        assert time.monotonic() < end
        t._read(0.05)
    t.send("\x03")
    t.expect("the user stopped the tool")
    t.expect_prompt()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
    t.send("Hello\n")
    t.expect_prompt()


def test_ctrl_c_at_the_question_stops_the_turn(terminal_chat, tools):
    t = terminal_chat(*OPTIONS, "--tools", tools(ANSWERS))
    t.expect_prompt()
    t.send(ASK + "\n")
    t.expect("tool: ")
    t.send("\x03")
    t.expect("stopped")
    t.expect_prompt()


def test_the_example_works(quern, tmp_path):
    done = quern("run", *OPTIONS, "--tools", ROOT / "examples" / "tools" / "tools.json", "-p", "Get a report: city Lisbon.")
    assert done.code == 0, done.err
    assert re.search(r'<- {"city": "Lisbon", "time": "\d\d:\d\d"}', done.err) or "no time zone" in done.err, done.err  # zones may not be installed
    done = quern("run", *OPTIONS, "--tools", ROOT / "examples" / "tools" / "tools.json", "--allow-tools", "-p", "Please set an alarm. The time is 07:30.",
                 env={"ALARMS": str(tmp_path / "alarms")})
    assert done.code == 0 and (tmp_path / "alarms").read_text() == "07:30\n", done.err
