#!/usr/bin/env python3
"""Runs the end-to-end tests and writes their counts as JSON.

    run_e2e.py RESULTS_FILE PYTEST_ARGUMENT...
"""
import json
import sys

import pytest


class Counter:
    def __init__(self):
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}

    def pytest_runtest_logreport(self, report):
        # Set-up and tear-down count only when something went wrong there.
        if report.failed:
            self.counts["failed"] += 1
        elif report.skipped:
            self.counts["skipped"] += 1
        elif report.when == "call":
            self.counts["passed"] += 1

    def pytest_collectreport(self, report):
        if report.failed:
            self.counts["failed"] += 1


def main():
    counter = Counter()
    code = pytest.main(["-p", "no:cacheprovider", *sys.argv[2:]], plugins=[counter])
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        code = 0
    with open(sys.argv[1], "w") as f:
        json.dump(counter.counts, f)
    sys.exit(int(code))


if __name__ == "__main__":
    main()
