"""GGUF files made of model directories, as llama.cpp's converter makes them: names, the order of Llama's rows,
values, tokenizer. Written by hand so that the tests need no more than NumPy; tests/golden/oracle_gguf.py holds
what is written here against gguf-py's reader, transformers and llama.cpp."""
import json
import math
import re
import struct

import numpy as np

U32, I32, F32, BOOL, STRING, ARRAY, U16 = 4, 5, 6, 7, 8, 9, 2
TYPES = {"F32": 0, "F16": 1, "BF16": 30, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11,
         "Q4_K": 12, "Q5_K": 13, "Q6_K": 14, "IQ4_NL": 20, "IQ4_XS": 23, "IQ2_XXS": 16}
# Of 256 elements.
CODED_BYTES = {"Q4_0": 144, "Q4_1": 160, "Q5_0": 176, "Q5_1": 192, "Q8_0": 272, "Q2_K": 84, "Q3_K": 110, "Q4_K": 144,
               "Q5_K": 176, "Q6_K": 210, "IQ4_NL": 144, "IQ4_XS": 136}
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
ARCHITECTURES = {"Qwen3ForCausalLM": "qwen3", "Qwen3MoeForCausalLM": "qwen3moe", "Qwen2ForCausalLM": "qwen2",
                 "LlamaForCausalLM": "llama"}
NAMES = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp"}
ENDS = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight"}


# ---- the format --------------------------------------------------------------------------------------------

def string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def value(kind, v):
    if kind == STRING:
        return string(v)
    if kind == ARRAY:
        item, items = v
        return struct.pack("<IQ", item, len(items)) + b"".join(value(item, i) for i in items)
    return struct.pack("<" + SCALARS[kind], v)


def to_bytes(values, tensors, version=3, alignment=32):
    """values: {key: (type, value)}; tensors: [(name, type's name, shape outermost first, bytes)]"""
    out = [b"GGUF", struct.pack("<IQQ", version, len(tensors), len(values))]
    for key, (kind, v) in values.items():
        out += [string(key), struct.pack("<I", kind), value(kind, v)]
    offset = 0
    for name, kind, shape, data in tensors:
        out.append(string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape))
                   + struct.pack("<IQ", TYPES[kind], offset))
        offset += -(-len(data) // alignment) * alignment
    head = b"".join(out)
    out = [head, bytes(-len(head) % alignment)]
    for _, _, _, data in tensors:
        out += [data, bytes(-len(data) % alignment)]
    return b"".join(out)


def read_tensors(path):
    """name -> (type's name, shape, bytes) of a .safetensors file"""
    data = path.read_bytes()
    n = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:n])
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], data[n + t["data_offsets"][0]:n + t["data_offsets"][1]])
            for name, t in header.items()}


# ---- tensors -----------------------------------------------------------------------------------------------

def interleave(data, rows, heads):
    """llama.cpp's permute: of each head the rows of its halves take turns."""
    bytes_per_row = len(data) // rows
    array = np.frombuffer(data, np.uint8).reshape(heads, 2, rows // heads // 2, bytes_per_row)
    return array.swapaxes(1, 2).tobytes()


def rename(name, config):
    """GGUF's name, the heads whose rows are turned, the expert"""
    if name in ENDS:
        return ENDS[name], 0, None
    layer, part, suffix = re.fullmatch(r"model\.layers\.(\d+)\.(.*)\.(weight|bias)", name).groups()
    expert = re.fullmatch(r"mlp\.experts\.(\d+)\.(\w+)_proj", part)
    if expert:
        return f"blk.{layer}.ffn_{expert[2]}_exps.weight", 0, int(expert[1])
    heads = 0
    if config["architectures"][0] == "LlamaForCausalLM":
        heads = {"self_attn.q_proj": config["num_attention_heads"],
                 "self_attn.k_proj": config["num_key_value_heads"]}.get(part, 0)
    return f"blk.{layer}.{NAMES[part]}.{suffix}", heads, None


def convert_tensors(tensors, config):
    """[(name, type, shape, bytes)] in GGUF's names and order"""
    out, experts = {}, {}
    for name, (kind, shape, data) in tensors.items():
        new, heads, expert = rename(name, config)
        if heads:
            data = interleave(data, shape[0], heads)
        if expert is not None:
            experts.setdefault(new, {})[expert] = data
            shape, data = [config["num_experts"], *shape], None
        out[new] = (kind, shape, data)
    for name, parts in experts.items():
        kind, shape, _ = out[name]
        out[name] = (kind, shape, b"".join(parts[e] for e in range(shape[0])))
    return [(name, *t) for name, t in out.items()]


# ---- values ------------------------------------------------------------------------------------------------

def llama3_factors(rope, theta, head_dim):
    """rope_freqs.weight"""
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    context = rope["original_max_position_embeddings"]
    freqs = 1.0 / theta ** (np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim))
    out = []
    for f in freqs:
        wavelength = 2 * math.pi / f
        if wavelength < context / high:
            out.append(1)
        elif wavelength > context / low:
            out.append(factor)
        else:
            smooth = (context / wavelength - low) / (high - low)
            out.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(out, np.float32).tobytes()


