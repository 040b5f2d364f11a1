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


# ---- quern merge -------------------------------------------------------------------------------------------------

def merge(model, out, *args):
    done = quern("merge", "-m", model, "-o", out, *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sigma(found, expected):
    return np.abs(found.astype(np.float64) - expected).max() / expected.std()


@pytest.mark.parametrize("name", CASES)
def test_a_merged_model_gives_the_logits_of_peft(name, checkpoint, logits, tmp_path):
    case = CASES[name]
    merge(checkpoint(test_logits.CASES[case["base"]]), tmp_path / "merged", "--dtype", "f32", *options(case))
    found = as_array(logits(tmp_path / "merged", ids_of(case)), tmp_path)
    worst = sigma(found, np.load(GOLDEN / f"{name}.npy"))
    print(f"{name}: {worst:.3g} sigma")
    # Weights are rounded to float32 once more than in the unmerged computation.
    assert worst <= test_logits.TOLERANCE_SIGMA


def test_a_merged_weight_is_the_float32_sum_rounded_once(checkpoint, tmp_path):
    case = CASES["bf16"]
    directory = checkpoint(test_logits.CASES[case["base"]])
    merge(directory, tmp_path / "bf16", *options(case))
    merge(directory, tmp_path / "f32", "--dtype", "f32", *options(case))
    exact = read_tensors(tmp_path / "f32")
    rounded = (tmp_path / "bf16" / "model.safetensors").read_bytes()
    n = int.from_bytes(rounded[:8], "little")
    header = json.loads(rounded[8:8 + n])
    for name, wanted in exact.items():
        begin, end = header[name]["data_offsets"]
        assert header[name]["dtype"] == "BF16"
        bits = wanted.reshape(-1).view(np.uint32).astype(np.uint64)
        nearest_even = ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        assert (np.frombuffer(rounded[8 + n + begin:8 + n + end], np.uint16) == nearest_even).all(), name


def test_a_tied_head_that_changes_alone_becomes_a_matrix_of_its_own(checkpoint, logits, tmp_path):
    """Tied again it would be lost (transformers 45127)."""
    case = CASES["head"]
    directory = checkpoint(test_logits.CASES[case["base"]])
    said = merge(directory, tmp_path / "merged", *options(case))
    assert "matrix of its own" in said
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["tie_word_embeddings"] is False
    before, after = read_tensors(directory), read_tensors(tmp_path / "merged")
    assert (after["model.embed_tokens.weight"] == before["model.embed_tokens.weight"]).all()
    assert (after["lm_head.weight"] != before["model.embed_tokens.weight"]).any()
    other = tmp_path / "tied"
    merge(directory, other, "--adapter", GOLDEN / "rslora")
    assert json.loads((other / "config.json").read_text())["tie_word_embeddings"] is True
    assert "lm_head.weight" not in read_tensors(other)


def save_embedding(directory, embedding, **config):
    import adapter_file
    directory.mkdir()
    (directory / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "r": 1, "target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], **config}))
    adapter_file.write_safetensors(directory / "adapter_model.safetensors", {"base_model.model.model.embed_tokens.weight": embedding})


def test_a_tied_embedding_that_is_saved_whole_leaves_the_head_unless_it_is_meant_for_both(checkpoint, tmp_path):
    directory = checkpoint(test_logits.CASES["qwen3-tied"])
    old = read_tensors(directory)["model.embed_tokens.weight"]
    new = old + np.float32(0.5)
    save_embedding(tmp_path / "alone", new)
    save_embedding(tmp_path / "both", new, ensure_weight_tying=True)
    for name, heads in (("alone", old), ("both", None)):
        merge(directory, tmp_path / f"{name}-merged", "--adapter", tmp_path / name)
        tensors = read_tensors(tmp_path / f"{name}-merged")
        assert (tensors["model.embed_tokens.weight"] == new).all()
        assert heads is None and "lm_head.weight" not in tensors or (tensors["lm_head.weight"] == heads).all()


@pytest.mark.parametrize("to", ["nf4", "int8", "fp8"])
@pytest.mark.parametrize("dora", [False, True])
def test_over_a_quantized_base_merged_and_beside_are_the_same(to, dora, checkpoint, logits, tmp_path):
    """DoRA's norms are those of the dequantized weights."""
    import adapter_file
    case = test_logits.CASES["qwen3-tied"]
    coded = tmp_path / "coded"
    done = quern("quantize", "-m", checkpoint(case), "--to", to, "-o", coded)
    assert done.returncode == 0, done.stderr
    adapter_file.make(tmp_path / "adapter", checkpoint(case), seed=3, use_dora=dora)
    said = merge(coded, tmp_path / "merged", "--adapter", tmp_path / "adapter", "--dtype", "f32")
    assert "quantized" in said and "f32" in said
    ids = case["ids"][:40]
    beside = as_array(logits(coded, ids, "--adapter", tmp_path / "adapter"), tmp_path)
    assert sigma(beside, as_array(logits(coded, ids), tmp_path).astype(np.float64)) > 0.05
    assert sigma(as_array(logits(tmp_path / "merged", ids), tmp_path), beside) <= test_logits.TOLERANCE_SIGMA
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert "quantization_config" not in config
    said = merge(coded, tmp_path / "short", "--adapter", tmp_path / "adapter")
    assert "bf16" in said and json.loads((tmp_path / "short" / "config.json").read_text())["torch_dtype"] == "bfloat16"


def test_experts_with_adapters_of_their_own_merged_and_beside_are_the_same(checkpoint, logits, tmp_path):
    import adapter_file
    case = test_logits.CASES["qwen3-moe"]
    directory = checkpoint(case)
    rng = np.random.default_rng(5)
    tensors = {}
    for name, w in read_tensors(directory).items():
        if ".experts." in name or "self_attn.q_proj" in name:
            base = "base_model.model." + name.removesuffix(".weight")
            tensors[base + ".lora_A.weight"] = rng.standard_normal((2, w.shape[1])).astype(np.float32) / np.float32(w.shape[1] ** 0.5)
            tensors[base + ".lora_B.weight"] = rng.standard_normal((w.shape[0], 2)).astype(np.float32) * np.float32(0.3)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "gate_proj", "up_proj", "down_proj"]}))
    adapter_file.write_safetensors(adapter / "adapter_model.safetensors", tensors)
    merge(directory, tmp_path / "merged", "--adapter", adapter)
    beside = logits(directory, case["ids"], "--adapter", adapter)
    assert beside == logits(directory, case["ids"], "--adapter", adapter, "--chunk", 3)
    plain = as_array(logits(directory, case["ids"]), tmp_path).astype(np.float64)
    beside = as_array(beside, tmp_path)
    assert sigma(beside, plain) > 0.05
    assert sigma(as_array(logits(tmp_path / "merged", case["ids"]), tmp_path), beside) <= test_logits.TOLERANCE_SIGMA


