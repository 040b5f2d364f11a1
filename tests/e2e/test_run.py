"""quern run: one prompt, one completion, nothing else on standard output."""
import json
import os
import signal
import subprocess

import pytest

from conftest import ANSWER, LOOP, THINKING


def test_only_the_answer_goes_to_standard_output(quern, scripted):
    done = quern("run", "-m", scripted, "-p", "What?")
    assert (done.code, done.out, done.err) == (0, ANSWER, "")


def test_thinking_is_shown_on_request(quern, scripted):
    done = quern("run", "-m", scripted, "-p", "What?", "--show-thinking")
    assert done.out == f"<think>{THINKING}</think>\n\n{ANSWER}"
    assert quern("run", "-m", scripted, "-p", "What?", "--no-think", "--show-thinking").out == ANSWER
    assert quern("run", "-m", scripted, "-p", "What?", "--think").out == ANSWER


def test_thinking_that_the_prompt_has_opened_is_kept_apart_too(quern, copy_of, scripted):
    directory = copy_of(scripted)
    template = (directory / "chat_template.jinja").read_text()
    (directory / "chat_template.jinja").write_text(template.replace("assistant\\n' }}", "assistant\\n<think>' }}"))
    assert quern("run", "-m", directory, "-p", "What?").out == ANSWER
    assert quern("run", "-m", directory, "-p", "What?", "--show-thinking").out == f"{THINKING}</think>\n\n{ANSWER}"


def test_an_answer_cut_off_while_thinking_is_empty(quern, scripted):
    done = quern("run", "-m", scripted, "-p", "What?", "-n", "3")
    assert (done.code, done.out) == (0, "")


def test_the_prompt_comes_from_an_option_a_file_or_standard_input(quern, scripted, tmp_path):
    file = tmp_path / "prompt.txt"
    file.write_text("What?\n")
    verbose = [quern("run", "-m", scripted, "-v", *args, stdin=stdin)
               for args, stdin in ((["-p", "What?"], ""), (["-f", file], ""), ([], "What?\n"), (["-p", "-"], "What?\n"))]
    assert all(done.out == ANSWER for done in verbose)
    counts = {done.err.split(" tokens")[0] for done in verbose}
    assert len(counts) == 1 and counts.pop().startswith("[prompt: ")


def test_a_raw_prompt_is_continued_byte_for_byte(quern, scripted):
    done = quern("run", "-m", scripted, "--raw", "-p", "\n\n")
    assert (done.code, done.out) == (0, ANSWER)
    assert quern("run", "-m", scripted, "--raw", "--stop", ",", stdin="\n\n").out == "Hello"
    assert quern("run", "-m", scripted, "--raw", stdin="x\n").out.startswith("<think>")


@pytest.mark.parametrize("args", [["-p", ""], ["--raw", "-p", ""], ["-f", os.devnull], []])
def test_an_empty_prompt_is_an_error(quern, scripted, args):
    done = quern("run", "-m", scripted, *args)
    assert done.code == 1 and done.out == "" and "prompt is empty" in done.err


def test_a_prompt_file_that_is_not_there_is_named(quern, scripted, tmp_path):
    done = quern("run", "-m", scripted, "-f", tmp_path / "nothing.txt")
    assert done.code == 1 and "nothing.txt" in done.err


def test_stop_strings_end_the_answer_and_are_no_part_of_it(quern, scripted):
    for stop, left in ((", wor", "Hello"), ("!", "Hello, world"), ("日", "Hello, world! "), ("never", ANSWER), ("H", "")):
        assert quern("run", "-m", scripted, "-p", "x", "--stop", stop).out == left
    assert quern("run", "-m", scripted, "-p", "x", "--stop", "never", "--stop", "ld").out == "Hello, wor"


def test_a_stop_string_that_begins_like_the_thinking_ends_does_no_harm(quern, scripted):
    for stop in ("k</think>zzz", ">\n\nHell yes", "</think>\n\nHello, world?"):
        assert quern("run", "-m", scripted, "-p", "x", "--stop", stop).out == ANSWER


