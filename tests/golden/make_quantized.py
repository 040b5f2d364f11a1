"""Makes tests/golden/quantized/: small matrices as bitsandbytes and compressed-tensors store them, and, for tools
that need a GPU, as the formulas of docs/quantization.md say; each with the digest of the float32 values it
stands for. Then logits that transformers computes in float32 from the values of the models of
tests/e2e/quantized_checkpoints.py; those models are made anew by the tests.

    python tests/golden/make_quantized.py      (needs torch, transformers, bitsandbytes, compressed-tensors)
"""
import json
import pathlib
import random
import shutil
import sys
import tempfile
import zlib

import numpy as np
import torch
import transformers
from bitsandbytes import functional as bnb
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.lifecycle.forward import dequantize
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "quantized"
sys.path.insert(0, str(HERE.parent / "e2e"))
import quantized_checkpoints as forms  # noqa: E402

BASE = "model.layers.0.mlp.up_proj"


def fnv1a(data):
    h = 0xcbf29ce484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001b3 % (1 << 64)
    return f"{h:016x}"


def to_torch(t):
    if isinstance(t, forms.Typed):
        types = {"BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn}
        return torch.from_numpy(t.bits.copy()).view(types[t.dtype])
    return torch.from_numpy(np.array(t))


# ---- the tools' own work -----------------------------------------------------------------------------------------

def by_formula(function, *args, **kwargs):
    def make(rng, rows, cols):
        tensors, values = function(rng, rows, cols, *args, **kwargs)
        return {k: to_torch(t) for k, t in tensors.items()}, torch.from_numpy(values)
    return make


def fp8(*args, **kwargs):
    """The values once more by torch's own conversion."""
    inner = by_formula(forms.fp8, *args, **kwargs)

    def make(rng, rows, cols):
        tensors, values = inner(rng, rows, cols)
        scale = next(t for k, t in tensors.items() if "scale" in k).float()
        block = kwargs.get("block", (128, 128))
        if not isinstance(block, str):
            scale = scale.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)[:rows, :cols]
        assert torch.equal(values, tensors["weight"].float() * scale)
        return tensors, values
    return make


def bnb4(kind, nested):
    def make(rng, rows, cols):
        w = torch.from_numpy(rng.standard_normal((rows, cols)).astype(np.float32) * np.float32(0.05))
        q, state = bnb.quantize_4bit(w.to(torch.bfloat16), blocksize=64, compress_statistics=nested, quant_type=kind)
        tensors = {"weight": q, **{"weight." + k: v for k, v in state.as_dict(packed=True).items()}}
        state.dtype = torch.float32  # the values before they are rounded for computing
        absmax = bnb.dequantize_blockwise(state.absmax, state.state2) + state.offset if nested else state.absmax
        codes = torch.stack([q.flatten() >> 4, q.flatten() & 15], 1).flatten()[:rows * cols]
        values = (state.code[codes.long()] * absmax.repeat_interleave(64)[:rows * cols]).reshape(rows, cols)
        # The CPU's kernel for whole rows restarts the blocks at each row, which is not how they were formed: with rows
        # that do not consist of whole blocks its values are not near the weights, those of the formula are.
        theirs = bnb.dequantize_4bit(q, state)
        error = (values - w).abs().max()
        assert torch.equal(values, theirs) or (cols % 64 and error < (theirs - w).abs().max()), name_of(rows, cols)
        assert error < 0.05
        return tensors, values
    return make


def name_of(rows, cols):
    return f"bitsandbytes: other values for [{rows}, {cols}]"


def bnb8(rng, rows, cols):
    w = torch.from_numpy(rng.standard_normal((rows, cols)).astype(np.float32) * np.float32(0.05))
    q, scb, _ = bnb.int8_vectorwise_quant(w.half())
    # int8_vectorwise_dequant multiplies q * SCB by the float32 nearest to 1/127 and rounds twice on the way; the
    # group scale SCB / 127, rounded once, gives w within one unit in the last place of that.
    values = q.float() * (scb / 127)[:, None]
    theirs = bnb.int8_vectorwise_dequant(q, scb)
    assert torch.allclose(values, theirs, rtol=2.0 ** -22, atol=0)
    return {"weight": q, "SCB": scb, "weight_format": torch.tensor(0, dtype=torch.uint8)}, values


