#!/usr/bin/python3
"""Random answers of a model under random forms, each judged by the reference library of its form.

  check_forms.py [--quern FILE] [-m DIR] [--forms 200] [-n 10] [--seed 0] [--keep DIR]

Every answer must end by itself before max_tokens, which close_after sees to, and be valid; half of them think first."""
import argparse
import collections
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from random_forms import KINDS

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = ["Hi", "Describe a red bicycle.", "List three cities.", "What is 12 + 30?", "Write something."]


def descriptions(n, seed):
    """n of them, of each kind its share and at least one."""
    total, out = sum(k[2] for k in KINDS), []
    for name, make, share in KINDS:
        for i in range(max(1, share * n // total)):
            out.append((name, *make(random.Random(f"{seed} {name} {i}"))))
    return out


def request(form, seed, i, in_time):
    """in_time: max_tokens closes the answer, which is no less than the shortest of these forms."""
    rng = random.Random(f"{seed} {i}")
    after = rng.choice([5, 20, 60, 150])
    form = {key: {**value, **({"close_in_time": True} if in_time else {"close_after": after})} for key, value in form.items()}
    return {"messages": [{"role": "user", "content": rng.choice(PROMPTS)}], "temperature": 1.5, "seed": i, "max_tokens": 400 + after if in_time else 1500,
            "max_thinking_tokens": 30, "chat_template_kwargs": {"enable_thinking": i % 2 == 0}, **form}


def judge(line, check):
    """What is wrong with an answer; None: nothing."""
    if not line or line.get("error") or line["response"]["status_code"] != 200:
        return f"no answer: {json.dumps(line)[:600]}"
    choice = line["response"]["body"]["choices"][0]
    text = choice["message"]["content"] or ""
    if choice["finish_reason"] != "stop":
        return f"ended by {choice['finish_reason']}: ...{text[-200:]!r}"
    try:
        check(text)
    except Exception as e:
        return f"{type(e).__name__}: {str(e)[:300]}: {text[:500]!r}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quern", default=os.environ.get("QUERN", ROOT / "build" / "release" / "quern"))
    parser.add_argument("-m", "--model", default=ROOT / "models" / "quern-demo")
    parser.add_argument("--forms", type=int, default=200)
    parser.add_argument("-n", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--in-time", action="store_true", help="close the answers by close_in_time instead of close_after")
    parser.add_argument("--keep", help="a directory for requests and results")
    args = parser.parse_args()
    made, lines = descriptions(args.forms, args.seed), []
    for i, (_, form, _) in enumerate(made):
        for k in range(args.n):
            lines.append({"custom_id": f"{i}", "method": "POST", "url": "/v1/chat/completions", "body": request(form, args.seed, i * args.n + k, args.in_time)})
    for k, line in enumerate(lines):
        line["custom_id"] += f" {k}"
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(args.keep or directory)
        folder.mkdir(exist_ok=True)
        (folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "out.jsonl").unlink(missing_ok=True)
        subprocess.run([args.quern, "batch", "-m", args.model, "-i", folder / "in.jsonl", "-o", folder / "out.jsonl"], check=False,
                       stderr=subprocess.DEVNULL)
        results = {}
        for line in (folder / "out.jsonl").read_text().splitlines():
            result = json.loads(line)
            results[result["custom_id"]] = result
    counts, bad = collections.Counter(), collections.Counter()
    for line in lines:
        name, form, check = made[int(line["custom_id"].split()[0])]
        counts[name] += 1
        wrong = judge(results.get(line["custom_id"]), check)
        if wrong:
            bad[name] += 1
            print(f"{name}, request {line['custom_id']}: {wrong}\n    {json.dumps(form, ensure_ascii=False)[:700]}")
    for name in counts:
        print(f"{name}: {counts[name] - bad[name]} of {counts[name]}")
    print(f"check-forms: {sum(counts.values()) - sum(bad.values())} of {sum(counts.values())} answers under {len(made)} forms ended and are valid")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
