"""GGUF files: the same numbers, ids and texts as the directory they were made of; then what goes wrong."""
import json
import pathlib
import struct

import numpy as np
import pytest

import gguf_file as gf

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODELS = ROOT / "tests" / "fixtures" / "models"
TOKENIZERS = ROOT / "tests" / "golden" / "tokenizer"
IDS = [7, 200, 3, 3, 91, 254, 0, 17, 64, 128, 33, 9]


def init(quern, config, directory, *args):
    made = quern("init", "--config", config, "-o", directory, "--seed", 5, "--randomize-norms", *args)
    assert made.code == 0, made.err
    return directory


def logits(quern, model, tmp_path, *args):
    out = tmp_path / "logits.npy"
    done = quern("logits", "-m", model, "--ids", "-", "-o", out, *args, stdin=json.dumps(IDS))
    assert done.code == 0 and done.err == "", done.err
    return np.load(out)


# ---- weights -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, args", [
    ("qwen3-tied", []), ("qwen3-untied", []), ("qwen3-gqa8", []), ("qwen3-attention-bias", []),
    ("qwen3-yarn", ["--yarn", "always"]), ("qwen3-moe", []), ("qwen2", []), ("llama3", []), ("llama-bias", [])])
@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16"])
def test_a_gguf_file_computes_what_its_directory_computes(quern, tmp_path, name, args, dtype):
    directory = init(quern, MODELS / f"{name}.json", tmp_path / "model", "--dtype", dtype)
    # llama.cpp's experts always divide by the sum of the chosen; its file cannot say otherwise.
    config = json.loads((directory / "config.json").read_text())
    if "num_experts" in config:
        config["norm_topk_prob"] = True
        (directory / "config.json").write_text(json.dumps(config))
    gf.convert(directory, tmp_path / "model.gguf")
    expected = logits(quern, directory, tmp_path, *args)
    found = logits(quern, tmp_path / "model.gguf", tmp_path, *args)
    assert found.tobytes() == expected.tobytes()


def test_a_split_file_is_one_model_by_any_of_its_parts(quern, tmp_path):
    directory = init(quern, MODELS / "qwen3-untied.json", tmp_path / "model")
    values, tensors = gf.convert(directory, tmp_path / "whole.gguf")
    parts = [tensors[:5], tensors[5:20], tensors[20:]]
    for i, part in enumerate(parts):
        split = {"split.no": (gf.U16, i), "split.count": (gf.U16, 3), "split.tensors.count": (gf.I32, len(tensors))}
        (tmp_path / f"part-{i + 1:05}-of-00003.gguf").write_bytes(gf.to_bytes({**(values if i == 0 else {}), **split}, part))
    expected = logits(quern, tmp_path / "whole.gguf", tmp_path)
    for i in (1, 3):
        assert (logits(quern, tmp_path / f"part-{i:05}-of-00003.gguf", tmp_path) == expected).all()
    (tmp_path / "part-00002-of-00003.gguf").unlink()
    done = quern("inspect", tmp_path / "part-00001-of-00003.gguf")
    assert done.code == 1 and "part-00002-of-00003.gguf is missing (part 2 of 3)" in done.err