def convert_config(config):
    """config.json as values; rope_freqs.weight or None"""
    arch = ARCHITECTURES[config["architectures"][0]]
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    v = {"general.architecture": (STRING, arch), "general.name": (STRING, "test")}
    numbers = [("block_count", U32, "num_hidden_layers"), ("context_length", U32, "max_position_embeddings"),
               ("embedding_length", U32, "hidden_size"), ("feed_forward_length", U32, "intermediate_size"),
               ("attention.head_count", U32, "num_attention_heads"),
               ("attention.head_count_kv", U32, "num_key_value_heads"), ("rope.freq_base", F32, "rope_theta"),
               ("attention.layer_norm_rms_epsilon", F32, "rms_norm_eps")]
    if arch == "qwen3moe":
        numbers += [("expert_count", U32, "num_experts"), ("expert_used_count", U32, "num_experts_per_tok"),
                    ("expert_feed_forward_length", U32, "moe_intermediate_size")]
    for key, kind, name in numbers:
        v[f"{arch}.{key}"] = (kind, config[name])
    for key in ("attention.key_length", "attention.value_length", "rope.dimension_count"):
        v[f"{arch}.{key}"] = (U32, head_dim)
    freqs, rope = None, config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type"))
    if kind in ("yarn", "linear"):
        v[f"{arch}.rope.scaling.type"] = (STRING, kind)
        v[f"{arch}.rope.scaling.factor"] = (F32, rope["factor"])
        if "original_max_position_embeddings" in rope:
            v[f"{arch}.rope.scaling.original_context_length"] = (U32, rope["original_max_position_embeddings"])
    elif kind == "llama3":
        freqs = llama3_factors(rope, config["rope_theta"], head_dim)
    return v, freqs


def looks_special(text):
    return bool(re.fullmatch(r"<\|.*\|>|<｜.*｜>", text))


def convert_tokenizer(tokenizer, pre, n_vocab=None):
    """The values of a parsed tokenizer.json; ids without a token become unused ones."""
    spelling, kinds = {i: t for t, i in tokenizer["model"]["vocab"].items()}, {}
    for a in tokenizer["added_tokens"]:
        spelling[a["id"]] = a["content"]
        kinds[a["id"]] = CONTROL if a["special"] or looks_special(a["content"]) else USER_DEFINED
    n = n_vocab or max(spelling) + 1
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    return {"tokenizer.ggml.model": (STRING, "gpt2"), "tokenizer.ggml.pre": (STRING, pre),
            "tokenizer.ggml.tokens": (ARRAY, (STRING, [spelling.get(i, f"[PAD{i}]") for i in range(n)])),
            "tokenizer.ggml.token_type": (ARRAY, (I32, [kinds.get(i, NORMAL if i in spelling else UNUSED)
                                                        for i in range(n)])),
            "tokenizer.ggml.merges": (ARRAY, (STRING, merges))}


# ---- a directory --------------------------------------------------------------------------------------------

def convert(directory, path, more=None, edit=None):
    """Writes the directory's model to `path`. more: further values; edit(name, type, shape, data) gives another
    (type, data) for a tensor."""
    config = json.loads((directory / "config.json").read_text())
    values, freqs = convert_config(config)
    tensors = convert_tensors(read_tensors(directory / "model.safetensors"), config)
    if edit:
        tensors = [(name, *edit(name, kind, shape, data)) for name, kind, shape, data in tensors]
    if freqs:
        tensors.append(("rope_freqs.weight", "F32", [len(freqs) // 4], freqs))
    path.write_bytes(to_bytes({**values, **(more or {})}, tensors))
    return values, tensors
