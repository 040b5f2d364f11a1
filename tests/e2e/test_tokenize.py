"""quern tokenize and detokenize: streams of bytes, no weights, no config."""
import json

import pytest

from conftest import TOKENIZER


@pytest.mark.parametrize("text", ["", "\n", "Hello, world\n", "naïve 日本語 😀\r\n\t", "a" * 100000, "<|im_start|>user\nx<|im_end|>"])
def test_text_comes_back_byte_for_byte(quern, text):
    ids = quern("tokenize", "-m", TOKENIZER, stdin=text)
    assert ids.code == 0 and ids.err == ""
    assert ids.out == json.dumps(json.loads(ids.out)) + "\n"
    back = quern("detokenize", "-m", TOKENIZER, stdin=ids.raw)
    assert back.code == 0 and back.err == ""
    assert back.raw == text.encode()


def test_empty_text_has_no_ids(quern):
    assert quern("tokenize", "-m", TOKENIZER).out == "[]\n"
    assert quern("detokenize", "-m", TOKENIZER, stdin="[]").raw == b""


def test_spellings_of_special_tokens_count_unless_told_otherwise(quern):
    text = "<|im_end|>"
    assert json.loads(quern("tokenize", "-m", TOKENIZER, stdin=text).out) == [488]
    ordinary = json.loads(quern("tokenize", "-m", TOKENIZER, "--no-special", stdin=text).out)
    assert len(ordinary) > 3 and max(ordinary) < 486
    assert quern("detokenize", "-m", TOKENIZER, stdin=json.dumps(ordinary)).out == text


def test_special_tokens_can_be_left_out_of_text(quern):
    ids = "[487, 72, 510, 488]"
    assert quern("detokenize", "-m", TOKENIZER, stdin=ids).out == "<|im_start|>i<think><|im_end|>"
    assert quern("detokenize", "-m", TOKENIZER, "--skip-special", stdin=ids).out == "i<think>"


def test_what_is_no_utf8_becomes_the_replacement_character(quern):
    ids = quern("tokenize", "-m", TOKENIZER, stdin=b"a\xff\xe6\x97b")
    assert ids.code == 0
    assert quern("detokenize", "-m", TOKENIZER, stdin=ids.raw).out == "a\ufffd\ufffdb"
    assert quern("detokenize", "-m", TOKENIZER, stdin="[162]").out == "\ufffd"


@pytest.mark.parametrize("ids, text", [
    ("", "standard input"), ("5", "array"), ("[1, -1]", "entry 1"), ("[1.5]", "entry 0"), ('["a"]', "entry 0"),
    ("[1", "line 1"), ("[512]", "512"), ("[99999999999]", "entry 0"), ("[1] x", "line 1"),
])
def test_ids_that_are_none_are_an_error(quern, ids, text):
    done = quern("detokenize", "-m", TOKENIZER, stdin=ids)
    assert done.code == 1 and done.raw == b"" and text in done.err
    assert len(done.err.splitlines()) == 1


def test_a_broken_tokenizer_is_an_error_that_names_it(quern, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((TOKENIZER / "tokenizer.json").read_bytes()[:-100])
    done = quern("tokenize", "-m", tmp_path, stdin="x")
    assert done.code == 1 and done.out == "" and "tokenizer.json" in done.err


def test_a_config_of_an_unknown_architecture_does_not_matter(quern, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((TOKENIZER / "tokenizer.json").read_bytes())
    (tmp_path / "config.json").write_text('{"architectures": ["MambaForCausalLM"], "model_type": "mamba"}')
    assert quern("tokenize", "-m", tmp_path, stdin="i").out == "[72]\n"


def test_the_real_tokenizer_gives_the_golden_ids(quern, shared):
    golden = json.loads((shared / "qwen3" / "golden" / "golden_hf_tokenizers_0.23.2.json").read_text())
    for case in golden[::12]:
        assert json.loads(quern("tokenize", "-m", shared / "qwen3", stdin=case["text"]).out) == case["ids"]
