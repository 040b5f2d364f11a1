"""LoRA adapters: logits against transformers and peft (tests/golden/make_adapters.py), against themselves, and what
is refused."""
import json
import pathlib
import shutil

import numpy as np
import pytest

import test_logits
from test_logits import as_array, checkpoint, logits, quern, read_tensors, write_tensors  # noqa: F401 (fixtures)

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests" / "golden" / "adapters"
CASES = {c["name"]: c for c in json.loads((GOLDEN / "cases.json").read_text())}
MERGED_ONLY = {"saved"}


def options(case):
    return [w for name, scale in case["adapters"] for w in ("--adapter", f"{GOLDEN / name}:{scale}")]


def ids_of(case):
    return test_logits.CASES[case["base"]]["ids"][:40]


@pytest.mark.parametrize("name", [n for n in CASES if n not in MERGED_ONLY])
def test_logits_are_those_of_peft(name, checkpoint, logits, tmp_path):
    case = CASES[name]
    expected = np.load(GOLDEN / f"{name}.npy")
    directory = checkpoint(test_logits.CASES[case["base"]])
    found = as_array(logits(directory, ids_of(case), *options(case)), tmp_path)
    worst = np.abs(found.astype(np.float64) - expected).max() / expected.std()
    print(f"{name}: {worst:.3g} sigma")
    assert worst <= test_logits.TOLERANCE_SIGMA


@pytest.mark.parametrize("name", ["lora", "dora-bias", "stacked", "head", "bf16"])
def test_chunks_threads_and_instruction_sets_do_not_change_a_byte(name, checkpoint, logits, tmp_path):
    case = CASES[name]
    directory = checkpoint(test_logits.CASES[case["base"]])
    whole = logits(directory, ids_of(case), *options(case), "--chunk", 1000, "-t", 1)
    for args in (["--chunk", 1], ["--chunk", 7, "-t", 2], ["-t", 2], ["--cpu", "generic"]):
        assert logits(directory, ids_of(case), *options(case), *args) == whole, args
    for cpu in ("avx2", "avx512", "neon"):
        probe = quern("logits", "-m", directory, "--ids", "-", "-o", tmp_path / "probe.npy", "--cpu", cpu, input="[1]")
        if probe.returncode == 0:
            assert logits(directory, ids_of(case), *options(case), "--cpu", cpu) == whole, cpu


def test_a_scale_of_0_is_the_base(checkpoint, logits):
    case = CASES["lora"]
    directory = checkpoint(test_logits.CASES[case["base"]])
    # y + 0 * z is y but for the sign of a zero, and no sum comes to -0 here.
    assert logits(directory, ids_of(case), "--adapter", f"{GOLDEN / 'lora'}:0") == logits(directory, ids_of(case))


# ---- what is refused ---------------------------------------------------------------------------------------------

def refused(tmp_path, checkpoint, base, adapter, scale=""):
    out = tmp_path / "failed.npy"
    done = quern("logits", "-m", checkpoint(test_logits.CASES[base]), "--ids", "-", "-o", out, "--adapter",
                 f"{adapter}{scale}", input="[1]")
    assert done.returncode == 1 and not out.exists()
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


@pytest.fixture
def edited(tmp_path):
    """A copy of a golden adapter with other keys in its configuration."""
    def edit(name, **changes):
        directory = tmp_path / "edited"
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(GOLDEN / name, directory)
        path = directory / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        return directory
    return edit