@pytest.mark.parametrize("args, text", [
    (["--adapter", "{nowhere}"], "no such directory"), (["--adapter", "{dora-bias}"], "another model"),
    (["--adapter", "{layers}"] * 9, "1 to 8"), (["--adapter", "{layers}", "--max-shard-size", "x"], "no size")])
def test_a_merge_that_cannot_be_leaves_nothing(args, text, checkpoint, tmp_path):
    args = [str(GOLDEN / a[1:-1]) if a.startswith("{") else a for a in args]
    done = quern("merge", "-m", checkpoint(test_logits.CASES["qwen3-gqa4"]), "-o", tmp_path / "out", *args)
    assert done.returncode in (1, 2) and text in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_module_the_model_does_not_have_is_not_passed_over(checkpoint, tmp_path):
    """An adapter of three layers on a model of one."""
    directory = tmp_path / "short"
    shutil.copytree(checkpoint(test_logits.CASES["qwen3-gqa4"]), directory)
    config = json.loads((directory / "config.json").read_text())
    config["num_hidden_layers"] -= 1
    config.pop("layer_types", None)
    (directory / "config.json").write_text(json.dumps(config))
    done = quern("merge", "-m", directory, "-o", tmp_path / "out", "--adapter", GOLDEN / "lora")
    assert done.returncode == 1 and f"layers.{config['num_hidden_layers']}." in done.stderr
    assert not (tmp_path / "out").exists()


# ---- quern export-adapter, quern inspect, quern bench ------------------------------------------------------------

def read_gguf(path):
    """Keys and tensors of a file of strings, floats and float32 matrices."""
    import struct
    data, at = path.read_bytes(), 0

    def take(form):
        nonlocal at
        (value,) = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return value

    def text():
        nonlocal at
        n = take("Q")
        at += n
        return data[at - n:at].decode()
    assert data[:4] == b"GGUF"
    at = 4
    assert take("I") == 3
    n_tensors, n_keys = take("Q"), take("Q")
    keys = {text(): {4: lambda: take("I"), 6: lambda: take("f"), 8: text}[take("I")]() for _ in range(n_keys)}
    infos = []
    for _ in range(n_tensors):
        name, sides = text(), [take("Q") for _ in range(take("I"))]
        assert take("I") == 0
        infos.append((name, sides, take("Q")))
    at += -at % 32
    return keys, {name: np.frombuffer(data, np.float32, np.prod(sides), at + offset).reshape(sides[::-1]) for name, sides, offset in infos}


