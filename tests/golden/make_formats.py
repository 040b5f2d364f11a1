#!/usr/bin/env python3
"""Golden files for src/formats, from the safetensors library and transformers.

formats/reference.safetensors   a file of the reference writer, of many element types
formats/reference.json          what is in it
formats/configs.json            configurations in many spellings, and what transformers makes of them
formats/checkpoints.json        SHA-256 of every tensor `quern init` writes for the configurations in
                                tests/fixtures/configs. Before they are written down, each file is read by
                                the safetensors library, every number is computed anew here from the definition
                                of the random numbers, and transformers loads the checkpoint without a missing or
                                an unexpected tensor.
"""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import huggingface_hub
import numpy as np
import safetensors
import safetensors.torch
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "golden" / "formats"
QUERN = os.environ.get("QUERN") or str(ROOT / "build" / "release" / "quern")

CHECKPOINTS = [
    {"config": "qwen3_new_keys", "seed": 0, "options": []},
    {"config": "qwen3_moe", "seed": 1, "options": ["--randomize-norms", "--max-shard-size", "100KB"]},
    {"config": "qwen2", "seed": 9007199254740991, "options": ["--randomize-norms", "--dtype", "f16"]},
    {"config": "llama3", "seed": 7, "options": ["--randomize-norms", "--dtype", "bf16"]},
]


# ---- the random numbers, by their definition (src/base/rng.h) ---------------------------

def philox(seed, stream, index):
    """Philox4x32-10 of an array of indices: [n, 4] words."""
    mask = np.uint64(0xFFFFFFFF)
    c = [index & mask, index >> np.uint64(32),
         np.full_like(index, stream & 0xFFFFFFFF), np.full_like(index, stream >> 32)]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), p1 & mask,
             (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), p0 & mask]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(c, axis=1)


def normal(seed, stream, n):
    words = philox(seed, stream, np.arange(n, dtype=np.uint64)).astype(np.int64)
    total = ((words & 0xFFFF) + (words >> 16)).sum(axis=1) - 8 * 65535 // 2
    return total.astype(np.float32) * np.float32(float.fromhex("0x1.3988e2p-16"))


def fnv1a(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & (2 ** 64 - 1)
    return h


def expected(name, shape, case, config):
    n = int(np.prod(shape))
    is_norm, is_bias = "norm" in name, name.endswith(".bias")
    deviation = np.float32(config.get("initializer_range", 0.02))
    if is_norm or is_bias:
        deviation = np.float32(0.1 if "--randomize-norms" in case["options"] else 0)
    values = normal(case["seed"], fnv1a(name), n) * deviation
    return torch.from_numpy((np.float32(1 if is_norm else 0) + values).reshape(shape))


# ---- the checkpoints ----------------------------------------------------------------------

def make_checkpoint(case, directory):
    config = ROOT / "tests" / "fixtures" / "configs" / f"{case['config']}.json"
    subprocess.run([QUERN, "init", "--config", str(config), "-o", str(directory), "--seed", str(case["seed"]),
                    *case["options"]], check=True, stdout=subprocess.DEVNULL)
    tensors = {}
    for path in sorted(directory.glob("*.safetensors")):
        with safetensors.safe_open(path, framework="pt") as f:
            assert f.metadata() == {"format": "pt"}
            tensors.update({name: f.get_tensor(name) for name in f.keys()})
    values = json.loads(config.read_text())
    for name, tensor in tensors.items():
        want = expected(name, tuple(tensor.shape), case, values).to(tensor.dtype)
        assert torch.equal(tensor, want), f"{case['config']}: {name} is not what its definition says"
    model, info = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype="auto",
                                                                    output_loading_info=True)
    assert not any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    assert sum(t.numel() for t in tensors.values()) == sum(p.numel() for p in model.parameters())
    return {name: hashlib.sha256(t.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
            for name, t in sorted(tensors.items())}


def make_reference():
    tensors = {
        "f32": torch.tensor([[1.0, -2.5], [3e38, 1e-45]]),
        "f16": torch.tensor([1.0, 65504.0, 6e-8], dtype=torch.float16),
        "bf16": torch.tensor([[1.0], [3.1415926]], dtype=torch.bfloat16),
        "f64": torch.tensor(2.0, dtype=torch.float64),
        "i64": torch.tensor([-(2 ** 63), 2 ** 63 - 1]),
        "i32": torch.tensor([-1], dtype=torch.int32),
        "i16": torch.tensor([-2, 3], dtype=torch.int16),
        "i8": torch.tensor([-128, 127, 0], dtype=torch.int8),
        "u8": torch.arange(5, dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
        "f8_e4m3": torch.tensor([1.5, -448.0]).to(torch.float8_e4m3fn),
        "f8_e5m2": torch.tensor([1.5, -57344.0]).to(torch.float8_e5m2),
        "empty": torch.zeros(0, 3),
        "name with spaces, \"quotes\" and é": torch.zeros(1, 1, 1, 1),
    }
    safetensors.torch.save_file(tensors, OUT / "reference.safetensors", metadata={"format": "pt", "note": "é"})
    data = (OUT / "reference.safetensors").read_bytes()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + n])
    del header["__metadata__"]
    described = [{"name": name, "dtype": t["dtype"], "shape": t["shape"],
                  "data": data[8 + n:][slice(*t["data_offsets"])].hex()}
                 for name, t in sorted(header.items(), key=lambda item: item[1]["data_offsets"])]
    write_json("reference.json", described)


