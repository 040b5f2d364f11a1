"""--cache: matrices made while loading, kept in a file that later starts map."""
import json
import os
import resource
import signal

import numpy as np
import pytest

CONFIG = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 192, "intermediate_size": 448,
          "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32,
          "vocab_size": 600, "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000,
          "tie_word_embeddings": False, "torch_dtype": "bfloat16", "hidden_act": "silu", "initializer_range": 0.06}
IDS = [(i * 7919 + 13) % 600 for i in range(24)]


class Cached:
    """A model, and a cache directory of its own."""

    def __init__(self, quern, base):
        self.quern, self.base = quern, base
        (base / "config.json").write_text(json.dumps(CONFIG))
        (base / "ids.json").write_text(json.dumps(IDS))
        self.model = base / "model"
        self.make()
        self.env = {"XDG_CACHE_HOME": str(base / "xdg")}

    def make(self, *args):
        made = self.quern("init", "--config", self.base, "-o", self.model, "--force", *args)
        assert made.code == 0, made.err

    def files(self):
        return sorted((self.base / "xdg" / "quern").glob("*"))

    def state(self):
        return [(f.name, f.stat().st_ino, f.stat().st_mtime_ns) for f in self.files()]

    def logits(self, *args, model=None, cache=True, **kwargs):
        """The logits and what was said on standard error."""
        out = self.base / "out.npy"
        done = self.quern("logits", "-m", model or self.model, "--ids", self.base / "ids.json", "-o", out, *args,
                          *(["--cache"] if cache else []), env=self.env, **kwargs)
        assert done.code == 0, done.err
        return np.load(out), done.err


@pytest.fixture
def cached(quern, tmp_path):
    return Cached(quern, tmp_path)


@pytest.mark.parametrize("weights", ["int8", "int4", "nf4", "fp8", "f32"])
def test_a_later_start_uses_the_cache_and_gives_the_same_bits(cached, weights):
    plain, _ = cached.logits("--weights", weights, cache=False)
    first, said = cached.logits("--weights", weights)
    assert said == "" and len(cached.files()) == 1
    before = cached.state()
    second, said = cached.logits("--weights", weights)
    assert said == "" and cached.state() == before
    assert (plain == first).all() and (plain == second).all()


@pytest.mark.parametrize("form", ["int8", "int4", "nf4", "fp8"])
def test_a_quantized_directory_is_cached_for_every_cpu_and_both_kinds_of_math(cached, form):
    coded = cached.base / form
    done = cached.quern("quantize", "-m", cached.model, "--to", form, "-o", coded)
    assert done.code == 0, done.err
    exact, _ = cached.logits("--math", "exact", model=coded, cache=False)
    fast, _ = cached.logits("--math", "fast", model=coded, cache=False)
    cached.logits(model=coded)
    before = cached.state()
    for cpu in ("auto", "generic"):
        assert (cached.logits("--math", "exact", "--cpu", cpu, model=coded)[0] == exact).all()
        assert (cached.logits("--math", "fast", "--cpu", cpu, model=coded)[0] == fast).all()
    assert cached.state() == before


def test_forms_do_not_share_a_file(cached):
    for weights in ("int8", "int4"):
        cached.logits("--weights", weights)
    cached.logits("--weights", "int4", "--embed-weights", "bf16")
    assert len(cached.files()) == 3


def test_a_changed_model_is_noticed_and_cached_anew(cached):
    old, _ = cached.logits("--weights", "int4")
    before = cached.state()
    cached.make("--seed", "5")
    new, said = cached.logits("--weights", "int4")
    assert "the model's files have changed" in said and len(said.splitlines()) == 1
    assert not (old == new).all() and cached.state() != before and len(cached.files()) == 1
    again, said = cached.logits("--weights", "int4")
    assert said == "" and (again == new).all()


def test_a_file_written_again_with_the_same_content_is_a_changed_one(cached):
    cached.logits("--weights", "int8")
    weights = cached.model / "model.safetensors"
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))
    assert "the model's files have changed" in cached.logits("--weights", "int8")[1]


