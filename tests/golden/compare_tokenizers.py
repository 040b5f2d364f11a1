"""Compares Quern's tokenizer with Hugging Face's `tokenizers` on megabytes of made text of every
kind, on marks and jamo in any order, and with --code-points on every code point in several places:
ids of the whole, and the text that the ids decode to. Exit code 1 on the first difference.

    python tests/golden/compare_tokenizers.py [--tokenizer DIR]... [--megabytes 20] [--seed 7]
                                              [--code-points] [--file F]

Needs tokenizers, and build/release/bench/bench_tokenize (make bench-programs). The tokenizers are
by default Qwen3's, when ../shared/qwen3 is there, and all of tests/fixtures and tests/golden/tokenizer."""
import argparse
import array
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import unicodedata

import tokenizers

import mixed_text

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("QUERN_SHARED", ROOT / ".." / "shared"))
PROGRAM = ROOT / "build" / "release" / "bench" / "bench_tokenize"
PIECE_BYTES = 200_000  # tokenizers needs hundreds of bytes of memory for one of text


def directories():
    found = [SHARED / "qwen3"] if (SHARED / "qwen3" / "tokenizer.json").exists() else []
    found += sorted(p.parent for p in (ROOT / "tests" / "fixtures").glob("*/tokenizer.json"))
    found += sorted(p.parent for p in (ROOT / "tests" / "golden" / "tokenizer").glob("*/tokenizer.json"))
    return found


def every_code_point():
    """Each once alone between spaces, once among letters and digits, once doubled after an apostrophe."""
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    return [" ".join(f"{c} a{c}1 '{c}{c}" for c in points[i:i + 20_000]).encode() for i in range(0, len(points), 20_000)]


def marks_and_jamo(seed):
    """What normal forms are about: letters and marks in any order, Hangul in pieces."""
    r = random.Random(seed)
    marks = [chr(c) for c in range(0x110000) if unicodedata.combining(chr(c))]
    parts = [chr(c) for c in range(0x110000) if unicodedata.decomposition(chr(c))]
    letters = [x for c in parts for x in unicodedata.normalize("NFD", c)]
    jamo = [chr(c) for c in (*range(0x1100, 0x1200), *range(0xAC00, 0xAC80), 0xD7A3, 0x11A7, 0x11C3)]
    out = []
    for _ in range(60_000):
        kind = r.randrange(4)
        out.append(r.choice(jamo) if kind == 0 else r.choice(letters) if kind == 1 else r.choice(parts) if kind == 2 else " a")
        out.extend(r.choice(marks) for _ in range(r.choice((0, 0, 1, 1, 2, 3, 5))))
    out.append("q" + "".join(r.choice(marks) for _ in range(3000)))
    return "".join(out).encode()


class Quern:
    """bench_tokenize --serve."""

    def __init__(self, directory):
        self.process = subprocess.Popen([PROGRAM, "--serve", directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.folder = tempfile.TemporaryDirectory()
        self.input, self.output = (pathlib.Path(self.folder.name) / n for n in ("input", "output"))

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            sys.exit("bench_tokenize failed")
        return answer

    def ids(self, data):
        self.input.write_bytes(data)
        self.ask(f"ids {self.input} {self.output}")
        return array.array("i", self.output.read_bytes())

    def decode(self, ids):
        self.input.write_bytes(ids.tobytes())
        self.ask(f"decode {self.input} {self.output}")
        return self.output.read_bytes()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def show_difference(data, theirs, ours):
    at = next((i for i, (a, b) in enumerate(zip(theirs, ours)) if a != b), min(len(theirs), len(ours)))
    print(f"  {len(theirs)} and {len(ours)} ids; the first difference is at {at}: "
          f"{theirs[at - 3:at + 6]} and {list(ours[at - 3:at + 6])}")
    return at


def compare(directory, pieces):
    reference, quern = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json")), Quern(directory)
    start, n_ids = time.time(), 0
    for number, data in enumerate(pieces):
        text = data.decode("utf-8", "replace")
        encoding = reference.encode(text, add_special_tokens=False)
        theirs, ours = encoding.ids, quern.ids(data)
        if theirs != list(ours):
            at = show_difference(data, theirs, ours)
            begin = encoding.offsets[at - 3][0] if at >= 3 else 0
            print(f"{directory.name}: piece {number} differs near {text[begin:begin + 80]!r}")
            return False
        if reference.decode(theirs, skip_special_tokens=False).encode() != quern.decode(ours):
            print(f"{directory.name}: piece {number} decodes differently")
            return False
        n_ids += len(theirs)
    quern.close()
    print(f"{directory.name}: the same {n_ids} ids and the same text ({time.time() - start:.0f} s)", flush=True)
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokenizer", action="append", type=pathlib.Path)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--code-points", action="store_true", help="24 MB more: minutes")
    parser.add_argument("--file", type=pathlib.Path, help="this text instead of made text")
    args = parser.parse_args()
    if args.file:
        data = args.file.read_bytes()
        pieces = [data[i:i + PIECE_BYTES] for i in range(0, len(data), PIECE_BYTES)]
    else:
        n = max(1, round(args.megabytes * 1e6 / PIECE_BYTES))
        pieces = [mixed_text.mixed(args.seed * 1_000_000 + i, PIECE_BYTES, longest_run=20_000) for i in range(n)]
        pieces += [marks_and_jamo(args.seed)] + (every_code_point() if args.code_points else [])
    total = sum(map(len, pieces))
    print(f"{total} bytes in {len(pieces)} pieces, seed {args.seed}; tokenizers {tokenizers.__version__}", flush=True)
    good = [compare(d, pieces) for d in args.tokenizer or directories()]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
