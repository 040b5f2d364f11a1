"""quern chat: as a filter, and on a terminal."""
import json
import os
import signal
import stat
import subprocess
import termios

import pytest

from conftest import ANSWER, LOOP, THINKING
from terminal import plain


# ---- as a filter -------------------------------------------------------------------------------------------

def test_each_line_is_a_turn_and_only_answers_come_out(quern, scripted):
    done = quern("chat", "-m", scripted, stdin="One\n\n   \nTwo\nno newline at the end")
    assert (done.code, done.err) == (0, "")
    assert done.out == (ANSWER + "\n") * 3


def saved(quern, model, tmp_path, script, *args):
    """The messages after a script."""
    path = tmp_path / "saved.json"
    done = quern("chat", "-m", model, *args, stdin=f"{script}\n/save {path}\n")
    assert (done.code, done.err) == (0, ""), done.err
    return json.loads(path.read_text())


def test_messages_of_several_lines(quern, scripted, tmp_path):
    script = 'one\\\n two\\\nthree\n"""\nblock\n\n  of "quotes"\n"""\n"""same line"""\n"""begin\nend"""\n /not a command\n'
    messages = saved(quern, scripted, tmp_path, script)
    assert [m["content"] for m in messages if m["role"] == "user"] == [
        "one\n two\nthree", 'block\n\n  of "quotes"', "same line", "begin\nend", " /not a command"]


def test_a_loaded_system_message_does_not_steer_the_terminal(quern, scripted, tmp_path):
    path = tmp_path / "messages.json"
    path.write_text(json.dumps([{"role": "system", "content": "a\x1b[2Jb"}]))
    done = quern("chat", "-m", scripted, stdin=f"/load {path}\n/system\n/clear\n/system -\n/system\n")
    assert (done.code, done.out) == (0, "")
    assert done.err == "system: a^[[2Jb\nsystem: (none; /system TEXT sets it, /system - removes it)\n"


def test_thinking_is_kept_in_the_history_but_not_printed(quern, scripted, tmp_path):
    messages = saved(quern, scripted, tmp_path, "hi\n/think off\nhi", "--system", "Be brief.")
    assert messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "reasoning_content": THINKING, "content": ANSWER},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": ANSWER},
    ]
    done = quern("chat", "-m", scripted, "--show-thinking", stdin="hi\n")
    assert THINKING in done.out and done.out.endswith(ANSWER + "\n") and "\x1b" not in done.out


def test_save_and_load_go_on_with_a_conversation(quern, scripted, tmp_path):
    first = saved(quern, scripted, tmp_path, "hi\nho")
    path = tmp_path / "saved.json"
    again = tmp_path / "again.json"
    done = quern("chat", "-m", scripted, stdin=f"/load {path}\nthird\n/save {again}\n")
    assert (done.code, done.out, done.err) == (0, ANSWER + "\n", "")
    assert json.loads(again.read_text())[:4] == first and len(json.loads(again.read_text())) == 6
    # An object as requests have it, ending with a question.
    path.write_text(json.dumps({"messages": first[:1]}))
    done = quern("chat", "-m", scripted, stdin=f"/load {path}\n/regenerate\n")
    assert (done.code, done.out, done.err) == (0, ANSWER + "\n", "")


def test_a_tilde_is_the_home_directory(quern, scripted, environment):
    done = quern("chat", "-m", scripted, stdin="hi\n/save ~/tilde.json\n/load ~/tilde.json\n/regenerate\n")
    assert (done.code, done.out, done.err) == (0, (ANSWER + "\n") * 2, "")
    assert len(json.loads(open(environment["HOME"] + "/tilde.json").read())) == 2


def test_the_system_message_can_be_set_replaced_and_removed(quern, scripted, tmp_path):
    roles = [m["role"] for m in saved(quern, scripted, tmp_path, "hi\n/system A\n/system B")]
    assert roles == ["system", "user", "assistant"]
    assert saved(quern, scripted, tmp_path, "/system A\n/system  B b \nhi")[0] == {"role": "system", "content": "B b"}
    assert [m["role"] for m in saved(quern, scripted, tmp_path, "/system A\nhi\n/system -")] == ["user", "assistant"]
    assert saved(quern, scripted, tmp_path, "/system A\nhi\n/clear") == [{"role": "system", "content": "A"}]


