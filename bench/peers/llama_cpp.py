#!/usr/bin/env python3
"""Quern and llama.cpp on the same shapes, interleaved: the same random weights' sizes, the same
number of threads, one measurement of each in turn, medians.

    pip install llama-cpp-python gguf numpy          (built for the native CPU)
    llama_cpp.py --list                              the cases, and the ratio each must reach
    llama_cpp.py --prepare                           make the GGUF files and the filled KV caches
    llama_cpp.py decode-0.6b-int8 ... --json F       run cases; results are merged into F
    llama_cpp.py --table --json F                    the table of F, in Markdown

The peer gets its best settings: flash attention where it is faster (a case lists what is tried; the
fastest counts), weights repacked, all of a prompt in one micro-batch.
"""

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
import gguf_shapes  # noqa: E402  (before its folder, where this file hides the package, goes)

sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != HERE]

# ---- cases ---------------------------------------------------------------------


def ours(weights, **more):
    return dict(engine="quern", weights=weights, **more)


def peer(kind, kv="f16", fa="on"):
    return dict(engine="llama.cpp", kind=kind, kv=kv, fa=fa)


def case(shape, kind, contestants, at_least, **more):
    return dict(shape=shape, kind=kind, contestants=contestants, at_least=at_least, **more)


SMALL, LARGE = "qwen3-0.6b", "qwen3-8b"
Q4 = [peer("Q4_0"), peer("Q4_K_M")]
CASES = {
    "decode-0.6b-bf16": case(SMALL, "decode", [ours("bf16"), ours("bf16", math="exact"), peer("BF16")], 1.5),
    "decode-0.6b-int8": case(SMALL, "decode", [ours("int8"), peer("Q8_0")], 1.9),
    "decode-0.6b-int4": case(SMALL, "decode", [ours("int4"), *Q4], 1.7),
    "decode-0.6b-nf4": case(SMALL, "decode", [ours("nf4"), *Q4], None),
    "decode-8b-bf16": case(LARGE, "decode", [ours("bf16"), ours("bf16", math="exact"), peer("BF16")], 1.3,
                           layers=4),
    "decode-8b-int8": case(LARGE, "decode", [ours("int8"), peer("Q8_0")], 1.8, layers=18),
    "decode-8b-int4": case(LARGE, "decode", [ours("int4"), *Q4], 1.5, layers=18),
    "prefill-0.6b-bf16": case(SMALL, "prefill", [ours("bf16"), peer("BF16")], 1.7),
    "prefill-0.6b-int8": case(SMALL, "prefill", [ours("int8"), peer("Q8_0")], 5),
    "prefill-0.6b-int4": case(SMALL, "prefill", [ours("int4"), *Q4], 3),
    "prefill-0.6b-nf4": case(SMALL, "prefill", [ours("nf4"), ours("bf16")], 1),
    "prefill-8b-bf16": case(LARGE, "prefill", [ours("bf16"), peer("BF16")], 1.7, layers=4),
    "prefill-8b-int8": case(LARGE, "prefill", [ours("int8"), peer("Q8_0")], 5, layers=4),
    "prefill-8b-int4": case(LARGE, "prefill", [ours("int4"), *Q4], 3, layers=4),
    "batch1-0.6b-int8": case(SMALL, "decode", [ours("int8"), peer("Q8_0")], None, batch=1),
    "batch2-0.6b-int8": case(SMALL, "decode", [ours("int8"), peer("Q8_0")], None, batch=2),
    "batch8-0.6b-int8": case(SMALL, "decode", [ours("int8"), peer("Q8_0")], None, batch=8),
    "batch16-0.6b-int8": case(SMALL, "decode", [ours("int8"), peer("Q8_0")], None, batch=16),
    "batch8-0.6b-bf16": case(SMALL, "decode", [ours("bf16"), peer("BF16")], None, batch=8),
    "batch16-0.6b-bf16": case(SMALL, "decode", [ours("bf16"), peer("BF16")], None, batch=16),
    "depth4096-0.6b-int8": case(SMALL, "decode", [
        ours("int8", kv="bf16"), ours("int8", kv="int8"), peer("Q8_0"), peer("Q8_0", fa="off")],
        3, depth=4096, n=8),
    "depth16384-0.6b-int8": case(SMALL, "decode", [
        ours("int8", kv="bf16"), ours("int8", kv="int8"), peer("Q8_0")], 3, depth=16384, n=4,
                                 layers=7),
    "prefill16384-0.6b-int8": case(SMALL, "prefill", [ours("int8"), peer("Q8_0")], 3, p=16384,
                                   rounds=1, layers=7),
}