def compressed(fmt, rng, rows, cols, activations=False, order=False, dtype=torch.bfloat16, **args):
    args = QuantizationArgs(**args)
    scheme = QuantizationScheme(targets=["Linear"], weights=args,
                                input_activations=QuantizationArgs(num_bits=8, type=args.type) if activations else None)
    groups = {"group": cols // args.group_size if args.group_size else 1, "channel": 1}.get(args.strategy)
    if args.strategy == "block":
        shape = tuple(-(-n // b) for n, b in zip((rows, cols), args.block_structure))
    else:
        shape = (1,) if args.strategy == "tensor" else (rows, groups)
    top = 448 if args.type == "float" else 1 << args.num_bits - 1
    w = torch.from_numpy(rng.standard_normal((rows, cols)).astype(np.float32) * np.float32(0.05))
    scale = torch.from_numpy(rng.uniform(0.1, 0.2, shape).astype(np.float32) / np.float32(top)).to(dtype)
    state = {"weight": w.to(dtype), "weight_scale": scale}
    if not args.symmetric:
        half = 1 << args.num_bits - 1
        state["weight_zero_point"] = torch.from_numpy(rng.randint(-half, half, shape).astype(np.int8))
    if order:
        state["weight_g_idx"] = torch.from_numpy((np.arange(cols) // args.group_size)[rng.permutation(cols)].astype(np.int32))
    compressor = BaseCompressor.get_value_from_registry(fmt)
    tensors = compressor.compress({k: v.clone() for k, v in state.items()}, scheme)
    # Scales in float32, so that nothing is rounded to the scale's own type.
    back = dict(tensors, weight_scale=tensors["weight_scale"].float())
    if order:
        # The package no longer reads the order; the values by its formula, column by column.
        from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
        q = unpack_from_int32(tensors["weight_packed"], args.num_bits, torch.Size((rows, cols)))
        return tensors, q.float() * back["weight_scale"][:, tensors["weight_g_idx"].long()]
    values = compressor.decompress(back, scheme)["weight"]
    assert values.dtype == torch.float32
    return tensors, values


def ct(fmt, **kwargs):
    return lambda rng, rows, cols: compressed(fmt, rng, rows, cols, **kwargs)


def ct_case(fmt, rows, cols, activations=False, order=False, dtype=torch.bfloat16, **args):
    return (forms.ct_config(fmt, **args), ct(fmt, activations=activations, order=order, dtype=dtype, **args), rows, cols)


BLOCK = {**forms.FP8_CONFIG, "weight_block_size": [16, 32]}
BNB = forms.BNB4_CONFIG
W4 = {"num_bits": 4, "strategy": "group", "group_size": 32}
# name: (quantization_config, how it is made, rows, columns)
CASES = {
    "fp8-128": (forms.FP8_CONFIG, fp8(), 136, 144),
    "fp8-blocks": (BLOCK, fp8(block=(16, 32), scale="f32"), 40, 72),
    "fp8-static": ({"quant_method": "fp8", "activation_scheme": "static"}, fp8(block="tensor", scale="f32"), 16, 24),
    "fp8-fbgemm": ({"quant_method": "fbgemm_fp8"}, fp8(block="channel", scale="f32"), 16, 24),
    "awq": (forms.AWQ_CONFIG, by_formula(forms.awq), 24, 256),
    "awq-32": ({**forms.AWQ_CONFIG, "group_size": 32, "version": "GEMM"}, by_formula(forms.awq, 32), 88, 96),
    "gptq-4": (forms.gptq_config(4), by_formula(forms.gptq), 24, 256),
    "gptq-8": (forms.gptq_config(8), by_formula(forms.gptq, 8), 20, 256),
    "gptq-short-group": (forms.gptq_config(4, group_size=64), by_formula(forms.gptq, group=64), 72, 152),
    "gptq-v1-asym": (forms.gptq_config(4, sym=False), by_formula(forms.gptq, sym=False), 24, 256),
    "gptq-v2": (forms.gptq_config(4, sym=False, checkpoint_format="gptq_v2"),
                by_formula(forms.gptq, v2=True, sym=False), 24, 256),
    "gptq-desc-act": (forms.gptq_config(4, desc_act=True, group_size=32), by_formula(forms.gptq, group=32, desc_act=True), 72, 96),
    "gptq-8-desc-act": (forms.gptq_config(8, desc_act=True, group_size=32),
                        by_formula(forms.gptq, 8, group=32, desc_act=True), 20, 72),
    "gptq-dynamic": (forms.gptq_config(4, dynamic={"+:.*up_proj": {"bits": 8, "group_size": 32}}),
                     by_formula(forms.gptq, 8, group=32), 20, 96),
    "bnb-nf4": (BNB, bnb4("nf4", False), 24, 128),
    "bnb-nf4-nested": (BNB, bnb4("nf4", True), 160, 128),
    "bnb-nf4-odd-rows": (BNB, bnb4("nf4", True), 24, 80),
    "bnb-nf4-odd-columns": (BNB, bnb4("nf4", False), 7, 45),
    "bnb-fp4-nested": (BNB, bnb4("fp4", True), 24, 128),
    "bnb-int8": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, bnb8, 24, 64),
    "ct-pack-4": ct_case("pack-quantized", 24, 128, **W4),
    "ct-pack-4-asym": ct_case("pack-quantized", 28, 128, symmetric=False, **W4),
    "ct-pack-4-channel": ct_case("pack-quantized", 12, 92, num_bits=4, strategy="channel", dtype=torch.float16),
    "ct-pack-4-order": ct_case("pack-quantized", 24, 128, order=True, **W4),
    "ct-pack-8": ct_case("pack-quantized", 24, 96, num_bits=8, strategy="group", group_size=32),
    "ct-pack-8-asym": ct_case("pack-quantized", 22, 94, num_bits=8, strategy="channel", symmetric=False),
    "ct-int-8": ct_case("int-quantized", 24, 96, num_bits=8, strategy="channel", activations=True),
    "ct-int-8-asym": ct_case("int-quantized", 24, 96, num_bits=8, strategy="channel", symmetric=False, activations=True),
    "ct-int-8-tensor": ct_case("int-quantized", 24, 96, num_bits=8, strategy="tensor", activations=True),
    "ct-naive-8": ct_case("naive-quantized", 24, 96, num_bits=8, strategy="group", group_size=32),
    "ct-float-8": ct_case("float-quantized", 24, 96, num_bits=8, type="float", strategy="channel", activations=True),
    "ct-float-8-tensor": ct_case("float-quantized", 24, 96, num_bits=8, type="float", strategy="tensor", activations=True),
    "ct-float-8-block": ct_case("float-quantized", 40, 72, num_bits=8, type="float", strategy="block",
                                block_structure=[16, 32], activations=True),
}


def make_cases():
    cases = []
    for name, (config, make, rows, cols) in CASES.items():
        rng = np.random.RandomState(zlib.crc32(name.encode()))
        tensors, values = make(rng, rows, cols)
        tensors = {f"{BASE}.{k}": v.contiguous() for k, v in tensors.items()}
        save_file(tensors, OUT / f"{name}.safetensors", metadata={"format": "pt"})
        values = values.contiguous().numpy()
        assert values.dtype == np.float32 and values.shape == (rows, cols) and np.isfinite(values).all()
        config = json.loads(json.dumps(config))
        cases.append({"name": name, "base": BASE, "rows": rows, "cols": cols, "fnv1a": fnv1a(values.tobytes()),
                      "first": [f"{v:08x}" for v in values.view(np.uint32).ravel()[:4]],
                      "quantization_config": config})
        print(f"{name}: {sum(t.nbytes for t in tensors.values())} bytes")
    (OUT / "cases.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


# ---- logits ---------------------------------------------------------------------------------------------------------

def make_logits():
    models = []
    for name in forms.MODELS:
        rng = random.Random(name)
        ids = [rng.randrange(256) for _ in range(8)]
        with tempfile.TemporaryDirectory() as temp:
            directory = forms.write(name, pathlib.Path(temp) / "plain", quantized=False)
            model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32,
                                                                      attn_implementation="eager").eval()
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[0].numpy()
        np.save(OUT / f"logits-{name}.npy", logits)
        models.append({"name": name, "ids": ids})
        print(f"{name}: sigma {logits.std():.4f}")
    (OUT / "models.json").write_text("[\n" + ",\n".join(json.dumps(m) for m in models) + "\n]\n")


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    make_cases()
    make_logits()


if __name__ == "__main__":
    main()