@pytest.mark.parametrize("name, scale", [("lora", 1), ("rslora", 1), ("patterns", 0.5), ("patterns-rslora", -2), ("bf16", 1)])
def test_an_exported_adapter_means_what_peft_means(name, scale, checkpoint, tmp_path):
    """A reader of GGUF scales by alpha / r alone (rsLoRA's scale is wrong in some, TensorRT-LLM 1668)."""
    base = CASES[name]["base"]
    out = tmp_path / "out.gguf"
    done = quern("export-adapter", "-m", checkpoint(test_logits.CASES[base]), "--adapter", f"{GOLDEN / name}:{scale}", "-o", out)
    assert done.returncode == 0, done.stderr
    keys, tensors = read_gguf(out)
    assert (keys["general.type"], keys["general.architecture"], keys["adapter.type"]) == ("adapter", "qwen3", "lora")
    described = json.loads(quern("inspect", "--json", GOLDEN / name).stdout)
    theirs = read_adapter(GOLDEN / name)
    short = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    assert len(tensors) == 2 * len(described["modules"])
    for m in described["modules"]:
        _, _, layer, rest = m["name"].split(".", 3)
        a, b = (tensors[f"blk.{layer}.{short[rest]}.weight.lora_{x}"].astype(np.float64) for x in "ab")
        found = keys["adapter.lora.alpha"] / len(a) * b @ a
        theirs_a, theirs_b = (theirs[f"base_model.model.{m['name']}.lora_{x}.weight"].astype(np.float64) for x in "AB")
        wanted = scale * m["scale"] * theirs_b @ theirs_a
        assert np.abs(found - wanted).max() <= 1e-6 * np.abs(wanted).max(), m


def read_adapter(directory):
    data = (directory / "adapter_model.safetensors").read_bytes()
    n = int.from_bytes(data[:8], "little")
    found = {}
    for name, t in json.loads(data[8:8 + n]).items():
        if name != "__metadata__":
            raw = data[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]]
            array = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32) if t["dtype"] == "BF16" \
                else np.frombuffer(raw, np.float32)
            found[name] = array.reshape(t["shape"])
    return found


@pytest.mark.parametrize("name, text", [("dora", "use_dora"), ("saved", "modules_to_save"), ("head", "embedding"), ("dora-mlp-bias", "order")])
def test_what_gguf_has_no_place_for_is_refused_and_leaves_nothing(name, text, checkpoint, tmp_path):
    done = quern("export-adapter", "-m", checkpoint(test_logits.CASES[CASES[name]["base"]]), "--adapter", GOLDEN / name,
                 "-o", tmp_path / "out.gguf")
    assert done.returncode == 1 and text in done.stderr and list(tmp_path.iterdir()) == []


def test_an_export_for_another_model_is_refused(checkpoint, tmp_path):
    done = quern("export-adapter", "-m", checkpoint(test_logits.CASES["qwen3-tied"]), "--adapter", GOLDEN / "lora", "-o", tmp_path / "x.gguf")
    assert done.returncode == 1 and "another model" in done.stderr


def test_inspect_shows_what_an_adapter_is():
    done = quern("inspect", GOLDEN / "patterns-rslora")
    assert done.returncode == 0, done.stderr
    for text in ("rsLoRA", "qwen3-untied", "r 4, alpha 6", "mlp.up_proj", "rank 2", "scale 6"):
        assert text in done.stdout, text
    found = json.loads(quern("inspect", "--json", GOLDEN / "patterns").stdout)
    modules = {m["name"]: m for m in found["modules"]}
    assert modules["model.layers.1.mlp.down_proj"]["rank"] == 6 and modules["model.layers.1.mlp.down_proj"]["scale"] == 0.5
    assert modules["model.layers.0.self_attn.k_proj"]["scale"] == 5
    assert "DoRA" in quern("inspect", GOLDEN / "dora").stdout and "lm_head.weight" in quern("inspect", GOLDEN / "saved").stdout
    assert "model.layers.2.self_attn.q_proj" in quern("inspect", "--tensors", GOLDEN / "lora").stdout


def test_inspect_says_when_an_adapter_was_not_trained_or_holds_no_numbers(tmp_path):
    """Checkpointing once left lora_B zero (peft 1142); gibberish is noticed before it is served (llama.cpp 3852)."""
    import adapter_file
    for value, code, text in ((0, 0, "not trained"), (np.nan, 1, "no numbers")):
        directory = tmp_path / text
        directory.mkdir()
        (directory / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 1, "target_modules": ["q_proj"]}))
        base = "base_model.model.model.layers.0.self_attn.q_proj."
        adapter_file.write_safetensors(directory / "adapter_model.safetensors", {
            base + "lora_A.weight": np.ones((1, 8), np.float32), base + "lora_B.weight": np.full((8, 1), value, np.float32)})
        done = quern("inspect", directory)
        assert done.returncode == code and text in done.stdout + done.stderr


def test_bench_measures_with_an_adapter(checkpoint):
    directory = checkpoint(test_logits.CASES["qwen3-gqa4"])
    done = quern("bench", "-m", directory, "--adapter", GOLDEN / "lora", "-p", 8, "-n", 2, "-r", 1)
    assert done.returncode == 0, done.stderr
    assert quern("bench", "-m", directory, "--adapter", GOLDEN / "rslora", "-p", 8, "-n", 2, "-r", 1).returncode == 1
