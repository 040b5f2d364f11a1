"""GGUF files of random weights in the published Qwen3 shapes, for benchmarks: speed does not depend
on the numbers as long as they are of a sane size. Blocks are drawn once and repeated."""

import os

import gguf
import numpy as np

SHAPES = {
    "qwen3-0.6b": dict(hidden=1024, inner=3072, layers=28, heads=16, kv_heads=8, tied=True),
    "qwen3-8b": dict(hidden=4096, inner=12288, layers=36, heads=32, kv_heads=8, tied=False),
}
HEAD_DIM, VOCAB = 128, 151936
DEVIATION = 0.02
POOL_BYTES = 1 << 25
Q = gguf.GGMLQuantizationType


def tensors(shape):
    """(name, rows, columns) in the order of the forward pass; rows 0: a norm."""
    h, inner = shape["hidden"], shape["inner"]
    q, k = shape["heads"] * HEAD_DIM, shape["kv_heads"] * HEAD_DIM
    yield "token_embd", VOCAB, h
    for i in range(shape["layers"]):
        b = f"blk.{i}."
        yield b + "attn_norm", 0, h
        yield b + "attn_q", q, h
        yield b + "attn_k", k, h
        yield b + "attn_v", k, h
        yield b + "attn_q_norm", 0, HEAD_DIM
        yield b + "attn_k_norm", 0, HEAD_DIM
        yield b + "attn_output", h, q
        yield b + "ffn_norm", 0, h
        yield b + "ffn_gate", inner, h
        yield b + "ffn_up", inner, h
        yield b + "ffn_down", h, inner
    yield "output_norm", 0, h
    if not shape["tied"]:
        yield "output", VOCAB, h


def tensor_type(kind, name, shape):
    """What llama-quantize gives a tensor in a file of type `kind`."""
    if kind in ("BF16", "F16", "Q8_0"):
        return Q[kind]
    if name == "output" or (name == "token_embd" and shape["tied"]):
        return Q.Q6_K
    base = Q.Q4_K if kind == "Q4_K_M" else Q[kind]
    if kind == "Q4_K_M" and name.endswith(("attn_v", "ffn_down")):
        i, n = int(name.split(".")[1]), shape["layers"]
        if i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2:
            return Q.Q6_K
    return base


def draw_blocks(kind, rng):
    """A pool of random blocks of a type, as bytes [n, block size]."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    n = POOL_BYTES // size
    if kind == Q.BF16:
        bits = rng.normal(0, DEVIATION, n).astype(np.float32).view(np.uint32)
        return (bits >> 16).astype(np.uint16).view(np.uint8).reshape(n, size)
    if kind == Q.F16:
        return rng.normal(0, DEVIATION, n).astype(np.float16).view(np.uint8).reshape(n, size)
    blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)

    def put_f16(at, value):
        scales = (value * rng.uniform(0.5, 1.5, n)).astype(np.float16)
        blocks[:, at:at + 2] = scales.view(np.uint8).reshape(n, 2)

    # The deviation of uniform codes is range / sqrt(12).
    if kind == Q.Q8_0:
        put_f16(0, DEVIATION / 73.6)
    elif kind == Q.Q4_0:
        put_f16(0, DEVIATION / 4.6)
    elif kind == Q.Q4_K:  # d * scale * q - dmin * min, scale and min of 6 bits
        put_f16(0, DEVIATION / (4.6 * 36))
        put_f16(2, DEVIATION / (4.6 * 36) * 7.5)
    elif kind == Q.Q6_K:  # ql, qh, 16 signed scales, d
        put_f16(208, DEVIATION / (18.5 * 73.6))
    else:
        raise ValueError(kind)
    return blocks


def write(path, shape_name, kind, layers=0, seed=1):
    shape = dict(SHAPES[shape_name])
    shape["layers"] = layers or shape["layers"]
    rng = np.random.default_rng(seed)
    pools, plan = {}, []
    w = gguf.GGUFWriter(path + ".part", "qwen3")
    w.add_vocab_size(VOCAB)
    w.add_context_length(40960)
    w.add_embedding_length(shape["hidden"])
    w.add_block_count(shape["layers"])
    w.add_feed_forward_length(shape["inner"])
    w.add_head_count(shape["heads"])
    w.add_head_count_kv(shape["kv_heads"])
    w.add_key_length(HEAD_DIM)
    w.add_value_length(HEAD_DIM)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_rope_freq_base(1e6)
    w.add_tokenizer_model("none")
    for name, rows, cols in tensors(shape):
        if not rows:
            w.add_tensor_info(name + ".weight", (cols,), np.dtype(np.float32), cols * 4)
            plan.append((None, cols * 4))
            continue
        t = tensor_type(kind, name, shape)
        block, size = gguf.GGML_QUANT_SIZES[t]
        n_bytes = rows * cols // block * size
        row = (rows, cols // block * size) if size > 2 else (rows, cols)
        w.add_tensor_info(name + ".weight", row, np.dtype(np.uint8), n_bytes, raw_dtype=t) \
            if size > 2 else \
            w.add_tensor_info(name + ".weight", row, np.dtype(np.uint16), n_bytes, raw_dtype=t)
        plan.append((t, n_bytes))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    out = w.fout[0]
    for t, n_bytes in plan:
        w.write_padding(out, out.tell())
        if t is None:
            out.write(np.ones(n_bytes // 4, np.float32).tobytes())
            continue
        if t not in pools:
            pools[t] = draw_blocks(t, rng)
        pool = pools[t]
        size = pool.shape[1]
        left = n_bytes // size
        while left:
            start = int(rng.integers(0, len(pool)))
            n = min(left, len(pool) - start)
            out.write(memoryview(pool[start:start + n]).cast("B"))
            left -= n
    w.close()
    os.replace(path + ".part", path)


def ensure(work, shape_name, kind, layers=0):
    name = f"{shape_name}{f'-{layers}l' if layers else ''}-{kind}.gguf"
    path = os.path.join(work, name)
    if not os.path.exists(path):
        os.makedirs(work, exist_ok=True)
        write(path, shape_name, kind, layers)
    return path
