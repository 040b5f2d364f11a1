"""quern bench: what it measures and prints, not how fast anything is."""
import json
import pathlib
import subprocess
import time

import pytest


def table(out):
    """The lines below the headings, as [name, tokens a second]."""
    lines = out.splitlines()
    assert lines[1].startswith("limits:")
    assert lines[2].split()[:2] == ["tok/s", "spread"]
    return {line[:34].strip(): float(line[34:].split()[0]) for line in lines[3:]}


def test_a_shape_is_measured_with_both_kinds_of_work(quern):
    done = quern("bench", "--shape", "tiny", "-p", 40, "-n", 4, "-r", 2)
    assert done.code == 0, done.err
    first = done.out.splitlines()[0]
    assert first.startswith("tiny: 9,822,656 parameters") and "19.6 MB" in first
    rates = table(done.out)
    assert list(rates) == ["prompt 40", "decode 4"]
    assert all(rate > 0 for rate in rates.values())


def test_lists_give_every_combination(quern):
    done = quern("bench", "--shape", "tiny", "-p", "0", "-n", "2,3", "-b", "1,3", "-d", "0,70", "-r", 1)
    assert done.code == 0, done.err
    assert list(table(done.out)) == [
        "decode 2", "decode 2, 3 sequences", "decode 3", "decode 3, 3 sequences",
        "decode 2 after 70", "decode 2 after 70, 3 sequences", "decode 3 after 70",
        "decode 3 after 70, 3 sequences"]


def test_a_directory_is_measured(quern, tiny_model):
    done = quern("bench", "-m", tiny_model, "-p", 8, "-n", 0, "-r", 1)
    assert done.code == 0, done.err
    assert list(table(done.out)) == ["prompt 8"]


def test_json_has_every_figure(quern):
    done = quern("bench", "--shape", "tiny", "-t", "1,2", "-p", 16, "-n", 2, "-r", 3, "--json")
    assert done.code == 0, done.err
    one, two = json.loads(done.out)
    assert (one["threads"], two["threads"]) == (1, 2)
    assert one["model"] == "tiny" and one["parameters"] == 9822656
    assert one["limits"]["read_bytes_s"] >= 0
    prompt, decode = one["results"]
    assert (prompt["prompt"], prompt["generate"]) == (16, 0)
    assert (decode["prompt"], decode["generate"]) == (0, 2)
    assert len(decode["seconds"]) == 3 and decode["seconds"] == sorted(decode["seconds"])
    assert decode["tokens_s"] == pytest.approx(2 / decode["seconds"][1])
    # A token decoded reads every matrix once, and next to nothing of the cache.
    assert decode["bytes_per_token"] == pytest.approx(one["weight_bytes"], rel=0.01)
    assert decode["bytes_s"] == pytest.approx(decode["bytes_per_token"] * decode["tokens_s"])


def test_a_pace_is_kept(quern):
    done = quern("bench", "--shape", "tiny", "-p", 0, "-n", 2, "--paced", "--json", stdin=b"\n\n")
    assert done.code == 0, done.err
    ready, first, second, summary = done.out.split("\n", 3)
    assert json.loads(ready) == {"ready": True}
    seconds = [json.loads(line)["seconds"] for line in (first, second)]
    assert json.loads(summary)[0]["results"][0]["seconds"] == pytest.approx(sorted(seconds))


def test_waiting_burns_no_cpu(program, environment):
    """A model is loaded, its threads have computed, and now there is nothing to do."""
    process = subprocess.Popen([program, "bench", "--shape", "tiny", "-p", "0", "-n", "2", "-t", "2", "--paced",
                                "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def ticks():
        fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    try:
        assert json.loads(process.stdout.readline()) == {"ready": True}
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert "seconds" in json.loads(process.stdout.readline())
        time.sleep(0.05)
        before = ticks()
        time.sleep(1)
        assert ticks() - before <= 1  # of a hundred or more that a spinning thread would take
    finally:
        process.kill()
        process.wait()


def test_what_does_not_fit_is_refused_with_the_numbers(quern):
    done = quern("bench", "--shape", "qwen3-0.6b", "--layers", "512", "-n", "1048576", "-b", "4096", "-p", 0)
    assert done.code == 1
    assert done.err.count("GB") + done.err.count("TB") + done.err.count("PB") >= 2, done.err
    assert "free" in done.err


@pytest.mark.parametrize("args, message", [
    (["--shape", "tiny", "-b", "0"], "--batch"),
    (["--shape", "tiny", "-p", "1,,2"], "--prompt"),
    (["--shape", "tiny", "-n", "x"], "--generate"),
    (["--shape", "tiny", "-d", "1,2,"], "--depth"),
    (["--shape", "tiny", "-t", "-1"], "--threads"),
    (["--shape", "tiny", "-m", "x"], "either"),
    (["-m", "x", "--layers", "2"], "--layers"),
    (["--shape", "tiny", "--paced"], "--json"),
    (["--shape", "tinny"], "tiny"),
])
def test_what_makes_no_sense_is_refused(quern, args, message):
    done = quern("bench", *args)
    assert done.code == 2
    assert message in done.err
