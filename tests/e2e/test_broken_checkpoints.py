"""Damaged and hostile model directories: one clear error line, an exit code that is not 0, never a crash or a hang.
Driven through every command that opens a model. Run with QUERN naming the asan build to look for memory faults."""
import json
import pathlib
import shutil
import struct

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOKENIZER = ROOT / "tests" / "fixtures" / "qwen3-tiny"

CONFIG = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 512, "hidden_size": 16, "head_dim": 8,
    "num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 1, "intermediate_size": 16,
    "tie_word_embeddings": True, "torch_dtype": "bfloat16", "max_position_embeddings": 64,
}


@pytest.fixture(scope="session")
def good(quern, tmp_path_factory):
    base = tmp_path_factory.mktemp("good")
    (base / "config.json").write_text(json.dumps(CONFIG))
    made = quern("init", "--config", base, "-o", base / "m", "--tokenizer", TOKENIZER)
    assert made.code == 0, made.err
    return base / "m"


@pytest.fixture(scope="session")
def good_shards(quern, tmp_path_factory):
    base = tmp_path_factory.mktemp("shards")
    (base / "config.json").write_text(json.dumps(CONFIG))
    made = quern("init", "--config", base, "-o", base / "m", "--tokenizer", TOKENIZER, "--max-shard-size", "2KB")
    assert made.code == 0, made.err
    return base / "m"


def parts(path):
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + n]), data[8 + n:]


def join(path, header, payload):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + payload)


def check_error(done):
    """Exactly one line, from us, and an orderly exit."""
    assert done.code in (1, 2), (done.code, done.err)
    assert done.err.startswith("quern: ") and done.err.count("\n") == 1, done.err
    assert "Sanitizer" not in done.err and len(done.err) < 800
    return done.err


def inspect(quern, model):
    return quern("inspect", model)


def logits(quern, model):
    ids = model.parent / "ids.json"
    ids.write_text("[1, 2, 3]")
    return quern("logits", "-m", model, "--ids", ids, "-o", model.parent / "out.npy")


def run(quern, model):
    return quern("run", "-m", model, "--raw", "-p", "a", "-n", 1)


COMMANDS = [inspect, logits, run]


def expect_error(quern, model, *fragments, commands=COMMANDS):
    for command in commands:
        message = check_error(command(quern, model))
        for fragment in fragments:
            assert fragment in message, f"{command.__name__}: {message}"


def test_the_undamaged_model_works(quern, good, good_shards):
    for model in (good, good_shards):
        for command in COMMANDS:
            done = command(quern, model)
            assert done.code == 0, done.err


# ---- the weights file -------------------------------------------------------------------------

@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100, -1, -1000])
def test_a_truncated_file(quern, good, copy_of, size):
    model = copy_of(good)
    weights = model / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:size])
    expect_error(quern, model, "model.safetensors: ")


def test_an_over_long_file(quern, good, copy_of):
    model = copy_of(good)
    with open(model / "model.safetensors", "ab") as f:
        f.write(b"\0")
    expect_error(quern, model, "model.safetensors: ", "follow the header")


def test_every_flipped_byte_of_the_header(quern, good, copy_of):
    """Either an error, or still a model (a changed space, a changed name of metadata)."""
    model = copy_of(good)
    weights = model / "model.safetensors"
    data = weights.read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    survived = 0
    for at in range(0, end):
        weights.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1:])
        done = inspect(quern, model)
        if done.code == 0:
            survived += 1
        else:
            check_error(done)
    assert survived < 40  # 20 bytes of "pt" and "format" and padding do not matter; tensor names and sizes do


def test_flipped_bytes_of_the_payload_still_load(quern, good, copy_of):
    """Any bytes are numbers: the file is well-formed, and nothing may crash, with NaN and infinity among them."""
    model = copy_of(good)
    weights = model / "model.safetensors"
    header, payload = parts(weights)
    for fill in (0x7f, 0xff, 0x80):
        damaged = bytearray(payload)
        for at in range(0, len(damaged), 97):
            damaged[at] ^= fill
        join(weights, header, bytes(damaged))
        for command in (inspect, logits):
            done = command(quern, model)
            assert done.code == 0, done.err
    join(weights, header, b"\xff" * len(payload))  # every weight NaN
    done = run(quern, model)
    assert done.code in (0, 1) and "Sanitizer" not in done.err


