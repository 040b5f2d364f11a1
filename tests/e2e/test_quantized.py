"""Quantized checkpoints of every published form (quantized_checkpoints.py makes them): quern logits against what
transformers computed from their values in float32 (tests/golden/make_quantized.py)."""
import json
import pathlib

import numpy as np
import pytest

import quantized_checkpoints as forms

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden" / "quantized"
MODELS = {m["name"]: m["ids"] for m in json.loads((GOLDEN / "models.json").read_text())}

# As in test_logits.py: the same float32 products added up in another order.
TOLERANCE_SIGMA = 1e-4


@pytest.fixture(scope="session")
def quantized(tmp_path_factory):
    base = tmp_path_factory.mktemp("quantized")

    def make(name):
        directory = base / name
        return directory if directory.exists() else forms.write(name, directory, quantized=True)
    return make


def logits_of(quern, directory, ids, out, *args):
    done = quern("logits", "-m", directory, "--ids", "-", "-o", out, *args, stdin=json.dumps(ids))
    assert done.code == 0, done.err
    assert done.err == "", "no tensor is surplus"
    return np.load(out)


def test_every_form_has_its_golden_file():
    assert list(MODELS) == list(forms.MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_the_values(name, quern, quantized, tmp_path):
    expected = np.load(GOLDEN / f"logits-{name}.npy")
    found = logits_of(quern, quantized(name), MODELS[name], tmp_path / "out.npy")
    worst = np.abs(found.astype(np.float64) - expected).max() / expected.std()
    print(f"{name}: {worst:.3g} sigma")
    assert worst <= TOLERANCE_SIGMA


def test_biases_of_zeros_and_scales_of_activations_are_no_surplus(quern, tmp_path):
    coded, _ = forms.make_tensors("gptq-int4")
    coded["model.layers.0.self_attn.q_proj.bias"] = np.zeros(128, np.float16)
    coded["model.layers.1.mlp.down_proj.input_scale"] = np.ones(1, np.float32)
    forms.write("gptq-int4", tmp_path / "model", quantized=True)
    forms.save(tmp_path / "model" / "model.safetensors", coded)
    logits_of(quern, tmp_path / "model", [1, 2], tmp_path / "out.npy")


def test_a_bias_that_would_be_lost_is_told_of(quern, tmp_path):
    coded, _ = forms.make_tensors("gptq-int4")
    coded["model.layers.0.self_attn.q_proj.bias"] = np.ones(128, np.float16)
    forms.write("gptq-int4", tmp_path / "model", quantized=True)
    forms.save(tmp_path / "model" / "model.safetensors", coded)
    done = quern("logits", "-m", tmp_path / "model", "--ids", "-", "-o", tmp_path / "out.npy", stdin="[1]")
    assert done.code == 0 and "q_proj.bias" in done.err


@pytest.mark.parametrize("name", ["awq", "gptq-desc-act", "bnb-nf4", "ct-w4a16-asym", "fp8"])
def test_every_part_that_is_missing_is_named(name, quern, quantized, tmp_path):
    coded, _ = forms.make_tensors(name)
    base = "model.layers.1.mlp.up_proj."
    for part in [t for t in coded if t.startswith(base)]:
        if part.endswith((".g_idx", ".weight_shape", ".weight_zero_point")):
            continue  # these may be absent
        forms.write(name, tmp_path / "model", quantized=True)
        forms.save(tmp_path / "model" / "model.safetensors", {k: v for k, v in coded.items() if k != part})
        done = quern("logits", "-m", tmp_path / "model", "--ids", "-", "-o", tmp_path / "out.npy", stdin="[1]")
        assert done.code == 1 and "up_proj" in done.err and len(done.err.splitlines()) == 1, (part, done.err)


@pytest.mark.parametrize("name", MODELS)
def test_inspect_checks_every_part(name, quern, quantized):
    done = quern("inspect", "--json", quantized(name))
    report = json.loads(done.out)
    assert done.code == 0 and not report["problems"], done.err
    assert all("not aligned" in note for note in report["notes"]), "no tensor is surplus"
    coded = [m for m in forms.matrices(forms.config_of(name)) if "down_proj" not in m or name != "awq-partial"]
    assert report["quantization"]["coded_matrices"] == len(coded) + (name == "gptq-v2-head")


def test_inspect_names_a_part_that_is_missing_and_a_method_that_is_unknown(quern, tmp_path):
    coded, _ = forms.make_tensors("awq")
    forms.write("awq", tmp_path / "model", quantized=True)
    forms.save(tmp_path / "model" / "model.safetensors", {k: v for k, v in coded.items()
                                                          if k != "model.layers.1.mlp.up_proj.scales"})
    done = quern("inspect", tmp_path / "model")
    assert done.code == 1 and "up_proj.scales" in done.err and "more" not in done.err
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "quip"}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    done = quern("inspect", tmp_path / "model")
    assert done.code == 1 and "quip" in done.err and "more" not in done.err