def test_an_answer_can_be_made_anew_with_another_seed(quern, tiny_model):
    def answers(script):
        done = quern("chat", "-m", tiny_model, "--seed", "5", "-n", "30", "--temp", "2", stdin=script)
        assert (done.code, done.err) == (0, "")
        return done.raw
    first = answers("hi\n")
    both = answers("hi\n/regenerate\n")
    assert both.startswith(first) and both[len(first):] != first
    assert answers("hi\n/regenerate\n") == both
    assert both == first + answers("/set seed 6\nhi\n")


def test_settings_change_what_is_generated(quern, endless):
    done = quern("chat", "-m", endless, stdin="/set max_tokens 2\nhi\n/set max-tokens=4\nhi\n")
    assert (done.code, done.err) == (0, "")
    assert done.out == " the new\n the new wor they\n"
    done = quern("chat", "-m", endless, "--temp", "0.5", stdin="/set\n/set temp 0.25\n/set top-k 7\n/set\n/set temp default\n/set\n")
    assert done.code == 0 and done.out == ""
    values = [line.split()[1] for line in done.err.splitlines() if line.split()[:1] == ["temperature"]]
    assert values == ["0.5", "0.25", "0.8"]
    assert [line.split()[1] for line in done.err.splitlines() if line.split()[:1] == ["top_k"]] == ["50", "7", "7"]


@pytest.mark.parametrize("line, text", [
    ("/sett", "/set"), ("/xyzzy", "/help"), ("/set tempp 1", '"temp"'), ("/set top_p 2", "0 to 1"), ("/set top_k", "value"),
    ("/set seed -1", "seed"), ("/set verbose maybe", "on or off"), ("/think maybe", "on, off"), ("/save", "FILE"),
    ("/load", "FILE"), ("/load /nowhere/x.json", "/nowhere/x.json"), ("/save /nowhere/x.json", "/nowhere/x.json"),
    ("/regenerate", "no message"),
])
def test_a_wrong_command_is_said_and_the_chat_goes_on(quern, scripted, line, text):
    done = quern("chat", "-m", scripted, stdin=f"{line}\nhi\n")
    assert done.code == 1  # a script wants to know
    assert done.out == ANSWER + "\n"
    assert text in done.err and len(done.err.splitlines()) == 1


@pytest.mark.parametrize("content, text", [
    ("{", "line 1"), ("5", "array"), ('{"x": []}', "array"), ("[5]", "message 0"), ('[{"role": "king", "content": ""}]', '"king"'),
    ('[{"content": ""}]', "role is missing"), ('[{"role": "user", "content": 5}]', "content"),
])
def test_a_file_that_holds_no_messages_is_an_error(quern, scripted, tmp_path, content, text):
    path = tmp_path / "broken.json"
    path.write_text(content)
    done = quern("chat", "-m", scripted, stdin=f"/load {path}\nhi\n")
    assert done.code == 1 and text in done.err and "broken.json" in done.err and done.out == ANSWER + "\n"


def test_exit_ends_the_chat(quern, scripted):
    for word in ("/exit", "/quit"):
        assert quern("chat", "-m", scripted, stdin=f"hi\n{word}\nhi\n").out == ANSWER + "\n"


def test_a_full_context_is_said_with_numbers_and_nothing_is_cut_silently(quern, scripted, tmp_path):
    path = tmp_path / "kept.json"
    done = quern("chat", "-m", scripted, "-c", "64", stdin=f"hi\n{'word ' * 30}\n/save {path}\n/clear\nhi\n")
    assert done.code == 1
    assert done.out == (ANSWER + "\n") * 2
    assert "64" in done.err and "1024" in done.err and "/clear" in done.err and "-c" in done.err
    assert [m["content"] for m in json.loads(path.read_text())] == ["hi", ANSWER]


def test_an_answer_that_fills_the_context_is_said_to_be_cut(quern, endless):
    done = quern("chat", "-m", endless, "-c", "40", stdin="hi\n")
    assert done.out.startswith(LOOP) and "40 tokens is full" in done.err


def test_broken_bytes_in_a_script_do_no_harm(quern, scripted, tmp_path):
    path = tmp_path / "bytes.json"
    done = quern("chat", "-m", scripted, stdin=b"\xff\xfe a\0b\n/save " + str(path).encode() + b"\n")
    assert (done.code, done.out, done.err) == (0, ANSWER + "\n", "")
    assert json.loads(path.read_text())[0]["content"] == "\ufffd\ufffd a\0b"


