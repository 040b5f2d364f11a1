#!/usr/bin/env python3
"""Makes tests/golden/grammar/regex.json: random patterns and texts with the verdicts of
Python's re (flags ASCII; whole match and search).

Where ECMA-262 and Python differ the patterns stay out, and tests/unit/grammar/test_regex_syntax.c
says what holds: $ before a last line end, \\Z, ] first in a class, {,n}, \\s beyond ASCII, \\B
in the empty text (where ECMA-262 says yes and Python before 3.14 no), . at \\r, U+2028 and U+2029.
re.ASCII folds only ASCII letters, so no letter stands here that another one folds into."""
import json
import pathlib
import random
import re
import warnings

SEED = 20261124
PATTERNS = 700
TEXTS = 14
ALPHABET = ["a", "b", "c", "A", "Z", "0", "7", "_", " ", "-", "é", "ñ", "中", "😀"]
ATOMS = ["a", "b", "c", "0", " ", "-", "é", "中", "😀", ".", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S",
         "[abc]", "[^abc]", "[a-z0-9]", r"[\w-]", "[^\\s]", "[é-中]", r"\x61", r"\u00e9", "[^a-c😀]"]
EDGES = ["^", "$", r"\b", r"\B"]
QUANTIFIERS = ["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "+?", "??", "{1,2}?"]


def piece(rng, depth, edges):
    roll = rng.random()
    if edges and roll < 0.12:
        return rng.choice(EDGES)
    if edges and roll < 0.17 and depth:
        return rng.choice(["(?=", "(?!"]) + pattern(rng, depth - 1, edges) + ")"
    atom = rng.choice(ATOMS)
    inner_edges = edges
    if depth and roll > 0.7:
        quantified = rng.random() < 0.5
        inner_edges = edges and not quantified
        atom = rng.choice(["(", "(?:", "(?i:"]) + pattern(rng, depth - 1, inner_edges) + ")"
        return atom + (rng.choice(QUANTIFIERS) if quantified else "")
    return atom + (rng.choice(QUANTIFIERS) if rng.random() < 0.35 else "")


def pattern(rng, depth, edges):
    sides = 1 if rng.random() < 0.75 else rng.randint(2, 3)
    return "|".join("".join(piece(rng, depth, edges) for _ in range(rng.randint(0 if sides > 1 else 1, 4)))
                    for _ in range(sides))


def texts(rng, compiled):
    found, tries = {True: [], False: []}, 0
    while tries < 400 and len(found[True]) + len(found[False]) < 60:
        tries += 1
        text = "".join(rng.choice(ALPHABET[:rng.choice([4, 14])]) for _ in range(rng.randint(0, 8)))
        verdict = compiled.fullmatch(text) is not None
        if text not in found[verdict]:
            found[verdict].append(text)
    half = TEXTS // 2
    chosen = set(found[True][:half] + found[False][:half] + [""])
    if r"\B" in compiled.pattern:
        chosen.discard("")
    return sorted(chosen)


def main():
    warnings.simplefilter("ignore")
    rng = random.Random(SEED)
    cases = []
    while len(cases) < PATTERNS:
        source = pattern(rng, 3, len(cases) % 2 == 1)
        try:
            compiled = re.compile(source, re.ASCII)
        except re.error:
            continue
        chosen = texts(rng, compiled)
        cases.append({"pattern": source,
                      "texts": [[t, int(compiled.fullmatch(t) is not None),
                                 int(compiled.search(t) is not None)] for t in chosen]})
    path = pathlib.Path(__file__).parent / "grammar" / "regex.json"
    lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
    path.write_text("[\n" + lines + "\n]\n", encoding="utf-8")
    verdicts = [t for c in cases for t in c["texts"]]
    print(f"{len(cases)} patterns, {len(verdicts)} texts, "
          f"{sum(v[1] for v in verdicts)} match, {sum(v[2] for v in verdicts)} contain a match")


if __name__ == "__main__":
    main()
