"""Quern's tokenizer beside Hugging Face's `tokenizers`, one thread each, the same text, taking turns.
Prints medians and ratios (above 1: Quern is faster). Loading is timed apart from encoding.

    python bench/peers/tokenizers.py [--tokenizer DIR] [--megabytes 4] [--rounds 7]

Needs `tokenizers` (PyPI) and build/release/bench/bench_tokenize (make bench-programs). Both encode with
added tokens parsed and nothing added. tokenizers keeps a cache of words from call to call, Quern only
within a call; the documents' rows show both with little text a call."""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT / "tests" / "golden")  # not this folder: its tokenizers.py is this file
import tokenizers  # noqa: E402

import mixed_text  # noqa: E402

PROGRAM = ROOT / "build" / "release" / "bench" / "bench_tokenize"
SHARED = pathlib.Path(os.environ.get("QUERN_SHARED", ROOT / ".." / "shared"))


class Quern:
    def __init__(self, directory):
        self.process = subprocess.Popen([PROGRAM, "--serve", directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return [float(x) for x in self.process.stdout.readline().split()]


def pieces(data, most):
    """As bench_tokenize cuts: behind the last line break that fits, else before a character."""
    out, at = [], 0
    while at < len(data):
        end = len(data)
        if most and end - at > most:
            end = data.rfind(b"\n", at, at + most) + 1
            if end <= at:
                end = at + most
                while end > at + 1 and data[end] & 0xC0 == 0x80:
                    end -= 1
        out.append(data[at:end].decode())
        at = end
    return out


def encode_one_by_one(reference, texts):
    start = time.perf_counter()
    n = sum(len(reference.encode(t, add_special_tokens=False).ids) for t in texts)
    return time.perf_counter() - start, n


def encode_fast(reference, texts):
    """The fastest call there is: no offsets."""
    start = time.perf_counter()
    n = sum(len(e.ids) for e in reference.encode_batch_fast(texts, add_special_tokens=False))
    return time.perf_counter() - start, n


def row(name, data, most, peer, reference, quern, path, rounds):
    path.write_bytes(data)
    texts = pieces(data, most)
    ours, theirs = [], []
    for _ in range(rounds):
        seconds, n_ours = quern.ask(f"encode {path} {most}")
        ours.append(seconds)
        seconds, n_theirs = peer(reference, texts)
        theirs.append(seconds)
        if n_ours != n_theirs:
            sys.exit(f"{name}: {n_ours:.0f} ids from Quern, {n_theirs} from tokenizers")
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{name:44} {len(data) / a / 1e6:8.1f} {n_ours / a / 1e6:8.2f} {len(data) / b / 1e6:8.1f} "
          f"{n_theirs / b / 1e6:8.2f} {b / a:8.1f}x", flush=True)


def load_row(directory, quern, rounds):
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(quern.ask("load")[0])
        start = time.perf_counter()
        tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
        theirs.append(time.perf_counter() - start)
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{'load tokenizer.json':44} {a * 1e3:8.1f} ms {'':14} {b * 1e3:8.1f} ms {b / a:8.1f}x (best {min(ours) * 1e3:.1f}"
          f" and {min(theirs) * 1e3:.1f} ms)")


def main():
    parser = argparse.ArgumentParser()
    default = SHARED / "qwen3"
    if not (default / "tokenizer.json").exists():
        default = ROOT / "tests" / "fixtures" / "qwen3-tiny"
    parser.add_argument("--tokenizer", type=pathlib.Path, default=default)
    parser.add_argument("--megabytes", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    size = int(args.megabytes * 1e6)
    reference, quern = tokenizers.Tokenizer.from_file(str(args.tokenizer / "tokenizer.json")), Quern(args.tokenizer)
    ordinary = mixed_text.ordinary(1, size).encode()
    everything = mixed_text.mixed(2, size).decode("utf-8", "replace").encode()
    print(f"tokenizers {tokenizers.__version__}, {args.tokenizer.name}, {args.rounds} rounds, one thread each")
    print(f"{'':44} {'Quern':>17} {'tokenizers':>17}\n{'':44} {'MB/s':>8} {'Mtok/s':>8} {'MB/s':>8} {'Mtok/s':>8}   ratio")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "text"
        for name, data in (("prose, code, many scripts", ordinary), ("everything, long runs too", everything)):
            for how, most, peer in (("one text, encode", 0, encode_one_by_one), ("8 KB documents, encode", 8192, encode_one_by_one),
                                    ("8 KB documents, encode_batch_fast", 8192, encode_fast)):
                row(f"{name}: {how}"[:60], data, most, peer, reference, quern, path, args.rounds)
        for name, unit in (("'a'", b"a"), ("spaces", b" "), ("Chinese", "人工智能今天天气很好我们去公园散步吧".encode())):
            row(f"1 MB of {name} without a break", unit * (1_000_000 // len(unit)), 0, encode_one_by_one, reference, quern,
                path, max(1, args.rounds // 2))
    load_row(args.tokenizer, quern, args.rounds)


if __name__ == "__main__":
    main()