def header_cases():
    name = "model.layers.0.self_attn.q_proj.weight"

    def change(key, value):
        def apply(header):
            header[name][key] = value
        return apply

    yield "shape swapped", change("shape", [8, 32]), "shape [8, 32]"
    yield "rank 1", change("shape", [256]), "shape [256]"
    yield "rank 9", change("shape", [16, 16, 1, 1, 1, 1, 1, 1, 1]), "more than 8"
    yield "huge shape", change("shape", [2 ** 63, 2]), "overflow"
    yield "negative shape", change("shape", [-16, 16]), "whole numbers"
    yield "fractional shape", change("shape", [16.5, 16]), "whole numbers"
    yield "wrong size", change("shape", [16, 17]), "shape and dtype need"
    yield "wrong type, same size", change("dtype", "I16"), "I16"
    yield "wrong type", change("dtype", "F32"), "shape and dtype need"
    yield "unknown type", change("dtype", "BF17"), "BF17"
    yield "type below a byte", change("dtype", "F4"), "F4"
    yield "reversed offsets", change("data_offsets", [512, 0]), "data_offsets"
    yield "offsets far away", change("data_offsets", [2 ** 62, 2 ** 62 + 512]), "hole"
    yield "offsets beyond 64 bits", change("data_offsets", [2 ** 64, 2 ** 64 + 512]), "whole numbers"
    yield "no type", lambda h: h[name].pop("dtype"), "no dtype"
    yield "not an object", lambda h: h.__setitem__(name, [1]), "must be an object"
    yield "missing tensor", lambda h: h.__setitem__("other", h.pop(name)), f"{name}"
    yield "control characters", lambda h: h.__setitem__("\x1b[31m", h.pop(name)), "control characters"
    yield "an endless name", lambda h: h.__setitem__("n" * 5000, h.pop(name)), "longer than"
    yield "metadata that is no text", lambda h: h.__setitem__("__metadata__", {"a": 1}), "__metadata__"


@pytest.mark.parametrize("apply,fragment", [c[1:] for c in header_cases()], ids=[c[0] for c in header_cases()])
def test_a_wrong_header(quern, good, copy_of, apply, fragment):
    model = copy_of(good)
    weights = model / "model.safetensors"
    header, payload = parts(weights)
    apply(header)
    join(weights, header, payload)
    expect_error(quern, model, fragment)


@pytest.mark.parametrize("header", [
    b"", b"{", b"[]", b"{}", b"null", b"{\"a\":", b"\xff\xfe{}", b"{" * 5000, b"{\"a\":" + b"[" * 5000, b"{}{}",
], ids=["empty", "open", "array", "no tensors", "null", "cut", "not UTF-8", "braces", "deep", "two values"])
def test_a_header_that_is_something_else(quern, good, copy_of, header):
    model = copy_of(good)
    join(model / "model.safetensors", header, b"")
    expect_error(quern, model)


def test_a_tensor_twice(quern, good, copy_of):
    model = copy_of(good)
    weights = model / "model.safetensors"
    header, payload = parts(weights)
    text = json.dumps(header).encode()
    one = b'"model.norm.weight": ' + json.dumps(header["model.norm.weight"]).encode()
    join(weights, text[:-1] + b", " + one + b"}", payload)
    expect_error(quern, model, "model.norm.weight appears twice")


@pytest.mark.parametrize("length", [2 ** 64 - 1, 2 ** 63, 2 ** 32, 100_000_001, 100_000_000])
def test_a_wrong_header_length(quern, good, copy_of, length):
    model = copy_of(good)
    weights = model / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", length) + weights.read_bytes()[8:])
    expect_error(quern, model, "header length")


def test_an_unaligned_payload_works(quern, good, copy_of):
    model = copy_of(good)
    weights = model / "model.safetensors"
    header, payload = parts(weights)
    want = logits(quern, good)
    golden = (good.parent / "out.npy").read_bytes()
    assert want.code == 0
    text = json.dumps(header).encode()
    join(weights, text + b" " * (1 if len(text) % 2 == 0 else 2), payload)
    done = logits(quern, model)
    assert done.code == 0, done.err
    assert (model.parent / "out.npy").read_bytes() == golden


def test_no_weights(quern, good, copy_of):
    model = copy_of(good)
    (model / "model.safetensors").unlink()
    expect_error(quern, model, "model.safetensors", commands=[logits, run])
    (model / "pytorch_model.bin").write_bytes(b"\x80\x02")
    expect_error(quern, model, "pytorch_model.bin")
    (model / "model.safetensors").mkdir()
    expect_error(quern, model, commands=[logits, run])


# ---- shards -----------------------------------------------------------------------------------

def edit_index(model, edit):
    path = model / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    edit(index)
    path.write_text(json.dumps(index))


def test_a_missing_shard(quern, good_shards, copy_of):
    model = copy_of(good_shards)
    shard = sorted(model.glob("model-*.safetensors"))[1]
    shard.unlink()
    expect_error(quern, model, f"shard {shard.name} is missing")


