"""`make install` into an empty directory, and programs built against what lies there."""
import os
import pathlib
import shlex
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PREFIX = "/opt/quern"


def make(program, *args):
    """Runs make for the mode the tested program was built in."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    mode = pathlib.Path(program).parent.name
    return subprocess.run(["make", "-s", f"MODE={mode}", *args], cwd=ROOT, env=env, check=True,
                          capture_output=True, text=True)


@pytest.fixture(scope="module")
def installed(program, tmp_path_factory):
    if pathlib.Path(program).parents[2] != ROOT or pathlib.Path(program).parent.name != "release":
        pytest.skip("the tested program is not this tree's release build")
    directory = tmp_path_factory.mktemp("install")
    make(program, "install", f"DESTDIR={directory}", f"PREFIX={PREFIX}")
    return directory


def pkg_config(installed, *args):
    env = dict(os.environ, PKG_CONFIG_SYSROOT_DIR=str(installed))
    libraries = subprocess.run(["pkg-config", "--variable", "pc_path", "pkg-config"], check=True,
                               capture_output=True, text=True).stdout.strip()
    env["PKG_CONFIG_LIBDIR"] = f"{installed}{PREFIX}/lib/pkgconfig:{libraries}"
    out = subprocess.run(["pkg-config", *args, "quern"], env=env, check=True, capture_output=True,
                         text=True).stdout
    return shlex.split(out)


def run_example(source, flags, directory, env):
    binary = directory / "example"
    subprocess.run(["cc", "-std=c11", "-o", str(binary), str(source), *flags], check=True)
    return subprocess.run([str(binary), "/nowhere"], env={**os.environ, **env}, capture_output=True,
                          text=True)


def test_everything_is_where_it_belongs(installed):
    prefix = pathlib.Path(f"{installed}{PREFIX}")
    for name in ("bin/quern", "include/quern.h", "lib/libquern.a", "lib/libquern.so",
                 "lib/pkgconfig/quern.pc", "share/man/man1/quern.1"):
        assert (prefix / name).is_file(), name
    version = subprocess.run([str(prefix / "bin/quern"), "--version"], check=True, capture_output=True,
                             text=True).stdout
    assert pkg_config(installed, "--modversion")[0] in version
    soname = subprocess.run(["objdump", "-p", str(prefix / "lib/libquern.so")], check=True,
                            capture_output=True, text=True).stdout
    assert "SONAME               libquern.so.0\n" in soname
    assert (prefix / "lib/libquern.so.0").is_file()


def test_a_program_links_the_shared_library(installed, tmp_path):
    done = run_example(ROOT / "examples/chat.c", pkg_config(installed, "--cflags", "--libs"), tmp_path,
                       {"LD_LIBRARY_PATH": f"{installed}{PREFIX}/lib"})
    assert done.returncode == 1 and "/nowhere" in done.stderr


def test_a_program_links_the_static_library(installed, tmp_path):
    flags = pkg_config(installed, "--static", "--cflags", "--libs")
    flags = ["-l:libquern.a" if f == "-lquern" else f for f in flags]
    done = run_example(ROOT / "examples/chat.c", flags, tmp_path, {})
    assert done.returncode == 1 and "/nowhere" in done.stderr


def test_uninstall_leaves_no_file(installed, program):
    make(program, "uninstall", f"DESTDIR={installed}", f"PREFIX={PREFIX}")
    assert [p for p in installed.rglob("*") if not p.is_dir()] == []
