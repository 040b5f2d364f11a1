#!/usr/bin/env python3
"""Runs test programs side by side and counts what they report.

    run_programs.py [--jobs N] [--timeout S] [--results FILE] [--one-each] COMMAND...

A command is one argument, split at blanks. A cmocka program prints its own tests, which are
counted; with --one-each (or when none were printed) the program as a whole is one test.
Prints one line per program and the whole output of those that fail. Writes the counts as
JSON to FILE. Exits 1 when anything failed.
"""
import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import time

TEST_LINE = re.compile(r"\[ *(OK|FAILED|SKIPPED|ERROR) *\] (?!--- )(?!\d+ test)(\w+)")

# An allocation that cannot succeed must come back as NULL, as it does without sanitizers.
SANITIZER_DEFAULTS = {
    "ASAN_OPTIONS": "allocator_may_return_null=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "allocator_may_return_null=1:halt_on_error=1",
}


def count_tests(output):
    """(passed, failed, skipped, whether any test was named)"""
    last = {}
    for kind, name in TEST_LINE.findall(output):
        last.setdefault(name, kind)
    kinds = list(last.values())
    failed = sum(k in ("FAILED", "ERROR") for k in kinds)
    return kinds.count("OK"), failed, kinds.count("SKIPPED"), bool(kinds)


def run_one(command, timeout, one_each):
    env = {**SANITIZER_DEFAULTS, **os.environ}
    start = time.monotonic()
    try:
        done = subprocess.run(command.split(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, timeout=timeout, env=env)
        output, code = done.stdout.decode("utf-8", "replace"), done.returncode
    except subprocess.TimeoutExpired as e:
        output = (e.stdout or b"").decode("utf-8", "replace")
        output += f"\nno end after {timeout} seconds\n"
        code = -1
    passed, failed, skipped, any_named = count_tests(output)
    if one_each or not any_named:
        passed, failed, skipped = int(code == 0), int(code != 0), 0
    elif code != 0 and failed == 0:
        failed = 1
        output += f"\nexit status {code}\n"
    return {"command": command, "passed": passed, "failed": failed, "skipped": skipped,
            "output": output, "seconds": time.monotonic() - start}


def program_of(command):
    """The program itself, also behind an emulator and its options."""
    words = command.split()
    return next((w for w in words if "/" in w), words[0])


def report(r):
    state = "FAIL" if r["failed"] else "ok"
    skipped = f", {r['skipped']} skipped" if r["skipped"] else ""
    print(f"{state:4} {program_of(r['command'])} ({r['passed']} passed{skipped}, "
          f"{r['seconds']:.1f} s)")
    if r["failed"]:
        print(r["output"])
    else:
        for line in r["output"].splitlines():
            if line.startswith("skipped: "):
                print("     " + line)
    sys.stdout.flush()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--timeout", type=float, default=600)
    p.add_argument("--results")
    p.add_argument("--one-each", action="store_true")
    p.add_argument("commands", nargs="*")
    a = p.parse_args()
    total = {"passed": 0, "failed": 0, "skipped": 0}
    with concurrent.futures.ThreadPoolExecutor(max(1, a.jobs)) as pool:
        jobs = [pool.submit(run_one, c, a.timeout, a.one_each) for c in a.commands]
        for job in concurrent.futures.as_completed(jobs):
            r = job.result()
            report(r)
            for key in total:
                total[key] += r[key]
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**total))
    if a.results:
        with open(a.results, "w") as f:
            json.dump(total, f)
    sys.exit(1 if total["failed"] else 0)


if __name__ == "__main__":
    main()
