#!/usr/bin/env python3
"""Greedy output of Quern and of transformers on the shipped model, token by token, over held-out conversations.
BF16 weights, float32 arithmetic on both sides. Needs torch and transformers from PyPI.

    compare_transformers.py --library build/release/libquern.so --model models/quern-demo [--count 200]
"""
import argparse
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from base import make_rng  # noqa: E402
from generate import eval_examples  # noqa: E402
from libquern import Quern  # noqa: E402

MAX_TOKENS = 256


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--count", type=int, default=200)
    args = parser.parse_args()
    items = [i for i in eval_examples(2, 30) if "messages" in i]
    make_rng("quern-demo", "compare").shuffle(items)
    peer = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    ends = peer.generation_config.eos_token_id
    same = n_tokens = 0
    with Quern(args.library, args.model) as model:
        for n, item in enumerate(items[:args.count]):
            ids = model.tokenize(model.render(item["messages"][:-1], item.get("tools"), item["thinking"]))
            ours, _, _ = model.complete_ids(ids, MAX_TOKENS)
            with torch.no_grad():
                whole = peer.generate(torch.tensor([ids]), max_new_tokens=MAX_TOKENS, do_sample=False, eos_token_id=ends)
            theirs = whole[0, len(ids):].tolist()
            n_tokens += len(theirs)
            if ours == theirs:
                same += 1
            else:
                print(f"conversation {n}: ours {ours[:40]} theirs {theirs[:40]}")
    print(f"{same} of {min(args.count, len(items))} conversations identical, {n_tokens} tokens")
    return 0 if same == min(args.count, len(items)) else 1


if __name__ == "__main__":
    sys.exit(main())