def test_a_closed_standard_input_is_an_error(program, environment, scripted):
    done = subprocess.run(["sh", "-c", f'exec "{program}" chat -m "{scripted}" <&-'], env=environment, capture_output=True, timeout=60)
    assert done.returncode == 1 and b"standard input" in done.stderr and done.stdout == b""


# ---- on a terminal -----------------------------------------------------------------------------------------

def test_thinking_is_dimmed_and_the_answer_is_not(terminal_chat, scripted):
    chat = terminal_chat("-m", scripted)
    chat.expect_prompt()
    chat.send("hi\n")
    chat.expect(f"\x1b[2m{THINKING}\x1b[0m")
    chat.expect(ANSWER)
    chat.expect("tokens/s")
    chat.expect_prompt()
    chat.send("\x04")
    assert chat.wait() == 0


def test_without_colours_the_parts_are_named(terminal_chat, scripted):
    chat = terminal_chat("-m", scripted, env={"NO_COLOR": "1"})
    chat.expect_prompt()
    chat.send("hi\n")
    shown = plain(chat.expect("tokens/s"))
    assert f"(thinking)\n{THINKING}\n(answer)\n{ANSWER}\n" in shown
    chat.expect_prompt()
    assert b"\x1b[2m" not in chat.data and b"\x1b[1;" not in chat.data


def test_only_new_tokens_are_computed(terminal_chat, scripted, ids_of):
    chat = terminal_chat("-m", scripted, "--no-think", "-v")
    kept = 0
    for text in ("first", "second"):
        chat.expect_prompt()
        chat.send(text + "\n")
        chat.expect("; prompt ")
        n_prompt, n_kept = (int(part.split()[0]) for part in chat.expect(" kept").split(": "))
        kept_by_template = len(ids_of("<|im_start|>user\nfirst<|im_end|>\n<|im_start|>assistant\n"))
        assert n_kept == kept
        kept = kept_by_template
        assert n_prompt > n_kept


def test_an_interrupt_stops_the_answer_and_keeps_the_chat(terminal_chat, endless, tmp_path):
    path = tmp_path / "kept.json"
    chat = terminal_chat("-m", endless, "-c", "1000000")
    chat.expect_prompt()
    chat.send("hi\n")
    chat.expect(LOOP * 2)
    chat.send("\x03")
    chat.expect("(stopped)")
    chat.expect_prompt()
    chat.send("/set max_tokens 4\n")
    chat.expect_prompt()
    chat.send("go on\n")
    chat.expect("cut at max_tokens")
    chat.expect_prompt()
    chat.send(f"/save {path}\n")
    chat.expect("4 messages saved")
    messages = json.loads(path.read_text())
    assert [m["role"] for m in messages] == ["user", "assistant"] * 2
    assert messages[1]["content"].startswith(LOOP * 2) and messages[3]["content"] == LOOP
    chat.expect_prompt()
    chat.send("/exit\n")
    assert chat.wait() == 0


def test_an_interrupt_at_the_prompt_clears_the_line_and_a_second_one_ends_the_chat(terminal_chat, scripted, tmp_path):
    path = tmp_path / "x.json"
    chat = terminal_chat("-m", scripted)
    chat.expect_prompt()
    chat.send("half a line")
    chat.expect("half a line")
    chat.send("\x03")
    chat.expect("Ctrl-C again")
    chat.expect_prompt()
    chat.send(f"/save {path}\n")
    chat.expect("0 messages saved")
    chat.expect_prompt()
    chat.send("\x03")
    chat.expect("Ctrl-C again")
    chat.expect_prompt()
    chat.send("\x03")
    assert chat.wait() == 0


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_leaves_the_terminal_as_it_was(terminal_chat, scripted, endless, signal_number):
    def modes(chat):
        return termios.tcgetattr(chat.fd)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
    cooked = termios.ICANON | termios.ECHO | termios.ISIG
    chat = terminal_chat("-m", scripted)
    chat.expect_prompt()
    assert modes(chat) != cooked
    os.kill(chat.pid, signal_number)
    assert chat.wait() == 128 + signal_number
    assert modes(chat) == cooked
    chat = terminal_chat("-m", endless, "-c", "1000000")
    chat.expect_prompt()
    chat.send("hi\n")
    chat.expect(LOOP)
    os.kill(chat.pid, signal_number)
    assert chat.wait() == 128 + signal_number


