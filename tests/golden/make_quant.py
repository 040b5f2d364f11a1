#!/usr/bin/env python3
"""Writes tests/golden/quant/: codes of NF4 as bitsandbytes makes them on the CPU, of FP8 (e4m3) as torch does.

    python3 tests/golden/make_quant.py    (needs torch, bitsandbytes, safetensors, numpy)
"""
import pathlib

import numpy as np
import torch
from bitsandbytes.functional import create_dynamic_map, dequantize_4bit, quantize_4bit
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).resolve().parent / "quant"


def matrices():
    rng = np.random.default_rng(5)
    plain = (rng.standard_normal((96, 256)) * 0.02).astype(np.float32)
    heavy = (rng.standard_t(3, (33, 128)) * 0.05).astype(np.float32)
    heavy[3, :64] = 0  # a block of nothing
    heavy[4, 5] = 1e-40
    bf16 = torch.from_numpy((rng.standard_normal((40, 64)) * 0.1).astype(np.float32)).bfloat16()
    # Values on the borders between two codes, where the choice is a convention.
    code = torch.tensor([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
                         -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
                         0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                         0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0])
    borders = ((code[:-1] + code[1:]) / 2).numpy()
    edge = np.zeros((2, 64), np.float32)
    edge[0, :15], edge[0, 15] = borders, 1
    edge[1, :15], edge[1, 15] = np.nextafter(borders, np.float32(2)), -1
    return {"plain": torch.from_numpy(plain), "heavy": torch.from_numpy(heavy), "bf16": bf16.float(),
            "edge": torch.from_numpy(edge)}


def main():
    torch.set_num_threads(1)
    out = {"dynamic_map": create_dynamic_map().numpy()}
    for name, w in matrices().items():
        packed, state = quantize_4bit(w, blocksize=64, compress_statistics=True, quant_type="nf4")
        _, plain = quantize_4bit(w, blocksize=64, compress_statistics=False, quant_type="nf4")
        flat = packed.reshape(-1)
        out[name] = w.numpy()
        out[name + ".codes"] = torch.stack((flat >> 4, flat & 15), 1).reshape(w.shape).numpy()
        out[name + ".absmax"] = plain.absmax.numpy()
        out[name + ".nested_codes"] = state.absmax.numpy()
        out[name + ".nested_absmax"] = state.state2.absmax.numpy()
        out[name + ".offset"] = state.offset.reshape(1).numpy()
        out[name + ".values"] = dequantize_4bit(packed, state).numpy()
    rng = np.random.default_rng(6)
    x = np.concatenate([
        (rng.standard_normal(2000) * np.exp2(rng.integers(-12, 9, 2000))).astype(np.float32),
        np.array([0, -0.0, 448, -448, 2 ** -9, 2 ** -10, 3 * 2 ** -10, 1.0625, 1.1875, 464, -463.9], np.float32)])
    x = np.clip(x, -448, 448)
    out["e4m3.x"] = x
    out["e4m3.codes"] = torch.from_numpy(x).to(torch.float8_e4m3fn).view(torch.uint8).numpy()
    HERE.mkdir(exist_ok=True)
    save_file({k: np.ascontiguousarray(v) for k, v in out.items()}, HERE / "coded.safetensors")


main()
