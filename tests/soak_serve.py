#!/usr/bin/env python3
"""Hours in minutes: a server under a mixture of good, hasty and bad clients, which must end where it began.

    soak_serve.py PROGRAM MODEL_DIR SECONDS

Every answer to a canary prompt must be the one it gave alone; at the end memory, descriptors, connections and
key/value blocks must be back where they were after the first minute's tenth."""
import json
import os
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "e2e"))
from serving import Connection, Server, request_bytes  # noqa: E402

CHAT = "/v1/chat/completions"
RSS_SLACK_BYTES = 16e6  # of allocator noise between two quiet moments


def body(text, **more):
    return {"messages": [{"role": "user", "content": text}], **more}


class Soak:
    def __init__(self, server, seconds):
        self.server, self.until = server, time.monotonic() + seconds
        self.counts, self.problems, self.lock = {}, [], threading.Lock()
        self.canaries = {}
        for i in range(8):
            arguments = body(f"canary {i} " + "word " * (i * 9), max_tokens=8 + i, seed=i, temperature=0.8)
            self.canaries[i] = (arguments, server.post(CHAT, arguments).json["choices"])

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def canary(self, rng):
        arguments, expected = self.canaries[rng.randrange(8)]
        reply = self.server.post(CHAT, arguments)
        if reply.status == 429:
            return "refused"
        if reply.json.get("choices") != expected:
            with self.lock:
                self.problems.append((arguments, reply.body))
        return "canary"

    def stream(self, rng):
        n = rng.choice([1, 1, 2, 3])
        reply = self.server.post(CHAT, body("tell me " * rng.randrange(60), stream=True, n=n,
                                            max_tokens=rng.randrange(1, 40)))
        return "stream" if reply.status == 200 else "refused"

    def leave(self, rng):
        with Connection(self.server.port) as c:
            c.send(request_bytes("POST", CHAT, body("long " * rng.randrange(90), stream=rng.random() < 0.8,
                                                    max_tokens=400, ignore_eos=True)))
            time.sleep(rng.random() * 0.05)
        return "left"

    def half(self, rng):
        data = request_bytes("POST", CHAT, body("x"))
        with Connection(self.server.port) as c:
            c.send(data[:rng.randrange(1, len(data))])
            time.sleep(rng.random() * 0.05)
        return "half a request"

    def embed(self, rng):
        self.server.post("/v1/embeddings", {"input": ["text " * rng.randrange(1, 50)] * rng.randrange(1, 20)})
        return "embeddings"

    def bad(self, rng):
        reply = self.server.post(CHAT, rng.choice([b"{", b"[]", body("x" * 9000), body("x", n=99), body("x", z=1)]))
        assert reply.status in (400, 429), reply.status
        return "bad request"

    def client(self, seed):
        rng = random.Random(seed)
        kinds = [self.canary] * 4 + [self.stream] * 3 + [self.leave] * 3 + [self.half, self.embed, self.bad]
        while time.monotonic() < self.until:
            try:
                self.count(rng.choice(kinds)(rng))
            except Exception as e:  # noqa: BLE001 - whatever it is, it is a finding
                with self.lock:
                    self.problems.append(repr(e))


def state(server):
    server.wait_until(server.idle, 60)
    server.wait_until(lambda: server.metric("quern_http_connections") <= 1, 60)
    # A connection is no longer counted a moment before its descriptors are closed.
    descriptors = []
    for _ in range(20):
        descriptors.append(server.n_descriptors())
        time.sleep(0.1)
    return {"rss": server.rss(), "descriptors": min(descriptors),
            "blocks": server.metric("quern_kv_cache_usage_ratio")}


def run(server, seconds, n_clients=12):
    soak = Soak(server, seconds)
    threads = [threading.Thread(target=soak.client, args=(i,)) for i in range(n_clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return soak


def main():
    program, model, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    # A cache so small that the first tenth fills it: memory is taken as blocks are first used.
    server = Server(program, dict(os.environ), "-m", model, "--queue", "64", "--context", "1024", "--cache-mib", "24")
    warm = run(server, seconds / 10)
    before = state(server)
    soak = run(server, seconds * 9 / 10)
    after = state(server)
    code = server.stop()
    print(json.dumps({"counts": soak.counts, "before": before, "after": after, "exit": code}, indent=1))
    problems = warm.problems + soak.problems
    for p in problems[:5]:
        print("problem:", p)
    good = (not problems and code == 0 and after["rss"] - before["rss"] <= RSS_SLACK_BYTES
            and after["descriptors"] <= before["descriptors"] + 1 and after["blocks"] == before["blocks"])
    print("soak:", "passed" if good else "FAILED")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
