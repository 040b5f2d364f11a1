"""Makes tests/golden/gguf/ with gguf-py's writer.

blocks.gguf: for each of ggml's types of blocks a matrix of random blocks, and the float32 values that gguf-py
gives them. Row 0 has scales at the ends of float16, the others ordinary ones.
llama.gguf: a whole model of the smallest kind, with every sort of value.

    python tests/golden/make_gguf.py      (needs gguf, numpy)
"""
import pathlib

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

OUT = pathlib.Path(__file__).resolve().parent / "gguf"
ROWS, COLS = 4, 256
Q8_0 = gguf.GGMLQuantizationType.Q8_0
# Where the float16 numbers of a block stand.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0]}
EXTREMES = np.array([0x0001, 0x03ff, 0x0400, 0x8001, 0x0000, 0x8000, 0x7bff, 0xfbff], np.uint16)


def set_halves(blocks, offsets, values):
    for at in offsets:
        blocks[..., at:at + 2] = values(blocks.shape[:-1]).astype(np.float16)[..., None].view(np.uint8)


def random_blocks(name, rng):
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (ROWS, COLS // elements, size), dtype=np.uint8)
    set_halves(blocks, HALVES[name], lambda shape: np.ones(shape))
    spread = dequantize(blocks.reshape(ROWS, -1), kind).std()
    set_halves(blocks, HALVES[name], lambda shape: rng.uniform(0.03, 0.12, shape) / spread)
    for i, at in enumerate(HALVES[name]):
        extreme = EXTREMES[(np.arange(blocks.shape[1]) + i) % len(EXTREMES)]
        blocks[0, :, at:at + 2] = extreme[:, None].view(np.uint8)
    return blocks.reshape(ROWS, -1), kind


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_llama(rng):
    hidden, heads, kv_heads, head_dim, vocab = 32, 2, 1, 16, 8
    w = gguf.GGUFWriter(OUT / "llama.gguf", "llama")
    w.add_block_count(1)
    w.add_context_length(64)
    w.add_embedding_length(hidden)
    w.add_feed_forward_length(hidden)
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_key_length(head_dim)
    w.add_value_length(head_dim)
    w.add_rope_dimension_count(head_dim)
    w.add_rope_freq_base(500000.0)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("llama-bpe")
    w.add_token_list(["a", "b", "ab", "\u0120", "<|begin_of_text|>", "<|eot_id|>", "<tool>", "[PAD7]"])
    w.add_token_types([1, 1, 1, 1, 3, 3, 4, 5])
    w.add_token_merges(["a b"])
    w.add_bos_token_id(4)
    w.add_eos_token_id(5)
    w.add_chat_template("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}")
    w.add_float32("general.sampling.temp", 0.5)
    w.add_int32("general.sampling.top_k", 7)
    for name, v in (("uint8", 200), ("int8", -100), ("uint16", 60000), ("int16", -30000), ("uint32", 4000000000),
                    ("int32", -2000000000), ("uint64", 2**63), ("int64", -2**62), ("float32", 0.1), ("float64", 0.1),
                    ("bool", True)):
        getattr(w, "add_" + name)("test." + name, v)
    w.add_array("test.array", [1.5, -2.5])

    def matrix(rows, cols):
        return rng.normal(0, 0.2, (rows, cols)).astype(np.float32)

    def norm(n):
        return rng.normal(1, 0.1, n).astype(np.float32)
    w.add_tensor("token_embd.weight", matrix(vocab, hidden).astype(np.float16))
    w.add_tensor("blk.0.attn_norm.weight", norm(hidden))
    w.add_tensor("blk.0.attn_q.weight", matrix(heads * head_dim, hidden))
    w.add_tensor("blk.0.attn_k.weight", quantize(matrix(kv_heads * head_dim, hidden), Q8_0), raw_dtype=Q8_0)
    w.add_tensor("blk.0.attn_v.weight", matrix(kv_heads * head_dim, hidden))
    w.add_tensor("blk.0.attn_output.weight", matrix(hidden, heads * head_dim))
    w.add_tensor("blk.0.ffn_norm.weight", norm(hidden))
    for part in ("gate", "up", "down"):
        w.add_tensor(f"blk.0.ffn_{part}.weight", quantize(matrix(hidden, hidden), Q8_0), raw_dtype=Q8_0)
    w.add_tensor("output_norm.weight", norm(hidden))
    w.add_tensor("rope_freqs.weight", llama3_factors(8.0, 64, 500000.0, head_dim))
    close(w)


def llama3_factors(factor, context, theta, head_dim):
    """As llama.cpp's converter makes them of rope_type llama3 with low 1 and high 4."""
    wavelength = 2 * np.pi * theta ** (np.arange(0, head_dim, 2) / head_dim)
    smooth = np.clip((context / wavelength - 1) / 3, 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


def main():
    rng = np.random.default_rng(20)
    OUT.mkdir(exist_ok=True)
    writer = gguf.GGUFWriter(OUT / "blocks.gguf", "blocks")
    for name in HALVES:
        blocks, kind = random_blocks(name, rng)
        writer.add_tensor(name, blocks, raw_dtype=kind)
        writer.add_tensor(name + ".values", dequantize(blocks, kind))
    for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"):
        kind = gguf.GGMLQuantizationType[name]
        blocks = quantize(rng.normal(0, 0.1, (ROWS, COLS)).astype(np.float32), kind)
        writer.add_tensor(name + "q", blocks, raw_dtype=kind)
        writer.add_tensor(name + "q.values", dequantize(blocks, kind))
    close(writer)
    make_llama(rng)


if __name__ == "__main__":
    main()
