"""LoRA adapters: logits against transformers and peft (tests/golden/make_adapters.py), against themselves, and what
is refused."""
import json
import pathlib
import shutil

import numpy as np
import pytest

import test_logits
from test_logits import as_array, checkpoint, logits, quern, read_tensors, write_tensors  # noqa: F401 (fixtures)

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests" / "golden" / "adapters"
CASES = {c["name"]: c for c in json.loads((GOLDEN / "cases.json").read_text())}
MERGED_ONLY = {"saved"}


def options(case):
    return [w for name, scale in case["adapters"] for w in ("--adapter", f"{GOLDEN / name}:{scale}")]


def ids_of(case):
    return test_logits.CASES[case["base"]]["ids"][:40]


@pytest.mark.parametrize("name", [n for n in CASES if n not in MERGED_ONLY])
def test_logits_are_those_of_peft(name, checkpoint, logits, tmp_path):
    case = CASES[name]
    expected = np.load(GOLDEN / f"{name}.npy")
    directory = checkpoint(test_logits.CASES[case["base"]])
    found = as_array(logits(directory, ids_of(case), *options(case)), tmp_path)
    worst = np.abs(found.astype(np.float64) - expected).max() / expected.std()
    print(f"{name}: {worst:.3g} sigma")
    assert worst <= test_logits.TOLERANCE_SIGMA
