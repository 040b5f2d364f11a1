"""Holds what quern merge and quern export-adapter write against transformers, peft, gguf-py and llama.cpp.

    QUERN=build/release/quern python tests/golden/check_adapters.py
    (needs numpy; torch, transformers and peft, gguf, llama-cpp-python: what is missing is left out with a line)

merge      transformers loads the merged model; its logits against those of transformers and peft in
           tests/golden/adapters/: largest difference in standard deviations, limit 1e-4
gguf       gguf-py reads the exported adapter; its tensors are peft's times the scale, to float32's rounding
llama.cpp  with the base as a float32 GGUF and the adapter beside it: largest difference from quern's logits with
           the same adapter. llama.cpp computes in float32 here too, but rounds keys and values to float16.
"""
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
sys.path.insert(0, str(ROOT / "tests" / "golden"))
import adapter_file  # noqa: E402
import gguf_file as gf  # noqa: E402

QUERN = os.environ.get("QUERN") or str(ROOT / "build" / "release" / "quern")
GOLDEN = ROOT / "tests" / "golden" / "adapters"
TOLERANCE_SIGMA = 1e-4
LLAMA_SIGMA = 0.02  # keys and values in float16: 2^-11 of each, some layers deep
IDS = [(7 * i * i + 3) % 256 for i in range(40)]


def have(*names):
    missing = [n for n in names if importlib.util.find_spec(n) is None]
    if missing:
        print(f"left out: {', '.join(missing)} not installed")
    return not missing


def quern(*args, **kwargs):
    subprocess.run([QUERN, *map(str, args)], check=True, stdout=subprocess.DEVNULL, **kwargs)


def sigma(found, expected):
    return np.abs(found.astype(np.float64) - expected).max() / expected.std()


def check_merge():
    import torch
    import transformers
    import make_logits
    transformers.logging.set_verbosity_error()
    ok = True
    for case in json.loads((GOLDEN / "cases.json").read_text()):
        with tempfile.TemporaryDirectory() as temp:
            base, merged = pathlib.Path(temp) / "base", pathlib.Path(temp) / "merged"
            described = make_logits.describe(case["base"], make_logits.CASES[case["base"]])
            make_logits.make_checkpoint(described, base)
            quern("merge", "-m", base, "-o", merged, "--dtype", "f32",
                  *[w for name, scale in case["adapters"] for w in ("--adapter", f"{GOLDEN / name}:{scale}")])
            model = transformers.AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32, attn_implementation="eager")
            with torch.no_grad():
                found = model.eval()(torch.tensor([described["ids"][:40]])).logits[0].numpy()
        worst = sigma(found, np.load(GOLDEN / f"{case['name']}.npy"))
        ok = ok and worst <= TOLERANCE_SIGMA
        print(f"merge, {case['name']}: {worst:.3g} sigma")
    return ok


def make_model(folder):
    (folder / "config.json").write_text(json.dumps(
        {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 256, "hidden_size": 256,
         "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "head_dim": 64, "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
         "tie_word_embeddings": False, "torch_dtype": "float32", "initializer_range": 0.06}))
    model = folder / "model"
    quern("init", "--config", folder / "config.json", "-o", model, "--seed", "4", "--dtype", "f32", "--randomize-norms")
    tokenizer = json.loads((ROOT / "tests/golden/tokenizer/gpt2/tokenizer.json").read_text())
    vocab = {t: i for t, i in tokenizer["model"]["vocab"].items() if i < 256}
    more = {**gf.convert_tokenizer({"model": {"vocab": vocab, "merges": []}, "added_tokens": []}, "gpt-2", 256),
            "tokenizer.ggml.eos_token_id": (gf.U32, 255), "tokenizer.ggml.bos_token_id": (gf.U32, 255)}
    gf.convert(model, folder / "model.gguf", more, None)
    return model, folder / "model.gguf"


NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(module):
    if module == "lm_head":
        return "output.weight"
    _, _, layer, rest = module.split(".", 3)
    return f"blk.{layer}.{NAMES[rest]}.weight"


def check_reader(path, modules, scale_of):
    import gguf
    reader = gguf.GGUFReader(path)
    text = {k: bytes(reader.fields[k].parts[-1]).decode() for k in ("general.type", "general.architecture", "adapter.type")}
    assert text == {"general.type": "adapter", "general.architecture": "qwen3", "adapter.type": "lora"}, text
    alpha = float(reader.fields["adapter.lora.alpha"].parts[-1][0])
    tensors = {t.name: t.data for t in reader.tensors}
    assert len(tensors) == 2 * len(modules)
    worst = 0
    for name, (a, b, _) in modules.items():
        found_a, found_b = tensors[gguf_name(name) + ".lora_a"], tensors[gguf_name(name) + ".lora_b"]
        assert found_a.shape == a.shape and found_b.shape == b.shape
        delta = scale_of(name, len(a)) * b.astype(np.float64) @ a
        found = alpha / len(a) * found_b.astype(np.float64) @ found_a
        worst = max(worst, np.abs(found - delta).max() / np.abs(delta).max())
    print(f"gguf, {path.stem}: alpha {alpha:g}, deltas within {worst:.2g}")
    return worst < 1e-6


def llama_logits(model, lora, scale):
    import llama_cpp
    llm = llama_cpp.Llama(str(model), n_ctx=64, logits_all=True, verbose=False, n_threads=1,
                          lora_path=str(lora) if lora else None, lora_scale=scale)
    llm.eval(IDS)
    return np.array(llm.scores[:len(IDS)])


def our_logits(model, folder, *args):
    quern("logits", "-m", model, "--ids", "-", "-o", folder / "out.npy", *args, input=json.dumps(IDS), text=True)
    return np.load(folder / "out.npy")


ADAPTERS = {
    "lora": ({}, lambda name, r: 8 / r),
    "rslora": ({"use_rslora": True}, lambda name, r: 8 / r ** 0.5),
    "patterns": ({"alpha_pattern": {"q_proj": 3, r"layers\.1\.mlp\..*": 20}},
                 lambda name, r: (3 if name.endswith("q_proj") else 20 if "layers.1.mlp." in name else 8) / r),
    "head": ({"targets": ["lm_head", "k_proj"]}, lambda name, r: 8 / r),
}


def check_gguf():
    ok = True
    with tempfile.TemporaryDirectory() as temp:
        folder = pathlib.Path(temp)
        model, file = make_model(folder)
        plain = our_logits(model, folder)
        if have("llama_cpp"):
            print(f"llama.cpp, no adapter: {sigma(llama_logits(file, None, 1), plain):.3g} sigma")
        for name, (options, scale_of) in ADAPTERS.items():
            modules = adapter_file.make(folder / name, model, seed=7, r=4, size=0.15, **options)
            quern("export-adapter", "-m", model, "--adapter", folder / name, "-o", folder / f"{name}.gguf")
            if have("gguf"):
                ok = check_reader(folder / f"{name}.gguf", modules, scale_of) and ok
            ours = our_logits(model, folder, "--adapter", folder / name)
            assert sigma(ours, plain.astype(np.float64)) > 0.3
            if have("llama_cpp"):
                worst = sigma(llama_logits(file, folder / f"{name}.gguf", 1.0), ours)
                print(f"llama.cpp, {name}: {worst:.3g} sigma (the adapter itself changes {sigma(ours, plain):.3g})")
                ok = ok and worst <= LLAMA_SIGMA
    return ok


def main():
    fine = check_merge() if have("torch", "transformers") else True
    return 0 if check_gguf() and fine else 1


if __name__ == "__main__":
    sys.exit(main())
