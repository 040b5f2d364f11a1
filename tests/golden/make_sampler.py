#!/usr/bin/env python3
"""Makes tests/golden/sampler/distributions.json: what is left in the draw, and with which
probabilities, for many rows of logits and settings.

The oracle is transformers' own logits processors, in the order of `generate`, run in float64
(the repetition penalty in float32, as a float32 model's logits are). Where logits are
equal, transformers' answer is not defined (torch.sort is not stable) or keeps more than asked
(top_k keeps every token that equals the k-th); there the expected answer is
computed by `ranked_reference` below, whose rule is "larger logit first, among equals
the smaller id", and which is checked here against transformers on all rows without equals.

Also makes draws.json: the tokens drawn for fixed seeds, computed here from first principles (Philox and
integer weights in exact arithmetic), so that the C program is held to them on every
machine and by every compiler.

Two deliberate differences: the tie rule, and that a token 2^44 times less likely than the best one
counts as impossible.
"""
import json
import math
import pathlib
from decimal import Decimal, getcontext

import numpy as np
import torch
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

OUT = pathlib.Path(__file__).parent / "sampler" / "distributions.json"
NEUTRAL = dict(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, typical_p=1.0, repetition_penalty=1.0,
               top_n_sigma=0.0, xtc_probability=0.0, xtc_threshold=0.1)
IMPOSSIBLE = 2.0**-44


def f32(x):
    return float(np.float32(x))


def rows():
    rng = np.random.default_rng(20240229)
    normal = lambda n, sd: (rng.standard_normal(n) * sd).astype(np.float32)
    peaked = normal(90, 2.5)
    peaked[[7, 40]] = [14.25, 13.5]
    holes = normal(64, 3)
    holes[rng.random(64) < 0.5] = -np.inf
    tied = np.round(normal(80, 2))
    tied_holes = np.round(normal(64, 1) * 2) / 2
    tied_holes[::3] = -np.inf
    signed_zero = np.array([0.0, -0.0, 1.0, -0.0, 0.0, -1.0], np.float32)
    return {
        "normal": normal(96, 3),
        "flat": normal(60, 0.1),
        "wide": normal(60, 20),
        "peaked": peaked,
        "offset": normal(50, 2) + np.float32(3000),
        "negative": normal(50, 2) - np.float32(40),
        "holes": holes,
        "pair": np.array([1.5, -0.25], np.float32),
        "single": np.array([-3.0], np.float32),
        "tied": tied,
        "equal": np.full(40, 2.5, np.float32),
        "tied_holes": tied_holes,
        "signed_zero": signed_zero,
    }


def settings():
    yield {}
    for t in (0.25, 0.6, 1.7):
        yield dict(temperature=t)
    for k in (1, 5, 20, 1000):
        yield dict(top_k=k)
    for p in (0.0, 0.1, 0.5, 0.8, 0.95, 0.999):
        yield dict(top_p=p)
    for p in (0.01, 0.1, 0.5, 1.0):
        yield dict(min_p=p)
    for p in (0.1, 0.5, 0.9, 0.99):
        yield dict(typical_p=p)
    yield dict(temperature=0.6, top_k=20, top_p=0.95)
    yield dict(temperature=0.7, top_k=20, top_p=0.8)
    yield dict(temperature=1.3, top_p=0.9, min_p=0.05)
    yield dict(top_k=30, top_p=0.97, min_p=0.01, typical_p=0.8)
    yield dict(temperature=0.8, typical_p=0.5, top_p=0.9)
    yield dict(repetition_penalty=1.3)
    yield dict(repetition_penalty=0.8, temperature=0.9, top_p=0.9)
    for n in (0.0, 0.5, 1.0, 2.0):
        yield dict(top_n_sigma=n)
    yield dict(top_n_sigma=1.5, temperature=2.0, min_p=0.02)
    for t in (0.01, 0.05, 0.1, 0.25, 0.6):
        yield dict(xtc_probability=1.0, xtc_threshold=t)
    yield dict(xtc_probability=1.0, xtc_threshold=0.05, top_p=0.9, temperature=0.8)
    yield dict(xtc_probability=1.0, xtc_threshold=0.02, typical_p=0.9)


