"""quern train and quern tokenizer train: losses fall, runs go on, what is wrong is named."""
import fcntl
import json
import os
import pathlib
import resource
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TINY = ROOT / "tests" / "fixtures" / "qwen3-tiny"
GOLDEN = ROOT / "tests" / "golden" / "train_data"


def program():
    return os.environ.get("QUERN", str(ROOT / "build" / "release" / "quern"))


def run(*args):
    return subprocess.run([program(), *map(str, args)], capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    done = run("init", "--shape", "tiny", "--vocab-size", 1024, "-o", directory, "--tokenizer", TINY, "--force")
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data.jsonl"
    with open(path, "w", encoding="utf-8") as out:
        for i in range(40):
            out.write(json.dumps({"prompt": f"Say {i % 5}.", "completion": f"It is {i % 5}."}) + "\n")
    return path


def settings(model, data, out, *more):
    return ["train", "-m", model, "--data", data, "-o", out, "--max-steps", 12, "--grad-accum", 2, "--max-length", 64,
            "--lr", 0.01, "--save-steps", 2, "--set", "lora_dropout=0.1", "--set", "neftune_noise_alpha=2", *more]


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def adapter(out):
    return (out / "adapter_model.safetensors").read_bytes()


def test_losses_fall_and_the_output_is_there(model, data, tmp_path):
    done = run(*settings(model, data, tmp_path / "out", "--eval-data", data, "--eval-steps", 6))
    assert done.returncode == 0, done.stderr
    lines = metrics(tmp_path / "out")
    losses = [m["loss"] for m in lines if "loss" in m]
    assert len(losses) == 12 and losses[-1] < 0.9 * losses[0]
    assert [m["step"] for m in lines if "eval_loss" in m] == [6, 12]
    assert {"adapter_model.safetensors", "adapter_config.json", "loss.svg", "metrics.jsonl"} <= set(
        os.listdir(tmp_path / "out"))
    assert "<polyline" in (tmp_path / "out" / "loss.svg").read_text()
    answer = run("run", "-m", model, "--adapter", tmp_path / "out", "-p", "Say 3.", "-n", 4)
    assert answer.returncode == 0, answer.stderr


def test_a_full_model_opens_like_any_other(model, data, tmp_path):
    done = run(*settings(model, data, tmp_path / "out", "--method", "full"))
    assert done.returncode == 0, done.stderr
    assert run("run", "-m", tmp_path / "out", "-p", "Say 3.", "-n", 4).returncode == 0


def test_killed_and_gone_on_it_ends_with_the_same_bits(model, data, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert run(*settings(model, data, straight)).returncode == 0
    for _ in range(3):
        process = subprocess.Popen([program(), *map(str, settings(model, data, killed, "--resume"))],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.time() + 60
        before = set(os.listdir(killed / "checkpoints")) if (killed / "checkpoints").is_dir() else set()
        while process.poll() is None and time.time() < deadline:  # until one more checkpoint is there
            now = set(os.listdir(killed / "checkpoints")) if (killed / "checkpoints").is_dir() else set()
            if any(name.endswith(tuple("0123456789")) for name in now - before):
                break
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = run(*settings(model, data, killed, "--resume"))
    assert done.returncode == 0, done.stderr
    assert adapter(straight) == adapter(killed)
    assert [m["loss"] for m in metrics(straight)] == [m["loss"] for m in metrics(killed)]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file that does not fit into the memory its test allows."""
    path = tmp_path_factory.mktemp("large") / "large.jsonl"
    with open(path, "w", encoding="utf-8") as out:
        for i in range(190):
            line = json.dumps({"text": f"It was the best of {i}, it was the worst of {i % 7}. " * 25}) + "\n"
            out.write(line * 1000)
    return path


@pytest.mark.parametrize("streaming", ["true", "false"])
def test_a_file_larger_than_memory_trains(model, large, tmp_path, streaming):
    limit = 100 << 20
    assert large.stat().st_size > 2 * limit
    args = settings(model, large, tmp_path / "out", "--set", f"dataset_streaming={streaming}", "-t", 2)
    done = subprocess.run([program(), *map(str, args)], capture_output=True, text=True, timeout=300,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    assert done.returncode == 0, done.stderr
    assert len(metrics(tmp_path / "out")) == 12
    tokens = sum(f.stat().st_size for f in (tmp_path / "out" / "cache").iterdir())
    # Streamed, no more is made than training comes to; else all of 190,000 examples.
    assert tokens < 20 << 20 if streaming == "true" else tokens > 190000 * 64 * 4


def test_streamed_data_killed_and_gone_on_give_the_same_bits(model, data, tmp_path):
    streamed = ["--set", "dataset_streaming=true", "--set", "packing_window=8"]
    assert run(*settings(model, data, tmp_path / "straight", *streamed)).returncode == 0
    killed = tmp_path / "killed"
    process = subprocess.Popen([program(), *map(str, settings(model, data, killed, *streamed))],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 60
    while process.poll() is None and not (killed / "checkpoints" / "step-000000004").is_dir() \
            and time.time() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = run(*settings(model, data, killed, *streamed, "--resume", "-t", 1))
    assert done.returncode == 0, done.stderr
    assert adapter(tmp_path / "straight") == adapter(killed)


def test_threads_do_not_show_in_the_result(model, data, tmp_path):
    for n in (1, 2):
        assert run(*settings(model, data, tmp_path / str(n), "-t", n)).returncode == 0
    assert adapter(tmp_path / "1") == adapter(tmp_path / "2")


def test_a_full_disk_leaves_the_checkpoint_before(model, data, tmp_path):
    """A limit on the size of files stands for the full disk: write() fails the same way."""
    out = tmp_path / "out"
    args = settings(model, data, out)
    assert run(*args, "--max-steps", 4, "--set", "lr_scheduler_type=constant").returncode == 0
    done = subprocess.run([program(), *map(str, [*args, "--set", "lr_scheduler_type=constant", "--resume"])],
                          capture_output=True, text=True, restore_signals=False,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000)))
    assert done.returncode == 1
    assert "no checkpoint at step 6: " in done.stderr and "File too large" in done.stderr
    assert sorted(os.listdir(out / "checkpoints")) == ["step-000000002", "step-000000004"]
    assert run(*args, "--set", "lr_scheduler_type=constant", "--resume").returncode == 0
    assert run(*settings(model, data, tmp_path / "straight", "--set", "lr_scheduler_type=constant")).returncode == 0
    assert adapter(out) == adapter(tmp_path / "straight")


def test_an_interrupt_saves_and_stops(model, data, tmp_path):
    args = [program(), *map(str, settings(model, data, tmp_path / "out", "--max-steps", 100000, "--save-steps", 0))]
    process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "out" / "metrics.jsonl").exists() or not (tmp_path / "out" / "metrics.jsonl").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in errors
    assert len(os.listdir(tmp_path / "out" / "checkpoints")) == 1


def test_a_dry_run_writes_nothing_and_shows_the_mask(model, data, tmp_path):
    done = run(*settings(model, data, tmp_path / "out", "--dry-run", "--show", 1))
    assert done.returncode == 0, done.stderr
    assert "steps in all" in done.stdout and "[[It is 0.<|im_end|>]]" in done.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("line, message", [
    ('{"text": }', "bad.jsonl:2: "),
    ('{"question": "q"}', "bad.jsonl:2: found none of messages"),
    ('{"messages": [{"role": "user", "content": "only a question"}]}',
     "bad.jsonl:2: no token of this example is trained"),
])
def test_a_bad_line_is_named(model, tmp_path, line, message):
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n' + line + "\n")
    done = run(*settings(model, tmp_path / "bad.jsonl", tmp_path / "out"))
    assert done.returncode == 1
    assert message in done.stderr
    if "no token" in message:
        assert "only a question<|im_end|>" in done.stderr


def test_there_is_no_going_on_with_other_settings(model, data, tmp_path):
    assert run(*settings(model, data, tmp_path / "out")).returncode == 0
    done = run(*settings(model, data, tmp_path / "out"))
    assert done.returncode == 1 and "--resume" in done.stderr
    done = run(*settings(model, data, tmp_path / "out", "--lr", 0.5, "--resume"))
    assert done.returncode == 1 and "another learning_rate" in done.stderr
    done = run(*settings(model, data, tmp_path / "out", "--set", "lerning_rate=1"))
    assert done.returncode == 1 and 'did you mean "learning_rate"?' in done.stderr


def test_two_runs_do_not_write_to_one_directory(model, data, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    other = os.open(out, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    done = run(*settings(model, data, out))
    assert done.returncode == 1 and f"{out}: another process is writing to it" in done.stderr
    assert not (out / "metrics.jsonl").exists()
    assert run(*settings(model, data, out, "--dry-run")).returncode == 0
    os.close(other)
    done = run(*settings(model, data, out))
    assert done.returncode == 0, done.stderr


def test_a_tokenizer_is_the_one_the_reference_learns(tmp_path):
    done = run("tokenizer", "train", "-o", tmp_path, "--vocab-size", 480, GOLDEN / "corpus.txt")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tokenizer.json").read_bytes() == (GOLDEN / "tokenizer-lines.json").read_bytes()
    assert run("tokenizer", "learn", "x").returncode == 2
    assert run("tokenizer", "train", "-o", tmp_path, "--vocab-size", 270, GOLDEN / "corpus.txt").returncode == 2
