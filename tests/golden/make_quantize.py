"""Makes tests/golden/quantize/digests.json: of the files that `quern quantize` writes from the model and text of
tests/e2e/test_quantize.py, once other programs have read them as they should: bitsandbytes codes the same model to
the same bytes, transformers loads each directory, and its logits are those of the values.

    python tests/golden/make_quantize.py    (torch, transformers, bitsandbytes, compressed-tensors; QUERN)
"""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers
from bitsandbytes import functional as bnb
from safetensors.torch import load_file

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import scripted_model  # noqa: E402

QUERN = os.environ.get("QUERN") or str(ROOT / "build" / "release" / "quern")
TEXT = "The quick brown fox says hello to the world. 日本 2024, {\"a\": [1, 2, 3]}\n" * 40
IDS = list(range(3, 500, 11))
WAYS = {"int8": ["int8"], "int4": ["int4"], "int4-calib": ["int4", "--calib"], "nf4": ["nf4"], "fp8": ["fp8"]}


def quern(*args, **kwargs):
    return subprocess.run([QUERN, *map(str, args)], check=True, capture_output=True, text=True, **kwargs)


def make_source(temp):
    config = temp / "config.json"
    config.write_text(json.dumps(scripted_model.config(
        hidden_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=32,
        intermediate_size=256, tie_word_embeddings=True, max_position_embeddings=512)))
    quern("init", "--config", config, "-o", temp / "model", "--tokenizer", ROOT / "tests/fixtures/qwen3-tiny", "--seed", 5,
          "--dtype", "bf16", "--randomize-norms")
    return temp / "model"


def check_nf4_bytes(source, out):
    """As transformers would quantize the same model on the fly."""
    before, after = load_file(source / "model.safetensors"), load_file(out / "model.safetensors")
    exact = 0
    for name, w in before.items():
        if not name.endswith("_proj.weight"):
            continue
        q, state = bnb.quantize_4bit(w, blocksize=64, compress_statistics=True, quant_type="nf4")
        theirs = state.as_dict(packed=True)
        assert torch.equal(q, after[name]), name
        for part in ("quant_map", "nested_quant_map"):
            assert torch.equal(theirs[part], after[f"{name}.{part}"]), (name, part)
        key = "quant_state.bitsandbytes__nf4"
        a, b = (json.loads(bytes(t.numpy())) for t in (theirs[key], after[f"{name}.{key}"]))
        # The mean of the scales is a float32 sum in an order of torch's own, which depends on the machine; ours is the
        # exact sum rounded. From the same mean all follows bit for bit.
        assert abs(a.pop("nested_offset") - b["nested_offset"]) < 1e-6 * abs(b["nested_offset"]), name
        offset = torch.tensor(b.pop("nested_offset"))
        assert a == b, (name, a, b)
        _, plain = bnb.quantize_4bit(w, blocksize=64, quant_type="nf4")
        codes, nested = bnb.quantize_blockwise(plain.absmax - offset, blocksize=256)
        assert torch.equal(codes, after[f"{name}.absmax"]), name
        assert torch.equal(nested.absmax, after[f"{name}.nested_absmax"]), name
        exact += torch.equal(theirs["absmax"], after[f"{name}.absmax"])
    print(f"nf4: all bytes equal; with torch's own mean in {exact} of 14 matrices")


def logits_of_transformers(directory, dtype):
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation="eager").eval()
    if dtype != torch.float32:
        model = model.float()
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0].float().numpy()


def logits_of_quern(directory, temp):
    quern("logits", "-m", directory, "--ids", "-", "-o", temp / "l.npy", input=json.dumps(IDS))
    return np.load(temp / "l.npy")


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    digests = {}
    with tempfile.TemporaryDirectory() as t:
        temp = pathlib.Path(t)
        source, text = make_source(temp), temp / "text.txt"
        text.write_text(TEXT)
        for way, (to, *more) in WAYS.items():
            out = temp / way
            quern("quantize", "-m", source, "--to", to, "-o", out, *more, *([text] if more else []))
            if way == "nf4":
                check_nf4_bytes(source, out)
            ours, theirs = logits_of_quern(out, temp), logits_of_transformers(
                out, torch.bfloat16 if way == "fp8" else torch.float32)  # FP8 is dequantized to bfloat16 on a CPU
            worst = np.abs(ours - theirs).max() / ours.std()
            print(f"{way}: transformers' logits differ by at most {worst:.3g} sigma")
            # compressed-tensors computes the values in float32 as we do. bitsandbytes multiplies in bfloat16, as its
            # config says, and transformers dequantizes FP8 to bfloat16: either rounds by 2^-9.
            assert worst < (0.1 if way in ("nf4", "fp8") else 1e-4), way
            digests[way] = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    out = HERE / "quantize"
    out.mkdir(exist_ok=True)
    (out / "digests.json").write_text(json.dumps(digests, indent=1) + "\n")


if __name__ == "__main__":
    main()