def penalized(logits, s, seen):
    t = torch.tensor(logits[None])
    if s["repetition_penalty"] != 1.0:
        t = RepetitionPenaltyLogitsProcessor(f32(s["repetition_penalty"]))(torch.tensor([seen]), t)
    return t


def transformers_probs(scores, s):
    t = scores.double()
    warpers = []
    if s["temperature"] != 1.0:
        warpers.append(TemperatureLogitsWarper(f32(s["temperature"])))
    if s["top_k"]:
        warpers.append(TopKLogitsWarper(s["top_k"]))
    if s["top_p"] < 1.0:
        warpers.append(TopPLogitsWarper(f32(s["top_p"])))
    if s["min_p"] > 0:
        warpers.append(MinPLogitsWarper(f32(s["min_p"])))
    if s["typical_p"] < 1.0:
        warpers.append(TypicalLogitsWarper(f32(s["typical_p"])))
    for w in warpers:
        t = w(None, t)
    return t.softmax(-1)[0].numpy()


def shortest_prefix(order, w, mass):
    """How many of `order` are needed until they reach `mass` of the weight of all."""
    wanted = mass * w[order].sum()
    total = 0.0
    for n, i in enumerate(order):
        total += w[i]
        if total >= wanted:
            return n + 1
    return len(order)


def ranked_reference(scores, s):
    x = scores[0].double().numpy()
    if s["top_n_sigma"] > 0:
        finite = x[np.isfinite(x)]
        x = np.where(x < x.max() - f32(s["top_n_sigma"]) * finite.std(), -np.inf, x)
    x = x / f32(s["temperature"])
    w = np.exp(x - x.max())
    order = sorted(np.flatnonzero(w), key=lambda i: (-x[i], i))
    if s["top_k"]:
        order = order[: s["top_k"]]
    if s["top_p"] < 1.0:
        order = order[: shortest_prefix(order, w, f32(s["top_p"]))]
    if s["min_p"] > 0:
        order = [i for i in order if w[i] >= f32(s["min_p"])]
    if s["typical_p"] < 1.0:
        p = w / w[order].sum()
        entropy = -sum(p[i] * math.log(p[i]) for i in order)
        distance = {i: np.float32(abs(-math.log(p[i]) - entropy)) for i in order}
        by_distance = sorted(order, key=lambda i: (distance[i], i))
        kept = set(by_distance[: shortest_prefix(by_distance, w, f32(s["typical_p"]))])
        order = [i for i in order if i in kept]
    if s["xtc_probability"] == 1.0:
        p = w / w[order].sum()
        likely = [i for i in order if p[i] >= f32(s["xtc_threshold"])]
        order = [i for i in order if i not in likely[:-1]]
    probs = np.zeros(len(x))
    probs[order] = w[order] / w[order].sum()
    return probs


def expected(name, logits, s, seen):
    scores = penalized(logits, s, seen)
    theirs = transformers_probs(scores, s)
    ranked = ranked_reference(scores, s)
    if s["top_n_sigma"] > 0 or s["xtc_probability"] > 0:
        return ranked, scores  # not in transformers; rules as in llama.cpp's samplers
    finite = scores[0][torch.isfinite(scores[0])].numpy() + 0.0
    if len(set(finite.tolist())) == len(finite):
        assert np.array_equal(theirs > 0, ranked > 0), (name, s)
        assert np.allclose(theirs, ranked, rtol=1e-11, atol=1e-15), (name, s)
        return theirs, scores
    if s["typical_p"] == 1.0:
        assert np.all(theirs[ranked > 0] > 0) or s["top_p"] < 1.0, (name, s)
        if s["top_k"] == 0:
            # A sum that should be exactly top_p may come out one rounding off.
            assert abs((theirs > 0).sum() - (ranked > 0).sum()) <= 1, (name, s)
    return ranked, scores


