"""Quern's masks beside llguidance's and xgrammar's: MaskBench's protocol, the same instances, one thread each, taking
turns in groups of schemas. Times are what the thread computed, so that other work on the machine disturbs all alike.

    python bench/peers/grammars.py [--tokenizer DIR] [--maskbench DIR] [--every N] [--group 25] [--timeout 20]
                                   [--state FILE] [--again NAME] [--seconds N] [--json OUT]

Needs `llguidance`, `xgrammar`, `transformers`, `torch` (PyPI) and build/release/quern. A schema passes when it
compiles and every instance gets the right verdict. llguidance and xgrammar take their defaults, but xgrammar's
strict_mode, which would forbid properties that are not declared. Each engine is a process of its own with at most
4 GB; what it refuses, or where it crashes or does not finish within the time limit, counts as refused.

With --state every row is appended to the file as soon as it is known, and a run that was stopped goes on where it
was; --seconds N stops after a group of schemas that ends later than that; --again NAME measures that engine anew.
"same" is the comparison over the schemas that all three pass: there they have computed the very same masks.
"whole_ms" is all of a schema: compiling it and the masks of its instances."""
import argparse
import json
import os
import pathlib
import resource
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


MEMORY = 4 << 30


def limit_memory():
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def serve(name, directory):
    engine = {"llguidance": LLGuidance, "xgrammar": XGrammar}[name](directory)
    encode = encoder(directory)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(run_schema(engine, encode, line.strip())), flush=True)


def no_answer(why):
    return {"times_us": [], "valid_rejected": 0, "invalid_accepted": 0, "refused": why}


class Peer:
    """A process of its own, started again when a schema takes too long."""

    def __init__(self, name, directory):
        self.arguments = [sys.executable, __file__, "--serve", name, "--tokenizer", str(directory)]
        self.process = None

    def start(self):
        self.stop()
        self.process = subprocess.Popen(self.arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        stderr=subprocess.DEVNULL, preexec_fn=limit_memory)
        if self.process.stdout.readline() != "ready\n":
            sys.exit(f"{self.arguments[3]} does not start")

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def ask(self, path, timeout):
        if not self.process:
            self.start()
        try:
            self.process.stdin.write(str(path) + "\n")
            self.process.stdin.flush()
            ready, _, _ = select.select([self.process.stdout], [], [], timeout)
            line = self.process.stdout.readline() if ready else None
            row = json.loads(line) if line else no_answer("time limit" if line is None else "crash")
        except (BrokenPipeError, json.JSONDecodeError):
            line, row = None, no_answer("crash")
        if not line:
            self.stop()
        return row

    def run(self, paths, timeout):
        for path in paths:
            yield path, self.ask(path, timeout)


class Quern:
    def __init__(self, directory):
        self.directory = directory

    def bench(self, paths, timeout):
        """The rows by name; fewer when the program ends early."""
        with tempfile.TemporaryDirectory() as folder:
            files, out = pathlib.Path(folder) / "files", pathlib.Path(folder) / "out.json"
            files.mkdir()
            for path in paths:
                shutil.copy(path, files)
            try:
                subprocess.run([PROGRAM, "grammar", "bench", "--cpu-time", "--tokenizer", self.directory, "--maskbench",
                                files, "--json", out], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               timeout=timeout, preexec_fn=limit_memory)
            except subprocess.TimeoutExpired:
                return {}, "time limit"
            return ({row["file"]: row for row in json.loads(out.read_text())["rows"]} if out.exists() else {}), "crash"

    def run(self, paths, timeout):
        rows, _ = self.bench(paths, timeout * len(paths))
        for path in paths:
            why = ""
            if path.name not in rows:  # alone: the others of its group are not to suffer
                alone, why = self.bench([path], timeout)
                rows.update(alone)
            yield path, rows.get(path.name, no_answer(why))

    def stop(self):
        pass


class State:
    """The rows by engine and file, in a file of lines when there is one."""

    def __init__(self, path, again):
        self.rows = {}
        self.file = None
        if not path:
            return
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines:
            try:
                name, file, row = json.loads(line)
            except ValueError:  # the line that was being written
                continue
            if name != again:
                self.rows[name, file] = row
        self.file = path.open("w")
        for (name, file), row in self.rows.items():
            self.write(name, file, row)

    def write(self, name, file, row):
        self.file.write(json.dumps([name, file, row]) + "\n")
        self.file.flush()

    def add(self, name, file, row):
        row = {k: row[k] for k in KEPT if k in row}
        self.rows[name, file] = row
        if self.file:
            self.write(name, file, row)


