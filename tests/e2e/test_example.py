"""The example program, and what a user of the installed library would do with it."""
import os
import pathlib
import subprocess

import pytest

from conftest import ANSWER, ROOT


@pytest.fixture(scope="session")
def example(program):
    path = pathlib.Path(program).parent / "examples" / "chat"
    if not path.exists():
        pytest.skip(f"{path} is not built (make examples)")
    return str(path)


def test_the_example_chats(example, scripted, environment):
    done = subprocess.run([example, str(scripted)], input="hi\nand \"again\"\n".encode(), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == (ANSWER + "\n") * 2


def test_the_example_says_what_is_wrong(example, environment, tmp_path):
    done = subprocess.run([example, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, timeout=60)
    assert done.returncode == 1 and b"holds no model" in done.stderr
    assert subprocess.run([example], stderr=subprocess.DEVNULL, timeout=60).returncode == 2


def test_the_engines_example_answers_every_line_several_times(program, quern, tiny_model, environment):
    path = pathlib.Path(program).parent / "examples" / "many"
    if not path.exists():
        pytest.skip(f"{path} is not built (make examples)")
    done = subprocess.run([path, str(tiny_model), "3"], input=b"the new world\nand they\n", stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(b"tokens read") == 6
    # The first answer is the one that the same seed gives alone.
    alone = quern("run", "--raw", "-m", tiny_model, "-p", "the new world", "-n", 60, "--seed", 0, "--temp", 0.8)
    assert done.stdout.startswith(alone.raw)


def test_the_example_in_the_readme_compiles(tmp_path):
    readme = (ROOT / "README.md").read_text()
    code = readme.split("```c\n")[1].split("```")[0]
    source = tmp_path / "readme.c"
    source.write_text(code)
    done = subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'include'}", "-c",
                           str(source), "-o", str(tmp_path / "readme.o")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
