"""What the library shows of itself to a linker."""
import pathlib
import re
import subprocess

import pytest


@pytest.fixture(scope="module")
def build(program):
    return pathlib.Path(program).parent


def symbols(path, *flags):
    """Names of functions and data that `path` defines for others."""
    done = subprocess.run(["nm", "--defined-only", *flags, str(path)], capture_output=True, text=True)
    return {fields[2].split("@")[0] for line in done.stdout.splitlines() if len(fields := line.split()) == 3 and fields[1] in "TDBRWVGi"}


def libraries(program):
    lines = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return re.findall(r"=> (/\S+)", lines)


def test_no_symbol_replaces_one_of_the_libraries_linked(build, program):
    """A function of ours named like one of jansson's or libedit's would be called in its place."""
    ours = symbols(build / "libquern_internal.a") | symbols(build / "libquern_cli.a")
    if not ours or "asan" in str(build) or "tsan" in str(build):
        pytest.skip("needs an ordinary build with its archives")
    for library in libraries(program):
        assert not ours & symbols(library, "-D"), library


def test_only_quern_names_are_visible(build):
    for name, flags in (("libquern.so", ["-D"]), ("libquern.a", ["-g"])):
        if not (build / name).exists():
            pytest.skip(f"{name} is not built")
        names = symbols(build / name, *flags)
        assert "quern_model_open" in names
        assert not {n for n in names if not n.startswith("quern_")}, name
