"""`make oracle`: makes every golden file anew, aside, and compares with those committed.

    ORACLE_PYTHON tests/golden/compare.py [--keep DIR] [NAME...]      (NAME: make_NAME.py)

Each make_*.py writes beside itself, so it is run in a copy of the repository's files. Text and
integers must come out identical. Floating-point numbers may differ by what another BLAS or
another vector width does to sums of a few thousand float32 terms: FLOAT_TOLERANCE of the
largest number in the same file.
"""
import argparse
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULES = ["torch", "transformers", "tokenizers", "jinja2", "numpy", "safetensors", "accelerate", "bitsandbytes",
           "compressed_tensors", "gguf", "peft"]
FLOAT_TOLERANCE = 1e-5


def missing_modules():
    return [m for m in MODULES if importlib.util.find_spec(m) is None]


def copy_repository(to):
    names = subprocess.run(["git", "ls-files", "-z", "tests", "src", "scripts", "include"], cwd=ROOT,
                           check=True, capture_output=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    if (ROOT / "build").is_dir():
        (to / "build").symlink_to(ROOT / "build")


def numbers(value):
    """Every floating-point number in parsed JSON."""
    if isinstance(value, float):
        yield abs(value)
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers(item)


def same_json(a, b, tolerance):
    if isinstance(a, float) or isinstance(b, float):
        both = isinstance(a, (int, float)) and isinstance(b, (int, float))
        return both and (a == b or abs(a - b) <= tolerance)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same_json(a[k], b[k], tolerance) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same_json(x, y, tolerance) for x, y in zip(a, b))
    return a == b


def same_npy(a, b):
    import numpy
    x, y = numpy.load(a), numpy.load(b)
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if not numpy.issubdtype(x.dtype, numpy.floating):
        return bool((x == y).all())
    finite = numpy.isfinite(x)
    largest = numpy.abs(x[finite]).max(initial=0)
    return bool((finite == numpy.isfinite(y)).all() and (x[~finite] == y[~finite]).all()
                and (numpy.abs(x[finite] - y[finite]) <= FLOAT_TOLERANCE * largest).all())


def same_safetensors(a, b):
    """The reference writer puts the metadata in any order."""
    def split(data):
        n = 8 + int.from_bytes(data[:8], "little")
        return json.loads(data[8:n]), data[n:]
    return split(a.read_bytes()) == split(b.read_bytes())


def same_file(a, b):
    if a.read_bytes() == b.read_bytes():
        return True
    if a.suffix == ".safetensors":
        return same_safetensors(a, b)
    if a.suffix == ".npy":
        return same_npy(a, b)
    if a.suffix == ".json":
        x, y = (json.loads(p.read_text(encoding="utf-8")) for p in (a, b))
        return same_json(x, y, FLOAT_TOLERANCE * max(numbers(x), default=0))
    return False


def files_under(root):
    return {p.relative_to(root) for folder in ("tests/golden", "tests/fixtures")
            for p in (root / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts}


def compare(copy):
    """What differs, one line each."""
    old, new = files_under(ROOT), files_under(copy)
    tracked = {pathlib.Path(n) for n in subprocess.run(
        ["git", "ls-files", "tests/golden", "tests/fixtures"], cwd=ROOT, check=True,
        capture_output=True, text=True).stdout.splitlines()}
    for name in sorted(new - tracked):
        yield f"{name}: made, but not committed"
    for name in sorted(old & new & tracked):
        if not same_file(ROOT / name, copy / name):
            yield f"{name}: comes out different"


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--keep", help="make the files here and leave them")
    p.add_argument("--modules-only", action="store_true", help="only look for what is needed")
    p.add_argument("names", nargs="*")
    a = p.parse_args()
    missing = missing_modules()
    if missing:
        sys.exit(f"{sys.executable} lacks {', '.join(missing)}. Make an environment with\n"
                 f"    python3 -m venv DIR && DIR/bin/pip install -r tests/golden/requirements.txt\n"
                 f"and run: make oracle ORACLE_PYTHON=DIR/bin/python")
    if a.modules_only:
        return
    scripts = sorted((ROOT / "tests/golden").glob("make_*.py"))
    if a.names:
        scripts = [s for s in scripts if s.stem[len("make_"):] in a.names]
    with tempfile.TemporaryDirectory() as temp:
        copy = pathlib.Path(a.keep or temp).resolve() / "quern"
        copy_repository(copy)
        env = dict(os.environ, QUERN=str(ROOT / "build/release/quern"))
        env.setdefault("QUERN_SHARED", str(ROOT.parent / "shared"))
        failed = 0
        for script in scripts:
            print(f"== {script.name}", flush=True)
            run = subprocess.run([sys.executable, str(copy / script.relative_to(ROOT))], cwd=copy,
                                 env=env, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE)
            if run.returncode:
                print(run.stderr.decode("utf-8", "replace"))
                print(f"{script.name}: failed with status {run.returncode}")
                failed += 1
        differences = list(compare(copy))
    print("\n".join(differences))
    failed += len(differences)
    print(f"oracle: {len(scripts)} scripts, {failed} differences or failures")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
