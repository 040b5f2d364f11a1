"""quern quantize and quern eval kl: what is written, that it loads, and that failures leave nothing behind. Other
programs' reading of it is checked by tests/golden/make_quantize.py, which leaves the digests compared here."""
import hashlib
import json
import pathlib
import resource
import signal
import subprocess
import time

import numpy as np
import pytest

import quantized_checkpoints as forms
import scripted_model

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOKENIZER = ROOT / "tests" / "fixtures" / "qwen3-tiny"
GOLDEN = json.loads((ROOT / "tests" / "golden" / "quantize" / "digests.json").read_text())
TEXT = "The quick brown fox says hello to the world. 日本 2024, {\"a\": [1, 2, 3]}\n" * 40


def load(path):
    """name -> (dtype, array of its bytes' natural type)"""
    data = pathlib.Path(path).read_bytes()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + n])
    header.pop("__metadata__", None)
    types = {"BF16": np.uint16, "F32": np.float32, "F16": np.float16, "I32": np.int32, "I64": np.int64, "U8": np.uint8,
             "F8_E4M3": np.uint8}
    out = {}
    for name, t in header.items():
        begin, end = t["data_offsets"]
        assert begin % np.dtype(types[t["dtype"]]).itemsize == 0, f"{name} is not aligned"
        out[name] = (t["dtype"], np.frombuffer(data[8 + n + begin:8 + n + end], types[t["dtype"]]).reshape(t["shape"]))
    return out


