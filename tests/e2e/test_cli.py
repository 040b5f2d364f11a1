"""The command line as a whole: help, wrong usage, exit codes, what goes where."""
import os
import pty
import re
import subprocess

import pytest

from conftest import ANSWER, ROOT, TOKENIZER

COMMANDS = ["chat", "run", "tokenize", "detokenize", "render", "logits", "eval", "inspect", "init"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_usage_options_and_an_example(quern, command):
    for args in ([command, "--help"], ["help", command]):
        done = quern(*args)
        assert done.code == 0 and done.err == ""
        assert done.out.startswith(f"Usage: quern {command}")
        assert "Options:" in done.out and "--help" in done.out
        assert re.search(rf"Examples:\n(.*\n)*.*quern {command}", done.out)
        assert max(map(len, done.out.splitlines())) <= 100


def test_the_overview_lists_every_command(quern):
    done = quern("help")
    assert done.code == 0 and done.err == ""
    assert quern("--help").out == done.out
    listed = [line.split()[0] for line in done.out.splitlines() if line.startswith("  ")]
    assert [c for c in listed if c in COMMANDS] == COMMANDS


def test_without_a_command_the_overview_goes_to_standard_error(quern):
    done = quern()
    assert done.code == 2 and done.out == "" and "Commands:" in done.err


def test_the_version_is_one_line(quern):
    done = quern("--version")
    assert done.code == 0 and re.fullmatch(r"quern \d+\.\d+\.\d+\n", done.out)


def test_the_manual_page_is_up_to_date(quern):
    written, now = (ROOT / "docs" / "man" / "quern.1").read_text(), quern("help", "--man").out
    assert written == now, "an option or a text changed: make man"


@pytest.mark.parametrize("args, text", [
    (["chta"], 'did you mean "chat"'),
    (["xyzzy"], '"xyzzy" is no command'),
    (["help", "chta"], 'did you mean "chat"'),
    (["run", "--tmep", "1"], "did you mean --temp"),
    (["run", "--temp"], "--temp: a value is missing"),
    (["run", "--temp", "hot"], "--temp"),
    (["run", "--top-p", "1.5"], "outside 0 to 1"),
    (["run", "-n", "-1"], "-n: -1 is outside"),
    (["run", "--cpu", "sse9"], "auto|generic"),
    (["run", "stray"], 'unexpected argument "stray"'),
    (["run", "-p", "x", "-f", "y"], "-p and -f"),
    (["run", "--think", "--no-think", "-p", "x"], "--think and --no-think"),
    (["run", "--raw", "--system", "s", "-p", "x"], "--raw"),
    (["run", "--stop", "", "-p", "x"], "--stop"),
    (["chat", "--think", "--no-think"], "--think and --no-think"),
    (["tokenize", "file.txt"], 'unexpected argument "file.txt"'),
])
def test_wrong_usage_is_one_message_on_standard_error_and_exit_code_2(quern, args, text):
    done = quern(*args)
    assert done.code == 2
    assert done.out == ""
    assert text in done.err and done.err.startswith("quern")
    assert len(done.err.strip().splitlines()) == 2, done.err  # the message, and where to find help


def test_a_wrong_logit_bias_is_wrong_usage(quern, tiny_model):
    done = quern("run", "-m", tiny_model, "-p", "x", "--logit-bias", "5:1")
    assert done.code == 2 and "ID=X" in done.err


@pytest.mark.parametrize("command", [["chat"], ["run", "-p", "x"], ["tokenize"], ["detokenize"]])
def test_a_model_that_is_not_there_is_named(quern, command, tmp_path):
    done = quern(*command, "-m", tmp_path / "nowhere")
    assert done.code == 1 and done.out == ""
    assert "nowhere" in done.err and "no such directory" in done.err
    file = tmp_path / "model.bin"
    file.write_text("x")
    assert "is a file" in quern(*command, "-m", file).err
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no model" in quern(*command, "-m", empty).err


def test_without_any_model_the_message_says_how_to_name_one(quern, tmp_path):
    done = quern("run", "-p", "x", cwd=tmp_path)
    assert done.code == 1 and "-m DIR" in done.err and "QUERN_MODEL" in done.err


def test_the_environment_names_the_model(quern, scripted):
    done = quern("run", "-p", "x", env={"QUERN_MODEL": str(scripted)})
    assert (done.code, done.out) == (0, ANSWER)


@pytest.mark.parametrize("name, text", [
    ("config.json", "config.json is missing"),
    ("tokenizer.json", "tokenizer.json is missing"),
    ("model.safetensors", "the weights are missing"),
])
def test_a_missing_file_is_named(quern, copy_of, scripted, name, text):
    directory = copy_of(scripted)
    (directory / name).unlink()
    done = quern("run", "-m", directory, "-p", "x")
    assert done.code == 1 and done.out == "" and text in done.err and str(directory) in done.err


def test_weights_of_another_kind_are_recognized(quern, copy_of, scripted):
    directory = copy_of(scripted)
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    assert "pytorch_model.bin" in quern("run", "-m", directory, "-p", "x").err
    (directory / "tokenizer.json").rename(directory / "vocab.json")
    assert "vocab.json" in quern("run", "-m", directory, "-p", "x").err


def test_a_vocabulary_smaller_than_the_tokenizers_is_an_error(quern, copy_of, scripted):
    directory = copy_of(scripted)
    config = (directory / "config.json").read_text()
    (directory / "config.json").write_text(config.replace('"vocab_size": 512', '"vocab_size": 500'))
    done = quern("run", "-m", directory, "-p", "x")
    assert done.code == 1 and "500" in done.err and "512" in done.err


def test_a_template_that_cannot_be_used_hinders_only_what_needs_it(quern, copy_of, scripted):
    directory = copy_of(scripted)
    (directory / "chat_template.jinja").write_text("{% if %}")
    done = quern("run", "-m", directory, "-p", "x")
    assert done.code == 1 and "chat_template.jinja" in done.err
    assert quern("chat", "-m", directory).code == 1
    assert quern("run", "-m", directory, "--raw", "-n", "1", "-p", "\n\n").out == "H"
    (directory / "chat_template.jinja").unlink()
    for command in (["run", "-p", "x"], ["chat"]):
        done = quern(*command, "-m", directory)
        assert done.code == 1 and "no chat template" in done.err


def test_a_reader_that_goes_away_ends_the_program_quietly(program, environment, endless):
    p = subprocess.Popen([program, "run", "-m", str(endless), "-c", "100000", "-p", "x"], env=environment,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert p.stdout.read(10)
    p.stdout.close()
    assert p.wait(60) != 0
    assert p.stderr.read() == b""
    p.stderr.close()


def test_a_full_or_closed_standard_output_is_an_error(quern, program, environment, scripted):
    with open("/dev/full", "wb") as full:
        done = quern("run", "-m", scripted, "-p", "x", stdout=full)
    assert done.code == 1 and "standard output" in done.err and "No space left" in done.err
    for args in (["--version"], ["tokenize", "-m", str(TOKENIZER)], ["run", "-m", str(scripted), "-p", "x"]):
        done = subprocess.run(["sh", "-c", 'exec "$0" "$@" >&-', program, *args], env=environment, input=b"x",
                              stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 1, args
        assert b"standard output" in done.stderr


def test_colours_are_for_terminals_only_and_can_be_turned_off(program, environment):
    def on_terminal(**env):
        reader, writer = pty.openpty()
        done = subprocess.run([program, "xyzzy"], env={**environment, **env}, stderr=writer, timeout=60)
        os.close(writer)
        text = os.read(reader, 10000)
        os.close(reader)
        assert done.returncode == 2
        return text
    assert b"\x1b[" in on_terminal()
    assert b"\x1b[" not in on_terminal(NO_COLOR="1")
    assert b"\x1b[" not in on_terminal(TERM="dumb")
    assert b"\x1b[" in on_terminal(NO_COLOR="")