def test_a_truncated_shard(quern, good_shards, copy_of):
    model = copy_of(good_shards)
    shard = sorted(model.glob("model-*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-1])
    expect_error(quern, model, shard.name)


@pytest.mark.parametrize("name", ["../m/model-00001-of-00002.safetensors", "/etc/passwd", "/etc/x.safetensors", "",
                                  "..", "a/b.safetensors", ".hidden.safetensors", "x.safetensors\0", "a\\b.safetensors",
                                  "weights.bin", 7, None])
def test_a_hostile_shard_name(quern, good_shards, copy_of, name):
    model = copy_of(good_shards)
    edit_index(model, lambda index: index["weight_map"].__setitem__("model.norm.weight", name))
    expect_error(quern, model, "model.norm.weight must name a .safetensors file")


def test_an_index_that_does_not_fit_its_shards(quern, good_shards, copy_of):
    model = copy_of(good_shards)
    edit_index(model, lambda index: index["weight_map"].__setitem__("extra.weight", "model-00001-of-00002.safetensors"))
    shards = sorted(p.name for p in model.glob("model-*.safetensors"))
    edit_index(model, lambda index: index["weight_map"].__setitem__("extra.weight", shards[0]))
    expect_error(quern, model, f"extra.weight is not in {shards[0]}")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {}}', "\0", "\xff"])
def test_a_broken_index(quern, good_shards, copy_of, text):
    model = copy_of(good_shards)
    (model / "model.safetensors.index.json").write_bytes(text.encode("latin-1"))
    expect_error(quern, model, "model.safetensors.index.json")


# ---- the configuration --------------------------------------------------------------------------

@pytest.mark.parametrize("change,fragment", [
    ({"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel"),
    ({"architectures": [], "model_type": "mamba"}, "mamba"),
    ({"architectures": None, "model_type": None}, "architectures"),
    ({"model_type": "llama"}, "contradicts"),
    ({"hidden_size": 2 ** 40}, "hidden_size"),
    ({"hidden_size": 0}, "hidden_size"),
    ({"hidden_size": -16}, "hidden_size"),
    ({"hidden_size": "16"}, "hidden_size"),
    ({"hidden_size": 15}, "expected"),
    ({"vocab_size": 2 ** 63 - 1}, "vocab_size"),
    ({"vocab_size": 10 ** 30}, "config.json"),
    ({"num_hidden_layers": 100000}, "num_hidden_layers"),
    ({"num_hidden_layers": 2}, "model.layers.1."),
    ({"num_key_value_heads": 3}, "num_key_value_heads"),
    ({"head_dim": 7}, "head_dim"),
    ({"rope_theta": -1}, "rope_theta"),
    ({"rope_scaling": {"type": "magic"}}, "magic"),
    ({"rms_norm_eps": 5}, "rms_norm_eps"),
    ({"hidden_act": "relu"}, "relu"),
    ({"max_position_embeddings": 0}, "max_position_embeddings"),
    ({"tie_word_embeddings": False}, "lm_head.weight"),
    ({"eos_token_id": list(range(100))}, "eos_token_id"),
], ids=str)
def test_a_wrong_configuration(quern, good, copy_of, change, fragment):
    model = copy_of(good)
    (model / "config.json").write_text(json.dumps({**CONFIG, **change}))
    expect_error(quern, model, fragment)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"nul", b"\xff\xfe", b'{"a": 1, "a": 2}', b"[" * 100000,
                                  b'{"hidden_size": 1e999}', b"\0" * 100])
def test_a_configuration_that_is_no_json_object(quern, good, copy_of, text):
    model = copy_of(good)
    (model / "config.json").write_bytes(text)
    expect_error(quern, model, "config.json")


@pytest.mark.parametrize("text", ["[]", "{", '{"temperature": -1}', '{"top_k": 1e30}', '{"eos_token_id": {}}'])
def test_a_broken_generation_config(quern, good, copy_of, text):
    model = copy_of(good)
    (model / "generation_config.json").write_text(text)
    expect_error(quern, model, "generation_config.json", commands=[inspect, run])


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model": {"type": "BPE"}}', '{"model": {"type": "WordPiece"}}'])
def test_a_broken_tokenizer(quern, good, copy_of, text):
    model = copy_of(good)
    (model / "tokenizer.json").write_text(text)
    expect_error(quern, model, "tokenizer.json", commands=[inspect, run])


def test_a_missing_configuration(quern, good, copy_of):
    model = copy_of(good)
    (model / "config.json").unlink()
    expect_error(quern, model, "config.json")
    shutil.rmtree(model)
    expect_error(quern, model)
