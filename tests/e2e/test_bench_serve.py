"""quern bench serve against a running server."""
import json
import xml.etree.ElementTree

import pytest


def bench(quern, server, *args):
    return quern("bench", "serve", "--url", f"http://127.0.0.1:{server.port}", *args)


def test_a_closed_loop_counts_every_token_asked_for(quern, tiny_server):
    done = bench(quern, tiny_server, "-n", 12, "-c", 3, "-p", "20-40", "-o", "5", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["sent"], report["complete"], report["failed"]) == (12, 12, 0)
    assert report["output_tokens"] == 60 and 12 * 20 <= report["prompt_tokens"] <= 12 * 40
    for name in ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"):
        s = report[name]
        # Tokens that one read brings have nothing between them.
        assert 0 < s["max"] and (name in ("itl_ms", "tpot_ms") or 0 < s["p50"])
        assert 0 <= s["p50"] <= s["p90"] <= s["p95"] <= s["p99"] <= s["max"]
    assert report["ttft_ms"]["n"] == report["e2e_ms"]["n"] == 12
    assert report["e2e_ms"]["max"] >= report["ttft_ms"]["max"]


def test_an_open_loop_takes_the_time_its_arrivals_take(quern, tiny_server):
    done = bench(quern, tiny_server, "-n", 20, "--rate", 40, "-p", "30~5", "-o", "2", "--json", "--seed", 3)
    report = json.loads(done.out)
    assert report["complete"] == 20 and report["wall_s"] > 0.1


def test_shared_prefixes_are_found_in_the_cache(quern, tiny_server):
    done = bench(quern, tiny_server, "-n", 8, "-c", 1, "-p", "200", "--shared-prefix", 160, "-o", "2", "--json",
                 "--seed", 77)
    report = json.loads(done.out)
    assert report["cached_tokens"] >= 7 * 160


def test_the_same_seed_asks_the_same(quern, tiny_server):
    runs = [json.loads(bench(quern, tiny_server, "-n", 6, "-p", "10-90", "-o", "1-9", "--seed", 5, "--json").out)
            for _ in range(2)]
    assert runs[0]["prompt_tokens"] == runs[1]["prompt_tokens"]
    assert runs[0]["output_tokens"] == runs[1]["output_tokens"]


def test_the_table_and_the_curves_are_written(quern, tiny_server, tmp_path):
    done = bench(quern, tiny_server, "-n", 4, "-p", "10", "-o", "4", "--svg", tmp_path / "load.svg")
    assert "4 complete" in done.out and "time to first token" in done.out and "p99" in done.out
    root = xml.etree.ElementTree.parse(tmp_path / "load.svg").getroot()
    curves = [e for e in root.iter() if e.tag.endswith("polyline")]
    points = [len(c.get("points").split()) for c in curves]
    # An answer that comes in one read has no gaps between its tokens: that curve may be empty.
    assert len(points) == 4 and points.count(201) >= 2 and set(points) <= {0, 201}


def test_refusals_and_failures_are_counted_and_told(quern, tiny_server):
    done = bench(quern, tiny_server, "-n", 3, "-p", "5000", "-o", "1")
    assert done.code == 1 and "3 failed" in done.out and "context" in done.out
    done = quern("bench", "serve", "--url", "http://127.0.0.1:1", "--vocabulary", 100, "-n", 2)
    assert done.code == 1 and "cannot connect" in done.out


@pytest.mark.parametrize("args, problem", [
    (("--url", "https://x"), "expected http://"), (("--url", "http://x:0"), "expected http://"),
    (("-p", "0"), "expected N"), (("-p", "9-3"), "expected N"), (("-o", "x"), "expected N"),
    (("--requests", "0"), "outside")])
def test_bad_arguments_are_told(quern, args, problem):
    done = quern("bench", "serve", *args)
    assert done.code in (1, 2) and problem in done.err
