#!/usr/bin/env python3
"""`quern serve` and the engine of llama-server on the same shape, weights of the same size and the
same number of threads, interleaved: one measurement of each in turn, medians.

    pip install llama-cpp-python gguf numpy          (built for the native CPU)
    llama_serve.py --prepare --tokenizer DIR         make both models
    llama_serve.py [throughput] [first-token] --json F

llama-cpp-python's own server computes one request at a time. What llama-server does is done here with
the same library's batches: a sequence for each client, all that decode in one llama_decode, prompts
fed beside each other, greedy tokens by llama.cpp's own sampler. It runs in its caller, without HTTP,
and a prefix known to one sequence is given to all of them (llama-server would compute it once for
each slot); quern is asked over HTTP, with its client's time in the figures.

throughput    8 clients at once, each with another prompt of 32 tokens and 64 tokens of answer: all
              tokens of answers by the time from the first request to the last answer
first-token   1,024 + 16 tokens: nothing known; 1,024 known; 8 clients at once with the 1,024 known
              (mean of the 8): from the request to its first token
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS, PROMPT, ANSWER, PREFIX, SUFFIX = 8, 32, 64, 1024, 16
CONTEXT = 2048
CASES = {
    "throughput": ["throughput"],
    "first-token": ["cold", "warm", "warm-8"],
}
WEIGHTS = {"int8": "Q8_0", "bf16": "BF16"}


def prompt_of(rng, n):
    return [rng.randrange(100000) for _ in range(n)]


# ---- llama.cpp in a process of its own -----------------------------------------------------------


class Slots:
    """llama-server's loop over its slots, as far as these measurements need it."""

    def __init__(self, path, threads, fa):
        from llama_cpp_engine import Llama  # bench/peers/llama_cpp.py under another name

        self.llama = Llama(path, threads, CONTEXT, CLIENTS, "f16", fa)
        self.api = self.llama.api
        self.sampler = self.api.llama_sampler_init_greedy()
        self.rng = random.Random(1)

    def sample(self, row):
        return self.api.llama_sampler_sample(self.sampler, self.llama.ctx, row)

    def clear(self):
        self.api.llama_memory_clear(self.llama.memory, False)

    def feed(self, prompts, at):
        """The first token of each: all prompts in as few batches as n_batch allows."""
        items = [(t, at + i, s, i == len(p) - 1) for s, p in prompts.items() for i, t in enumerate(p)]
        first = {}
        for begin in range(0, len(items), 2048):
            part = items[begin:begin + 2048]
            self.llama.decode(part)
            for row, (_, _, s, logits) in enumerate(part):
                if logits:
                    first[s] = self.sample(row)
        return first

    def throughput(self):
        self.clear()
        prompts = {s: prompt_of(self.rng, PROMPT) for s in range(CLIENTS)}
        start = time.perf_counter()
        last = self.feed(prompts, 0)
        for n in range(1, ANSWER):
            self.llama.decode([(last[s], PROMPT + n - 1, s, True) for s in range(CLIENTS)])
            last = {s: self.sample(s) for s in range(CLIENTS)}
        return CLIENTS * ANSWER / (time.perf_counter() - start)

    def cold(self):
        self.clear()
        prompt = prompt_of(self.rng, PREFIX + SUFFIX)
        start = time.perf_counter()
        self.feed({0: prompt}, 0)
        return time.perf_counter() - start

    def warm(self):
        """After cold: sequence 0 holds its prefix."""
        self.api.llama_memory_seq_rm(self.llama.memory, 0, PREFIX, -1)
        suffix = prompt_of(self.rng, SUFFIX)
        start = time.perf_counter()
        self.feed({0: suffix}, PREFIX)
        return time.perf_counter() - start

    def warm_8(self):
        self.api.llama_memory_seq_rm(self.llama.memory, 0, PREFIX, -1)
        for s in range(1, CLIENTS):
            self.api.llama_memory_seq_rm(self.llama.memory, s, -1, -1)
            self.api.llama_memory_seq_cp(self.llama.memory, 0, s, -1, -1)
        self.api.llama_synchronize(self.llama.ctx)
        prompts = {s: prompt_of(self.rng, SUFFIX) for s in range(CLIENTS)}
        start = time.perf_counter()
        self.feed(prompts, PREFIX)
        return time.perf_counter() - start


