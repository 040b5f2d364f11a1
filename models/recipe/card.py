#!/usr/bin/env python3
"""Writes the model card from the recipe, the evaluation's figures and the training log.

    card.py --model ../quern-demo --losses work/out/metrics.jsonl --machine "2 cores of an AMD EPYC (Zen 5)"
The figures come from evaluate.py --json ../quern-demo/evaluation.json.
"""
import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from evaluate import table  # noqa: E402
from plot_loss import read_log  # noqa: E402

HERE = pathlib.Path(__file__).parent
CARD = """---
license: apache-2.0
language: [en, de, fr, es, zh]
pipeline_tag: text-generation
---
# Quern Demo

A very small chat model in the Qwen3 architecture, made for one purpose: that Quern talks within a minute of
cloning, and that its tests run on a model that has learned something. It was trained from nothing on
conversations that [models/recipe](../recipe/README.md) generates; no other text was used. It knows a toy world: small talk,
what you told it, short arithmetic, lists, dates, JSON extraction, tool calls, short code, a handful of sentences in German, French,
Spanish and Chinese, and how to say that it does not know. Ask it for nothing else.

| | |
|---|---|
| parameters | {parameters:,} (BF16) |
| layers, hidden, heads | {layers}, {hidden}, {heads} query and {kv_heads} key/value heads of {head_dim} |
| vocabulary | {vocab:,}, byte-level BPE with Qwen3's pattern and special tokens |
| context | {context:,} tokens |
| training | {steps:,} steps, {tokens:,} tokens, {hours:.1f} hours on {machine} |
| last loss | {loss:.4f} (mean of the last 100 steps, trained tokens only) |

![loss curve](loss.svg)

## Evaluation

`make eval-demo`: greedy, held-out seeds, function names never seen in training, run by Quern itself. An answer counts only when
it is exact and the model ends it by itself.

{table}
{note}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--losses", required=True)
    parser.add_argument("--machine", required=True)
    parser.add_argument("--note", default="", help="a paragraph under the table")
    args = parser.parse_args()
    config = json.loads((args.model / "config.json").read_text())
    figures = json.loads((args.model / "evaluation.json").read_text())
    rows, seconds = read_log(args.losses)
    losses = [rows[s][0] for s in sorted(rows)]
    H, L, D = config["hidden_size"], config["num_hidden_layers"], config["head_dim"]
    q, kv, inner = config["num_attention_heads"] * D, config["num_key_value_heads"] * D, config["intermediate_size"]
    parameters = config["vocab_size"] * H + L * (2 * H * q + 2 * H * kv + 3 * H * inner + 2 * H + 2 * D) + H
    (args.model / "README.md").write_text(CARD.format(
        parameters=parameters, layers=L, hidden=H, heads=config["num_attention_heads"], kv_heads=config["num_key_value_heads"],
        head_dim=D, vocab=config["vocab_size"], context=config["max_position_embeddings"], steps=len(rows),
        tokens=sum(t for _, t in rows.values()), hours=seconds / 3600, machine=args.machine,
        loss=sum(losses[-100:]) / len(losses[-100:]), note="\n" + args.note + "\n" if args.note else "",
        table=table({k: (v["accuracy"], v["cases"]) for k, v in figures.items()})))


if __name__ == "__main__":
    main()
