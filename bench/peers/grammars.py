"""Quern's masks beside llguidance's and xgrammar's: MaskBench's protocol, the same instances, one thread each, taking
turns in groups of schemas. Times are what the thread computed, so that other work on the machine disturbs all alike.

    python bench/peers/grammars.py [--tokenizer DIR] [--maskbench DIR] [--every N] [--group 25] [--timeout 20]
                                   [--json OUT]

Needs `llguidance`, `xgrammar`, `transformers`, `torch` (PyPI) and build/release/quern. A schema passes when it
compiles and every instance gets the right verdict. llguidance and xgrammar take their defaults, but xgrammar's
strict_mode, which would forbid properties that are not declared. What a peer refuses or does not finish within
the time limit counts as refused."""
import argparse
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.pop(0)  # this folder: its tokenizers.py is not the library
ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("QUERN_SHARED", ROOT / ".." / "shared"))
PROGRAM = os.environ.get("QUERN", ROOT / "build" / "release" / "quern")
clock = time.thread_time_ns


class LLGuidance:
    def __init__(self, directory):
        import llguidance
        import numpy
        self.lib = llguidance
        self.tokenizer = llguidance.LLTokenizer(str(pathlib.Path(directory) / "tokenizer.json"),
                                                slices=llguidance.LLTokenizer.json_slices())
        self.mask = numpy.zeros((self.tokenizer.vocab_size + 31) // 32, dtype=numpy.uint32)

    def compile(self, schema):
        matcher = self.lib.LLMatcher(self.tokenizer, self.lib.LLMatcher.grammar_from_json_schema(schema), log_level=0)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        self.grammar = matcher

    def start(self):
        self.matcher = self.grammar.deep_copy()

    def fill(self):
        self.matcher.unsafe_compute_mask_ptr(self.mask.ctypes.data, self.mask.nbytes)

    def allows(self, token):
        return bool(self.mask[token // 32] >> (token % 32) & 1)

    def accept(self, token):
        return self.matcher.consume_token(token)

    def can_end(self):
        return self.matcher.is_accepting()

    def check(self):
        if self.matcher.is_error():
            raise ValueError(self.matcher.get_error())


class XGrammar:
    def __init__(self, directory):
        import transformers
        import xgrammar
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(pathlib.Path(directory) / "tokenizer.json"),
                                                         eos_token="<|im_end|>")
        self.lib = xgrammar
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer)
        self.end = info.stop_token_ids[0]
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self.mask = xgrammar.allocate_token_bitmask(1, info.vocab_size)
        self.words = self.mask.numpy()[0].view("uint32")

    def compile(self, schema):
        self.grammar = self.compiler.compile_json_schema(schema, strict_mode=False)

    def start(self):
        self.matcher = self.lib.GrammarMatcher(self.grammar)

    def fill(self):
        self.full = not self.matcher.fill_next_token_bitmask(self.mask)

    def allows(self, token):
        return self.full or bool(self.words[token // 32] >> (token % 32) & 1)

    def accept(self, token):
        return self.matcher.accept_token(token)

    def can_end(self):
        self.fill()
        return self.allows(self.end)

    def check(self):
        pass


def encoder(directory):
    import tokenizers
    tokenizer = tokenizers.Tokenizer.from_file(str(pathlib.Path(directory) / "tokenizer.json"))
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def run_schema(engine, encode, path):
    file = json.loads(pathlib.Path(path).read_text())
    row = {"times_us": [], "valid_rejected": 0, "invalid_accepted": 0, "refused": ""}
    begin = clock()
    try:
        engine.compile(json.dumps(file["schema"], ensure_ascii=False))
    except Exception as e:  # whatever a peer throws is its refusal
        row["refused"] = str(e)[:200] or type(e).__name__
        return row
    row["first_mask_us"] = (clock() - begin) / 1e3
    first = True
    for test in file["tests"]:
        accepted = True
        try:
            engine.start()
            for token in encode(json.dumps(test["data"], ensure_ascii=False)):
                begin = clock()
                engine.fill()
                us = (clock() - begin) / 1e3
                if first:
                    row["first_mask_us"] += us
                else:
                    row["times_us"].append(us)
                first = False
                engine.check()
                if not engine.allows(token) or not engine.accept(token):
                    accepted = False
                    break
            accepted = accepted and engine.can_end()
        except Exception as e:
            row["refused"] = str(e)[:200] or type(e).__name__
            return row
        row["valid_rejected"] += test["valid"] and not accepted
        row["invalid_accepted"] += not test["valid"] and accepted
    return row


def serve(name, directory):
    engine = {"llguidance": LLGuidance, "xgrammar": XGrammar}[name](directory)
    encode = encoder(directory)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(run_schema(engine, encode, line.strip())), flush=True)


class Peer:
    """A process of its own, started again when a schema takes too long."""

    def __init__(self, name, directory):
        self.arguments = [sys.executable, __file__, "--serve", name, "--tokenizer", str(directory)]
        self.process = None
        self.start()

    def start(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = subprocess.Popen(self.arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        stderr=subprocess.DEVNULL)
        if self.process.stdout.readline() != "ready\n":
            sys.exit(f"{self.arguments[3]} does not start")

    def run(self, paths, timeout):
        rows = []
        for path in paths:
            try:
                self.process.stdin.write(str(path) + "\n")
                self.process.stdin.flush()
                ready, _, _ = select.select([self.process.stdout], [], [], timeout)
                line = self.process.stdout.readline() if ready else ""
            except BrokenPipeError:
                line = ""
            if line:
                rows.append(json.loads(line))
            else:
                rows.append({"times_us": [], "valid_rejected": 0, "invalid_accepted": 0, "refused": "time limit or crash"})
                self.start()
        return rows


class Quern:
    def __init__(self, directory):
        self.directory = directory

    def run(self, paths, _timeout):
        with tempfile.TemporaryDirectory() as folder:
            files, out = pathlib.Path(folder) / "files", pathlib.Path(folder) / "out.json"
            files.mkdir()
            for path in paths:
                shutil.copy(path, files)
            subprocess.run([PROGRAM, "grammar", "bench", "--cpu-time", "--tokenizer", self.directory, "--maskbench", files,
                            "--json", out], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            rows = {row["file"]: row for row in json.loads(out.read_text())["rows"]}
        return [rows[path.name] for path in paths]


def share(numbers, p):
    return sorted(numbers)[int(p * (len(numbers) - 1) + 0.5)] if numbers else 0.0


def summary(rows):
    times = [t for row in rows for t in row["times_us"]]
    first = [row["first_mask_us"] for row in rows if "first_mask_us" in row and not row["refused"]]
    wrong = [row for row in rows if row["valid_rejected"] or row["invalid_accepted"]]
    silent = [row for row in rows if row["invalid_accepted"] and not row.get("not_enforced")]
    return {
        "schemas": len(rows),
        "pass": sum(not r["refused"] and not r["valid_rejected"] and not r["invalid_accepted"] for r in rows),
        "refused": sum(bool(r["refused"]) for r in rows),
        "time_limit": sum(r["refused"].startswith("time limit") for r in rows),
        "wrong": len(wrong),
        "valid_rejected": sum(r["valid_rejected"] > 0 for r in rows),
        "invalid_accepted": sum(r["invalid_accepted"] > 0 for r in rows),
        "invalid_accepted_silently": len(silent),
        "masks": len(times),
        "mask_us": {k: round(share(times, p), 1) for k, p in
                    [("p50", .5), ("p90", .9), ("p99", .99), ("p99.9", .999), ("max", 1)]},
        "first_mask_us": {k: round(share(first, p), 1) for k, p in [("p50", .5), ("p99", .99), ("max", 1)]},
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokenizer", default=SHARED / "qwen3")
    parser.add_argument("--maskbench", default=SHARED / "data" / "maskbench" / "files", type=pathlib.Path)
    parser.add_argument("--every", type=int, default=1, help="only every Nth schema")
    parser.add_argument("--group", type=int, default=25, help="schemas in a turn")
    parser.add_argument("--timeout", type=float, default=20, help="seconds for a schema and its instances")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--serve")
    args = parser.parse_args()
    if args.serve:
        return serve(args.serve, args.tokenizer)
    paths = sorted(args.maskbench.glob("*.json"))[::args.every]
    engines = {"quern": Quern(args.tokenizer), "llguidance": Peer("llguidance", args.tokenizer),
               "xgrammar": Peer("xgrammar", args.tokenizer)}
    rows = {name: [] for name in engines}
    for i in range(0, len(paths), args.group):
        for name, engine in engines.items():
            rows[name] += engine.run(paths[i:i + args.group], args.timeout)
        print(f"\r{min(i + args.group, len(paths))}/{len(paths)}", end="", file=sys.stderr)
    print(file=sys.stderr)
    result = {name: summary(r) for name, r in rows.items()}
    print(json.dumps(result, indent=1))
    if args.json:
        for r in rows.values():
            for row in r:
                row.pop("times_us")
        args.json.write_text(json.dumps({"summary": result, "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