def serve_peer(a):
    import importlib.util

    spec = importlib.util.spec_from_file_location("llama_cpp_engine", os.path.join(HERE, "llama_cpp.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["llama_cpp_engine"] = module
    spec.loader.exec_module(module)
    slots = Slots(a.serve, a.threads, a.fa)
    slots.feed({0: prompt_of(slots.rng, 64)}, 0)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(getattr(slots, line.strip().replace("-", "_"))()), flush=True)


class Peer:
    def __init__(self, a):
        self.name = "llama.cpp " + WEIGHTS[a.weights]
        words = [sys.executable, os.path.abspath(__file__), "--serve", peer_model(a), "--threads",
                 str(a.threads), "--fa", a.fa]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with {self.process.wait()}")
        return json.loads(line)

    def measure(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


# ---- quern over HTTP --------------------------------------------------------------------------------


class Quern:
    def __init__(self, a):
        self.name = "quern " + a.weights
        words = [a.quern, "serve", "-m", own_model(a), "--port", "0", "--log", "json", "-t", str(a.threads),
                 "-c", str(CONTEXT), "--speculation", "off"]
        # Otherwise as the peer has it: activations rounded to bfloat16.
        words += ["--math", "fast"] if a.weights == "bf16" else ["--weights", a.weights]
        self.process = subprocess.Popen(words + a.quern_option, stderr=subprocess.PIPE, text=True)
        self.port = None
        for line in self.process.stderr:
            entry = json.loads(line)
            if entry["event"] == "listening":
                self.port = entry["port"]
            if entry["event"] == "model_ready":
                break
        if not self.port:
            raise SystemExit(f"quern serve ended with {self.process.wait()}")
        self.pool = concurrent.futures.ThreadPoolExecutor(CLIENTS)
        self.rng = random.Random(2)
        self.ask(prompt_of(self.rng, 64), 2)

    def ask(self, prompt, n):
        """Seconds until the whole answer of n tokens is there."""
        start = time.perf_counter()
        c = http.client.HTTPConnection("127.0.0.1", self.port)
        c.request("POST", "/v1/completions", json.dumps(
            {"prompt": prompt, "max_tokens": n, "ignore_eos": True, "temperature": 0}))
        reply = json.loads(c.getresponse().read())
        c.close()
        if reply["usage"]["completion_tokens"] != n:
            raise SystemExit(f"an answer of another length: {reply['usage']}")
        return time.perf_counter() - start

    def measure(self, what):
        return getattr(self, what.replace("-", "_"))()

    def throughput(self):
        prompts = [prompt_of(self.rng, PROMPT) for _ in range(CLIENTS)]
        start = time.perf_counter()
        list(self.pool.map(lambda p: self.ask(p, ANSWER), prompts))
        return CLIENTS * ANSWER / (time.perf_counter() - start)

    def cold(self):
        self.prefix = prompt_of(self.rng, PREFIX)
        return self.ask(self.prefix + prompt_of(self.rng, SUFFIX), 1)

    def warm(self):
        return self.ask(self.prefix + prompt_of(self.rng, SUFFIX), 1)

    def warm_8(self):
        prompts = [self.prefix + prompt_of(self.rng, SUFFIX) for _ in range(CLIENTS)]
        return statistics.mean(self.pool.map(lambda p: self.ask(p, 1), prompts))

    def close(self):
        self.process.terminate()
        self.process.wait()


# ---- models ------------------------------------------------------------------------------------------


def peer_model(a):
    import gguf_shapes

    return gguf_shapes.ensure(a.work, a.shape, WEIGHTS[a.weights], 0)


def own_model(a):
    path = os.path.join(a.work, a.shape + "-init")
    if not os.path.exists(path):
        subprocess.run([a.quern, "init", "--shape", a.shape, "-o", path, "--seed", "1", "--tokenizer", a.tokenizer], check=True)
    return path


# ---- running -----------------------------------------------------------------------------------------


def report(a, times):
    result = dict(shape=a.shape, weights=a.weights, threads=a.threads, clients=CLIENTS, cases={})
    for what, columns in times.items():
        (ours, us), (theirs, them) = ((k, statistics.median(v)) for k, v in columns.items())
        faster = us / them if what == "throughput" else them / us
        unit, scale = ("tok/s", 1) if what == "throughput" else ("ms", 1e3)
        result["cases"][what] = dict(ours=us, theirs=them, ratio=faster, all={ours: columns[ours], theirs: columns[theirs]})
        print(f"{what:11} {ours} {us * scale:.1f} {unit}, {theirs} {them * scale:.1f} {unit}, "
              f"{faster:.2f} times as fast", flush=True)
    if "cold" in times:
        for name, cold in times["cold"].items():
            ratio = statistics.median(cold) / statistics.median(times["warm"][name])
            print(f"{name}: a known prefix makes the first token {ratio:.1f} times as fast")
    if a.json:
        with open(a.json, "w") as f:
            json.dump(result, f, indent=1)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("cases", nargs="*", choices=[*CASES, []], default=[], help="default: all")
    p.add_argument("--prepare", action="store_true")
    p.add_argument("--tokenizer", help="to prepare: a directory with the shape's own tokenizer.json")
    p.add_argument("--shape", default="qwen3-0.6b")
    p.add_argument("--weights", choices=WEIGHTS, default="int8")
    p.add_argument("--fa", choices=["on", "off"], default="on", help="llama.cpp's flash attention")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--json")
    p.add_argument("--work", default=os.path.join(os.environ.get("TMPDIR", "/tmp"), "quern-peers"))
    p.add_argument("--quern", default=os.path.join(HERE, "../../build/release/quern"))
    p.add_argument("--quern-option", action="append", default=[], help="more for quern serve")
    p.add_argument("--serve", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.serve:
        return serve_peer(a)
    if a.prepare:
        if not a.tokenizer and not os.path.exists(os.path.join(a.work, a.shape + "-init")):
            p.error("--prepare needs --tokenizer")
        print(own_model(a), peer_model(a))
        return None
    contestants = [Quern(a), Peer(a)]
    times = {what: {k.name: [] for k in contestants} for case in (a.cases or CASES) for what in CASES[case]}
    for _ in range(a.rounds):
        for case in a.cases or CASES:
            for k in contestants:
                for what in CASES[case]:
                    times[what][k.name].append(k.measure(what))
    for k in contestants:
        k.close()
    return report(a, times)


if __name__ == "__main__":
    main()
