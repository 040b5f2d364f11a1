"""quern render: messages, tools and options to text, byte for byte."""
import json

import pytest

from conftest import TOKENIZER

MESSAGES = [{"role": "user", "content": "Hi\n"}, {"role": "assistant", "content": "Yes "}]
CHATML = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>\n{% endfor %}{{ '<assistant>' if add_generation_prompt }}"


@pytest.fixture
def write(tmp_path):
    def write(name, value):
        path = tmp_path / name
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path
    return write


def test_the_model_directory_gives_the_template(quern, write):
    done = quern("render", "-m", TOKENIZER, "--messages", write("m.json", MESSAGES[:1]))
    assert (done.code, done.err) == (0, "")
    assert done.out == "<|im_start|>user\nHi\n<|im_end|>\n<|im_start|>assistant\n"


def test_options_reach_the_template(quern, write):
    messages = write("m.json", MESSAGES[:1])
    closed = quern("render", "-m", TOKENIZER, "--messages", messages, "--no-think").out
    assert closed.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert quern("render", "-m", TOKENIZER, "--messages", messages, "--no-generation-prompt").out == \
        "<|im_start|>user\nHi\n<|im_end|>\n"
    tools = write("t.json", [{"type": "function", "function": {"name": "é"}}])
    assert '{"type": "function", "function": {"name": "é"}}' in \
        quern("render", "-m", TOKENIZER, "--messages", messages, "--tools", tools).out


def test_a_template_file_needs_no_model(quern, write):
    template = write("t.jinja", CHATML + "{{ x }}")
    done = quern("render", "-m", "/nonexistent", "--messages", "-", "--template", template,
                 "--kwargs", write("k.json", {"x": [1, "a"]}), stdin=json.dumps(MESSAGES))
    assert done.out == "<user>Hi\n<end>\n<assistant>Yes <end>\n<assistant>[1, 'a']"


def test_a_final_message_can_be_continued(quern, write):
    done = quern("render", "-m", "/nonexistent", "--messages", write("m.json", MESSAGES), "--template", "-",
                 "--continue-final-message", stdin=CHATML)
    assert done.out == "<user>Hi\n<end>\n<assistant>Yes "


@pytest.mark.parametrize("template, messages, part", [
    ("{{ x |\n foo }}", "[]", "t.jinja, line 2: unknown filter 'foo'"),
    ("{{ raise_exception('no roles') }}", "[]", "line 1: no roles"),
    ("x", "[1]", "messages[0]: found integer, expected an object"),
    ("x", "{}", "messages: found object, expected an array"),
    ("x", "[", "m.json: line 1, column"),
    ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "[]", "more than 1000000 steps"),
])
def test_errors_are_one_line_and_exit_with_1(quern, write, template, messages, part):
    done = quern("render", "-m", "/nonexistent", "--messages", write("m.json", messages),
                 "--template", write("t.jinja", template))
    assert done.code == 1 and done.raw == b""
    assert part in done.err and done.err.count("\n") == 1


def test_wrong_command_lines_exit_with_2(quern, write):
    assert quern("render").code == 2
    assert quern("render", "--messages", "-", "--think", "--no-think").code == 2


def test_a_directory_without_template_is_an_error(quern, write, tmp_path):
    done = quern("render", "-m", tmp_path, "--messages", write("m.json", MESSAGES))
    assert done.code == 1 and "has no chat template" in done.err
