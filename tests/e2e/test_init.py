"""quern init: the numbers, the files, and what it refuses."""
import hashlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CONFIGS = ROOT / "tests" / "fixtures" / "configs"
GOLDEN = json.loads((ROOT / "tests" / "golden" / "formats" / "checkpoints.json").read_text())


def read_safetensors(path):
    """{name: (dtype, shape, bytes)} in file order, by the format's description."""
    data = path.read_bytes()
    n = int.from_bytes(data[:8], "little")
    assert n % 8 == 0
    header = json.loads(data[8:8 + n])
    assert header.pop("__metadata__") == {"format": "pt"}
    return {name: (t["dtype"], t["shape"], data[8 + n:][slice(*t["data_offsets"])]) for name, t in header.items()}


def read_checkpoint(directory):
    tensors = {}
    for path in sorted(directory.glob("*.safetensors")):
        tensors.update(read_safetensors(path))
    return tensors


def names_in(directory):
    return sorted(p.name for p in directory.iterdir())


@pytest.mark.parametrize("case", GOLDEN, ids=lambda c: c["config"])
def test_every_number_is_the_one_its_definition_gives(quern, tmp_path, case):
    made = quern("init", "--config", CONFIGS / f"{case['config']}.json", "-o", tmp_path / "m",
                 "--seed", case["seed"], *case["options"])
    assert made.code == 0, made.err
    tensors = read_checkpoint(tmp_path / "m")
    assert {name: hashlib.sha256(t[2]).hexdigest() for name, t in tensors.items()} == case["sha256"]


def test_files_do_not_depend_on_threads(quern, tmp_path):
    for threads in (1, 2, 5):
        made = quern("init", "--config", CONFIGS / "llama3.json", "-o", tmp_path / str(threads), "--seed", 3,
                     "--max-shard-size", "50KB", "--threads", threads)
        assert made.code == 0, made.err
    assert names_in(tmp_path / "1") == names_in(tmp_path / "2")
    for name in names_in(tmp_path / "1"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "5" / name).read_bytes()


def test_shards_keep_to_their_size_and_the_index_names_them(quern, tmp_path):
    made = quern("init", "--config", CONFIGS / "llama3.json", "-o", tmp_path / "m", "--max-shard-size", "0.05MB")
    assert made.code == 0, made.err
    index = json.loads((tmp_path / "m" / "model.safetensors.index.json").read_text())
    shards = sorted((tmp_path / "m").glob("model-*.safetensors"))
    assert [p.name for p in shards] == [f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
                                        for i in range(len(shards))]
    assert len(shards) > 1
    total = 0
    for path in shards:
        tensors = read_safetensors(path)
        assert all(index["weight_map"].pop(name) == path.name for name in tensors)
        size = sum(len(t[2]) for t in tensors.values())
        assert size <= 50000 or len(tensors) == 1
        total += size
    assert not index["weight_map"] and index["metadata"]["total_size"] == total


def test_a_shape_has_configuration_and_generation_defaults(quern, tmp_path):
    made = quern("init", "--shape", "tiny", "--vocab-size", 500, "--dtype", "f32", "-o", tmp_path / "m")
    assert made.code == 0, made.err
    assert names_in(tmp_path / "m") == ["config.json", "generation_config.json", "model.safetensors"]
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config["vocab_size"] == 500 and config["torch_dtype"] == "float32"
    assert json.loads((tmp_path / "m" / "generation_config.json").read_text())["top_k"] == 20
    assert read_checkpoint(tmp_path / "m")["model.embed_tokens.weight"][:2] == ("F32", [500, 64])
    assert "24 tensors" in made.out


def test_a_configuration_is_kept_but_for_what_the_options_say(quern, tmp_path):
    source = {"architectures": ["Qwen3ForCausalLM"], "vocab_size": 9, "hidden_size": 8, "head_dim": 2,
              "num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 1, "intermediate_size": 4,
              "dtype": "bfloat16", "unknown": {"é": [1, 2.5, None]},
              "quantization_config": {"quant_method": "awq"}}
    (tmp_path / "config.json").write_text(json.dumps(source))
    (tmp_path / "generation_config.json").write_text('{"top_k": 7}')
    made = quern("init", "--config", tmp_path, "--dtype", "f16", "-o", tmp_path / "m")
    assert made.code == 0, made.err
    del source["quantization_config"]
    source["dtype"] = "float16"
    config = json.loads((tmp_path / "m" / "config.json").read_text(encoding="utf-8"))
    assert config == source and list(config) == list(source)
    assert (tmp_path / "m" / "generation_config.json").read_text() == '{"top_k": 7}'


