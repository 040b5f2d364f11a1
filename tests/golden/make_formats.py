#!/usr/bin/env python3
"""Golden files for src/formats, from the safetensors library and transformers.

formats/reference.safetensors   a file of the reference writer, of many element types
formats/reference.json          what is in it
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


def write_json(name, value):
    (OUT / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    make_reference()
    with tempfile.TemporaryDirectory() as temp:
        write_json("checkpoints.json", [
            dict(case, sha256=make_checkpoint(case, pathlib.Path(temp) / f"c{i}"))
            for i, case in enumerate(CHECKPOINTS)])


if __name__ == "__main__":
    sys.exit(main())