@pytest.mark.parametrize("keep", [0, 10, 63, 64, 1000, -1])
def test_a_cache_cut_off_is_passed_over_and_replaced(cached, keep):
    expected, _ = cached.logits("--weights", "int4")
    path, = cached.files()
    size = path.stat().st_size
    os.truncate(path, keep if keep >= 0 else size - 1)
    found, said = cached.logits("--weights", "int4")
    assert len(said.splitlines()) == 1 and "are made anew" in said and str(path) in said
    assert (found == expected).all() and cached.files() == [path] and path.stat().st_size == size
    assert cached.logits("--weights", "int4")[1] == ""


def test_any_damaged_byte_is_noticed(cached):
    expected, _ = cached.logits("--weights", "int4")
    path, = cached.files()
    whole = path.read_bytes()
    # Magic, version, sizes, fingerprint, checksum; a record; numbers of the first and the last matrix.
    for at in (0, 9, 17, 24, 33, 50, 64, 100, 130, 64 + 128 * 15 + 70, len(whole) // 2, len(whole) - 70):
        damaged = bytearray(whole)
        damaged[at] ^= 4
        path.write_bytes(damaged)
        found, said = cached.logits("--weights", "int4")
        assert len(said.splitlines()) == 1 and "are made anew" in said, at
        assert (found == expected).all()
        assert path.read_bytes()[64:] == whole[64:]


def test_a_full_disk_costs_a_warning(cached):
    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
    expected, _ = cached.logits("--weights", "int8", cache=False)
    cached.base.joinpath("xdg").mkdir()
    # The logits of 24 tokens are below the limit, the weights above.
    found, said = cached.logits("--weights", "int8", preexec_fn=small_files)
    assert (found == expected).all() and cached.files() == []
    assert len(said.splitlines()) == 1 and "the weights are not cached" in said


def test_a_cache_directory_that_cannot_be_made_costs_a_warning(cached):
    (cached.base / "xdg").write_text("a file")
    found, said = cached.logits("--weights", "int8")
    assert len(said.splitlines()) == 1 and "the weights are not cached" in said


def test_without_a_place_for_caches_that_is_said(cached):
    cached.env = {"XDG_CACHE_HOME": "relative", "HOME": ""}
    assert "neither XDG_CACHE_HOME nor HOME" in cached.logits("--weights", "int8")[1]


def test_a_model_that_is_used_as_it_is_leaves_no_cache(cached):
    assert cached.logits()[1] == "" and cached.files() == []


def test_remains_of_a_killed_writer_are_swept_after_hours(cached):
    cached.logits("--weights", "int8")
    old, new = (cached.base / "xdg" / "quern" / f"{n}.weights.0badcafe.tmp" for n in ("old", "new"))
    for f in (old, new):
        f.write_text("x")
    os.utime(old, (0, 0))
    cached.logits("--weights", "int4")
    assert not old.exists() and new.exists()


def kept_and_used_again(cached, use):
    """use(*args) answers the same with the cache as without, and from the second time on reads it."""
    plain = use()
    assert cached.files() == []
    assert use("--cache") == plain
    assert len(cached.files()) == 1
    before = cached.state()
    assert use("--cache") == plain and cached.state() == before


@pytest.fixture
def speaking(cached, scripted):
    """A cache directory for a model that has a tokenizer."""
    cached.model = scripted
    return cached


def test_chat_keeps_a_cache(speaking):
    def use(*args):
        done = speaking.quern("chat", "-m", speaking.model, "--weights", "int8", *args, stdin="Hello\n", env=speaking.env)
        assert (done.code, done.err) == (0, ""), done.err
        return done.out
    kept_and_used_again(speaking, use)


def test_serve_keeps_a_cache(speaking, serve):
    def use(*args):
        server = serve("-m", speaking.model, "--weights", "int8", *args, env=speaking.env)
        reply = server.chat("Hello", temperature=0, max_tokens=12)
        assert reply.status == 200
        return reply.json["choices"]
    kept_and_used_again(speaking, use)
