#!/usr/bin/env python3
"""`make test`: runs every step, also after one has failed, and prints one summary line.

    run_all.py MAKE RESULTS_DIR

A step is a target of the Makefile. Its tools leave their counts as JSON in
RESULTS_DIR (QUERN_RESULTS for them); a step that fails without having counted a failure is
one failed test.
"""
import json
import os
import shutil
import subprocess
import sys
import time

STEPS = [
    # name, arguments for make, needed for all that follows
    ("build", ["WERROR=1", "all", "test-programs", "examples"], True),
    ("build with sanitizers", ["WERROR=1", "MODE=asan", "test-programs", "replay-programs"], True),
    ("source checks", ["check"], False),
    ("symbols", ["WERROR=1", "check-symbols"], False),
    ("unit tests", ["WERROR=1", "unit"], False),
    ("unit tests with sanitizers", ["WERROR=1", "MODE=asan", "unit"], False),
    ("kernels for ARM", ["WERROR=1", "check-kernels-neon"], False),
    ("fuzz corpora", ["WERROR=1", "MODE=asan", "fuzz-replay"], False),
    ("allocation failures", ["WERROR=1", "alloc"], False),
    ("end to end", ["WERROR=1", "e2e"], False),
    ("build with clang", ["WERROR=1", "CC=clang", "BUILD=build/clang", "all", "test-programs"], False),
]
NEEDS = {"build with clang": "clang", "kernels for ARM": "aarch64-linux-gnu-gcc"}


def read_counts(results_dir):
    total = {"passed": 0, "failed": 0, "skipped": 0}
    for name in sorted(os.listdir(results_dir)):
        if name.endswith(".json"):
            with open(os.path.join(results_dir, name)) as f:
                counts = json.load(f)
            for key in total:
                total[key] += counts[key]
    return total


def write_counts(results_dir, name, **counts):
    with open(os.path.join(results_dir, name.replace(" ", "-") + "-step.json"), "w") as f:
        json.dump({"passed": 0, "failed": 0, "skipped": 0, **counts}, f)


def run_step(make, name, args, env, results_dir):
    """Runs one target; true when all is well."""
    if name in NEEDS and not shutil.which(NEEDS[name]):
        print(f"---- {name}: skipped, there is no {NEEDS[name]}\n", flush=True)
        write_counts(results_dir, name, skipped=1)
        return True
    print(f"---- {name}", flush=True)
    start = time.monotonic()
    before = read_counts(results_dir)["failed"]
    jobs = str(len(os.sched_getaffinity(0)))
    code = subprocess.run([make, "--no-print-directory", "-j" + jobs] + args, env=env).returncode
    if code != 0 and read_counts(results_dir)["failed"] == before:
        write_counts(results_dir, name, failed=1)
    print(f"---- {name}: {'ok' if code == 0 else 'FAILED'} "
          f"({time.monotonic() - start:.0f} s)\n", flush=True)
    return code == 0


def main():
    make, results_dir = sys.argv[1:]
    shutil.rmtree(results_dir, ignore_errors=True)
    os.makedirs(results_dir)
    env = dict(os.environ, QUERN_RESULTS=results_dir)
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        env.pop(name, None)
    failed_steps = []
    for name, args, needed in STEPS:
        if not run_step(make, name, args, env, results_dir):
            failed_steps.append(name)
            if needed:
                break
    if failed_steps:
        print("failed: " + ", ".join(failed_steps))
    total = read_counts(results_dir)
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**total))
    sys.exit(1 if failed_steps or total["failed"] else 0)


if __name__ == "__main__":
    main()
