#!/usr/bin/env python3
"""Writes the conversations of the demo model as JSONL, the same bytes for the same seed everywhere.

    generate.py --split train --count 100000 --seed 1 -o train.jsonl
    generate.py --split eval --per-skill 300 --seed 1 -o eval.jsonl
    generate.py --split stage --stage 1 --count 260000 -o stage-1.jsonl      for quern train
    generate.py --split tokenizer -o tokenizer.jsonl                         for quern tokenizer train
"""
import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))

from base import make_rng  # noqa: E402
from skills import code, extract, numbers, recall, talk, tools  # noqa: E402

# maker, share of the training examples, share with thinking on
SKILLS = {
    "smalltalk": (talk.smalltalk, 4, 0.5), "facts": (talk.facts, 3, 0.4), "unknown": (talk.unknown, 3, 0.4),
    "safety": (talk.safety, 5, 0.4), "languages": (talk.languages, 3, 0.4), "recall": (recall.recall, 14, 0.4),
    "system": (recall.system_message, 9, 0.4), "arithmetic": (numbers.arithmetic, 14, 0.75), "lists": (numbers.lists, 7, 0.4),
    "dates_units": (numbers.dates, 4, 0.4), "extract_json": (extract.extract, 12, 0.3), "tool_calls": (tools.calls, 18, 0.4),
    "tool_none": (tools.no_call, 5, 0.4), "tool_lookup": (tools.lookup, 0, 0.4), "tool_result": (tools.result, 5, 0.4), "code": (code.write, 6, 0.3),
    "fill_in_the_middle": (code.fill, 8, 0.0),
}


HISTORY = {"smalltalk", "facts", "unknown", "safety", "languages", "arithmetic", "lists", "dates_units", "extract_json",
           "tool_calls", "tool_none", "tool_lookup", "code"}
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


def train_examples(seed, count, mix=None):
    """`mix`: weights of skills that replace those above."""
    names = sorted(SKILLS)
    weights = [(mix or {}).get(n, SKILLS[n][1]) for n in names]
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


def stage_examples(stage, count):
    """A stage's examples as quern train takes them: the last message is the completion, the others its prompt."""
    for item in train_examples(stage["seed"], count, stage["mix"]):
        if "text" in item:
            yield {"text": item["text"], "target": item["target"]}
            continue
        keys = ("tools", "thinking")
        yield {"prompt": item["messages"][:-1], "completion": item["messages"][-1:],
               **{k: item[k] for k in keys if item.get(k) is not None}}


def tokenizer_texts(recipe):
    """The texts that the tokenizer learns from."""
    for item in train_examples(recipe["stages"][0]["seed"], recipe["tokenizer"]["examples"]):
        if "text" in item:
            yield (item["text"].split("<|fim_prefix|>")[1].replace("<|fim_suffix|>", "").replace("<|fim_middle|>", "")
                   + item["target"])
            continue
        for message in item["messages"]:
            yield message["content"]
            if message.get("reasoning_content"):
                yield message["reasoning_content"]
            for call in message.get("tool_calls", []):
                yield json.dumps(call["function"], ensure_ascii=False)
        for schema in item.get("tools", []):
            yield json.dumps(schema, ensure_ascii=False)
    for _ in range(200):
        yield (HERE / "template_words.txt").read_text(encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("train", "eval", "stage", "tokenizer"), required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stage", type=int, default=1, help="a stage of recipe.json, from 1")
    parser.add_argument("--count", type=int, default=1000, help="training examples")
    parser.add_argument("--per-skill", type=int, default=300, help="evaluation cases a skill")
    parser.add_argument("-o", "--output", default="-")
    args = parser.parse_args()
    recipe = json.loads((HERE / "recipe.json").read_text(encoding="utf-8"))
    if args.split == "train":
        made = train_examples(args.seed, args.count)
    elif args.split == "stage":
        made = stage_examples(recipe["stages"][args.stage - 1], args.count)
    elif args.split == "tokenizer":
        made = ({"text": text} for text in tokenizer_texts(recipe))
    else:
        made = eval_examples(args.seed, args.per_skill)
    with (sys.stdout if args.output == "-" else open(args.output, "w", encoding="utf-8")) as out:
        for item in made:
            out.write(json.dumps(item, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