# ---- llama.cpp in a process of its own --------------------------------------------


class Llama:
    def __init__(self, path, threads, context, sequences, kv, fa):
        import llama_cpp

        self.api = api = llama_cpp
        self.no_log = api.llama_log_callback(lambda *a: None)
        if not os.environ.get("PEER_LOG"):
            api.llama_log_set(self.no_log, None)
        api.llama_backend_init()
        params = api.llama_model_default_params()
        self.model = api.llama_model_load_from_file(path.encode(), params)
        c = api.llama_context_default_params()
        c.n_ctx = context * sequences
        c.n_batch = 2048
        c.n_ubatch = 512
        c.n_seq_max = sequences
        c.n_threads = c.n_threads_batch = threads
        c.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_ENABLED if fa == "on" \
            else api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        types = {"f16": api.GGML_TYPE_F16, "q8_0": api.GGML_TYPE_Q8_0}
        c.type_k = c.type_v = types[kv]
        c.kv_unified = False
        self.ctx = api.llama_init_from_model(self.model, c) if self.model else None
        if not self.ctx:
            raise SystemExit(f"llama.cpp cannot load {path}")
        self.memory = api.llama_get_memory(self.ctx)
        self.batch = api.llama_batch_init(2048, 0, 1)

    def decode(self, items):
        """items: (token, position, sequence, wants logits)"""
        b = self.batch
        b.n_tokens = len(items)
        for i, (token, position, sequence, logits) in enumerate(items):
            b.token[i] = token
            b.pos[i] = position
            b.n_seq_id[i] = 1
            b.seq_id[i][0] = sequence
            b.logits[i] = logits
        if self.api.llama_decode(self.ctx, b):
            raise SystemExit("llama_decode failed")

    def feed(self, first, n, sequence):
        for at in range(first, first + n, 512):
            end = min(at + 512, first + n)
            self.decode([(1000 + (p * 7919) % 100000, p, sequence, p == first + n - 1)
                         for p in range(at, end)])

    def fill(self, depth, sequences, state_file):
        """Brings every sequence to `depth` tokens; the first from the file when it is there."""
        api = self.api
        n_out = ctypes.c_size_t()
        room = (api.llama_token * (depth + 1))()
        if not depth:
            return
        if not (state_file and os.path.exists(state_file) and
                api.llama_state_seq_load_file(self.ctx, state_file.encode(), 0, room, depth + 1,
                                              ctypes.byref(n_out))):
            self.feed(0, depth, 0)
            if state_file:
                api.llama_state_seq_save_file(self.ctx, state_file.encode(), 0, room, depth)
        for s in range(1, sequences):
            api.llama_memory_seq_cp(self.memory, 0, s, -1, -1)
        api.llama_synchronize(self.ctx)

    def measure_prefill(self, n):
        self.api.llama_memory_clear(self.memory, False)
        start = time.perf_counter()
        self.feed(0, n, 0)
        self.api.llama_synchronize(self.ctx)
        return time.perf_counter() - start

    def measure_decode(self, depth, n, sequences):
        for s in range(sequences):
            self.api.llama_memory_seq_rm(self.memory, s, depth, -1)
        start = time.perf_counter()
        for i in range(n):
            self.decode([(1000 + i, depth + i, s, True) for s in range(sequences)])
            self.api.llama_synchronize(self.ctx)
        return time.perf_counter() - start


