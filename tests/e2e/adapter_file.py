"""Adapters of random numbers for a model directory, laid out as peft lays them out."""
import json

import numpy as np

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def shapes(model):
    """module -> (out, in)"""
    c = json.loads((model / "config.json").read_text())
    h, d = c["hidden_size"], c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    q, k, i = c["num_attention_heads"] * d, c["num_key_value_heads"] * d, c["intermediate_size"]
    one = {"self_attn.q_proj": (q, h), "self_attn.k_proj": (k, h), "self_attn.v_proj": (k, h), "self_attn.o_proj": (h, q),
           "mlp.gate_proj": (i, h), "mlp.up_proj": (i, h), "mlp.down_proj": (h, i)}
    all_ = {f"model.layers.{n}.{name}": shape for n in range(c["num_hidden_layers"]) for name, shape in one.items()}
    all_["lm_head"] = (c["vocab_size"], h)
    return all_


def write_safetensors(path, tensors):
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, array in tensors.items():
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": {"float32": "F32", "float16": "F16"}[str(array.dtype)], "shape": array.shape,
                        "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def make(directory, model, seed=0, r=4, targets=SEVEN, size=0.5, **config):
    """Writes the adapter; what it holds by module: (A, B, magnitude or None)."""
    rng = np.random.default_rng(seed)
    directory.mkdir(parents=True, exist_ok=True)
    modules, tensors = {}, {}
    for name, (out, in_) in shapes(model).items():
        if name.rsplit(".", 1)[-1] not in targets:
            continue
        a = rng.standard_normal((r, in_)).astype(np.float32) / np.float32(in_ ** 0.5)
        b = rng.standard_normal((out, r)).astype(np.float32) * np.float32(size / r ** 0.5)
        m = (1 + 0.3 * rng.standard_normal(out)).astype(np.float32) if config.get("use_dora") else None
        modules[name] = (a, b, m)
        tensors[f"base_model.model.{name}.lora_A.weight"] = a
        tensors[f"base_model.model.{name}.lora_B.weight"] = b
        if m is not None:
            tensors[f"base_model.model.{name}.lora_magnitude_vector"] = m
    (directory / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "r": r, "lora_alpha": 2 * r, "target_modules": targets, "task_type": "CAUSAL_LM", **config}))
    write_safetensors(directory / "adapter_model.safetensors", tensors)
    return modules
