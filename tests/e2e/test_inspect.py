"""quern inspect: what it says about models whole and in part."""
import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CONFIGS = ROOT / "tests" / "fixtures" / "configs"

PUBLISHED = {
    "Qwen3-0.6B": (596049920, 229376), "Qwen3-4B": (4022468096, 294912), "Qwen3-8B": (8190735360, 294912),
    "Qwen3-14B": (14768307200, 327680), "Qwen3-32B": (32762123264, 524288), "Qwen3-30B-A3B": (30532122624, 196608),
}


def line(report, label):
    """The facts behind a label."""
    found = [row for row in report.out.splitlines() if row.startswith(f"  {label} ")]
    assert len(found) == 1, f"{label}: {found}"
    return found[0][len(label) + 3:].strip()


def test_a_whole_model_is_described(quern, tiny_model):
    report = quern("inspect", tiny_model)
    assert report.code == 0, report.err
    assert line(report, "Architecture") == "Qwen3ForCausalLM, 2 layers, hidden size 64"
    assert line(report, "Tensors").startswith("24 (24 ")
    assert "thinking" in line(report, "Chat template")
    assert "byte-level BPE" in line(report, "Tokenizer")
    assert line(report, "Sampling") == "temperature 0.8, top_k 50, top_p 0.95"
    assert "<|im_end|>" in line(report, "Ends at")
    assert "Problems" not in report.out and "Not here" not in report.out and report.err == ""


def test_the_model_may_be_named_by_option_and_environment(quern, tiny_model):
    by_word = quern("inspect", tiny_model)
    assert quern("inspect", "-m", tiny_model).out == by_word.out
    assert quern("inspect", env={"QUERN_MODEL": str(tiny_model)}).out == by_word.out


def test_json_says_the_same(quern, tiny_model):
    report = quern("inspect", "--json", "--tensors", tiny_model)
    assert report.code == 0, report.err
    facts = json.loads(report.out)
    assert facts["architecture"] == "Qwen3ForCausalLM" and facts["problems"] == [] and facts["missing"] == []
    assert facts["weights"]["tensors"] == 24 == len(facts["weights"]["list"])
    assert facts["weights"]["bytes"] == sum(t["bytes"] for t in facts["weights"]["list"])
    assert facts["weights"]["list"][0]["name"] == "model.embed_tokens.weight"
    assert facts["generation"]["temperature"] == 0.8
    assert facts["kv_bytes_per_token"] == {
        "f32": 2 * 2 * 2 * 16 * 4, "bf16": 2 * 2 * 2 * 16 * 2, "int8": 2 * 2 * 2 * (16 + 4)}
    assert facts["chat_template"]["thinking"] is True


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configurations_are_counted_exactly(quern, shared, name):
    report = quern("inspect", "--json", shared / "qwen3" / "configs" / f"{name}.config.json")
    assert report.code == 0, report.err
    facts = json.loads(report.out)
    params, kv = PUBLISHED[name]
    assert facts["parameters"] == params and facts["kv_bytes_per_token"]["f32"] == kv
    assert facts["weight_bytes"]["bf16"] == 2 * params and facts["weight_bytes"]["f32"] == 4 * params
    assert facts["weight_bytes"]["int4"] < facts["weight_bytes"]["int8"] < 2 * params


def test_a_directory_with_only_a_configuration_says_what_is_missing(quern, tmp_path):
    (tmp_path / "config.json").write_bytes((CONFIGS / "qwen3.json").read_bytes())
    report = quern("inspect", tmp_path)
    assert report.code == 0, report.err
    assert line(report, "Parameters") == "596,049,920"
    missing = report.out.split("Not here\n")[1]
    for what in ("weights", "tokenizer.json", "chat template", "generation_config.json"):
        assert what in missing


@pytest.mark.parametrize("config,label,text", [
    ("qwen3_new_keys", "RoPE", "theta 1,000,000, yarn by 4 from 32,768, beta 32 to 1, attention factor 1.13863"),
    ("qwen3_new_keys", "Attention", "window of 8 tokens on 1 layers"),
    ("llama3", "RoPE", "llama3 by 8 from 8,192, frequency factors 1 and 4"),
    ("llama3", "Attention", "q/k/v/o biases"),
    ("qwen2", "Attention", "q/k/v biases"),
    ("qwen3_moe", "Experts", "2 of 8 at each token, 32 wide, on 2 layers, weights normalised"),
    ("qwen3_moe", "MLP", "on 4 layers"),
    ("qwen3_moe", "Parameters", "active at each token"),
])
def test_what_is_special_is_named(quern, config, label, text):
    report = quern("inspect", CONFIGS / f"{config}.json")
    assert report.code == 0, report.err
    assert text in line(report, label)


def test_llama_3_reaches_as_far_as_its_configuration_says(quern, tmp_path):
    """Its factor tells how the frequencies were changed in training, not how far to go beyond
    max_position_embeddings (Llama 3.2: 131,072)."""
    config = json.loads((CONFIGS / "llama3.json").read_text())
    config["max_position_embeddings"] = 131072
    config["rope_scaling"] = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
                              "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    (tmp_path / "config.json").write_text(json.dumps(config))
    report = quern("inspect", tmp_path / "config.json")
    assert report.code == 0, report.err
    assert line(report, "Context") == "131,072 tokens"


def test_a_weights_file_alone_is_listed(quern, tiny_model):
    report = quern("inspect", "--tensors", tiny_model / "model.safetensors")
    assert report.code == 0, report.err
    assert "model.layers.1.mlp.down_proj.weight" in report.out


def test_tensors_are_compared_with_the_architecture(quern, copy_of, tiny_model):
    model = copy_of(tiny_model)
    config = json.loads((model / "config.json").read_text())
    config["intermediate_size"] = 97
    config["num_hidden_layers"] = 3
    (model / "config.json").write_text(json.dumps(config))
    report = quern("inspect", model)
    assert report.code == 1
    assert "mlp.gate_proj.weight has shape [96, 64], expected [97, 64]" in report.out
    assert "model.layers.2.self_attn.q_proj.weight [64, 64] is missing" in report.out
    assert report.err.count("\n") == 1 and "more problems" in report.err


def test_surplus_tensors_are_only_noted(quern, copy_of, tiny_model):
    model = copy_of(tiny_model)
    config = json.loads((model / "config.json").read_text())
    config["num_hidden_layers"] = 1
    (model / "config.json").write_text(json.dumps(config))
    report = quern("inspect", model)
    assert report.code == 0 and report.err == ""
    assert "tensor model.layers.1.mlp.up_proj.weight is not part of the architecture" in report.out


@pytest.mark.parametrize("args,code,fragment", [
    (["absent"], 1, "absent: no such file or directory"),
    (["a", "b"], 2, "one model at a time"),
    (["."], 1, "config.json"),
])
def test_wrong_arguments_are_explained(quern, tmp_path, args, code, fragment):
    report = quern("inspect", *args, cwd=tmp_path)
    assert report.code == code and fragment in report.err and report.out == ""
