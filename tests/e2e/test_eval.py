"""quern eval ppl against the definition, computed here from the output of quern logits."""
import json
import math

import numpy as np
import pytest

TEXT = "The quick brown fox jumps over the lazy dog. 日本語 and café, 123 times.\n" * 6


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def windows_nll(quern, tiny_model, tmp_path):
    """Sum of -log p and number of tokens scored, window by window as transformers' guide does it."""
    def compute(ids, context, stride):
        total, scored, n_windows, previous_end = 0.0, 0, 0, 0
        for begin in range(0, len(ids), stride):
            end = min(begin + context, len(ids))
            first = max(previous_end, begin + 1)
            if first < end:
                ids_path, out = tmp_path / "ids.json", tmp_path / "out.npy"
                ids_path.write_text(json.dumps(ids[begin:end]))
                done = quern("logits", "-m", tiny_model, "--ids", ids_path, "-o", out)
                assert done.code == 0, done.err
                x = np.load(out).astype(np.float64)
                x -= x.max(-1, keepdims=True)
                logp = x - np.log(np.exp(x).sum(-1, keepdims=True))
                for t in range(first, end):
                    total -= logp[t - 1 - begin, ids[t]]
                scored += end - first
                n_windows += 1
            previous_end = end
            if end == len(ids):
                break
        return total, scored, n_windows
    return compute


def evaluate(quern, *args, **kwargs):
    done = quern("eval", "ppl", *args, "--json", **kwargs)
    assert done.code == 0, done.err
    return json.loads(done.out)


@pytest.mark.parametrize("context,stride", [(64, 16), (64, 64), (50, 1), (512, 256), (2, 1), (33, 20)])
def test_the_perplexity_is_that_of_the_definition(quern, tiny_model, ids_of, windows_nll, text, context, stride):
    got = evaluate(quern, "-m", tiny_model, "--text", text, "-c", context, "--stride", stride)
    ids = ids_of(TEXT)
    nll, scored, n_windows = windows_nll(ids, context, stride)
    assert (got["tokens"], got["tokens_scored"], got["windows"]) == (len(ids), scored, n_windows)
    assert (got["context"], got["stride"], got["bytes"]) == (context, stride, len(TEXT.encode()))
    # The logits are the same bits; only sums of a few hundred float64 differ in order.
    assert got["nll_per_token"] == pytest.approx(nll / scored, rel=1e-12)
    assert got["perplexity"] == pytest.approx(math.exp(nll / scored), rel=1e-11)
    assert got["bits_per_byte"] == pytest.approx(nll / math.log(2) / len(TEXT.encode()), rel=1e-12)


def test_the_default_window_is_the_models_maximum_and_the_stride_half_of_it(quern, tiny_model, text):
    got = evaluate(quern, "-m", tiny_model, "--text", text)
    assert (got["context"], got["stride"]) == (512, 256)


def test_the_number_does_not_depend_on_threads_and_the_text_may_come_from_a_pipe(quern, tiny_model, text):
    one = evaluate(quern, "-m", tiny_model, "--text", text, "-c", 64, "-t", 1)
    two = evaluate(quern, "-m", tiny_model, "-c", 64, "-t", 2, stdin=TEXT)
    assert one["perplexity"] == two["perplexity"]


def test_without_json_the_first_word_is_the_name_of_the_number(quern, tiny_model, text):
    done = quern("eval", "ppl", "-m", tiny_model, "--text", text)
    assert done.code == 0 and done.err == ""
    assert done.out.startswith("perplexity ")


@pytest.mark.parametrize("args,stdin,code,words", [
    ([], "", 2, "expected what to evaluate: ppl"),
    (["bleu"], "", 2, "expected what to evaluate: ppl"),
    (["ppl", "-c", "1"], "", 2, "1 is outside 2 to"),
    (["ppl", "-c", "10", "--stride", "11"], TEXT, 2, "--stride 11 is more than the context, 10"),
    (["ppl"], "", 1, "the text has 0 tokens, expected at least 2"),
    (["ppl", "-c", "100000"], TEXT, 2, "--context 100000 is more than the model's maximum, 512"),
    (["ppl", "--text", "/does/not/exist"], "", 1, "/does/not/exist"),
], ids=["no word", "unknown word", "tiny context", "stride", "empty text", "huge context", "no file"])
def test_errors_are_clear(quern, tiny_model, args, stdin, code, words):
    done = quern("eval", *args, "-m", tiny_model, stdin=stdin)
    assert done.code == code
    assert words in done.err
    assert done.out == ""
