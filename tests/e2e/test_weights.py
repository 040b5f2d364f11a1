"""--weights, --embed-weights and --math: how far the logits move, and that they do not depend on threads,
chunks or instructions."""
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
QUERN = os.environ.get("QUERN") or str(ROOT / "build" / "release" / "quern")
FORMS = ["int8", "int4", "nf4", "fp8"]

DENSE = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 192, "intermediate_size": 448,
         "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32,
         "vocab_size": 600, "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000,
         "tie_word_embeddings": True, "torch_dtype": "bfloat16", "hidden_act": "silu", "initializer_range": 0.06}
MOE = dict(DENSE, architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", num_experts=6, num_experts_per_tok=2,
           moe_intermediate_size=96, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[],
           tie_word_embeddings=False)
IDS = [(i * 7919 + 13) % 600 for i in range(24)]


def quern(*args):
    return subprocess.run([QUERN, *map(str, args)], capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module", params=["dense", "moe"])
def model(request, tmp_path_factory):
    base = tmp_path_factory.mktemp(request.param)
    (base / "config.json").write_text(json.dumps(DENSE if request.param == "dense" else MOE))
    made = quern("init", "--config", base, "-o", base / "model", "--randomize-norms")
    assert made.returncode == 0, made.stderr
    return base / "model"


@pytest.fixture
def logits(tmp_path):
    def run(model, *args):
        ids, out = tmp_path / "ids.json", tmp_path / "out.npy"
        ids.write_text(json.dumps(IDS))
        done = quern("logits", "-m", model, "--ids", ids, "-o", out, *args)
        assert done.returncode == 0, done.stderr
        return np.load(out).astype(np.float64)
    return run


def divergence(p, q):
    """Mean KL divergence in nats."""
    def log_softmax(x):
        x = x - x.max(-1, keepdims=True)
        return x - np.log(np.exp(x).sum(-1, keepdims=True))
    p, q = log_softmax(p), log_softmax(q)
    return (np.exp(p) * (p - q)).sum(-1).mean()


# Random weights are the worst case: every layer's error stays, and nothing was trained to bear it. Measured
# at 40 tokens (the larger of the two models): int8 9.6e-4, int4 4.2e-2, nf4 4.4e-2, fp8 6.3e-3 nats. The bounds
# leave room for other seeds, not for a wrong scale or zero, which costs a hundred times as much.
@pytest.mark.parametrize("form, bound", [("int8", 2e-3), ("int4", 6e-2), ("nf4", 6e-2), ("fp8", 1e-2)])
def test_logits_stay_near_those_of_the_checkpoint(model, logits, form, bound):
    plain = logits(model)
    assert divergence(plain, logits(model, "--weights", form)) < bound
    assert divergence(plain, logits(model, "--weights", form, "--math", "exact")) < bound


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("math", ["exact", "fast"])
def test_bytes_do_not_depend_on_how_it_is_computed(model, logits, form, math):
    args = ("--weights", form, "--math", math)
    first = logits(model, *args, "-t", 1, "--chunk", 24)
    for way in (("-t", 2, "--chunk", 7), ("-t", 3, "--chunk", 1), ("-t", 2, "--cpu", "generic")):
        assert logits(model, *args, *way).tobytes() == first.tobytes(), way


@pytest.mark.parametrize("cpu", ["avx2", "avx512", "avx512vnni", "avx512bf16"])
def test_bytes_do_not_depend_on_the_instructions(model, logits, cpu, tmp_path):
    probe = quern("logits", "-m", model, "--ids", "/dev/null", "-o", tmp_path / "x.npy", "--cpu", cpu)
    if "no CPU kernels" in probe.stderr:
        pytest.skip(f"this CPU has no {cpu}")
    for form in FORMS:
        assert (logits(model, "--weights", form, "--cpu", cpu).tobytes()
                == logits(model, "--weights", form, "--cpu", "generic").tobytes())


def test_conversion_to_wider_types_changes_nothing(model, logits):
    plain = logits(model)
    assert logits(model, "--weights", "f32", "--math", "exact").tobytes() == plain.tobytes()
    assert logits(model, "--weights", "bf16", "--math", "exact").tobytes() == plain.tobytes()


def test_embedding_and_head_have_a_choice_of_their_own(model, logits):
    usual = logits(model, "--weights", "int4")
    assert logits(model, "--weights", "int4", "--embed-weights", "int8").shape == usual.shape
    kept = logits(model, "--weights", "int4", "--embed-weights", "bf16")
    assert divergence(usual, kept) > 0
    only = logits(model, "--embed-weights", "int8")
    assert 0 < divergence(logits(model), only) < 2e-3


def test_unknown_forms_are_refused_with_a_list(model):
    done = quern("logits", "-m", model, "--ids", "-", "-o", "/dev/null", "--weights", "int3")
    assert done.returncode == 2
    assert "int4" in done.stderr


def peak_bytes(*args):
    """Most memory that the program held, mapped files included. Its parent's counts, too, until it is the program:
    so one that holds little starts it."""
    script = ("import resource, subprocess, sys\n"
              "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)\n"
              "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)")
    done = subprocess.run([sys.executable, "-c", script, QUERN, *map(str, args)], stdout=subprocess.PIPE, check=True)
    return int(done.stdout)


@pytest.mark.skipif("asan" in QUERN, reason="the sanitizer's own memory")
def test_loading_takes_hardly_more_memory_than_what_it_makes(tmp_path):
    """Tensor by tensor: what was read of the file is given back before the next."""
    config = dict(DENSE, hidden_size=1024, intermediate_size=3072, num_attention_heads=16, num_key_value_heads=8,
                  head_dim=128, num_hidden_layers=3)
    matrices = 3 * (2 * 1024 * 2048 + 2 * 1024 * 1024 + 3 * 1024 * 3072)
    (tmp_path / "config.json").write_text(json.dumps(config))
    made = quern("init", "--config", tmp_path, "-o", tmp_path / "model")
    assert made.returncode == 0, made.stderr
    (tmp_path / "ids.json").write_text("[1]")

    def peak(*args):
        return peak_bytes("logits", "-m", tmp_path / "model", "--ids", tmp_path / "ids.json", "-o",
                          tmp_path / "out.npy", "-t", 2, *args)
    mapped, int4 = peak("--weights", "bf16"), peak("--weights", "int4")
    # 4.4 bits, the largest tensor in BF16 once for each thread, and 30 MB for the program, the embedding
    # and keys and values; the file has 94 MB.
    assert int4 < matrices * 4.4 / 8 + 2 * 2 * 1024 * 3072 + 30e6, (int4, mapped)
    assert mapped < matrices * 2 + 30e6
