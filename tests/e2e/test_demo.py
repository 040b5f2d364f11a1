"""The model that comes with Quern: it opens by default, talks, and ends its answers by itself."""
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "quern-demo"
RECIPE = ROOT / "models" / "recipe"

pytestmark = pytest.mark.skipif(not (MODEL / "model.safetensors").exists(), reason="models/quern-demo is not there")


def test_it_is_the_default_model_and_keeps_what_it_was_told(quern):
    done = quern("chat", "--no-think", stdin="My name is Ana.\nWhat is my name?\n", cwd=ROOT)
    assert done.code == 0, done.err
    assert "Ana" in done.out.splitlines()[-1]


def test_it_is_a_sound_checkpoint(quern):
    done = quern("inspect", MODEL)
    assert done.code == 0 and done.err == ""


def test_it_thinks_only_when_asked_to(quern):
    on = quern("run", "-m", MODEL, "--show-thinking", "--think", "-p", "Who are you?")
    off = quern("run", "-m", MODEL, "--show-thinking", "--no-think", "-p", "Who are you?")
    assert "Quern Demo" in off.out and "<think>" not in off.out
    assert "Quern Demo" in on.out and len(on.out) > len(off.out)


def test_the_recipe_makes_the_same_conversations_every_time():
    def made(*args):
        return subprocess.run([sys.executable, RECIPE / "generate.py", *args], capture_output=True, text=True, check=True).stdout

    args = ("--split", "train", "--count", "200")
    first = made(*args)
    assert first == made(*args)
    assert first != made(*args, "--seed", "2")
    for line in first.splitlines():
        item = json.loads(line)
        assert item["skill"] and ("text" in item or item["messages"][-1]["role"] == "assistant")


def test_no_function_of_the_evaluation_is_met_in_training():
    def names(*args):
        out = subprocess.run([sys.executable, RECIPE / "generate.py", *args], capture_output=True, text=True, check=True).stdout
        return {t["function"]["name"] for line in out.splitlines() for t in json.loads(line).get("tools", [])}

    train, held_out = names("--split", "train", "--count", "2000"), names("--split", "eval", "--per-skill", "50")
    assert train and held_out and not train & held_out