def main():
    table = rows()
    cases = []
    for name, logits in table.items():
        n = len(logits)
        seen = [int(i) for i in (0, n // 2, n - 1, n // 2, n // 3)]
        for given in settings():
            s = {**NEUTRAL, **given}
            probs, scores = expected(name, logits, s, seen)
            ratio = probs / probs.max()
            assert not np.any(np.abs(ratio / IMPOSSIBLE - 1) < 1e-6)
            probs = np.where(ratio < IMPOSSIBLE, 0, probs)
            probs /= probs.sum()
            flat = scores[0].numpy() + 0.0
            ids = sorted(np.flatnonzero(probs), key=lambda i: (-flat[i], i))
            cases.append(
                {
                    "row": name,
                    "settings": given,
                    "ids": [int(i) for i in ids],
                    "probs": [float(f"{probs[i]:.13g}") for i in ids],
                }
            )
    doc = {
        "rows": {
            k: [None if np.isinf(x) else float(x) for x in v.astype(np.float64)] for k, v in table.items()
        },
        "cases": cases,
    }
    OUT.parent.mkdir(exist_ok=True)
    text = json.dumps(doc).replace('{"row"', '\n{"row"').replace(']], "', ']],\n"')
    OUT.write_text(text + "\n")
    print(f"{OUT.name}: {len(cases)} cases, {len(text)} bytes")
    make_draws(table)


def philox(seed, stream, index):
    """The first 64 bits of Philox4x32-10 (Salmon et al. 2011)."""
    c = [index & 0xFFFFFFFF, index >> 32, stream & 0xFFFFFFFF, stream >> 32]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c[1] << 32 | c[0]


def integer_weights(logits, s):
    """[(id, weight)], best first; weight = floor(2^44 exp((logit - max)/temperature))."""
    t = Decimal(f32(s["temperature"]))
    top = max(Decimal(float(x)) for x in logits if np.isfinite(x))
    order = sorted((i for i in range(len(logits)) if np.isfinite(logits[i])), key=lambda i: (-logits[i], i))
    order = order[: s["top_k"] or None]
    return [(i, int(2**44 * ((Decimal(float(logits[i])) - top) / t).exp())) for i in order]


def draw(weights, s, seed, position):
    if s["top_p"] < 1.0:
        wanted, mass, n = math.ceil(f32(s["top_p"]) * float(sum(w for _, w in weights))), 0, 0
        while mass < wanted or n == 0:
            mass += weights[n][1]
            n += 1
        weights = weights[:n]
    if s["min_p"] > 0:
        weights = [x for x in weights if x[1] >= math.ceil(f32(s["min_p"]) * 2.0**44)]
    target = philox(seed, 0x73616D70, position) * sum(w for _, w in weights) >> 64
    for i, w in weights:
        if target < w:
            return i
        target -= w


def make_draws(table):
    getcontext().prec = 50
    combos = [
        dict(temperature=1.0),
        dict(temperature=0.6, top_k=20, top_p=0.95),
        dict(temperature=0.7, top_p=0.8),
        dict(temperature=1.5, min_p=0.05),
    ]
    draws = []
    for name in ("normal", "flat", "peaked", "holes", "tied", "equal"):
        for given in combos:
            s = {**NEUTRAL, **given}
            weights = integer_weights(table[name], s)
            for seed in (0, 42, 2**64 - 1):
                tokens = [draw(weights, s, seed, p) for p in range(24)]
                draws.append({"row": name, "settings": given, "seed": str(seed), "tokens": tokens})
    path = OUT.with_name("draws.json")
    path.write_text(json.dumps(draws).replace('{"row"', '\n{"row"') + "\n")
    print(f"{path.name}: {sum(len(d['tokens']) for d in draws)} draws")


main()