def serve(a):
    """One measurement for each line read."""
    llama = Llama(a.serve, a.threads, a.depth + a.p + a.n + 8, a.batch, a.kv, a.fa)
    state = f"{a.serve}.{a.depth}.{a.kv}.{a.fa}.state" if a.depth >= 1024 else None
    llama.fill(a.depth, a.batch, state)
    prefill = a.p > 0
    if not a.fill_only:
        llama.measure_prefill(min(a.p, 512)) if prefill else \
            llama.measure_decode(a.depth, min(a.n, 2), a.batch)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        s = llama.measure_prefill(a.p) if prefill else \
            llama.measure_decode(a.depth, a.n, a.batch)
        print(json.dumps({"seconds": s}), flush=True)


# ---- running a case -----------------------------------------------------------------


def defaults(c):
    c = dict(c)
    c.setdefault("layers", 0)
    c.setdefault("batch", 1)
    c.setdefault("depth", 0)
    c.setdefault("p", 512 if c["kind"] == "prefill" else 0)
    c.setdefault("n", (16 if c["shape"] == SMALL else 6) if c["kind"] == "decode" else 0)
    return c


def name_of(k):
    if k["engine"] == "quern":
        extra = ["kv " + k["kv"]] if "kv" in k else []
        extra += [k["math"]] if "math" in k else []
        return " ".join(["quern", k["weights"]] + extra)
    extra = [] if k["kv"] == "f16" else ["kv " + k["kv"]]
    return " ".join(["llama.cpp", k["kind"]] + extra + ["no fa"] * (k["fa"] == "off"))


def command(a, c, k, fill_only=False):
    if k["engine"] == "llama.cpp":
        path = gguf_shapes.ensure(a.work, c["shape"], k["kind"], c["layers"])
        return [sys.executable, os.path.abspath(__file__), "--serve", path, "--threads",
                str(a.threads), "-p", str(c["p"]), "-n", str(c["n"]), "--batch", str(c["batch"]),
                "--depth", str(c["depth"]), "--kv", k["kv"], "--fa", k["fa"]] + \
            ["--fill-only"] * fill_only
    words = [a.quern, "bench", "--paced", "--json", "--shape", c["shape"], "-t", str(a.threads), "-p", str(c["p"]), "-n", str(c["n"]), "-b", str(c["batch"]),
             "-d", str(c["depth"])]
    if c["layers"]:
        words += ["--layers", str(c["layers"])]
    if k["weights"] == "bf16":  # as they are made; rounding activations as the peer does
        words += ["--math", k.get("math", "fast")]
    else:
        words += ["--weights", k["weights"]]
    if "kv" in k:
        words += ["--kv-type", k["kv"]]
    return words + a.quern_option


