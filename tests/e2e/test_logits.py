"""quern logits against what transformers computed (tests/golden/make_logits.py), and against itself: cut in
chunks, on threads, on every instruction set. Then what goes wrong."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests" / "golden" / "logits"
QUERN = os.environ.get("QUERN") or str(ROOT / "build" / "release" / "quern")
CASES = {c["name"]: c for c in json.loads((GOLDEN / "cases.json").read_text())}

# Both sides add up the same float32 products in different orders; over the depth of these models the
# differences stay near 1e-5 of the logits' standard deviation (docs/NUMERICS.md has the figures). A wrong
# epsilon, scale or rounding shows above 1e-4.
TOLERANCE_SIGMA = 1e-4


def quern(*args, **kwargs):
    return subprocess.run([QUERN, *map(str, args)], capture_output=True, text=True, timeout=300, **kwargs)


def digest(directory):
    h = hashlib.sha256()
    for path in sorted(directory.glob("*.safetensors")):
        data = path.read_bytes()
        h.update(data[8 + int.from_bytes(data[:8], "little"):])
    return h.hexdigest()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Directory of a case's checkpoint, made anew from its seed."""
    base = tmp_path_factory.mktemp("models")

    def make(case):
        directory = base / case["name"]
        if not directory.exists():
            init = case["init"] if "--dtype" in case["init"] else ["--dtype", "f32", *case["init"]]
            made = quern("init", "--config", ROOT / "tests" / "fixtures" / "models" / f"{case['config']}.json",
                         "-o", directory, "--seed", case["seed"], "--randomize-norms", *init)
            assert made.returncode == 0, made.stderr
            assert digest(directory) == case["digest"], "quern init makes other weights than it did for the golden file"
        return directory
    return make


@pytest.fixture
def logits(tmp_path):
    """Runs quern logits; the .npy file's bytes."""
    def run(directory, ids, *args):
        ids_path, out = tmp_path / "ids.json", tmp_path / "out.npy"
        ids_path.write_text(json.dumps(ids))
        done = quern("logits", "-m", directory, "--ids", ids_path, "-o", out, *args)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "" and done.stderr == ""
        return out.read_bytes()
    return run


def as_array(data, tmp_path):
    path = tmp_path / "array.npy"
    path.write_bytes(data)
    return np.load(path)


@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_transformers(name, checkpoint, logits, tmp_path):
    case = CASES[name]
    expected = np.load(GOLDEN / f"{case['golden']}.npy")
    found = as_array(logits(checkpoint(case), case["ids"], *case["logits"]), tmp_path)
    assert found.dtype == np.float32 and found.shape == expected.shape == (len(case["ids"]), 256)
    worst = np.abs(found.astype(np.float64) - expected).max() / expected.std()
    print(f"{name}: {worst:.3g} sigma")
    assert worst <= TOLERANCE_SIGMA


def test_yarn_makes_a_difference():
    """Or the cases could not tell whether it was applied."""
    applied, left_out = (np.load(GOLDEN / f"qwen3-yarn-{way}.npy") for way in ("always", "auto-short"))
    assert CASES["qwen3-yarn-always"]["digest"] == CASES["qwen3-yarn-auto-short"]["digest"]
    assert np.abs(applied - left_out).max() > 0.01 * applied.std()


@pytest.mark.parametrize("name", ["qwen3-gqa4", "qwen3-moe-mixed", "qwen3-window", "qwen3-bf16", "qwen2"])
def test_chunks_and_threads_do_not_change_a_byte(name, checkpoint, logits):
    case = CASES[name]
    whole = logits(checkpoint(case), case["ids"], "--chunk", 1000, "-t", 1)
    for args in (["--chunk", 1], ["--chunk", 7], ["--chunk", 64], []):
        for threads in (1, 2):
            assert logits(checkpoint(case), case["ids"], *args, "-t", threads) == whole, (args, threads)


@pytest.mark.parametrize("cpu", ["generic", "avx2", "avx512", "avx512vnni", "avx512bf16", "neon"])
def test_instruction_sets_do_not_change_a_byte(cpu, checkpoint, logits, tmp_path):
    case = CASES["qwen3-tied"]
    probe = quern("logits", "-m", checkpoint(case), "--ids", "-", "-o", tmp_path / "probe.npy", "--cpu", cpu, input="[1]")
    if cpu != "generic" and probe.returncode:
        assert cpu in probe.stderr
        pytest.skip(f"this machine does not run {cpu}")
    for name in ("qwen3-gqa4", "qwen3-moe", "qwen3-window", "qwen3-bf16", "qwen3-f16", "llama-bias"):
        case = CASES[name]
        best = logits(checkpoint(case), case["ids"])
        assert logits(checkpoint(case), case["ids"], "--cpu", cpu) == best, name


