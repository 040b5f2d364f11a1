"""Makes tests/golden/logits/: logits that transformers computes in float32 on random checkpoints of many
forms. The checkpoints themselves are not kept: `quern init` makes them anew from configuration and seed,
and the digest of their tensors in cases.json tells whether they are the same.

    python tests/golden/make_logits.py      (needs torch, transformers 5.23; QUERN or build/release/quern)
"""
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import zlib

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUT = HERE / "logits"
QUERN = os.environ.get("QUERN") or str(ROOT / "build" / "release" / "quern")
N_IDS = 80          # two and a half blocks of the KV cache
VOCAB = 256

# name: config (of tests/fixtures/models), options of `quern init`, options of `quern logits`, and what
# transformers' configuration must be changed to, if anything
DEFAULT_ROPE = {"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}}
CASES = {
    "qwen3-tied": {},
    "qwen3-untied": {},
    "qwen3-gqa4": {},
    "qwen3-gqa8": {},
    "qwen3-attention-bias": {},
    "qwen3-yarn-always": {"config": "qwen3-yarn", "logits": ["--yarn", "always"]},
    "qwen3-yarn-auto-long": {"config": "qwen3-yarn", "logits": ["-c", "200"], "same_as": "qwen3-yarn-always"},
    "qwen3-yarn-auto-short": {"config": "qwen3-yarn", "logits": [], "changes": DEFAULT_ROPE},
    "qwen3-yarn-never": {"config": "qwen3-yarn", "logits": ["--yarn", "never", "-c", "200"],
                         "same_as": "qwen3-yarn-auto-short"},
    "qwen3-dynamic": {},  # longer than max_position_embeddings
    "qwen3-new-keys": {},
    "qwen3-window": {},
    "qwen3-moe": {},
    "qwen3-moe-mixed": {},
    "qwen3-moe-window": {},
    "qwen2": {},
    "qwen2-window": {},
    "llama3": {},
    "llama-bias": {},
    "qwen3-sharded": {"config": "qwen3-untied", "init": ["--max-shard-size", "200KB"]},
    "qwen3-bf16": {"config": "qwen3-gqa4", "init": ["--dtype", "bf16"]},
    "qwen3-f16": {"config": "qwen3-tied", "init": ["--dtype", "f16"]},
    "qwen3-moe-bf16": {"config": "qwen3-moe", "init": ["--dtype", "bf16"]},
}


def digest(directory):
    """Of the tensors' bytes, file by file."""
    h = hashlib.sha256()
    for path in sorted(directory.glob("*.safetensors")):
        data = path.read_bytes()
        h.update(data[8 + int.from_bytes(data[:8], "little"):])
    return h.hexdigest()


def describe(name, case):
    """Seed and ids hang on the configuration alone: cases that share one differ in nothing else."""
    config = case.get("config", name)
    seed = zlib.crc32(config.encode()) % 100000
    rng = random.Random(seed)
    return {"name": name, "config": config, "seed": seed,
            "init": case.get("init", ["--dtype", "f32"]), "logits": case.get("logits", []),
            "golden": case.get("same_as", name), "ids": [rng.randrange(VOCAB) for _ in range(N_IDS)]}


def make_checkpoint(case, directory):
    init = case["init"] if "--dtype" in case["init"] else ["--dtype", "f32", *case["init"]]
    subprocess.run([QUERN, "init", "--config", str(ROOT / "tests/fixtures/models" / f"{case['config']}.json"),
                    "-o", str(directory), "--seed", str(case["seed"]), "--randomize-norms", *init],
                   check=True, stdout=subprocess.DEVNULL)


def check_is_random(model):
    """A norm of ones or a bias of zeros would hide that it is not applied."""
    for name, p in model.named_parameters():
        if p.dim() == 1 and p.std() == 0:
            sys.exit(f"{name} is constant")


def compute(case, changes, directory):
    config = transformers.AutoConfig.from_pretrained(directory)
    for key, value in changes.items():
        setattr(config, key, value)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        directory, config=config, dtype=torch.float32, attn_implementation="eager").eval()
    check_is_random(model)
    with torch.no_grad():
        return model(torch.tensor([case["ids"]])).logits[0].numpy()


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    OUT.mkdir(exist_ok=True)
    described = []
    for name, options in CASES.items():
        case = describe(name, options)
        with tempfile.TemporaryDirectory() as temp:
            directory = pathlib.Path(temp) / "model"
            make_checkpoint(case, directory)
            case["digest"] = digest(directory)
            described.append(case)
            if case["golden"] != name:  # another way to the same numbers
                continue
            logits = compute(case, options.get("changes", {}), directory)
        print(f"{name}: sigma {logits.std():.4f}")
        np.save(OUT / f"{name}.npy", logits)
    (OUT / "cases.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in described) + "\n]\n")


if __name__ == "__main__":
    main()