def as_float(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


@pytest.fixture(scope="session")
def source(quern, tmp_path_factory):
    """A random model with matrices of several groups."""
    directory = tmp_path_factory.mktemp("quantize") / "model"
    config = directory.parent / "config.json"
    config.write_text(json.dumps(scripted_model.config(
        hidden_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=32,
        intermediate_size=256, tie_word_embeddings=True, max_position_embeddings=512)))
    made = quern("init", "--config", config, "-o", directory, "--tokenizer", TOKENIZER, "--seed", 5, "--dtype", "bf16",
                 "--randomize-norms")
    assert made.code == 0, made.err
    return directory


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return path


def quantize(quern, source, to, out, *args):
    done = quern("quantize", "-m", source, "--to", to, "-o", out, *args)
    assert done.code == 0, done.err
    assert not list(out.parent.glob("*.tmp")), "nothing temporary stays"
    return done


def kl(quern, model, ref, text, *args):
    done = quern("eval", "kl", "-m", model, "--ref", ref, "--text", text, "--json", *args)
    assert done.code == 0, done.err
    return json.loads(done.out)


WAYS = {"int8": [], "int4": [], "int4-calib": ["--calib"], "nf4": [], "fp8": []}


def run_way(quern, way, source, text, out):
    args = ["--calib", text] if WAYS[way] else []
    return quantize(quern, source, way.split("-")[0], out, *args)


@pytest.mark.parametrize("way", WAYS)
def test_the_bytes_are_those_that_other_programs_were_shown(way, quern, source, text, tmp_path):
    run_way(quern, way, source, text, tmp_path / "out")
    assert hashlib.sha256((tmp_path / "out" / "model.safetensors").read_bytes()).hexdigest() == GOLDEN[way]


@pytest.mark.parametrize("way", WAYS)
def test_a_directory_is_complete_and_near_its_source(way, quern, source, text, tmp_path):
    out = tmp_path / "out"
    done = run_way(quern, way, source, text, out)
    assert "Error of the" in done.out and len(done.out.splitlines()) == 5
    assert {p.name for p in out.iterdir()} == {p.name for p in source.iterdir()}
    config = json.loads((out / "config.json").read_text())
    before = json.loads((source / "config.json").read_text())
    assert "quantization_config" in config
    config.pop("quantization_config")
    assert config == before
    inspected = quern("inspect", out)
    assert inspected.code == 0, inspected.err
    found = kl(quern, out, source, text)
    # A random model's predictions are nearly flat, so that these are no measure of quality, but of blunders.
    assert found["kl_mean"] < 0.02 and found["tokens"] > 500


def test_divergence_shows_what_the_form_of_keys_and_values_costs(quern, source, text):
    found = {kv: kl(quern, source, source, text, "--kv-type", kv) for kv in ("f32", "bf16", "int8")}
    assert found["f32"]["kl_mean"] == 0 and found["f32"]["top1_agreement"] == 1
    # 8 and 7 bits of a number; predictions of a random model hardly depend on them.
    for kv in ("bf16", "int8"):
        assert 0 < found[kv]["kl_mean"] < 1e-3 and found[kv]["tokens"] == found["f32"]["tokens"]
    assert kl(quern, source, source, text)["kl_max"] == 0
    assert quern("eval", "kl", "-m", source, "--ref", source, "--kv-type", "int4").code == 2


def test_int8_codes_are_the_nearest(quern, source, tmp_path):
    quantize(quern, source, "int8", tmp_path / "out")
    before, after = load(source / "model.safetensors"), load(tmp_path / "out" / "model.safetensors")
    base = "model.layers.1.mlp.down_proj"
    w = as_float(before[base + ".weight"][1])
    scale = np.repeat(as_float(after[base + ".weight_scale"][1]), 128, 1)
    q = after[base + ".weight_packed"][1].view(np.uint8).astype(np.int64) - 128
    assert np.abs(q).max() <= 127 and np.abs(w - q * scale).max() <= 0.5001 * scale.max()
    assert (np.abs(w - q * scale) <= 0.5001 * scale).all()
    assert (after[base + ".weight_shape"][1] == w.shape).all()


def test_nf4_is_bitsandbytes_rule(quern, source, tmp_path):
    quantize(quern, source, "nf4", tmp_path / "out")
    before, after = load(source / "model.safetensors"), load(tmp_path / "out" / "model.safetensors")
    for base in ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"):
        blocks = as_float(before[base + ".weight"][1]).reshape(-1, 64)
        absmax = np.abs(blocks).max(1)
        v = blocks * (np.float32(1) / absmax)[:, None]
        codes = np.searchsorted((forms.NF4[:-1] + forms.NF4[1:]) / np.float32(2), v.ravel(), side="left")
        assert (after[base + ".weight"][1].ravel() == (codes[::2] << 4 | codes[1::2])).all()
        state = json.loads(bytes(after[base + ".weight.quant_state.bitsandbytes__nf4"][1]))
        assert state["shape"] == list(before[base + ".weight"][1].shape) and state["blocksize"] == 64
        assert np.float32(state["nested_offset"]) == np.float32(absmax.astype(np.float64).mean())
        nested = after[base + ".weight.nested_absmax"][1]
        decoded = after[base + ".weight.nested_quant_map"][1][after[base + ".weight.absmax"][1]] \
            * np.repeat(nested, 256)[:len(absmax)] + np.float32(state["nested_offset"])
        assert np.abs(decoded - absmax).max() < 0.01 * absmax.max()


def test_calibration_lowers_the_error_of_the_outputs(quern, source, text, tmp_path):
    quantize(quern, source, "int4", tmp_path / "plain")
    quantize(quern, source, "int4", tmp_path / "calibrated", "--calib", text)
    plain, calibrated = (kl(quern, tmp_path / d, source, text)["kl_mean"] for d in ("plain", "calibrated"))
    assert calibrated < 0.8 * plain


def test_threads_do_not_change_a_byte(quern, source, text, tmp_path):
    for way in WAYS:
        out = [tmp_path / f"{way}-{t}" for t in (1, 2, 3)]
        for t, directory in zip((1, 2, 3), out):
            args = ["--calib", text] if WAYS[way] else []
            quantize(quern, source, way.split("-")[0], directory, "-t", t, *args)
        assert len({(d / "model.safetensors").read_bytes() for d in out}) == 1, way


def test_shards_and_an_index_for_a_small_limit(quern, source, tmp_path):
    quantize(quern, source, "int4", tmp_path / "out", "--max-shard-size", "100KB")
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    assert (tmp_path / "out" / "model.safetensors.index.json").exists()
    assert quern("inspect", tmp_path / "out").code == 0


@pytest.mark.parametrize("name", ["gptq-int4-moe", "awq", "bnb-nf4-odd", "gptq-v2-head", "fp8-moe"])
@pytest.mark.parametrize("to", ["int8", "nf4", "fp8"])
def test_a_quantized_source_is_coded_anew(name, to, quern, tmp_path):
    source = forms.write(name, tmp_path / "source", quantized=True)
    quantize(quern, source, to, tmp_path / "out")
    for directory in (source, tmp_path / "out"):
        done = quern("logits", "-m", directory, "--ids", "-", "-o", directory / "l.npy", stdin="[1, 2, 3]")
        assert done.code == 0 and done.err == "", done.err
    a, b = np.load(source / "l.npy"), np.load(tmp_path / "out" / "l.npy")
    # Rounded twice: 0.6 % (int8), 2.6 % (fp8) or 9 % (nf4) of each matrix, through two layers.
    assert np.abs(a - b).std() < {"int8": 0.05, "fp8": 0.2, "nf4": 0.6}[to] * a.std()


def test_a_model_is_its_own_reference(quern, source, text):
    found = kl(quern, source, source, text, "-c", 64)
    assert found["kl_mean"] == 0 and found["kl_max"] == 0 and found["top1_agreement"] == 1 and found["context"] == 64


def test_kl_is_that_of_the_logits(quern, ids_of, source, text, tmp_path):
    quantize(quern, source, "int4", tmp_path / "out")
    found = kl(quern, tmp_path / "out", source, text, "-c", 512)
    ids = ids_of(TEXT)
    rows = []
    for directory in (tmp_path / "out", source):
        parts = []
        for at in range(0, len(ids), 512):
            out = tmp_path / "l.npy"
            assert quern("logits", "-m", directory, "--ids", "-", "-o", out, stdin=json.dumps(ids[at:at + 512])).code == 0
            parts.append(np.load(out).astype(np.float64))
        rows.append(np.concatenate(parts))
    logs = [r - r.max(1, keepdims=True) - np.log(np.exp(r - r.max(1, keepdims=True)).sum(1, keepdims=True)) for r in rows]
    expected = (np.exp(logs[1]) * (logs[1] - logs[0])).sum(1)
    assert found["tokens"] == len(ids)
    assert abs(found["kl_mean"] - expected.mean()) < 1e-6 * max(1, expected.mean())
    assert abs(found["top1_agreement"] - (rows[0].argmax(1) == rows[1].argmax(1)).mean()) < 1e-9


# ---- what goes wrong ------------------------------------------------------------------------------------------

def refused(done, *fragments):
    assert done.code in (1, 2), (done.code, done.err)
    for f in fragments:
        assert f in done.err, done.err


def test_a_directory_that_is_not_empty_stays_as_it_is(quern, source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("mine")
    refused(quern("quantize", "-m", source, "--to", "int8", "-o", tmp_path / "out"), "not an empty directory")
    assert [p.name for p in tmp_path.iterdir()] == ["out"] and [p.name for p in (tmp_path / "out").iterdir()] == ["file"]


def test_an_empty_directory_is_filled(quern, source, tmp_path):
    (tmp_path / "out").mkdir()
    quantize(quern, source, "int8", tmp_path / "out")
    assert (tmp_path / "out" / "config.json").exists()


def test_usage_errors(quern, source, tmp_path):
    out = tmp_path / "out"
    refused(quern("quantize", "-m", source, "--to", "int3", "-o", out), "int3")
    refused(quern("quantize", "-m", source, "--to", "int8"), "-o DIR")
    refused(quern("quantize", "-m", source, "-o", out), "--to")
    refused(quern("quantize", "-m", source, "--to", "int8", "-o", out, "--calib", "x"), "--calib")
    refused(quern("eval", "kl", "-m", source), "--ref")
    refused(quern("eval", "ppl", "-m", source, "--ref", source), "--ref")
    assert not list(tmp_path.iterdir())


def test_matrices_that_no_group_divides_are_refused(quern, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(scripted_model.config(hidden_size=56, num_hidden_layers=1, num_attention_heads=2,
                                                       num_key_value_heads=1, head_dim=16, intermediate_size=96)))
    assert quern("init", "--config", config, "-o", tmp_path / "model").code == 0
    refused(quern("quantize", "-m", tmp_path / "model", "--to", "int8", "-o", tmp_path / "out"), "q_proj", "16")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_nothing_behind(program, environment, source, tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as a full disk: the write fails
        resource.setrlimit(resource.RLIMIT_FSIZE, (150000, 150000))
    done = subprocess.run([program, "quantize", "-m", source, "--to", "int8", "-o", tmp_path / "out"],
                          preexec_fn=limit, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 1 and "model.safetensors" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing_behind(program, environment, source, tmp_path):
    long = tmp_path / "long.txt"
    long.write_text(TEXT * 200)
    running = subprocess.Popen([program, "quantize", "-m", source, "--to", "int4", "--calib", long, "--calib-tokens",
                                "1000000", "-o", tmp_path / "out"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=environment)
    end = time.monotonic() + 60
    while not list(tmp_path.glob("out.*.tmp/config.json")) and time.monotonic() < end and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert b"interrupted" in err
    assert [p.name for p in tmp_path.iterdir()] == ["long.txt"]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("form", ["int8", "int4"])
def test_a_coded_head_stands_beside_an_embedding_as_it_was(quern, tmp_path, form, tied):
    config = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 192, "head_dim": 32,
              "intermediate_size": 448, "num_hidden_layers": 1, "num_attention_heads": 6, "num_key_value_heads": 2,
              "vocab_size": 608, "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000,
              "tie_word_embeddings": tied, "torch_dtype": "bfloat16", "hidden_act": "silu"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    source, out = tmp_path / "source", tmp_path / "out"
    assert quern("init", "--config", tmp_path, "-o", source).code == 0
    done = quern("quantize", "-m", source, "--to", form, "--embed-weights", "int8", "-o", out)
    assert done.code == 0, done.err
    written = json.loads((out / "config.json").read_text())
    assert written["tie_word_embeddings"] is False
    assert written["quantization_config"]["config_groups"]["group_1"]["targets"] == ["re:.*lm_head$"]
    assert "lm_head" not in written["quantization_config"]["ignore"]
    data = (out / "model.safetensors").read_bytes()
    header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    assert header["lm_head.weight_packed"]["shape"] == [608, 192 // 4] and "lm_head.weight" not in header
    assert header["model.embed_tokens.weight"]["dtype"] == "BF16"
    # What is written is what --embed-weights would have made of the head.
    (tmp_path / "ids.json").write_text("[1, 5, 9, 13, 200, 44, 7, 8]")
    logits = []
    for model in (out, source):
        done = quern("logits", "-m", model, "--ids", tmp_path / "ids.json", "-o", tmp_path / "l.npy", "--math", "exact")
        assert done.code == 0, done.err
        logits.append(np.load(tmp_path / "l.npy").astype(float))
    # int8 loses 1 %, int4 30 % of a random layer's logits: far from what a wrong scale would cost.
    assert np.abs(logits[0] - logits[1]).std() < {"int8": 0.05, "int4": 0.6}[form] * logits[1].std()


@pytest.mark.parametrize("form", ["nf4", "fp8"])
def test_a_coded_head_has_no_layout_in_nf4_and_fp8(quern, tmp_path, form):
    done = quern("quantize", "--to", form, "--embed-weights", "int8", "-o", tmp_path / "out")
    assert done.code == 2 and "goes with --to int8 or int4" in done.err
