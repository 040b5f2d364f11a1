#!/usr/bin/env python3
"""Writes the conversations of the demo model as JSONL, the same bytes for the same seed everywhere.

    generate.py --split train --count 100000 --seed 1 -o train.jsonl
    generate.py --split eval --per-skill 300 --seed 1 -o eval.jsonl
"""
import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from base import make_rng  # noqa: E402
from skills import code, extract, numbers, recall, talk, tools  # noqa: E402

# maker, share of the training examples, share with thinking on
SKILLS = {
    "smalltalk": (talk.smalltalk, 4, 0.5), "facts": (talk.facts, 3, 0.4), "unknown": (talk.unknown, 3, 0.4),
    "safety": (talk.safety, 5, 0.4), "languages": (talk.languages, 3, 0.4), "recall": (recall.recall, 14, 0.4),
    "system": (recall.system_message, 9, 0.4), "arithmetic": (numbers.arithmetic, 14, 0.75), "lists": (numbers.lists, 7, 0.4),
    "dates_units": (numbers.dates, 4, 0.4), "extract_json": (extract.extract, 12, 0.3), "tool_calls": (tools.calls, 18, 0.4),
    "tool_none": (tools.no_call, 5, 0.4), "tool_result": (tools.result, 5, 0.4), "code": (code.write, 6, 0.3),
    "fill_in_the_middle": (code.fill, 8, 0.0),
}


HISTORY = {"smalltalk", "facts", "unknown", "safety", "languages", "arithmetic", "lists", "dates_units", "extract_json",
           "tool_calls", "tool_none", "code"}
NEUTRAL = ["You are a helpful assistant.", "You are Quern Demo, a helpful assistant.", "Be helpful.", "Help the user."]


def make(name, split, seed, index):
    maker, _, thinking_share = SKILLS[name]
    rng = make_rng("quern-demo", split, seed, name, index)
    made = maker(rng, rng.random() < thinking_share, split)
    if name in HISTORY:  # any request may come late in a conversation, and under a system message
        start = 1 if made["messages"][0]["role"] == "system" else 0
        if rng.random() < 0.2:
            for _ in range(rng.choice((1, 1, 2))):
                made["messages"][start:start] = recall.filler(rng)
        if start == 0 and rng.random() < 0.15:
            made["messages"].insert(0, {"role": "system", "content": rng.choice(NEUTRAL)})
    return made


def train_examples(seed, count):
    names = sorted(SKILLS)
    weights = [SKILLS[n][1] for n in names]
    for index in range(count):
        name = make_rng("quern-demo", "mix", seed, index).choices(names, weights)[0]
        yield make(name, "train", seed, index)


def eval_examples(seed, per_skill):
    """Until every reported skill has per_skill cases."""
    for name in sorted(SKILLS):
        wanted, counts, index = None, {}, 0
        while wanted is None or min(counts.values()) < per_skill:
            made = make(name, "eval", seed, index)
            index += 1
            counts.setdefault(made["skill"], 0)
            if counts[made["skill"]] < per_skill:
                counts[made["skill"]] += 1
                yield made
            wanted = index if index >= 40 else None  # by then each kind has appeared


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("train", "eval"), required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000, help="training examples")
    parser.add_argument("--per-skill", type=int, default=300, help="evaluation cases a skill")
    parser.add_argument("-o", "--output", default="-")
    args = parser.parse_args()
    made = train_examples(args.seed, args.count) if args.split == "train" else eval_examples(args.seed, args.per_skill)
    with (sys.stdout if args.output == "-" else open(args.output, "w", encoding="utf-8")) as out:
        for item in made:
            out.write(json.dumps(item, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