def test_the_tokenizer_is_copied(quern, tmp_path):
    source = tmp_path / "t"
    source.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "merges.txt"):
        (source / name).write_text(f"{name}\n")
    (source / "other.txt").write_text("not this")
    made = quern("init", "--shape", "tiny", "--vocab-size", 9, "-o", tmp_path / "m", "--tokenizer", source)
    assert made.code == 0, made.err
    assert (tmp_path / "m" / "merges.txt").read_text() == "merges.txt\n"
    assert "other.txt" not in names_in(tmp_path / "m") and "chat_template.jinja" in names_in(tmp_path / "m")


def test_a_directory_with_files_is_left_alone_unless_forced(quern, tmp_path):
    (tmp_path / "precious").write_text("x")
    made = quern("init", "--shape", "tiny", "--vocab-size", 9, "-o", tmp_path)
    assert made.code == 1 and "is not empty" in made.err and "--force" in made.err
    assert names_in(tmp_path) == ["precious"]
    made = quern("init", "--shape", "tiny", "--vocab-size", 9, "-o", tmp_path, "--force")
    assert made.code == 0 and "model.safetensors" in names_in(tmp_path)


@pytest.mark.parametrize("args,code,fragment", [
    ([], 2, "--shape or --config"),
    (["--shape", "tiny"], 2, "-o DIR"),
    (["--shape", "huge", "-o", "x"], 2, "huge"),
    (["--shape", "tiny", "--config", "c", "-o", "x"], 2, "either --shape or --config"),
    (["--shape", "tiny", "-o", "x", "--max-shard-size", "5 apples"], 2, "5 apples"),
    (["--shape", "tiny", "-o", "x", "--max-shard-size", "0"], 2, "no size"),
    (["--config", "absent.json", "-o", "x"], 1, "absent.json"),
    (["--shape", "tiny", "-o", "x", "--tokenizer", "absent"], 1, "tokenizer.json"),
    (["--shape", "tiny", "-o", "/dev/null/x"], 1, "/dev/null"),
    (["--shape", "tiny", "-o", "x", "--seed", "-1"], 2, "--seed"),
])
def test_wrong_arguments_are_explained(quern, tmp_path, args, code, fragment):
    done = quern("init", *args, cwd=tmp_path)
    assert done.code == code and fragment in done.err
    assert not list(tmp_path.glob("x/*.safetensors"))


def test_a_full_disk_leaves_no_half_files(program, environment, tmp_path):
    """A limit on the size of files stands for the full disk: write() fails the same way."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
    done = subprocess.run([program, "init", "--shape", "tiny", "-o", tmp_path / "m"], capture_output=True, text=True,
                          env=environment, preexec_fn=limit, restore_signals=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "model.safetensors: cannot write" in done.stderr
    assert names_in(tmp_path / "m") == ["generation_config.json"]


def test_an_interrupt_leaves_no_half_files(program, environment, tmp_path):
    """30 GB would take minutes; the interrupt comes as soon as the file is there."""
    running = subprocess.Popen([program, "init", "--shape", "qwen3-14b", "-o", tmp_path / "m"], env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("m/model*.tmp")) and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1 and err.count("\n") == 1 and "interrupted" in err
    assert names_in(tmp_path / "m") == ["generation_config.json"]


def test_memory_stays_small(program, environment, tmp_path):
    """170 MB of weights within an address space that could not hold them."""
    config = {"architectures": ["Qwen3ForCausalLM"], "vocab_size": 151936, "hidden_size": 512, "head_dim": 64,
              "num_attention_heads": 8, "num_key_value_heads": 8, "num_hidden_layers": 2,
              "intermediate_size": 1024, "tie_word_embeddings": True, "torch_dtype": "bfloat16"}
    (tmp_path / "c.json").write_text(json.dumps(config))
    if "asan" in program:
        pytest.skip("the sanitizer reserves address space of its own")

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (128 << 20, 128 << 20))
    done = subprocess.run([program, "init", "--config", tmp_path / "c.json", "-o", tmp_path / "m", "-t", "2"],
                          capture_output=True, text=True, env=environment, preexec_fn=limit)
    assert done.returncode == 0, done.stderr
    assert os.path.getsize(tmp_path / "m" / "model.safetensors") > 150e6