KEPT = ("times_us", "valid_rejected", "invalid_accepted", "refused", "first_mask_us", "compile_us", "not_enforced")


def share(numbers, p):
    return sorted(numbers)[int(p * (len(numbers) - 1) + 0.5)] if numbers else 0.0


def passes(row):
    return not row["refused"] and not row["valid_rejected"] and not row["invalid_accepted"]


def percentiles(numbers):
    return {k: round(share(numbers, p), 1) for k, p in
            [("p50", .5), ("p90", .9), ("p99", .99), ("p99.9", .999), ("max", 1)]}


def mask_times(rows):
    times = [t for row in rows for t in row["times_us"]]
    return {"masks": len(times), "mask_us": percentiles(times)}


def first_times(rows):
    return percentiles([row["first_mask_us"] for row in rows if "first_mask_us" in row and not row["refused"]])


def whole_times(rows):
    return percentiles([(row["first_mask_us"] + sum(row["times_us"])) / 1e3 for row in rows
                        if "first_mask_us" in row and not row["refused"]])


def summary(rows):
    silent = [row for row in rows if row["invalid_accepted"] and not row.get("not_enforced")]
    return {
        "schemas": len(rows),
        "pass": sum(passes(row) for row in rows),
        "refused": sum(bool(r["refused"]) for r in rows),
        "time_limit": sum(r["refused"] == "time limit" for r in rows),
        "crash": sum(r["refused"] == "crash" for r in rows),
        "wrong": sum(bool(r["valid_rejected"] or r["invalid_accepted"]) for r in rows),
        "valid_rejected": sum(r["valid_rejected"] > 0 for r in rows),
        "invalid_accepted": sum(r["invalid_accepted"] > 0 for r in rows),
        "invalid_accepted_silently": len(silent),
        **mask_times(rows), "first_mask_us": first_times(rows), "whole_ms": whole_times(rows),
    }


def compare(rows):
    """All, and the schemas that everyone passes."""
    result = {name: summary(list(of.values())) for name, of in rows.items()}
    same = [file for file in rows["quern"] if all(file in of and passes(of[file]) for of in rows.values())]
    result["same"] = {"schemas": len(same)}
    for name, of in rows.items():
        chosen = [of[file] for file in same]
        result["same"][name] = {**mask_times(chosen), "first_mask_us": first_times(chosen),
                                "whole_ms": whole_times(chosen)}
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokenizer", default=SHARED / "qwen3")
    parser.add_argument("--maskbench", default=SHARED / "data" / "maskbench" / "files", type=pathlib.Path)
    parser.add_argument("--every", type=int, default=1, help="only every Nth schema")
    parser.add_argument("--group", type=int, default=25, help="schemas in a turn")
    parser.add_argument("--timeout", type=float, default=20, help="seconds for a schema and its instances")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--state", type=pathlib.Path, help="rows as they come; a run that was stopped goes on")
    parser.add_argument("--again", help="with --state: measure this engine anew")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="with --state: stop after so long")
    parser.add_argument("--serve")
    args = parser.parse_args()
    if args.serve:
        return serve(args.serve, args.tokenizer)
    paths = sorted(args.maskbench.glob("*.json"))[::args.every]
    engines = {"quern": Quern(args.tokenizer), "llguidance": Peer("llguidance", args.tokenizer),
               "xgrammar": Peer("xgrammar", args.tokenizer)}
    state = State(args.state, args.again)
    end = time.monotonic() + args.seconds
    done = 0
    for i in range(0, len(paths), args.group):
        if time.monotonic() > end:
            break
        done = min(i + args.group, len(paths))
        for name, engine in engines.items():
            missing = [path for path in paths[i:i + args.group] if (name, path.name) not in state.rows]
            for path, row in engine.run(missing, args.timeout) if missing else ():
                state.add(name, path.name, row)
        print(f"\r{done}/{len(paths)}", end="", file=sys.stderr)
    print(file=sys.stderr)
    for engine in engines.values():
        engine.stop()
    rows = {name: {path.name: state.rows[name, path.name] for path in paths[:done]} for name in engines}
    result = compare(rows)
    print(json.dumps(result, indent=1))
    if args.json:
        short = {name: {file: {k: v for k, v in row.items() if k != "times_us"} for file, row in of.items()}
                 for name, of in rows.items()}
        args.json.write_text(json.dumps({"summary": result, "rows": short}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
