"""Holds GGUF files and what Quern computes from them against gguf-py, transformers and llama.cpp.

    QUERN=build/release/quern python tests/golden/check_gguf.py [NAME...]
    (needs gguf, numpy; torch and transformers 5 for the logits, llama-cpp-python for llama.cpp's: each is left out,
    with a line that says so, where it is missing)

Each case is a random model of an architecture with matrices of a type. The file is written by
tests/e2e/gguf_file.py, as the tests write it, and is checked here:
  reader        gguf-py reads it and finds the tensors that were put in
  transformers  its own reading of the file (gguf_file=...), dequantized to float32: largest difference of a logit,
                in standard deviations of the logits
  llama.cpp     the same; it rounds activations to int8 or bfloat16, so that differences are large
  ids           llama.cpp's of the texts of tests/golden/tokenizer/, which shows that the names of pre-tokenizers mean
                what it means by them. Texts that are not in their normal form are left out where a tokenizer of
                Hugging Face has one: llama.cpp does not normalize. So is "</s>", a token to llama.cpp by its name.
The status is 1 when transformers differs by more than 1e-4, the tolerance of tests/e2e/test_logits.py.
"""
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unicodedata

import gguf
import numpy as np
from gguf.quants import quantize

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import gguf_file as gf  # noqa: E402

QUERN = os.environ.get("QUERN") or str(ROOT / "build" / "release" / "quern")
TOLERANCE_SIGMA = 1e-4
IDS = [(7 * i * i + 3) % 256 for i in range(40)]
SIZES = {"vocab_size": 256, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 512,
         "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": False, "torch_dtype": "float32",
         "initializer_range": 0.06}
FORMS = {
    "qwen3": {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"},
    "qwen3-tied": {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "tie_word_embeddings": True},
    "qwen3moe": {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "num_experts": 4,
                 "num_experts_per_tok": 2, "moe_intermediate_size": 256, "norm_topk_prob": True},
    "qwen2": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"},
    "llama": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "rms_norm_eps": 1e-5,
              "rope_theta": 500000.0},
}
TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
CASES = {f"{form}-{kind}": (form, kind) for form in FORMS for kind in TYPES
         if form == "qwen3" or kind in ("F32", "Q8_0")}


def encode(kind):
    def edit(name, dtype, shape, data):
        array = np.frombuffer(data, np.float32).reshape(shape)
        if len(shape) == 1:
            return dtype, shape, data
        return kind, shape, quantize(array, gguf.GGMLQuantizationType[kind]).tobytes()
    return edit


def make(form, kind, folder):
    config = {**SIZES, **FORMS[form]}
    (folder / "config.json").write_text(json.dumps(config))
    model, path = folder / "model", folder / "model.gguf"
    subprocess.run([QUERN, "init", "--config", folder / "config.json", "-o", model, "--seed", "4", "--dtype", "f32",
                    "--randomize-norms"], check=True, stdout=subprocess.DEVNULL)
    tokenizer = json.loads((ROOT / "tests/golden/tokenizer/gpt2/tokenizer.json").read_text())
    vocab = {t: i for t, i in tokenizer["model"]["vocab"].items() if i < 256}
    tokenizer = {"model": {"vocab": vocab, "merges": []}, "added_tokens": []}
    more = {**gf.convert_tokenizer(tokenizer, "gpt-2", 256), "tokenizer.ggml.eos_token_id": (gf.U32, 255),
            "tokenizer.ggml.bos_token_id": (gf.U32, 255)}
    _, tensors = gf.convert(model, path, more, encode(kind))
    return path, tensors


def check_reader(path, tensors):
    found = {t.name: t for t in gguf.GGUFReader(path).tensors}
    assert list(found) == [t[0] for t in tensors]
    for name, kind, shape, data in tensors:
        t = found[name]
        assert t.tensor_type.name == kind and list(t.shape) == list(reversed(shape)) and t.data.tobytes() == data, name


def by_quern(path, folder):
    (folder / "ids.json").write_text(json.dumps(IDS))
    subprocess.run([QUERN, "logits", "-m", path, "--ids", folder / "ids.json", "-o", folder / "out.npy",
                    *os.environ.get("QUERN_LOGITS_ARGS", "").split()], check=True)
    return np.load(folder / "out.npy")


def by_transformers(path):
    import torch
    import transformers
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    # Of the values transformers leaves out head_dim and others; the tensors are its own reading.
    config = transformers.AutoConfig.from_pretrained(path.parent / "model")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, config=config, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0].numpy()


def by_llama_cpp(path):
    import llama_cpp
    model = llama_cpp.Llama(str(path), n_ctx=64, logits_all=True, verbose=False, n_threads=1)
    model.eval(IDS)
    return np.array(model.scores[:len(IDS)])


def check_ids(name, pre, directory, normal_form):
    """How many texts llama.cpp gives other ids."""
    import llama_cpp
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    end = (gf.U32, max(a["id"] for a in tokenizer["added_tokens"]))
    values = {**gf.convert_config({**SIZES, **FORMS["qwen3"]})[0], **gf.convert_tokenizer(tokenizer, pre),
              "tokenizer.ggml.bos_token_id": end, "tokenizer.ggml.eos_token_id": end,
              "tokenizer.ggml.add_bos_token": (gf.BOOL, False)}
    texts = json.loads((ROOT / "tests/golden/tokenizer/texts.json").read_text())["texts"]
    texts = [t for t in texts if t and "</s>" not in t and (not normal_form or unicodedata.is_normalized("NFC", t))]
    with tempfile.TemporaryDirectory() as temp:
        path = pathlib.Path(temp) / "tokenizer.gguf"
        path.write_bytes(gf.to_bytes(values, []))
        model, wrong = llama_cpp.Llama(str(path), vocab_only=True, verbose=False), 0
        for text in texts:
            done = subprocess.run([QUERN, "tokenize", "-m", path], input=text.encode(), stdout=subprocess.PIPE, check=True)
            wrong += model.tokenize(text.encode(), add_bos=False, special=True) != json.loads(done.stdout)
    print(f"{name}: {len(texts)} texts, {wrong} of them with other ids than llama.cpp's", flush=True)
    return wrong


def check_all_ids():
    goldens = ROOT / "tests" / "golden" / "tokenizer"
    shared = pathlib.Path(os.environ.get("QUERN_SHARED") or ROOT.parent / "shared") / "qwen3"
    wrong = check_ids("gpt2", "gpt-2", goldens / "gpt2", False) + check_ids("llama3", "llama-bpe", goldens / "llama3", False)
    return wrong + check_ids("qwen3", "qwen2", shared, True) if shared.is_dir() else wrong


def main():
    oracles = []
    for name, module, compute in (("transformers", "transformers", by_transformers),
                                  ("llama.cpp", "llama_cpp", by_llama_cpp)):
        if importlib.util.find_spec(module):
            oracles.append((name, compute))
        else:
            print(f"{module} is missing: nothing is compared with {name}")
    wrong = 0
    for case in sys.argv[1:] or CASES:
        with tempfile.TemporaryDirectory() as temp:
            folder = pathlib.Path(temp)
            path, tensors = make(*CASES[case], folder)
            check_reader(path, tensors)
            found, line = by_quern(path, folder), f"{case:16}"
            for name, compute in oracles:
                expected = compute(path).astype(np.float64)
                worst = np.abs(found - expected).max() / expected.std()
                wrong += name == "transformers" and not worst <= TOLERANCE_SIGMA
                line += f"  {name} {worst:.3g} sigma"
            print(line, flush=True)
    if importlib.util.find_spec("llama_cpp"):
        wrong += check_all_ids()
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
