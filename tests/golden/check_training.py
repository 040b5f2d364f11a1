"""Holds what quern train writes against transformers and peft: each method trains a tiny model, its output is loaded by
them, and the logits are compared with quern's.

    QUERN=build/release/quern python tests/golden/check_training.py [NAME ...]
    (needs torch, transformers, peft; bitsandbytes and compressed-tensors for the quantized bases)

Prints the largest difference in standard deviations of the logits (limit 1e-4: both compute in float32), and how much
training changed them, without which the comparison would show nothing.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUERN = os.environ.get("QUERN") or str(ROOT / "build" / "release" / "quern")
TOKENIZER = ROOT / "tests" / "fixtures" / "qwen3-tiny"
LIMIT_SIGMA = 1e-4
IDS = [(7 * i * i + 3) % 256 for i in range(40)]
SHAPE = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 1024, "hidden_size": 128,
         "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "head_dim": 32, "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
         "tie_word_embeddings": True, "initializer_range": 0.06}
UNTIED = {"tie_word_embeddings": False}
EXPERTS = {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2,
           "moe_intermediate_size": 64, "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []}
PATTERNS = {"rank_pattern": {"q_proj": 6, r"layers\.1\..*up_proj": 3}, "alpha_pattern": {"down_proj": 11},
            "target_modules": r".*\.(q|v|up|down)_proj", "exclude_modules": ["layers.0.self_attn.v_proj"]}

# name: how to train; "shape", "quantize" the base; "how" the output is used: adapter beside the model, merged, or whole.
CASES = {
    "lora": {},
    "bf16-base": {"dtype": "bf16"},
    "rslora": {"set": {"use_rslora": True}},
    "dora": {"set": {"use_dora": True}},
    "lora+": {"set": {"loraplus_lr_ratio": 8}},
    "pissa": {"set": {"init_lora_weights": "pissa"}},
    "pissa-rslora": {"set": {"init_lora_weights": "pissa", "use_rslora": True, "rank_pattern": {"q_proj": 6}}},
    "patterns": {"set": PATTERNS},
    "pissa-patterns": {"set": {**PATTERNS, "init_lora_weights": "pissa"}},
    "layers": {"set": {"layers_to_transform": [1], "target_modules": ["q_proj", "gate_proj"]}},
    "saved-tied": {"set": {"modules_to_save": ["embed_tokens", "lm_head"]}, "how": "merged"},
    "saved-embedding": {"set": {"modules_to_save": ["embed_tokens"]}, "how": "merged", "shape": UNTIED},
    "saved-head-norms": {"set": {"modules_to_save": ["lm_head", "input_layernorm", "q_norm"]}, "how": "merged",
                         "shape": UNTIED},
    "experts": {"shape": EXPERTS, "set": {"target_modules": ["q_proj", "gate_proj", "up_proj", "down_proj"]}},
    "experts-all": {"shape": EXPERTS, "set": {"target_modules": "all-linear", "use_rslora": True}},
    "experts-attention": {"shape": EXPERTS},
    "merged": {"how": "merged"},
    "merged-dora": {"how": "merged", "set": {"use_dora": True}, "shape": UNTIED},
    "qlora-nf4": {"method": "qlora", "quantize": "nf4"},
    "qlora-int8": {"method": "qlora", "quantize": "int8"},
    "full": {"method": "full", "how": "whole"},
    "full-experts": {"method": "full", "how": "whole", "shape": {**EXPERTS, **UNTIED}},
}


def quern(*args):
    done = subprocess.run([QUERN, *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"quern {' '.join(map(str, args))}: {done.stderr}")


def make_base(case, folder):
    (folder / "shape.json").write_text(json.dumps({**SHAPE, **case.get("shape", {})}))
    base = folder / "base"
    quern("init", "--config", folder / "shape.json", "-o", base, "--seed", 4, "--dtype", case.get("dtype", "f32"),
          "--randomize-norms", "--tokenizer", TOKENIZER)
    if "quantize" in case:
        quern("quantize", "-m", base, "-o", folder / "coded", "--to", case["quantize"])
        base = folder / "coded"
    return base


def train(case, base, folder):
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"Say {i % 5}.", "completion": f"It is {i % 5}."}) + "\n"
                            for i in range(40)))
    settings = {"model_name_or_path": str(base), "output_dir": str(folder / "out"), "data": str(data), "max_steps": 6,
                "gradient_accumulation_steps": 2, "max_length": 64, "r": 4, "lora_alpha": 16, "bf16": False,
                "learning_rate": 0.005, "method": case.get("method", "lora"), **case.get("set", {})}
    (folder / "settings.json").write_text(json.dumps(settings))
    quern("train", "--config", folder / "settings.json", "-t", 2)
    return folder / "out"


def quern_logits(folder, model, *args):
    (folder / "ids.json").write_text(json.dumps(IDS))
    quern("logits", "-m", model, "--ids", folder / "ids.json", "-o", folder / "out.npy", "--math", "exact", *args)
    return np.load(folder / "out.npy")


def logits_of(model):
    import torch
    with torch.no_grad():
        return model.eval()(torch.tensor([IDS])).logits[0].float().numpy()


def load(path, case):
    import torch
    import transformers
    transformers.logging.set_verbosity_error()
    options = {}
    if case.get("quantize") == "nf4":  # else it would compute in the type the checkpoint names
        config = json.loads((path / "config.json").read_text())
        config["quantization_config"]["bnb_4bit_compute_dtype"] = "float32"
        (path / "config.json").write_text(json.dumps(config))
    if case.get("quantize") == "int8":
        options["quantization_config"] = transformers.utils.quantization_config.CompressedTensorsConfig(run_compressed=False)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager", **options)
    if case.get("quantize"):
        undo_rounding(model, path)
    return model


def undo_rounding(model, path):
    """Both libraries round decoded weights to bfloat16, which is no part of the formats."""
    import torch
    from safetensors.torch import load_file
    tensors = load_file(path / "model.safetensors")
    for name, module in list(model.named_modules()):
        if hasattr(getattr(module, "weight", None), "quant_state"):
            from bitsandbytes.functional import dequantize_4bit
            module.weight.quant_state.dtype = torch.float32
            plain = torch.nn.Linear(module.in_features, module.out_features, bias=False)
            plain.weight.data = dequantize_4bit(module.weight.data, module.weight.quant_state)
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, plain)
        packed = tensors.get(name + ".weight_packed")
        if packed is not None:
            codes = packed.contiguous().view(torch.uint8).float() - 128
            scale = tensors[name + ".weight_scale"].float()
            module.weight.data = codes * scale.repeat_interleave(codes.shape[1] // scale.shape[1], dim=1)


def check(name):
    """(difference between the two, change by training), in standard deviations of the logits."""
    case = CASES[name]
    how = case.get("how", "adapter")
    with tempfile.TemporaryDirectory() as temp:
        folder = pathlib.Path(temp)
        base = make_base(case, folder)
        out = train(case, base, folder)
        before = quern_logits(folder, base)
        if how == "whole":
            found, expected = quern_logits(folder, out), logits_of(load(out, case))
        else:
            import peft
            expected = logits_of(peft.PeftModel.from_pretrained(load(base, case), out))
            if how == "adapter":
                found = quern_logits(folder, base, "--adapter", out)
            else:
                quern("merge", "-m", base, "--adapter", out, "-o", folder / "merged", "--dtype", "f32")
                found = quern_logits(folder, folder / "merged")
                merged = logits_of(load(folder / "merged", case))
                found = np.where(np.abs(merged - expected) > np.abs(found - expected), merged, found)
    spread = expected.std()
    return np.abs(found.astype(np.float64) - expected).max() / spread, np.abs(before - expected).max() / spread


def main():
    ok = True
    for name in sys.argv[1:] or CASES:
        difference, change = check(name)
        good = difference <= LIMIT_SIGMA < 0.01 < change
        ok = ok and good
        print(f"{name}: {difference:.3g} sigma; training changed {change:.3g}{'' if good else '   WRONG'}", flush=True)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