def test_lines_are_edited_recalled_and_remembered(terminal_chat, scripted, tmp_path):
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    chat = terminal_chat("-m", scripted, env=state)
    chat.expect_prompt()
    chat.send("wörd\x7f\x7f\x7fört\n")  # backspace takes whole characters
    chat.expect(ANSWER)
    chat.expect_prompt()
    chat.send("two\\\n")
    chat.expect("...")
    chat.send("lines\n")
    chat.expect(ANSWER)
    chat.expect_prompt()
    chat.send("/exit\n")
    assert chat.wait() == 0
    history = tmp_path / "state" / "quern" / "history"
    assert history.read_text() == "wört\ntwo\\nlines\n/exit\n"
    assert stat.S_IMODE(history.parent.stat().st_mode) == 0o700

    saved = tmp_path / "again.json"
    chat = terminal_chat("-m", scripted, env=state)
    chat.expect_prompt()
    chat.send("\x1b[A\x1b[A\x1b[A!\n")  # three back: the first message, and something added
    chat.expect(ANSWER)
    chat.expect_prompt()
    chat.send("\x1b[A\x1b[A\x1b[A\n")  # now that one is the last, /exit the one before it
    chat.expect(ANSWER)
    chat.expect_prompt()
    chat.send(f"/save {saved}\n")
    chat.expect("messages saved")
    assert [m["content"] for m in json.loads(saved.read_text()) if m["role"] == "user"] == ["wört!", "two\nlines"]


def test_what_is_typed_during_an_answer_is_read_after_it(terminal_chat, endless):
    chat = terminal_chat("-m", endless, "-c", "1000000")
    chat.expect_prompt()
    chat.send("hi\n")
    chat.expect(LOOP)
    chat.send("\x04/set max_tok")
    chat.send("\x03")
    chat.expect("(stopped)")
    chat.expect_prompt()
    chat.send("/set max_tokens 4\n")  # Ctrl-C took what was typed with it
    chat.expect_prompt()
    chat.send("hi\n")
    chat.expect("cut at max_tokens")


def test_pasted_lines_are_one_message(terminal_chat, scripted, tmp_path):
    saved = tmp_path / "pasted.json"
    chat = terminal_chat("-m", scripted)
    chat.expect_prompt()
    chat.send("see: \x1b[200~def f():\r    return 'ü'\r\n\x1b[201~")
    chat.expect("return")
    chat.send("\n")
    chat.expect(ANSWER)
    chat.expect_prompt()
    chat.send(f"/save {saved}\n")
    chat.expect("messages saved")
    assert json.loads(saved.read_text())[0]["content"] == "see: def f():\n    return 'ü'"


def test_commands_complete_with_the_tab_key(terminal_chat, scripted):
    chat = terminal_chat("-m", scripted)
    chat.expect_prompt()
    chat.send("/reg\t\n")
    chat.expect("no message to answer")
    chat.expect_prompt()
    chat.send("/he\t\n")
    chat.expect("/regenerate")
    chat.expect_prompt()


def test_escape_sequences_of_the_model_do_not_reach_the_terminal(terminal_chat, ids_of, tmp_path):
    import scripted_model
    from conftest import TOKENIZER, chain, finish
    directory = tmp_path / "model"
    scripted_model.write(directory, chain(ids_of("\n\x1b]0;owned\x07<|im_end|>")), TOKENIZER)
    finish(directory)
    chat = terminal_chat("-m", directory)
    chat.expect_prompt()
    chat.send("hi\n")
    chat.expect("^[]0;owned^G")
    chat.expect_prompt()


def test_a_simple_terminal_gets_a_simple_prompt(terminal_chat, scripted):
    chat = terminal_chat("-m", scripted, env={"TERM": "dumb"})
    chat.expect("/help")
    chat.expect("> ")
    chat.send("hi\n")
    chat.expect(ANSWER)
    chat.expect("> ")
    chat.send("\x04")
    assert chat.wait() == 0
    assert b"\x1b" not in chat.data


def test_standard_output_in_a_file_leaves_talk_on_the_terminal(program, environment, scripted, tmp_path):
    import terminal
    out = tmp_path / "out.txt"
    t = terminal.Terminal(["/bin/sh", "-c", f'exec "{program}" chat -m "{scripted}" > "{out}"'], environment)
    try:
        t.expect("> ")
        t.send("hi\n")
        t.expect("tokens/s")
        t.expect("> ")
        t.send("\x04")
        assert t.wait() == 0
        assert out.read_text() == ANSWER + "\n"
    finally:
        t.close()
