#!/usr/bin/env python3
"""Draws the loss curve as SVG from quern train's metrics.jsonl or train.py's loss.csv.

    plot_loss.py work/out/metrics.jsonl -o ../quern-demo/loss.svg
"""
import argparse
import csv
import json
import math
import pathlib

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 800, 420, 60, 50, 30, 20


def read_log(path):
    """step -> (loss, tokens), and the seconds of all runs together, from quern train's metrics.jsonl or train.py's loss.csv;
    a step repeated after a resume counts once, the last time."""
    rows, seconds, before = {}, 0.0, 0
    with open(path, newline="") as file:
        if str(path).endswith(".jsonl"):
            for line in map(json.loads, file):
                if "loss" in line:
                    rows[line["step"]] = (line["loss"], line["tokens"] - before)
                    before, seconds = line["tokens"], seconds + line["step_s"]
            return rows, seconds
        for step, loss, tokens, at in csv.reader(file):
            seconds += float(at) - (before if float(at) > before else 0)
            before = float(at)
            rows[int(step)] = (float(loss), int(tokens))
    return rows, seconds


def smooth(values, weight=0.97):
    out, state = [], None
    for v in values:
        state = v if state is None else weight * state + (1 - weight) * v
        out.append(state)
    return out


def curve(losses):
    steps = sorted(losses)
    values = [losses[s] for s in steps]
    low, high = math.log10(max(min(values), 1e-4)), math.log10(max(values))
    low, high = math.floor(low * 2) / 2, math.ceil(high * 2) / 2

    def x(step):
        return LEFT + (WIDTH - LEFT - RIGHT) * step / steps[-1]

    def y(loss):
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - math.log10(max(loss, 1e-4))) / (high - low)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for i in range(int((high - low) * 2) + 1):
        value = 10 ** (low + i / 2)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for i in range(6):
        step = steps[-1] * i // 5
        parts.append(f'<text x="{x(step):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{step}</text>')
    for data, style in ((values, 'stroke="#bcd" stroke-width="1"'), (smooth(values), 'stroke="#136" stroke-width="2"')):
        points = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(steps, data))
        parts.append(f'<polyline fill="none" {style} points="{points}"/>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">step</text>')
    parts.append(f'<text x="{LEFT}" y="18">cross entropy of the trained tokens (log scale); dark: moving mean</text></svg>')
    return "\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("losses")
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.output.write_text(curve({step: loss for step, (loss, _) in read_log(args.losses)[0].items()}))


if __name__ == "__main__":
    main()
