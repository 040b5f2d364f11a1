#!/usr/bin/env python3
"""Evaluates a model directory with Quern itself (libquern.so): greedy, held-out seeds, a table of accuracies.

    evaluate.py --library build/release/libquern.so --model models/quern-demo [--per-skill 300] [--json F]
Needs nothing but Python's standard library.
"""
import argparse
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from check import answer_ok, split_thought, thinking_ok  # noqa: E402
from generate import eval_examples  # noqa: E402
from libquern import MATH, WEIGHTS, Quern  # noqa: E402

GOALS = {"recall": 97, "system": 95, "arithmetic_thinking": 97, "extract_json": 95, "tool_call": 93, "tool_calls": 88,
         "tool_none": 95, "tool_result": 95, "harmful": 98, "harmless": 95, "fill_in_the_middle": 80,
         "thinking on/off obeyed": 100, "ended by itself": 99.5}
MAX_TOKENS = 256


def run(model, item):
    """(text, ended by itself)"""
    if "text" in item:
        return model.complete(item["text"], MAX_TOKENS)
    prompt = model.render(item["messages"][:-1], item.get("tools"), item["thinking"])
    return model.complete(prompt, MAX_TOKENS)


def evaluate(model, per_skill, seed, failures):
    scores, started, n = {}, time.time(), 0
    for item in eval_examples(seed, per_skill):
        text, ended = run(model, item)
        if "text" in item:
            good, obeyed = text == item["target"], True
        else:
            good = answer_ok(item["check"], split_thought(text)[1])
            obeyed = thinking_ok(item, text)
            scores.setdefault("thinking on/off obeyed", []).append(obeyed)
        scores.setdefault("ended by itself", []).append(ended)
        scores.setdefault(item["skill"], []).append(good and ended)
        if failures and not (good and ended and obeyed):
            failures.write(json.dumps({"item": item, "got": text, "ended": ended}, ensure_ascii=False) + "\n")
        n += 1
        if sys.stderr.isatty():
            print(f"\r{n} cases, {n / (time.time() - started):.0f}/s", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return {k: (100 * sum(v) / len(v), len(v)) for k, v in scores.items()}


def table(scores):
    lines = ["| skill | accuracy | goal | cases |", "|---|--:|--:|--:|"]
    for skill in sorted(scores):
        value, n = scores[skill]
        lines.append(f"| {skill.replace('_', ' ')} | {value:.1f} % | {str(GOALS[skill]) + ' %' if skill in GOALS else ''} | {n} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--per-skill", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    parser.add_argument("--weights", choices=WEIGHTS, default="auto", help="hold matrices in this form")
    parser.add_argument("--math", choices=MATH, default="auto", help="exact, or activations rounded too")
    parser.add_argument("--json", help="also write the figures here")
    parser.add_argument("--failures", help="write failed cases here as JSONL")
    args = parser.parse_args()
    failures = open(args.failures, "w", encoding="utf-8") if args.failures else None
    with Quern(args.library, args.model, weights=args.weights, math=args.math,
               n_threads=args.threads) as model:
        scores = evaluate(model, args.per_skill, args.seed, failures)
    print(table(scores))
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({k: {"accuracy": round(v, 2), "cases": n} for k, (v, n) in sorted(scores.items())}, indent=1) + "\n")


if __name__ == "__main__":
    main()
