"""Quantized checkpoints as their tools lay them out, made of random codes and scales, with the float32 values they
stand for. Only numpy: tests/golden/make_quantized.py checks the layouts against bitsandbytes and
compressed-tensors."""
import json
import pathlib

import numpy as np

NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                0.7229568362236023, 1.0], np.float32)
FP4 = np.array([0, .0625, 8, 12, 4, 6, 2, 3, -0.0, -.0625, -8, -12, -4, -6, -2, -3], np.float32) / np.float32(12)
TYPES = {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16", np.dtype(np.int32): "I32", np.dtype(np.int64): "I64",
         np.dtype(np.int8): "I8", np.dtype(np.uint8): "U8"}


class Typed:
    """An array of a type numpy lacks, as its bits."""
    def __init__(self, bits, dtype):
        self.bits, self.dtype = np.ascontiguousarray(bits), dtype


def bf16(x):
    """Rounded to bfloat16 by cutting, as (bits, values)."""
    bits = (np.ascontiguousarray(x, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return Typed(bits, "BF16"), (bits.astype(np.uint32) << 16).view(np.float32)


def save(path, tensors):
    header, body = {"__metadata__": {"format": "pt"}}, []
    at = 0
    for name, t in tensors.items():
        bits, dtype = (t.bits, t.dtype) if isinstance(t, Typed) else (np.ascontiguousarray(t), None)
        data = bits.tobytes()
        header[name] = {"dtype": dtype or TYPES[bits.dtype], "shape": list(np.shape(bits)),
                        "data_offsets": [at, at + len(data)]}
        body.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(len(text).to_bytes(8, "little") + text + b"".join(body))


# ---- FP8 ---------------------------------------------------------------------------------------------------

def e4m3_values():
    out = np.zeros(256, np.float32)
    for code in range(256):
        exponent, mantissa = code >> 3 & 15, code & 7
        value = mantissa / 8 * 2.0 ** -6 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7)
        out[code] = -value if code & 128 else value
    out[[0x7f, 0xff]] = np.nan
    return out


def fp8(rng, rows, cols, block=(128, 128), scale="bf16"):
    """block: a size, "tensor" or "channel"; the last two under the name weight_scale."""
    codes = rng.randint(0, 0x60, (rows, cols)) | rng.randint(0, 2, (rows, cols)) << 7
    if block == "tensor":
        shape, name = (), "weight_scale"
    elif block == "channel":
        shape, name = (rows, 1), "weight_scale"
    else:
        shape, name = (-(-rows // block[0]), -(-cols // block[1])), "weight_scale_inv"
    s = (rng.uniform(0.005, 0.02, shape) * np.float32(1)).astype(np.float32)
    stored = s
    if scale == "bf16":
        stored, s = bf16(s)
        stored.bits, s = stored.bits.reshape(shape), s.reshape(shape)
    full = s if shape == () else s if shape == (rows, 1) else \
        np.repeat(np.repeat(s, block[0], 0), block[1], 1)[:rows, :cols]
    values = e4m3_values()[codes] * np.float32(1) * full
    return {"weight": Typed(codes.astype(np.uint8), "F8_E4M3"), name: stored}, values.astype(np.float32)


# ---- AWQ, GPTQ ----------------------------------------------------------------------------------------------

def pack(q, bits, axis):
    """Codes to int32, lowest bits first, along an axis."""
    q = np.moveaxis(np.asarray(q, np.uint32), axis, -1)
    n = 32 // bits
    q = np.concatenate([q, np.zeros(q.shape[:-1] + (-q.shape[-1] % n,), np.uint32)], -1)
    words = np.zeros(q.shape[:-1] + (q.shape[-1] // n,), np.uint32)
    for j in range(n):
        words |= q[..., j::n] << np.uint32(bits * j)
    return np.ascontiguousarray(np.moveaxis(words, -1, axis)).view(np.int32)


def awq(rng, rows, cols, group=128):
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    groups = cols // group
    q, z = rng.randint(0, 16, (cols, rows)), rng.randint(0, 16, (groups, rows))
    s = rng.uniform(0.005, 0.02, (groups, rows)).astype(np.float16)

    def packed(x):
        return pack(x.reshape(x.shape[0], rows // 8, 8)[..., order].reshape(x.shape), 4, 1)
    g = np.arange(cols) // group
    values = (q.astype(np.float32) - z[g].astype(np.float32)) * s.astype(np.float32)[g]
    return {"qweight": packed(q), "qzeros": packed(z), "scales": s}, np.ascontiguousarray(values.T)


def gptq(rng, rows, cols, bits=4, group=128, v2=False, desc_act=False, sym=True):
    groups = -(-cols // group)
    q = rng.randint(0, 1 << bits, (cols, rows))
    z = np.full((groups, rows), 1 << bits - 1) if sym else rng.randint(0, 1 << bits, (groups, rows))
    s = rng.uniform(0.08, 0.3, (groups, rows)).astype(np.float32) / (1 << bits)
    s = s.astype(np.float16)
    g = np.arange(cols) // group
    if desc_act:
        g = g[rng.permutation(cols)]
    values = (q.astype(np.float32) - z[g].astype(np.float32)) * s.astype(np.float32)[g]
    stored = z if v2 else z - 1 & (1 << bits) - 1
    return ({"qweight": pack(q, bits, 0), "qzeros": pack(stored, bits, 1), "scales": s, "g_idx": g.astype(np.int32)},
            np.ascontiguousarray(values.T))


# ---- bitsandbytes ---------------------------------------------------------------------------------------------

def bnb4(rng, rows, cols, kind="nf4", nested=True, block=64):
    n = rows * cols
    codes = rng.randint(0, 16, n + n % 2)
    blocks = -(-n // block)
    code = NF4 if kind == "nf4" else FP4
    state = {"quant_type": kind, "blocksize": block, "dtype": "bfloat16", "shape": [rows, cols]}
    tensors = {"weight": (codes[0::2] << 4 | codes[1::2]).astype(np.uint8).reshape(-1, 1)}
    if nested:
        absmax = rng.randint(0, 256, blocks).astype(np.uint8)
        nested_map = np.sort(rng.uniform(-1, 1, 256)).astype(np.float32)
        nested_absmax = rng.uniform(0.005, 0.01, -(-blocks // 256)).astype(np.float32)
        offset = np.float32(0.03)
        a = nested_map[absmax] * np.repeat(nested_absmax, 256)[:blocks] + offset
        tensors.update({"weight.absmax": absmax, "weight.nested_quant_map": nested_map,
                        "weight.nested_absmax": nested_absmax})
        state.update(nested_blocksize=256, nested_dtype="float32", nested_offset=float(offset))
    else:
        a = rng.uniform(0.02, 0.05, blocks).astype(np.float32)
        tensors["weight.absmax"] = a
    tensors["weight.quant_map"] = code
    tensors[f"weight.quant_state.bitsandbytes__{kind}"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    values = code[codes[:n]] * np.repeat(a.astype(np.float32), block)[:n]
    return tensors, values.reshape(rows, cols)


def bnb8(rng, rows, cols):
    q = rng.randint(-127, 128, (rows, cols)).astype(np.int8)
    scb = rng.uniform(0.02, 0.1, rows).astype(np.float32)
    values = q.astype(np.float32) * (scb / np.float32(127))[:, None]
    return {"weight": q, "SCB": scb, "weight_format": np.zeros((), np.uint8)}, values


# ---- compressed-tensors ------------------------------------------------------------------------------------------

def compressed(rng, rows, cols, bits=4, group=128, packed=True, sym=True, order=False):
    """group 0: a scale a row."""
    width = group or cols
    groups = cols // width
    half = 1 << bits - 1
    q = rng.randint(-half, half, (rows, cols))
    z = np.zeros((rows, groups), int) if sym else rng.randint(-half, half, (rows, groups))
    stored, s = bf16(rng.uniform(0.08, 0.3, (rows, groups)).astype(np.float32) / (1 << bits))
    g = np.arange(cols) // width
    if order:
        g = g[rng.permutation(cols)]
    values = (q.astype(np.float32) - z[:, g].astype(np.float32)) * s.reshape(rows, groups)[:, g]
    tensors = {"weight_scale": stored}
    if packed:
        tensors["weight_packed"] = pack(q + half, bits, 1)
        tensors["weight_shape"] = np.array([rows, cols], np.int64)
        if not sym:
            tensors["weight_zero_point"] = pack(z + half, bits, 0)
    else:
        tensors["weight"] = q.astype(np.int8)
        if not sym:
            tensors["weight_zero_point"] = z.astype(np.int8)
    if order:
        tensors["weight_g_idx"] = g.astype(np.int32)
    return tensors, values


def ct_config(fmt, ignore=("lm_head",), **weights):
    return {"quant_method": "compressed-tensors", "format": fmt, "ignore": list(ignore), "quantization_status": "compressed",
            "config_groups": {"group_0": {"targets": ["Linear"], "input_activations": None, "output_activations": None,
                                          "weights": {"dynamic": False, "type": "int", "symmetric": True, **weights}}}}


# ---- models ----------------------------------------------------------------------------------------------------------

AWQ_CONFIG = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm",
              "modules_to_not_convert": None}
FP8_CONFIG = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": [128, 128]}


def gptq_config(bits, **more):
    return {"quant_method": "gptq", "bits": bits, "group_size": 128, "sym": True, "desc_act": False,
            "checkpoint_format": "gptq", **more}


BNB4_CONFIG = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4",
               "bnb_4bit_use_double_quant": True, "llm_int8_skip_modules": None}

# name: (quantization_config, how a matrix is coded, what else: moe, head (quantized too), skip (plain matrices))
MODELS = {
    "fp8": (FP8_CONFIG, fp8, {}),
    "fp8-moe": ({**FP8_CONFIG, "modules_to_not_convert": ["lm_head", "model.layers.0.mlp.gate"]}, fp8, {"moe": True}),
    "fp8-channel": ({"quant_method": "fbgemm_fp8"}, lambda *a: fp8(*a, block="channel", scale="f32"), {}),
    "awq": (AWQ_CONFIG, awq, {}),
    "awq-partial": ({**AWQ_CONFIG, "modules_to_not_convert": ["mlp.down_proj"]}, awq, {"skip": ["down_proj"]}),
    "gptq-int4": (gptq_config(4), gptq, {}),
    "gptq-int4-moe": (gptq_config(4), gptq, {"moe": True}),
    "gptq-int8": (gptq_config(8), lambda *a: gptq(*a, bits=8), {}),
    "gptq-v2-head": (gptq_config(4, checkpoint_format="gptq_v2", sym=False, lm_head=True),
                     lambda *a: gptq(*a, v2=True, sym=False), {"head": True}),
    "gptq-desc-act": (gptq_config(4, desc_act=True), lambda *a: gptq(*a, desc_act=True), {}),
    "bnb-nf4": (BNB4_CONFIG, bnb4, {}),
    "bnb-fp4": ({**BNB4_CONFIG, "bnb_4bit_quant_type": "fp4", "bnb_4bit_use_double_quant": False},
                lambda *a: bnb4(*a, kind="fp4", nested=False), {}),
    "bnb-nf4-odd": (BNB4_CONFIG, bnb4, {"hidden": 80}),
    "bnb-int8": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, bnb8, {}),
    "ct-w4a16": (ct_config("pack-quantized", num_bits=4, strategy="group", group_size=128), compressed, {}),
    "ct-w4a16-asym": (ct_config("pack-quantized", num_bits=4, strategy="group", group_size=64, symmetric=False),
                      lambda *a: compressed(*a, group=64, sym=False), {}),
    "ct-w8a16": (ct_config("pack-quantized", num_bits=8, strategy="channel"),
                 lambda *a: compressed(*a, bits=8, group=0), {}),
    "ct-w8a8": (ct_config("int-quantized", num_bits=8, strategy="channel"),
                lambda *a: compressed(*a, bits=8, group=0, packed=False), {}),
    "ct-fp8": (ct_config("float-quantized", num_bits=8, type="float", strategy="channel"),
               lambda *a: fp8(*a, block="channel"), {}),
}


def config_of(name):
    quantization, _, more = MODELS[name]
    hidden = more.get("hidden", 128)
    config = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": hidden, "intermediate_size": 256,
              "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
              "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 1e4, "vocab_size": 256,
              "tie_word_embeddings": not more.get("head", False), "torch_dtype": "float32", "hidden_act": "silu",
              "attention_bias": False}
    if more.get("moe"):
        config.update(architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", num_experts=4, num_experts_per_tok=2,
                      moe_intermediate_size=128, decoder_sparse_step=1, norm_topk_prob=True, mlp_only_layers=[])
    return config


def matrices(config):
    """name -> (rows, cols) of the layers' linears."""
    h, i, d = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, k = config["num_attention_heads"] * d, config["num_key_value_heads"] * d
    out = {}
    for layer in range(config["num_hidden_layers"]):
        base = f"model.layers.{layer}."
        out.update({base + "self_attn.q_proj": (q, h), base + "self_attn.k_proj": (k, h),
                    base + "self_attn.v_proj": (k, h), base + "self_attn.o_proj": (h, q)})
        experts = [f"mlp.experts.{e}." for e in range(config.get("num_experts", 0))]
        m = config.get("moe_intermediate_size", i)
        for e in experts or ["mlp."]:
            out.update({base + e + "gate_proj": (m, h), base + e + "up_proj": (m, h), base + e + "down_proj": (h, m)})
    return out


def make_tensors(name):
    """(tensors of the quantized checkpoint, float32 tensors of the plain one)"""
    _, code, more = MODELS[name]
    config = config_of(name)
    rng = np.random.RandomState(sum(name.encode()) * 7919 % (1 << 31))
    h = config["hidden_size"]
    plain = {"model.embed_tokens.weight": rng.standard_normal((256, h)).astype(np.float32) * np.float32(0.5)}
    for layer in range(config["num_hidden_layers"]):
        base = f"model.layers.{layer}."
        for norm, n in (("input_layernorm", h), ("post_attention_layernorm", h), ("self_attn.q_norm", 32),
                        ("self_attn.k_norm", 32)):
            plain[base + norm + ".weight"] = (1 + 0.1 * rng.standard_normal(n)).astype(np.float32)
        if more.get("moe"):
            plain[base + "mlp.gate.weight"] = (0.2 * rng.standard_normal((4, h))).astype(np.float32)
    plain["model.norm.weight"] = (1 + 0.1 * rng.standard_normal(h)).astype(np.float32)
    coded, linears = dict(plain), matrices(config)
    if more.get("head"):
        linears["lm_head"] = (256, h)
    for base, (rows, cols) in linears.items():
        if any(s in base for s in more.get("skip", [])):
            weight = (0.05 * rng.standard_normal((rows, cols))).astype(np.float32)
            coded[base + ".weight"] = plain[base + ".weight"] = weight
            continue
        tensors, values = code(rng, rows, cols)
        coded.update({f"{base}.{part}": t for part, t in tensors.items()})
        plain[base + ".weight"] = values.astype(np.float32)
    return coded, plain


def write(name, directory, quantized):
    """The model `name`, quantized or as the float32 values it stands for."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    coded, plain = make_tensors(name)
    config = config_of(name)
    if quantized:
        config["quantization_config"] = MODELS[name][0]
    (directory / "config.json").write_text(json.dumps(config, indent=1))
    save(directory / "model.safetensors", coded if quantized else plain)
    return directory
