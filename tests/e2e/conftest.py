"""Fixtures of the end-to-end tests: the program, small models, a terminal, the shared data."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

import scripted_model
import serving
import terminal

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOKENIZER = ROOT / "tests" / "fixtures" / "qwen3-tiny"

# ChatML with a thinking switch, as Qwen3's own template has it; thinking of earlier turns is dropped.
TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}
{{- '<think>\\n\\n</think>\\n\\n' }}
{%- endif %}
{%- endif %}
"""

THINKING = "quick"
ANSWER = "Hello, world! 日"
LOOP = " the new wor they"


class Result:
    def __init__(self, done):
        self.code = done.returncode
        self.raw = done.stdout
        self.out = (done.stdout or b"").decode("utf-8", "replace")
        self.err = done.stderr.decode("utf-8", "replace")


@pytest.fixture(scope="session")
def program():
    path = os.environ.get("QUERN") or str(ROOT / "build" / "release" / "quern")
    if not os.path.exists(path):
        pytest.exit(f"{path} is missing: build it with make, or name it in QUERN", 1)
    return path


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """What the program sees: nothing of the user's settings."""
    env = {k: v for k, v in os.environ.items() if k not in ("QUERN_MODEL", "NO_COLOR", "XDG_STATE_HOME", "XDG_CACHE_HOME")}
    # libedit never frees the names of functions added to it.
    env["LSAN_OPTIONS"] = f"suppressions={pathlib.Path(__file__).with_name('lsan.supp')}:print_suppressions=0"
    env.update(HOME=str(tmp_path_factory.mktemp("home")), TERM="xterm-256color", LC_ALL="C.UTF-8")
    return env


@pytest.fixture(scope="session")
def quern(program, environment):
    """quern("run", "-p", "x", stdin=b"...", env={...}) -> Result"""
    def run(*args, stdin=b"", env=None, timeout=120, **kwargs):
        if isinstance(stdin, str):
            stdin = stdin.encode()
        if isinstance(stdin, bytes):
            kwargs["input"] = stdin
        else:
            kwargs["stdin"] = stdin
        kwargs.setdefault("stdout", subprocess.PIPE)
        done = subprocess.run([program, *map(str, args)], stderr=subprocess.PIPE, timeout=timeout,
                              env={**environment, **(env or {})}, **kwargs)
        return Result(done)
    return run


def finish(directory):
    """What quern init does not make: a template, sampling defaults."""
    (directory / "chat_template.jinja").write_text(TEMPLATE)
    (directory / "generation_config.json").write_text(json.dumps(
        {"do_sample": True, "temperature": 0.8, "top_k": 50, "top_p": 0.95, "eos_token_id": [488, 486]}))


@pytest.fixture(scope="session")
def tiny_model(quern, tmp_path_factory):
    """A random model of Qwen3's form with a vocabulary of 512."""
    directory = tmp_path_factory.mktemp("tiny") / "model"
    config = directory.parent / "config.json"
    config.write_text(json.dumps(scripted_model.config(hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
                                                       num_key_value_heads=2, head_dim=16, intermediate_size=96,
                                                       tie_word_embeddings=True, max_position_embeddings=512)))
    made = quern("init", "--config", config, "--tokenizer", TOKENIZER, "-o", directory, "--seed", 1)
    assert made.code == 0, made.err
    finish(directory)
    return directory


@pytest.fixture(scope="session")
def ids_of(quern):
    def ids(text):
        done = quern("tokenize", "-m", TOKENIZER, stdin=text)
        assert done.code == 0, done.err
        return json.loads(done.out)
    return ids


def chain(*runs):
    """Each id's successor, from runs of ids; a run's last id leads to the next run's first only if it is repeated."""
    successor = {}
    for run in runs:
        for a, b in zip(run, run[1:]):
            assert successor.get(a, b) == b, f"token {a} would have two successors"
            successor[a] = b
    return successor


@pytest.fixture(scope="session")
def scripted(ids_of, tmp_path_factory):
    """A model whose answer is known: it thinks THINKING and answers ANSWER."""
    directory = tmp_path_factory.mktemp("scripted") / "model"
    answer = ids_of("\n\n" + ANSWER + "<|im_end|>")
    scripted_model.write(directory, chain(ids_of("\n<think>" + THINKING + "</think>") + answer), TOKENIZER)
    finish(directory)
    return directory


@pytest.fixture(scope="session")
def endless(ids_of, tmp_path_factory):
    """A model that says LOOP again and again until the context is full."""
    directory = tmp_path_factory.mktemp("endless") / "model"
    loop = ids_of(LOOP)
    scripted_model.write(directory, chain(ids_of("\n") + loop + loop[:1]), TOKENIZER, max_position_embeddings=1000000)
    finish(directory)
    return directory


@pytest.fixture
def copy_of(tmp_path):
    """A copy of a model's directory to be damaged."""
    def copy(directory):
        target = tmp_path / "copy"
        shutil.copytree(directory, target)
        return target
    return copy


@pytest.fixture
def terminal_chat(program, environment):
    """Starts quern chat on a terminal of its own; ended with the test."""
    started = []

    def start(*args, env=None):
        t = terminal.Terminal([program, "chat", *map(str, args)], {**environment, **(env or {})})
        started.append(t)
        return t
    yield start
    for t in started:
        t.close()


@pytest.fixture(scope="session")
def shared():
    """The shared data beside the repository, or a skip."""
    path = pathlib.Path(os.environ.get("QUERN_SHARED") or ROOT.parent / "shared")
    if not path.is_dir():
        pytest.skip("shared data is not here (../shared or QUERN_SHARED)")
    return path


@pytest.fixture
def serve(program, environment):
    """serve("-m", DIR, ...) -> a running server, ended with the test."""
    started = []

    def start(*args, env=None, **kwargs):
        started.append(serving.Server(program, {**environment, **(env or {})}, *args, **kwargs))
        return started[-1]
    yield start
    codes = [s.stop() for s in started]
    assert all(c in (0, 1) for c in codes), codes


@pytest.fixture(scope="session")
def tiny_server(program, environment, tiny_model):
    """A server of the tiny model with default options, for tests that leave it as it is."""
    server = serving.Server(program, environment, "-m", f"tiny={tiny_model}")
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="session")
def scripted_server(program, environment, scripted):
    """A server whose model's answer is known: it thinks THINKING and answers ANSWER."""
    server = serving.Server(program, environment, "-m", f"scripted={scripted}")
    yield server
    assert server.stop() == 0
