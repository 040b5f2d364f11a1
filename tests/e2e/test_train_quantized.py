"""QLoRA over every published form of coded weights: step by step the losses, and in the end the adapter, that LoRA gives
over the values the codes stand for. Both compute in float32 here, in the same order: to the byte."""
import json
import os
import pathlib
import subprocess

import pytest

import quantized_checkpoints as forms

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOKENIZER = ROOT / "tests" / "golden" / "tokenizer" / "gpt2" / "tokenizer.json"


def train(model, data, out, method):
    tokenizer = json.loads(TOKENIZER.read_text())  # these models have 256 tokens: the bytes
    tokenizer["model"].update(vocab={t: i for t, i in tokenizer["model"]["vocab"].items() if i < 256}, merges=[])
    (model / "tokenizer.json").write_text(json.dumps({**tokenizer, "added_tokens": []}))
    program = os.environ.get("QUERN", str(ROOT / "build" / "release" / "quern"))
    done = subprocess.run([program, "train", "-m", model, "--data", data, "-o", out, "--method", method, "--max-steps", "3",
                           "--grad-accum", "2", "--max-length", "32", "--set", "bf16=false", "--lr", "0.01"],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    losses = [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    return losses, (out / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("name", forms.MODELS)
def test_qlora_over_codes_is_lora_over_their_values(name, tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"text": f"{i % 7}{i % 3}"}) + "\n" for i in range(30)))
    coded = train(forms.write(name, tmp_path / "coded", quantized=True), data, tmp_path / "a", "qlora")
    plain = train(forms.write(name, tmp_path / "plain", quantized=False), data, tmp_path / "b", "lora")
    assert coded == plain
    assert len(set(coded[0])) == 3
