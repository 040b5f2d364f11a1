"""Makes tests/golden/model/rope.json: inverse frequencies and attention factors of every rope type,
as transformers computes them.

    python tests/golden/make_rope.py      (needs torch, transformers 5.23)
"""
import json
import pathlib

from transformers import Qwen3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

OUT = pathlib.Path(__file__).resolve().parent / "model" / "rope.json"

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}

# (name, head_dim, theta, max_position_embeddings, n_context, parameters)
CASES = [
    ("default", 128, 1e6, 40960, 4096, {"rope_type": "default"}),
    ("default, small head", 16, 10000.0, 2048, 2048, {"rope_type": "default"}),
    ("linear", 64, 10000.0, 8192, 4096, {"rope_type": "linear", "factor": 2.5}),
    ("llama3", 128, 500000.0, 131072, 4096, LLAMA3),
    ("llama3, factor 32", 64, 500000.0, 131072, 4096, {**LLAMA3, "factor": 32.0}),
    ("yarn", 128, 1e6, 131072, 131072, YARN),
    ("yarn, factor 2", 128, 1e6, 65536, 65536, {**YARN, "factor": 2.0}),
    ("yarn, short original", 16, 10000.0, 256, 256, {**YARN, "original_max_position_embeddings": 64}),
    ("yarn, not truncated", 128, 1e6, 131072, 131072, {**YARN, "truncate": False}),
    ("yarn, own betas", 64, 1e6, 131072, 131072, {**YARN, "beta_fast": 16, "beta_slow": 2}),
    ("yarn, attention_factor", 64, 1e6, 131072, 131072, {**YARN, "attention_factor": 1.5}),
    ("yarn, mscale", 64, 10000.0, 163840, 163840,
     {**YARN, "factor": 40.0, "original_max_position_embeddings": 4096, "mscale": 1.0, "mscale_all_dim": 0.5}),
    ("dynamic, short", 64, 10000.0, 4096, 1000, {"rope_type": "dynamic", "factor": 4.0}),
    ("dynamic, long", 64, 10000.0, 4096, 10000, {"rope_type": "dynamic", "factor": 4.0}),
]


def compute(name, head_dim, theta, max_positions, n_context, parameters):
    config = Qwen3Config(head_dim=head_dim, hidden_size=4 * head_dim, num_attention_heads=4,
                         max_position_embeddings=max_positions,
                         rope_parameters={"rope_theta": theta, **parameters})
    if parameters["rope_type"] == "default":
        inv_freq, scaling = Qwen3RotaryEmbedding.compute_default_rope_parameters(config)
    else:
        inv_freq, scaling = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, seq_len=n_context)
    return {"name": name, "head_dim": head_dim, "rope_theta": theta, "max_position_embeddings": max_positions,
            "n_context": n_context, "parameters": parameters, "attention_scaling": scaling,
            "inv_freq": [float(f"{v:.9g}") for v in inv_freq.tolist()]}


def main():
    cases = [compute(*case) for case in CASES]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


if __name__ == "__main__":
    main()