@pytest.mark.parametrize("change, text", [
    ({"fan_in_fan_out": True}, "fan_in_fan_out"), ({"bias": "all"}, "bias"), ({"peft_type": "LOHA"}, "LOHA"),
    ({"peft_type": None}, "peft_type"), ({"lora_bias": True}, "lora_bias"), ({"r": 0}, "r"), ({"r": "4"}, "r"),
    ({"use_dora": True}, "use_dora"), ({"init_lora_weights": "pissa"}, "pissa"), ({"layer_replication": [[0, 1]]}, "layer_replication"),
    ({"alora_invocation_tokens": [1]}, "alora"), ({"target_modules": ["q_proj"]}, "target_modules"),
    ({"target_modules": "(("}, "target_modules"), ({"target_modules": None}, "target_modules"), ({"r": 5}, "rank 4"),
    ({"rank_pattern": {"q_proj": 3}}, "rank 4"), ({"rank_pattern": {"q_proj": 0.5}}, "rank_pattern"), ({"lora_alpha": "x"}, "lora_alpha"),
    ({"alpha_pattern": {"(": 1}}, "alpha_pattern"), ({"layers_to_transform": [0]}, "target_modules"),
    ({"rank_pattern": {"((a+)+)+b": 4}, "target_modules": "(.*a?)*(.*b?)*(.*c?)*x"}, ""),
])
def test_a_configuration_that_does_not_fit_is_refused_by_name(change, text, edited, checkpoint, tmp_path):
    assert text in refused(tmp_path, checkpoint, "qwen3-gqa4", edited("lora", **change))


def test_unknown_keys_are_ignored(edited, checkpoint, logits):
    case = CASES["lora"]
    directory = checkpoint(test_logits.CASES[case["base"]])
    other = edited("lora", something_of_a_later_version={"x": [1]}, peft_version="9.9", use_rslora=None)
    assert logits(directory, ids_of(case), "--adapter", other) == logits(directory, ids_of(case), *options(case))


def test_an_adapter_of_another_model_is_refused(checkpoint, tmp_path):
    error = refused(tmp_path, checkpoint, "qwen3-tied", GOLDEN / "lora")
    assert "another model" in error and "down_proj" in error


def test_a_head_of_another_model_is_refused(checkpoint, tmp_path):
    """peft writes the base's own head along: it must be the model's."""
    directory = tmp_path / "other-head"
    shutil.copytree(GOLDEN / "head", directory)
    path = directory / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    n = int.from_bytes(data[:8], "little")
    at = json.loads(data[8:8 + n])["base_model.model.lm_head.base_layer.weight"]["data_offsets"][0]
    data[8 + n + at + 3] ^= 0x40
    path.write_bytes(data)
    assert "lm_head" in refused(tmp_path, checkpoint, "qwen3-tied", directory)


def test_modules_saved_whole_are_refused_with_the_way_out(checkpoint, tmp_path):
    error = refused(tmp_path, checkpoint, "qwen3-untied", GOLDEN / "saved")
    assert "lm_head.weight" in error and "quern merge" in error


def test_an_empty_adapter_is_refused(checkpoint, tmp_path):
    """What saving under ZeRO-3 once left (peft 2892)."""
    directory = tmp_path / "empty"
    shutil.copytree(GOLDEN / "lora", directory)
    header = b'{"__metadata__":{"format":"pt"}}'
    (directory / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert "empty" in refused(tmp_path, checkpoint, "qwen3-gqa4", directory)


@pytest.mark.parametrize("file, text", [("adapter_config.json", "adapter_config.json"), ("adapter_model.safetensors", "adapter_model.safetensors")])
def test_a_missing_file_is_named(file, text, checkpoint, tmp_path):
    directory = tmp_path / "part"
    shutil.copytree(GOLDEN / "lora", directory)
    (directory / file).unlink()
    assert text in refused(tmp_path, checkpoint, "qwen3-gqa4", directory)


def test_no_directory_and_no_scale_are_told(checkpoint, tmp_path):
    assert "no such directory" in refused(tmp_path, checkpoint, "qwen3-gqa4", tmp_path / "nowhere")
    assert "no such directory" in refused(tmp_path, checkpoint, "qwen3-gqa4", GOLDEN / "lora", ":half")
    assert "expected DIR" in refused(tmp_path, checkpoint, "qwen3-gqa4", GOLDEN / "lora", ":inf")