@pytest.mark.parametrize("name", ["qwen3-bf16", "qwen3-moe-bf16"])
def test_fast_math_rounds_activations_and_gives_the_same_bytes_everywhere(name, checkpoint, logits, tmp_path):
    case = CASES[name]
    exact, fast = (logits(checkpoint(case), case["ids"], "--math", math) for math in ("exact", "fast"))
    assert logits(checkpoint(case), case["ids"]) == exact, "plain weights are computed exactly unless asked"
    a, b = (as_array(data, tmp_path).astype(np.float64) for data in (exact, fast))
    # Activations are off by up to 2^-9 of themselves; measured 0.031 and 0.064 sigma at most.
    assert 0 < np.abs(a - b).max() < 0.15 * a.std()
    for args in (["--cpu", "generic", "--chunk", 7], ["--cpu", "avx2", "-t", 1], ["--cpu", "avx512"], ["-t", 3]):
        done = quern("logits", "-m", checkpoint(case), "--ids", "-", "-o", tmp_path / "other.npy", "--math", "fast",
                     *args, input=json.dumps(case["ids"]))
        assert done.returncode == 0 or args[1] in done.stderr, done.stderr
        if done.returncode == 0:
            assert (tmp_path / "other.npy").read_bytes() == fast, args


# Not the models of experts: a rounding may tip the choice of one, and then nothing is near any more.
KV_CASES = ["qwen3-tied", "qwen3-gqa4", "qwen3-window", "qwen2-window", "llama-bias"]

# Root mean square of the differences to the exact logits, in the logits' standard deviation. Rounding to bfloat16 is
# off by 2^-9 at most, by 2^-10.8 on the mean; keys, values, queries and weights add up to 2^-9.8, four layers
# of them, each the input of the next, to some 2^-8 or 0.004, and random weights whose sums cancel may triple that. int8
# is off by 1/254 of a head's largest number at most, five times as much on the mean as bfloat16 of numbers
# a third as large. A wrong scale, pair or position is off by 0.3 and more.
KV_SIGMA = {"bf16": 0.015, "int8": 0.03}


@pytest.mark.parametrize("kv", KV_SIGMA)
@pytest.mark.parametrize("name", KV_CASES)
def test_rounded_keys_and_values_stay_near_and_do_not_depend_on_cuts_or_kernels(name, kv, checkpoint, logits,
                                                                               tmp_path):
    case = CASES[name]
    directory = checkpoint(case)
    exact = as_array(logits(directory, case["ids"], *case["logits"]), tmp_path).astype(np.float64)
    rounded = logits(directory, case["ids"], *case["logits"], "--kv-type", kv)
    error = np.sqrt(np.square(as_array(rounded, tmp_path) - exact).mean()) / exact.std()
    print(f"{name} {kv}: {error:.3g} sigma")
    assert 0 < error <= KV_SIGMA[kv]
    for args in (["--chunk", 1], ["--chunk", 7, "-t", 3], ["--cpu", "generic"]):
        assert logits(directory, case["ids"], *case["logits"], "--kv-type", kv, *args) == rounded


def test_ids_may_come_from_standard_input(checkpoint, logits, tmp_path):
    case = CASES["qwen3-tied"]
    out = tmp_path / "piped.npy"
    done = quern("logits", "-m", checkpoint(case), "--ids", "-", "-o", out, input=json.dumps(case["ids"]))
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == logits(checkpoint(case), case["ids"])


# ---- the same checkpoint spelled differently ------------------------------------------------------------

def read_tensors(directory):
    """name -> float32 array, of a checkpoint in one float32 file."""
    data = (directory / "model.safetensors").read_bytes()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + n])
    header.pop("__metadata__", None)
    body = data[8 + n:]
    return {name: np.frombuffer(body[slice(*t["data_offsets"])], np.float32).reshape(t["shape"])
            for name, t in header.items()}


def write_tensors(directory, tensors, header_padding=0):
    header, body = {}, b""
    for name, array in tensors.items():
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8 + header_padding)
    (directory / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)


def fuse_experts(tensors):
    """As transformers holds experts in memory: one tensor for gate and up of all, one for down."""
    fused = {k: v for k, v in tensors.items() if ".experts." not in k}
    for router in [k for k in tensors if k.endswith(".mlp.gate.weight")]:
        base = router[:-len("gate.weight")] + "experts."
        parts = {p: np.stack([tensors[f"{base}{e}.{p}_proj.weight"] for e in range(len(tensors[router]))])
                 for p in ("gate", "up", "down")}
        fused[base + "gate_up_proj"] = np.concatenate([parts["gate"], parts["up"]], axis=1)
        fused[base + "down_proj"] = parts["down"]
    return fused