class Contestant:
    def __init__(self, a, c, k):
        self.name, self.times = name_of(k), []
        self.process = subprocess.Popen(command(a, c, k), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self.process.wait()}")
        return json.loads(line)

    def measure(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.times.append(self.answer()["seconds"])

    def close(self):
        self.process.stdin.close()
        rest = self.process.stdout.read()
        self.process.wait()
        return json.loads(rest) if rest.strip() else None


def run_case(a, name):
    c = defaults(CASES[name])
    rounds = c.get("rounds", a.rounds)
    contestants, summaries = [], {}
    result = dict(case=name, threads=a.threads, at_least=c["at_least"], shape=c["shape"],
                  layers=c["layers"], kind=c["kind"], p=c["p"], n=c["n"], batch=c["batch"],
                  depth=c["depth"], contestants=[])
    for k in c["contestants"]:
        try:
            contestants.append(Contestant(a, c, k))
        except RuntimeError as e:  # a format that this build does not have
            print(f"{name}: {e}", file=sys.stderr)
    for _ in range(rounds):
        for k in contestants:
            k.measure()
    tokens = c["p"] if c["kind"] == "prefill" else c["n"] * c["batch"]
    for k in contestants:
        summaries[k.name] = k.close()
        rates = sorted(tokens / t for t in k.times)
        result["contestants"].append(dict(
            name=k.name, tok_s=statistics.median(rates), low=rates[0], high=rates[-1],
            summary=summaries[k.name]))
    us = [x["tok_s"] for x in result["contestants"] if x["name"].startswith("quern")]
    them = [x["tok_s"] for x in result["contestants"] if not x["name"].startswith("quern")]
    if not them:  # a case among ourselves
        us, them = us[:1], us[1:]
    if us and them:
        result["ratio"] = max(us) / max(them)
    for x in result["contestants"]:
        print(f"{name:24} {x['name']:28} {x['tok_s']:9.2f} tok/s  ({x['low']:.2f} to "
              f"{x['high']:.2f})", flush=True)
    if "ratio" in result:
        wanted = f", wanted {c['at_least']}" if c["at_least"] else ""
        print(f"{name:24} ratio {result['ratio']:.2f}{wanted}", flush=True)
    return result


def merge(path, result):
    data = {}
    if os.path.exists(path):
        with open(path) as f:
            data = json.load(f)
    data[result["case"]] = result
    with open(path + ".part", "w") as f:
        json.dump(data, f, indent=1)
    os.replace(path + ".part", path)


def print_table(path):
    with open(path) as f:
        data = json.load(f)
    print("| case | ours, tok/s | llama.cpp, tok/s | ratio | wanted |\n|---|--:|--:|--:|--:|")
    for name in CASES:
        if name not in data:
            continue
        r = data[name]
        cells = [[], []]
        for x in r["contestants"]:
            engine, _, what = x["name"].partition(" ")
            cells[engine != "quern"].append(f"{what} {x['tok_s']:.4g}")
        wanted = r["at_least"] and f"{r['at_least']:g}"
        ratio = f"{r['ratio']:.2f}" if "ratio" in r else ""
        print(f"| {name} | {', '.join(cells[0])} | {', '.join(cells[1])} | {ratio} | "
              f"{wanted or ''} |")


def prepare(a, names):
    for name in names:
        c = defaults(CASES[name])
        for k in c["contestants"]:
            if k["engine"] != "llama.cpp":
                continue
            words = command(a, c, k, fill_only=True)
            # One thread: on a busy machine OpenMP's threads wait for each other most of the time.
            words[words.index("--threads") + 1] = "1"
            if c["depth"] >= 1024:
                subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               check=True)
            print(f"{name}: {name_of(k)} ready", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("cases", nargs="*", help="default: all; a prefix names all it begins")
    p.add_argument("--list", action="store_true")
    p.add_argument("--prepare", action="store_true")
    p.add_argument("--table", action="store_true")
    p.add_argument("--json", default="peers.json")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--work", default=os.path.join(os.environ.get("TMPDIR", "/tmp"), "quern-peers"))
    p.add_argument("--quern", default=os.path.join(HERE, "../../build/release/quern"))
    p.add_argument("--quern-option", action="append", default=[], help="more for quern bench")
    for hidden in ("--serve", "--kv", "--fa"):
        p.add_argument(hidden, help=argparse.SUPPRESS)
    for hidden in ("-p", "-n", "--batch", "--depth"):
        p.add_argument(hidden, type=int, help=argparse.SUPPRESS)
    p.add_argument("--fill-only", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.serve:
        return serve(a)
    if a.table:
        return print_table(a.json)
    names = [n for n in CASES if not a.cases or any(n.startswith(x) for x in a.cases)]
    if not names:
        p.error("no such case; see --list")
    if a.list:
        for n in names:
            c = CASES[n]
            print(f"{n:24} {str(c['at_least'] or '-'):>4}  " +
                  ", ".join(name_of(k) for k in c["contestants"]))
        return None
    if a.prepare:
        return prepare(a, names)
    for n in names:
        merge(a.json, run_case(a, n))
    return None


if __name__ == "__main__":
    sys.exit(main())