@pytest.fixture(scope="session")
def golden_blocks():
    """type -> (bytes of each block of 256 columns, their values), from the file that gguf-py made"""
    data = (ROOT / "tests" / "golden" / "gguf" / "blocks.gguf").read_bytes()
    n_tensors, n_values = struct.unpack_from("<QQ", data, 8)
    at, tensors, names = 24, {}, {v: k for k, v in gf.TYPES.items()}

    def text():
        nonlocal at
        n, = struct.unpack_from("<Q", data, at)
        at += 8 + n
        return data[at - n:at].decode()
    for _ in range(n_values):
        text()
        assert struct.unpack_from("<I", data, at) == (gf.STRING,)
        at += 4
        text()
    for _ in range(n_tensors):
        name = text()
        rank, = struct.unpack_from("<I", data, at)
        at += 4 + 8 * rank
        kind, offset = struct.unpack_from("<IQ", data, at)
        at += 12
        tensors[name] = (names[kind], offset)
    start = -(-at // 32) * 32
    out = {}
    for name, (kind, offset) in tensors.items():
        if name + ".values" in tensors and not name.endswith("q"):
            blocks = np.frombuffer(data, np.uint8, 4 * gf.CODED_BYTES[kind], start + offset).reshape(4, -1)
            values = np.frombuffer(data, np.float32, 1024, start + tensors[name + ".values"][1]).reshape(4, 256)
            out[kind] = (blocks[1:], values[1:])  # row 0 has scales that no model has
    return out


CODED = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 256, "hidden_size": 256,
         "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "head_dim": 64, "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
         "tie_word_embeddings": False, "torch_dtype": "float32"}


@pytest.fixture
def coded(quern, tmp_path, golden_blocks):
    """A file whose matrices are of blocks of a type, and a directory of the same values in float32."""
    def make(kind, config=CODED, seed=1):
        (tmp_path / "config.json").write_text(json.dumps(config))
        directory = init(quern, tmp_path / "config.json", tmp_path / "model", "--dtype", "f32")
        blocks, values = golden_blocks[kind]
        rng, exact = np.random.default_rng(seed), {}

        def edit(name, dtype, shape, data):
            if len(shape) == 1:
                return dtype, shape, data
            chosen = rng.integers(0, len(blocks), int(np.prod(shape)) // 256)
            exact[name] = values[chosen].tobytes()
            return kind, shape, blocks[chosen].tobytes()
        gf.convert(directory, tmp_path / "model.gguf", edit=edit)
        path = directory / "model.safetensors"
        data = bytearray(path.read_bytes())
        n = 8 + int.from_bytes(data[:8], "little")
        for name, t in json.loads(data[8:n]).items():
            if name == "__metadata__":
                continue
            new, heads, _ = gf.rename(name, config)
            begin, end = (n + o for o in t["data_offsets"])
            if new in exact:
                assert not heads
                data[begin:end] = exact[new]
        path.write_bytes(data)
        return tmp_path / "model.gguf", directory
    return make


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
                                  "IQ4_NL", "IQ4_XS"])
def test_blocks_compute_what_their_values_compute(quern, tmp_path, coded, kind):
    file, directory = coded(kind)
    expected, found = logits(quern, directory, tmp_path), logits(quern, file, tmp_path)
    # Products with coded matrices are summed in an order of their own; as in test_logits.py.
    assert np.abs(found.astype(np.float64) - expected).max() <= 1e-4 * expected.std()


# ---- tokenizer and template ------------------------------------------------------------------------------------

def write_tokenizer(path, tokenizer, pre, more=None, n_vocab=None):
    config = json.loads((MODELS / "qwen3-tied.json").read_text())
    values = {**gf.convert_config(config)[0], **gf.convert_tokenizer(tokenizer, pre, n_vocab), **(more or {})}
    path.write_bytes(gf.to_bytes(values, []))
    return path


@pytest.mark.parametrize("name, pre, bos", [("gpt2", "gpt-2", False), ("llama3", "llama-bpe", True)])
def test_ids_are_those_of_the_tokenizer_it_was_made_of(quern, tmp_path, name, pre, bos):
    tokenizer = json.loads((TOKENIZERS / name / "tokenizer.json").read_text())
    texts = json.loads((TOKENIZERS / "texts.json").read_text())["texts"]
    more = {"tokenizer.ggml.bos_token_id": (gf.U32, max(a["id"] for a in tokenizer["added_tokens"]))}
    if bos:
        post = json.dumps(tokenizer["post_processor"])
        bos_name = json.loads(post)["processors"][1]["single"][0]["SpecialToken"]["id"]
        more = {"tokenizer.ggml.bos_token_id": (gf.U32, next(a["id"] for a in tokenizer["added_tokens"]
                                                             if a["content"] == bos_name))}
    file = write_tokenizer(tmp_path / "t.gguf", tokenizer, pre, more)
    text = "\n\n".join(texts)
    for args in ([], ["--no-special"], ["--add-special"]):
        expected = quern("tokenize", "-m", TOKENIZERS / name, *args, stdin=text)
        found = quern("tokenize", "-m", file, *args, stdin=text)
        assert found.code == 0 and expected.code == 0, found.err
        assert json.loads(found.out) == json.loads(expected.out)