SPELLINGS = {
    "fused experts": ("qwen3-moe", fuse_experts, 0),
    "no prefix": ("qwen3-untied", lambda t: {k.removeprefix("model."): v for k, v in t.items()}, 0),
    "a head beside a tied embedding": ("qwen3-tied", lambda t: {**t, "lm_head.weight": np.ones((256, 64), np.float32)}, 0),
    "old frequencies": ("llama3", lambda t: {**t, "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(8, np.float32)}, 0),
    "another order": ("qwen2", lambda t: dict(reversed(t.items())), 0),
    "data that is not aligned": ("qwen3-gqa4", lambda t: t, 1),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_of_a_checkpoint_do_not_change_a_byte(spelling, checkpoint, logits, tmp_path):
    name, change, header_padding = SPELLINGS[spelling]
    case, other = CASES[name], tmp_path / "other"
    other.mkdir()
    shutil.copy(checkpoint(case) / "config.json", other)
    write_tensors(other, change(read_tensors(checkpoint(case))), header_padding)
    assert logits(other, case["ids"]) == logits(checkpoint(case), case["ids"])


# ---- what goes wrong: one clear line, exit code not 0, no half-written file ------------------------------

def fails(tmp_path, directory, ids, *args):
    out = tmp_path / "failed.npy"
    done = quern("logits", "-m", directory, "--ids", "-", "-o", out, *args,
                 input=ids if isinstance(ids, str) else json.dumps(ids))
    assert done.returncode not in (0, None) and done.returncode > 0
    assert not out.exists()
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def test_a_context_that_is_too_short_is_an_error(checkpoint, tmp_path):
    error = fails(tmp_path, checkpoint(CASES["qwen3-tied"]), [1] * 80, "-c", 79)
    assert "80" in error and "79" in error


def test_more_ids_than_the_model_takes_are_an_error(checkpoint, tmp_path):
    error = fails(tmp_path, checkpoint(CASES["qwen3-tied"]), [1] * 513)
    assert "513" in error and "512" in error


@pytest.mark.parametrize("ids, text", [("[1, 256]", "256 at index 1"), ("[]", "0 ids"), ("[1,", ""), ('["a"]', "entry 0"),
                                       ("{}", "array"), ("[-1]", "entry 0"), ("[1.5]", "entry 0"), ("", "")])
def test_ids_that_are_none_are_an_error(ids, text, checkpoint, tmp_path):
    assert text in fails(tmp_path, checkpoint(CASES["qwen3-tied"]), ids)


@pytest.fixture
def broken(checkpoint, tmp_path):
    """A copy of a case's checkpoint to be damaged."""
    def copy(name):
        return pathlib.Path(shutil.copytree(checkpoint(CASES[name]), tmp_path / "broken"))
    return copy


def edit_config(directory, **changes):
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config.update(changes)
    path.write_text(json.dumps(config))


def test_a_shape_other_than_the_configs_is_named(broken, tmp_path):
    directory = broken("qwen3-tied")
    edit_config(directory, intermediate_size=161)
    error = fails(tmp_path, directory, [1])
    assert "mlp.gate_proj.weight" in error and "[160, 64]" in error and "[161, 64]" in error


def test_a_layer_too_many_in_the_config_is_a_missing_tensor(broken, tmp_path):
    directory = broken("qwen3-tied")
    edit_config(directory, num_hidden_layers=4)
    error = fails(tmp_path, directory, [1])
    assert "model.layers.3.input_layernorm.weight" in error and "missing" in error


def test_an_unknown_architecture_is_named(broken, tmp_path):
    directory = broken("qwen3-tied")
    edit_config(directory, architectures=["MambaForCausalLM"], model_type="mamba")
    assert "MambaForCausalLM" in fails(tmp_path, directory, [1])


def test_a_truncated_file_is_an_error(broken, tmp_path):
    directory = broken("qwen3-tied")
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "model.safetensors" in fails(tmp_path, directory, [1])


def test_a_missing_shard_is_named(broken, tmp_path):
    directory = broken("qwen3-sharded")
    shard = sorted(directory.glob("*.safetensors"))[1]
    shard.unlink()
    assert shard.name in fails(tmp_path, directory, [1])


def test_an_unknown_quantization_is_refused(broken, tmp_path):
    directory = broken("qwen3-tied")
    edit_config(directory, quantization_config={"quant_method": "aqlm", "bits": 2})
    assert "aqlm" in fails(tmp_path, directory, [1])


def test_an_output_that_cannot_be_written_is_an_error(checkpoint, tmp_path):
    done = quern("logits", "-m", checkpoint(CASES["qwen3-tied"]), "--ids", "-", "-o", tmp_path / "no" / "out.npy", input="[1]")
    assert done.returncode == 1 and "out.npy" in done.stderr


def test_options_that_are_missing_are_a_usage_error(checkpoint):
    done = quern("logits", "-m", checkpoint(CASES["qwen3-tied"]), "--ids", "-", input="[1]")
    assert done.returncode == 2 and "-o" in done.stderr