def test_the_number_of_tokens_is_limited(quern, endless):
    done = quern("run", "-m", endless, "-p", "x", "-n", "6")
    assert (done.code, done.out) == (0, " the new wor they the new")


def test_an_answer_may_fill_the_context_and_no_more(quern, endless):
    done = quern("run", "-m", endless, "-p", "x", "-c", "64", "-v")
    assert done.code == 0 and done.out.startswith(LOOP)
    assert "context: 64" in done.err and "64 tokens is full" in done.err
    assert quern("run", "-m", endless, "-p", "x", "-c", "64", "-n", "20").err == ""


def test_a_prompt_longer_than_the_context_is_an_error_with_numbers(quern, endless, ids_of):
    done = quern("run", "-m", endless, "-c", "16", "-p", "word " * 30)
    assert done.code == 1 and done.out == ""
    n = len(ids_of("<|im_start|>user\n" + "word " * 30 + "<|im_end|>\n<|im_start|>assistant\n"))
    assert str(n) in done.err and "16" in done.err and "-c" in done.err


def test_a_context_larger_than_the_models_is_an_error(quern, scripted):
    done = quern("run", "-m", scripted, "-c", "1025", "-p", "x")
    assert done.code == 1 and "1025" in done.err and "1024" in done.err


def test_the_same_seed_gives_the_same_text(quern, tiny_model):
    def text(seed, *args):
        done = quern("run", "-m", tiny_model, "--raw", "-p", "Once", "-n", "40", "--seed", seed, *args)
        assert done.code == 0, done.err
        return done.raw
    first = text(7)
    assert text(7) == first
    assert text(7, "-t", "1") == text(7, "-t", "2") == text(7, "--cpu", "generic") == first
    assert text(8) != first


def test_without_a_seed_each_run_is_another(quern, tiny_model):
    texts = {quern("run", "-m", tiny_model, "--raw", "-p", "Once", "-n", "40", "--temp", "5").raw for _ in range(3)}
    assert len(texts) == 3


def test_greedy_decoding_needs_no_seed(quern, tiny_model):
    texts = {quern("run", "-m", tiny_model, "--raw", "-p", "Once", "-n", "40", "--temp", "0").raw for _ in range(2)}
    assert len(texts) == 1


def test_a_logit_bias_forbids_and_forces(quern, scripted, ids_of):
    h = ids_of("H")[0]
    done = quern("run", "-m", scripted, "--raw", "-p", "\n\n", "-n", "1", "--temp", "0", "--logit-bias", f"{h}=-inf")
    assert done.code == 0 and done.out != "H"
    done = quern("run", "-m", scripted, "--raw", "-p", "\n\n", "-n", "1", "--temp", "0", "--logit-bias", f"{h + 1}=1000")
    assert done.out == chr(ord("H") + 1)


def test_going_on_after_the_end_token(quern, scripted):
    done = quern("run", "-m", scripted, "--raw", "-p", "\n\n", "-n", "30", "--temp", "0", "--ignore-eos")
    assert done.out.startswith(ANSWER) and len(done.out) > len(ANSWER)


def test_a_system_message_and_broken_utf8_reach_the_template(quern, scripted):
    done = quern("run", "-m", scripted, "--system", "Be brief.", stdin=b"\xff\xfe\0 x")
    assert (done.code, done.out) == (0, ANSWER)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_answer_with_the_exit_code_of_the_signal(program, environment, endless, signal_number):
    p = subprocess.Popen([program, "run", "-m", str(endless), "-c", "100000", "-p", "x"], env=environment,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert p.stdout.read(20)
    p.send_signal(signal_number)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 128 + signal_number and err == b""


def test_text_is_written_as_it_is_made(program, environment, endless):
    """Not only when a buffer is full."""
    p = subprocess.Popen([program, "run", "-m", str(endless), "-c", "1000000", "-p", "x"], env=environment,
                         stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    first = os.read(p.stdout.fileno(), 65536)
    p.kill()
    p.wait()
    p.stdout.close()
    assert 0 < len(first) < 4096