def test_ids_of_qwen3_are_those_of_its_tokenizer_json(quern, tmp_path, shared):
    directory = shared / "qwen3"
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    file = write_tokenizer(tmp_path / "q.gguf", tokenizer, "qwen2", n_vocab=151936)
    text = "\n\n".join(json.loads((TOKENIZERS / "texts.json").read_text())["texts"])
    for args in ([], ["--no-special"]):
        expected = quern("tokenize", "-m", directory, *args, stdin=text)
        found = quern("tokenize", "-m", file, *args, stdin=text)
        assert found.code == 0 and expected.code == 0, found.err
        assert json.loads(found.out) == json.loads(expected.out)


@pytest.fixture(scope="session")
def tiny_gguf(tiny_model, tmp_path_factory):
    """tiny_model as one file, with everything in it."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    tokenizer = json.loads((tiny_model / "tokenizer.json").read_text())
    ids = {a["content"]: a["id"] for a in tokenizer["added_tokens"]}
    more = {**gf.convert_tokenizer(tokenizer, "qwen2"),
            "tokenizer.chat_template": (gf.STRING, (tiny_model / "chat_template.jinja").read_text()),
            "tokenizer.ggml.eos_token_id": (gf.U32, ids["<|im_end|>"]),
            "general.sampling.temp": (gf.F32, 0.8), "general.sampling.top_k": (gf.I32, 50),
            "general.sampling.top_p": (gf.F32, 0.95)}
    gf.convert(tiny_model, path, more)
    return path


def test_chat_run_and_render_are_those_of_the_directory(quern, tiny_model, tiny_gguf, tmp_path):
    chat = json.dumps([{"role": "user", "content": "Hello there"}])
    for args, stdin in ((["render", "--messages", "-"], chat),
                        (["run", "-p", "the world", "-n", "12", "--temp", "0"], ""),
                        (["run", "-p", "the world", "-n", "12", "--seed", "3"], "")):
        expected, found = (quern(args[0], "-m", m, *args[1:], stdin=stdin) for m in (tiny_model, tiny_gguf))
        assert expected.code == 0 and found.code == 0, found.err
        assert found.out == expected.out


def test_inspect_describes_a_gguf_file(quern, tiny_model, tiny_gguf):
    done = quern("inspect", "--json", tiny_gguf)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    expected = json.loads(quern("inspect", "--json", tiny_model).out)
    # To llama.cpp's converter names like <|fim_pad|> look special, whatever tokenizer.json says.
    assert found["tokenizer"].pop("special") == expected["tokenizer"].pop("special") + 6
    for report in (found, expected):
        del report["path"], report["weights"], report["notes"]
    assert found == expected
    assert quern("inspect", tiny_gguf).code == 0


def test_bench_takes_a_gguf_file_and_quantize_says_why_not(quern, tiny_gguf, tmp_path):
    done = quern("bench", "-m", tiny_gguf, "-p", "8", "-n", "2", "-r", "1")
    assert done.code == 0, done.err
    done = quern("quantize", "-m", tiny_gguf, "--to", "int8", "-o", tmp_path / "out")
    assert done.code == 1 and "GGUF file; a model is quantized from a directory" in done.err


# ---- what goes wrong -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("change, message", [
    ({"general.architecture": (gf.STRING, "gemma")}, 'general.architecture "gemma" is not supported'),
    ({"general.architecture": (gf.U32, 1)}, "general.architecture is missing or no string"),
    ({"qwen3.block_count": (gf.STRING, "two")}, "qwen3.block_count is no integer"),
    ({"qwen3.block_count": (gf.U32, 0)}, "num_hidden_layers"),
    ({"qwen3.rope.scaling.type": (gf.STRING, "longrope")}, "rope.scaling.type is none of none, linear, yarn"),
    ({"qwen3.attention.head_count_kv": (gf.ARRAY, (gf.U32, [2, 1]))}, "differs between layers"),
    ({"qwen3.attention.value_length": (gf.U32, 8)}, "attention.value_length differs from key_length"),
    ({"tokenizer.ggml.model": (gf.STRING, "llama")}, 'tokenizer.ggml.model "llama" is not supported'),
    ({"tokenizer.ggml.pre": (gf.STRING, "dbrx")}, 'tokenizer.ggml.pre "dbrx" is not supported'),
    ({"tokenizer.ggml.add_bos_token": (gf.BOOL, True)}, "there is no valid tokenizer.ggml.bos_token_id"),
    ({"tokenizer.ggml.token_type": (gf.ARRAY, (gf.I32, [1]))}, "token_type is no array of 512 integers"),
])
def test_values_that_make_no_model_are_named(quern, tiny_model, tmp_path, change, message):
    tokenizer = json.loads((tiny_model / "tokenizer.json").read_text())
    gf.convert(tiny_model, tmp_path / "bad.gguf", {**gf.convert_tokenizer(tokenizer, "qwen2", 512), **change})
    done = quern("run", "-m", tmp_path / "bad.gguf", "-p", "x", "-n", "1")
    assert done.code != 0 and "bad.gguf" in done.err and message in done.err, done.err


def test_tensors_that_make_no_model_are_named(quern, tmp_path):
    directory = init(quern, MODELS / "qwen3-tied.json", tmp_path / "model")
    values, tensors = gf.convert(directory, tmp_path / "good.gguf")
    bad = tmp_path / "bad.gguf"

    def error(tensors, **kwargs):
        bad.write_bytes(gf.to_bytes(values, tensors, **kwargs))
        done = quern("logits", "-m", bad, "--ids", "-", "-o", tmp_path / "x.npy", stdin="[1]")
        assert done.code == 1
        return done.err
    assert "model.layers.0.self_attn.q_proj.weight" in error([t for t in tensors if t[0] != "blk.0.attn_q.weight"])
    name, kind, shape, data = tensors[0]
    assert "there twice" in error(tensors + [tensors[0]])
    assert "tell the size of the vocabulary" in error([("x" + name, kind, shape, data)] + tensors[1:])
    assert "IQ2_XXS" in error([(name, "IQ2_XXS", [1, 256], bytes(66))] + tensors[1:])
    assert "no multiple of the 32" in error([(name, "Q8_0", [256, 40], data)] + tensors[1:])
    assert "version 1" in error(tensors, version=1)
    assert "big-endian" in error(tensors, version=3 << 24)
    assert logits(quern, tmp_path / "good.gguf", tmp_path).shape == (len(IDS), 256)


def test_a_cut_or_flipped_file_is_an_error_or_a_model(quern, tiny_gguf, tmp_path):
    data, bad = tiny_gguf.read_bytes(), tmp_path / "bad.gguf"
    rng = np.random.default_rng(1)
    for cut in (0, 3, 8, 23, 100, 5000, len(data) // 2, len(data) - 1):
        bad.write_bytes(data[:cut])
        done = quern("inspect", bad)
        assert done.code == 1 and "bad.gguf" in done.err
    for at in rng.integers(0, 12000, 40):
        flipped = bytearray(data)
        flipped[at] ^= 1 << int(rng.integers(0, 8))
        bad.write_bytes(flipped)
        assert quern("inspect", bad).code in (0, 1)
