"""Makes tests/golden/adapters/: LoRA adapters with random weights as peft saves them, and the logits that
transformers and peft compute with them in float32 on the checkpoints of make_logits.py.

    python tests/golden/make_adapters.py      (needs torch, transformers, peft; QUERN or build/release/quern)
"""
import json
import pathlib
import shutil
import tempfile

import numpy as np
import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

import make_logits

OUT = pathlib.Path(__file__).resolve().parent / "adapters"
N_IDS = 40
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# name: checkpoint of make_logits.py, LoraConfig
ADAPTERS = {
    "lora": ("qwen3-gqa4", {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}),
    "rslora": ("qwen3-tied", {"r": 4, "lora_alpha": 8, "use_rslora": True, "target_modules": ["q_proj", "v_proj", "up_proj"]}),
    "patterns": ("qwen3-untied", {"r": 4, "lora_alpha": 6, "target_modules": SEVEN,
                                  "rank_pattern": {"q_proj": 2, "model.layers.1.mlp.down_proj": 6, r".*layers\.0\.mlp\.(gate|up)_proj": 3},
                                  "alpha_pattern": {"k_proj": 20, r"layers\.1\..*": 3}}),
    "patterns-rslora": ("qwen3-untied", {"r": 4, "lora_alpha": 6, "use_rslora": True, "target_modules": SEVEN,
                                         "rank_pattern": {"o_proj": 2}, "alpha_pattern": {"up_proj": 12}}),
    "dora": ("qwen3-gqa4", {"r": 4, "lora_alpha": 8, "use_dora": True, "target_modules": SEVEN}),
    "dora-bias": ("qwen2", {"r": 3, "lora_alpha": 5, "use_dora": True, "use_rslora": True, "target_modules": SEVEN}),
    "dora-mlp-bias": ("llama-bias", {"r": 2, "lora_alpha": 4, "use_dora": True, "target_modules": ["o_proj", "down_proj", "gate_proj"]}),
    "regex": ("qwen3-gqa8", {"r": 2, "lora_alpha": 4, "target_modules": r".*\.(q|v|down)_proj"}),
    "layers": ("qwen3-gqa4", {"r": 2, "lora_alpha": 9, "target_modules": ["q_proj", "down_proj"], "layers_to_transform": [1]}),
    "head": ("qwen3-tied", {"r": 4, "lora_alpha": 8, "target_modules": ["lm_head", "k_proj"]}),
    "bf16": ("qwen3-bf16", {"r": 4, "lora_alpha": 8, "target_modules": SEVEN}),
    "experts": ("qwen3-moe", {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}),
    "saved": ("qwen3-untied", {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
}

# name: adapters and scales, one added after the other
CASES = {name: [(name, 1.0)] for name in ADAPTERS}
CASES["scaled"] = [("lora", -0.75)]
CASES["dora-scaled"] = [("dora", 0.5)]
CASES["stacked"] = [("lora", 0.5), ("dora", 1.5), ("layers", 1.0)]


def checkpoint(name, temp):
    directory = pathlib.Path(temp) / name
    if not directory.exists():
        make_logits.make_checkpoint(make_logits.describe(name, make_logits.CASES[name]), directory)
    return directory


def load(directory):
    return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()


def make_adapter(name, temp):
    base, options = ADAPTERS[name]
    torch.manual_seed(sum(name.encode()))
    config = peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **options)
    model = peft.get_peft_model(load(checkpoint(base, temp)), config)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "magnitude" in key:
                p.mul_(1 + 0.2 * torch.randn_like(p))
            elif "modules_to_save" in key:
                p.add_(0.02 * torch.randn_like(p))
            elif "lora_" in key:
                p.copy_(torch.randn_like(p) * (0.5 / p.shape[1] ** 0.5))
    directory = OUT / name
    shutil.rmtree(directory, ignore_errors=True)
    model.save_pretrained(directory)
    (directory / "README.md").unlink(missing_ok=True)
    path = directory / "adapter_config.json"
    written = json.loads(path.read_text())
    written["base_model_name_or_path"] = base
    for key, value in written.items():  # peft keeps sets, whose order is another in each run
        if isinstance(value, list):
            written[key] = sorted(value)
    path.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")
    if name == "bf16":
        weights = directory / "adapter_model.safetensors"
        save_file({k: v.to(torch.bfloat16) for k, v in load_file(weights).items()}, weights, metadata={"format": "pt"})


def compute(parts, ids, temp):
    model = peft.PeftModel.from_pretrained(load(checkpoint(ADAPTERS[parts[0][0]][0], temp)), OUT / parts[0][0], adapter_name="0")
    for i, (name, _) in enumerate(parts[1:], 1):
        model.load_adapter(OUT / name, adapter_name=str(i))
    model.base_model.set_adapter([str(i) for i in range(len(parts))])
    for module in model.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            for i, (_, scale) in enumerate(parts):
                if str(i) in module.scaling:
                    module.set_scale(str(i), scale)
    with torch.no_grad():
        return model.eval()(torch.tensor([ids])).logits[0].float().numpy()


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    OUT.mkdir(exist_ok=True)
    described = []
    with tempfile.TemporaryDirectory() as temp:
        for name in ADAPTERS:
            make_adapter(name, temp)
        for name, parts in CASES.items():
            base = ADAPTERS[parts[0][0]][0]
            ids = make_logits.describe(base, make_logits.CASES[base])["ids"][:N_IDS]
            logits = compute(parts, ids, temp)
            plain = np.load(make_logits.OUT / f"{base}.npy")[:N_IDS]
            change = np.abs(logits - plain).max() / plain.std()
            print(f"{name}: sigma {logits.std():.4f}, changes {change:.3f} sigma")
            assert change > 0.05
            np.save(OUT / f"{name}.npy", logits)
            described.append({"name": name, "base": base, "adapters": parts})
    (OUT / "cases.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in described) + "\n]\n")


if __name__ == "__main__":
    main()
