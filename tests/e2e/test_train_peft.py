"""What quern train writes is loaded by transformers and peft, with the logits quern computes: tests/golden/check_training.py,
by the Python this runs with or QUERN_ORACLE_PYTHON."""
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PYTHON = os.environ.get("QUERN_ORACLE_PYTHON", sys.executable)
MODULES = "torch, transformers, peft, bitsandbytes, compressed_tensors, safetensors"


@pytest.fixture(scope="module", autouse=True)
def libraries():
    probe = f"import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in '{MODULES}'.split(', ')))"
    if subprocess.run([PYTHON, "-c", probe], capture_output=True).returncode:
        pytest.skip(f"{PYTHON} lacks one of {MODULES}; QUERN_ORACLE_PYTHON names one that has them")


def test_every_method_s_output_has_the_same_logits_there():
    environment = {**os.environ, "QUERN": os.environ.get("QUERN", str(ROOT / "build" / "release" / "quern"))}
    done = subprocess.run([PYTHON, str(ROOT / "tests" / "golden" / "check_training.py")], env=environment,
                          capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.count("sigma; training changed") >= 22