# ---- configurations -------------------------------------------------------------------------

BASE = {"vocab_size": 96, "hidden_size": 48, "intermediate_size": 32, "num_hidden_layers": 4,
        "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 4096}
CLASSES = {"qwen3": "Qwen3ForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM", "qwen2": "Qwen2ForCausalLM",
           "llama": "LlamaForCausalLM"}
VARIANTS = [
    {},
    {"num_key_value_heads": None},
    {"head_dim": 16},
    {"rope_theta": 500000.0},
    {"rope_theta": 1000000, "rope_scaling": None},
    {"rope_scaling": {"type": "linear", "factor": 2}},
    {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}, "rope_theta": 20000},
    {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}, "rope_theta": 1e6},
    {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
    {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "attention_factor": 1.25, "beta_fast": 16.0, "beta_slow": 2.0,
                      "original_max_position_embeddings": 2048, "truncate": False}},
    {"rope_scaling": {"rope_type": "yarn", "factor": 8.0, "mscale": 0.7, "mscale_all_dim": 1.1,
                      "original_max_position_embeddings": 512}},
    {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                      "original_max_position_embeddings": 1024}, "rope_theta": 500000.0},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 12345.0}},
    {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0,
                         "original_max_position_embeddings": 1024}, "rope_theta": 777.0},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 1.0e4},
     "rope_scaling": {"rope_type": "linear", "factor": 3.0}, "rope_theta": 2.0e4},
    {"rope_scaling": {}, "rope_parameters": {"rope_type": "linear", "factor": 5.0}},
    {"use_sliding_window": True, "sliding_window": 128, "max_window_layers": 2},
    {"use_sliding_window": True, "sliding_window": 128, "max_window_layers": 0},
    {"use_sliding_window": True, "sliding_window": 128},
    {"use_sliding_window": True, "sliding_window": None, "max_window_layers": 1},
    {"use_sliding_window": True, "max_window_layers": 3},
    {"use_sliding_window": False, "sliding_window": 128, "max_window_layers": 0},
    {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 0,
     "layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]},
    {"attention_bias": True},
    {"mlp_bias": True},
    {"tie_word_embeddings": True, "rms_norm_eps": 1e-5},
    {"eos_token_id": [3, 5], "bos_token_id": 1},
    {"eos_token_id": 7},
    {"eos_token_id": None, "bos_token_id": None},
    {"dtype": "bfloat16"},
    {"torch_dtype": "float16"},
    {"num_experts": 8, "num_experts_per_tok": 3, "norm_topk_prob": True, "decoder_sparse_step": 2},
    {"num_local_experts": 8, "num_experts_per_tok": 2, "mlp_only_layers": [0, 3]},
    {"num_experts": 4, "num_experts_per_tok": 1, "mlp_only_layers": None, "moe_intermediate_size": 12},
]


def describe(model_type, source):
    """What transformers' modules are built from."""
    config = transformers.AutoConfig.for_model(model_type, **json.loads(json.dumps(source)))
    layers = range(config.num_hidden_layers)
    with torch.device("meta"):
        model = getattr(transformers, CLASSES[model_type])(config)
    names = [n for n, _ in model.named_parameters()]
    attention = [layer.self_attn for layer in model.model.layers]
    if model_type == "llama":
        windows = [0 for _ in layers]
    else:
        windows = [a.sliding_window or 0 for a in attention]
    rope = dict(config.rope_parameters)
    eos = config.eos_token_id
    return {
        "head_dim": attention[0].head_dim, "kv_heads": config.num_key_value_heads, "windows": windows,
        "moe": ["experts" in dict(layer.mlp.named_children()) for layer in model.model.layers],
        "qkv_bias": attention[0].q_proj.bias is not None, "o_bias": attention[0].o_proj.bias is not None,
        "mlp_bias": any(n.endswith("up_proj.bias") for n in names),
        "qk_norm": any("q_norm" in n for n in names),
        "eps": config.rms_norm_eps, "tied": config.tie_word_embeddings,
        "eos": eos if isinstance(eos, list) else [] if eos is None else [eos],
        "bos": -1 if config.bos_token_id is None else config.bos_token_id,
        "dtype": str(config.dtype or "float32").replace("torch.", ""),
        "rope": {k: v for k, v in rope.items() if k not in ("type",) and v is not None},
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def make_configs():
    cases = []
    for model_type, class_name in CLASSES.items():
        for variant in VARIANTS:
            if "layer_types" in variant and model_type in ("llama", "qwen3_moe"):
                continue  # no key of theirs
            source = {**BASE, **variant}
            if model_type != "qwen3_moe" and any("experts" in k for k in variant):
                continue
            try:
                expected = describe(model_type, source)
            except huggingface_hub.errors.StrictDataclassError:
                continue  # transformers refuses it: no oracle for this one
            cases.append({"config": {"architectures": [class_name], "model_type": model_type, **source},
                          "expected": expected})
    lines = ",\n".join(json.dumps(case) for case in cases)
    (OUT / "configs.json").write_text(f"[\n{lines}\n]\n")


def write_json(name, value):
    (OUT / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    make_reference()
    make_configs()
    with tempfile.TemporaryDirectory() as temp:
        write_json("checkpoints.json", [
            dict(case, sha256=make_checkpoint(case, pathlib.Path(temp) / f"c{i}"))
            for i, case in enumerate(CHECKPOINTS)])


if __name__ == "__main__":
    sys.exit(main())
