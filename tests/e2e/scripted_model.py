"""Writes a model whose next token depends on the last one only, by a table: what it says is known beforehand.

Embedding and output matrix are one-hot over a hidden size as large as the vocabulary, and the layer in between
adds nothing: its output projections are zero."""
import json
import shutil

import numpy as np

VOCAB = 512


def config(**changes):
    c = {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": VOCAB, "hidden_size": VOCAB,
        "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
        "head_dim": 8, "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 1000000,
        "max_position_embeddings": 1024, "tie_word_embeddings": False, "attention_bias": False,
        "bos_token_id": 486, "eos_token_id": 488, "torch_dtype": "float32", "initializer_range": 0.02,
    }
    c.update(changes)
    return c


def tensors(successor, c):
    v, h, i, d = c["vocab_size"], c["hidden_size"], c["intermediate_size"], c["head_dim"]
    head = np.zeros((v, h), np.float32)
    for token, following in successor.items():
        head[following, token] = 1
    layer = "model.layers.0."
    return {
        "model.embed_tokens.weight": np.eye(v, h, dtype=np.float32),
        layer + "input_layernorm.weight": np.ones(h, np.float32),
        layer + "post_attention_layernorm.weight": np.ones(h, np.float32),
        layer + "self_attn.q_proj.weight": np.zeros((d, h), np.float32),
        layer + "self_attn.k_proj.weight": np.zeros((d, h), np.float32),
        layer + "self_attn.v_proj.weight": np.zeros((d, h), np.float32),
        layer + "self_attn.o_proj.weight": np.zeros((h, d), np.float32),
        layer + "self_attn.q_norm.weight": np.ones(d, np.float32),
        layer + "self_attn.k_norm.weight": np.ones(d, np.float32),
        layer + "mlp.gate_proj.weight": np.zeros((i, h), np.float32),
        layer + "mlp.up_proj.weight": np.zeros((i, h), np.float32),
        layer + "mlp.down_proj.weight": np.zeros((h, i), np.float32),
        "model.norm.weight": np.ones(h, np.float32),
        "lm_head.weight": head,
    }


def write_safetensors(path, arrays):
    header, offset = {}, 0
    for name, a in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [offset, offset + a.nbytes]}
        offset += a.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for a in arrays.values():
            f.write(a.tobytes())


def write(directory, successor, tokenizer, **changes):
    directory.mkdir(parents=True)
    c = config(**changes)
    (directory / "config.json").write_text(json.dumps(c))
    write_safetensors(directory / "model.safetensors", tensors(successor, c))
    shutil.copy(tokenizer / "tokenizer.json", directory)
