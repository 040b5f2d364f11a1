#!/usr/bin/env python3
"""Checks the names that linking sees.

    check_symbols.py OUT_DIR [--results FILE]

1. libquern.so and libquern.a show quern_* and nothing else.
2. No function of ours has the name of one in a library we link: inside a program ours would
   take its place, for that library's own calls too.
"""
import argparse
import json
import os
import re
import subprocess
import sys


def nm(*args):
    out = subprocess.run(["nm", *args], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1].split("@")[0] for line in out.splitlines()
            if re.match(r"[0-9a-f]+ [A-TV-Zu] ", line)}


def linked_libraries(program):
    """Paths of the shared libraries a program loads, its loader aside."""
    out = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return re.findall(r"=> (/\S+)", out)


def check(out_dir):
    def path(name):
        return os.path.join(out_dir, name)

    for name, args in (("libquern.so", ["-D", "--defined-only"]), ("libquern.a", ["-g", "--defined-only"])):
        shown = nm(*args, path(name))
        if not shown:
            yield f"{name} shows nothing"
        for symbol in sorted(shown):
            if not symbol.startswith("quern_"):
                yield f"{name} shows {symbol}"
    ours = nm("-g", "--defined-only", path("libquern_internal.a"))
    ours |= nm("-g", "--defined-only", path("libquern_cli.a"))
    libraries = linked_libraries(path("quern"))
    if not libraries:
        yield "quern links no libraries: nothing was compared"
    for library in libraries:
        for symbol in sorted(ours & nm("-D", "--defined-only", library)):
            yield f"{symbol} is also a symbol of {os.path.basename(library)}"


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("out_dir")
    p.add_argument("--results")
    a = p.parse_args()
    faults = list(check(a.out_dir))
    for fault in faults:
        print(fault)
    print(f"symbols: {len(faults)} faults")
    if a.results:
        with open(a.results, "w") as f:
            json.dump({"passed": int(not faults), "failed": len(faults), "skipped": 0}, f)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
