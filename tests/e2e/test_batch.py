"""quern batch: every line once, whatever happens to the process."""
import json
import signal
import subprocess
import time

import pytest

from conftest import ANSWER, THINKING

CHAT = "/v1/chat/completions"


def chat_line(custom_id, text, **body):
    return {"custom_id": custom_id, "method": "POST", "url": CHAT,
            "body": {"messages": [{"role": "user", "content": text}], **body}}


def write_lines(path, lines):
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def results(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_id(path):
    found = {r["custom_id"]: r for r in results(path)}
    assert len(found) == len(results(path))
    return found


@pytest.fixture
def files(tmp_path):
    return tmp_path / "in.jsonl", tmp_path / "out.jsonl"


def many(n, max_tokens=40):
    return [chat_line(f"line-{i}", f"question {i}", max_tokens=max_tokens, seed=i, ignore_eos=True) for i in range(n)]


def text_of(result):
    message = result["response"]["body"]["choices"][0]["message"]
    return message.get("reasoning_content"), message["content"]


def test_each_line_is_answered_in_openais_form(quern, scripted, files):
    source, target = files
    write_lines(source, [
        chat_line("one", "Hi", temperature=0),
        "\n",
        {"custom_id": "two", "url": "/v1/completions", "body": {"prompt": "the new", "max_tokens": 3, "n": 2}},
        {"custom_id": "three", "method": "POST", "url": "/v1/embeddings", "body": {"input": ["a", "b"]}},
    ])
    done = quern("batch", "-m", scripted, "-i", source, "-o", target)
    assert done.code == 0, done.err
    assert done.out == "" and "3 of 3 lines done" in done.err
    found = by_id(target)
    one = found["one"]
    assert one["id"].startswith("batch_req_") and one["error"] is None
    assert one["response"]["status_code"] == 200 and one["response"]["request_id"] == one["response"]["body"]["id"]
    assert text_of(one) == (THINKING, ANSWER)
    assert len(found["two"]["response"]["body"]["choices"]) == 2
    assert [e["index"] for e in found["three"]["response"]["body"]["data"]] == [0, 1]


def test_errors_stay_with_their_lines(quern, tiny_model, files):
    source, target = files
    write_lines(source, [
        "{broken\n",
        chat_line("hot", "Hi", temperature=9),
        chat_line("stream", "Hi", stream=True),
        chat_line("long", "word " * 2000),
        {"custom_id": "where", "url": "/v1/elsewhere", "body": {}},
        {"custom_id": "get", "method": "GET", "url": CHAT, "body": {}},
        {"custom_id": "empty", "method": "POST", "url": CHAT},
        {"method": "POST", "url": CHAT, "body": {}},
        chat_line("good", "Hi", max_tokens=3),
    ])
    done = quern("batch", "-m", tiny_model, "-i", source, "-o", target)
    assert done.code == 0, done.err
    assert "8 with an error" in done.err
    found = results(target)
    assert len(found) == 9
    codes = {r["custom_id"] or r["line"]: r["response"]["status_code"] for r in found}
    assert codes == {1: 400, 8: 400, "hot": 400, "stream": 400, "long": 400, "where": 400, "get": 400, "empty": 400,
                     "good": 200}
    messages = {r["custom_id"]: r["response"]["body"].get("error", {}).get("message", "") for r in found}
    assert "temperature" in messages["hot"] and "512" in messages["long"] and "/v1/elsewhere" in messages["where"]
    # All of them have their result: nothing is left to do, not even a model to load.
    again = quern("batch", "-m", "/nowhere", "-i", source, "-o", target)
    assert again.code == 0 and len(results(target)) == 9


def test_the_answer_does_not_depend_on_what_runs_beside_it(quern, tiny_model, files, tmp_path):
    source, target = files
    write_lines(source, many(40, 12))
    assert quern("batch", "-m", tiny_model, "-i", source, "-o", target).code == 0
    alone = tmp_path / "alone.jsonl"
    assert quern("batch", "-m", tiny_model, "-i", source, "-o", alone, "--parallel", 1, "--speculation", "off").code == 0
    drafted = tmp_path / "drafted.jsonl"
    assert quern("batch", "-m", tiny_model, "-i", source, "-o", drafted, "--draft", tiny_model).code == 0
    together, one_by_one, guessed = by_id(target), by_id(alone), by_id(drafted)
    assert together.keys() == one_by_one.keys() == guessed.keys()
    for name in together:
        assert text_of(together[name]) == text_of(one_by_one[name]) == text_of(guessed[name])


def test_a_killed_job_goes_on_without_losing_or_repeating_a_line(program, environment, quern, tiny_model, files):
    source, target = files
    write_lines(source, many(120, 60))
    n_kills = 0
    for _ in range(4):
        job = subprocess.Popen([program, "batch", "-m", str(tiny_model), "-i", str(source), "-o", str(target),
                                "--parallel", "4"], env=environment, stderr=subprocess.DEVNULL)
        before = len(target.read_text().splitlines()) if target.exists() else 0
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and job.poll() is None:
            if target.exists() and len(target.read_text().splitlines()) >= before + 10:
                break
            time.sleep(0.002)
        if job.poll() is None:
            job.send_signal(signal.SIGKILL)
            n_kills += 1
        job.wait()
    assert n_kills > 0
    killed = target.read_text()
    done = quern("batch", "-m", tiny_model, "-i", source, "-o", target)
    assert done.code == 0, done.err
    assert target.read_text().startswith(killed[:killed.rfind("\n") + 1])
    found = by_id(target)
    assert found.keys() == {f"line-{i}" for i in range(120)}
    assert all(r["response"]["status_code"] == 200 for r in found.values())


def test_a_line_that_is_not_whole_is_cut_off_and_done_again(quern, tiny_model, files):
    source, target = files
    write_lines(source, many(5, 4))
    assert quern("batch", "-m", tiny_model, "-i", source, "-o", target).code == 0
    whole = target.read_bytes()
    for cut in (1, 30, whole.rfind(b"\n", 0, -1) * -1 + len(whole)):
        target.write_bytes(whole[:-cut])
        done = quern("batch", "-m", tiny_model, "-i", source, "-o", target)
        assert done.code == 0 and len(by_id(target)) == 5, done.err


def test_ctrl_c_leaves_whole_lines(program, environment, quern, tiny_model, files):
    source, target = files
    write_lines(source, many(200, 80))
    job = subprocess.Popen([program, "batch", "-m", str(tiny_model), "-i", str(source), "-o", str(target)],
                           env=environment, stderr=subprocess.PIPE)
    while not target.exists() or target.read_bytes().count(b"\n") < 3:
        time.sleep(0.002)
        assert job.poll() is None
    job.send_signal(signal.SIGINT)
    _, err = job.communicate(timeout=60)
    assert job.returncode == 128 + signal.SIGINT and b"of 200 lines done" in err
    assert target.read_bytes().endswith(b"\n")
    assert quern("batch", "-m", tiny_model, "-i", source, "-o", target).code == 0
    assert len(by_id(target)) == 200


def test_two_jobs_do_not_write_to_one_file(program, environment, quern, tiny_model, files):
    source, target = files
    write_lines(source, many(300, 100))
    job = subprocess.Popen([program, "batch", "-m", str(tiny_model), "-i", str(source), "-o", str(target)],
                           env=environment, stderr=subprocess.DEVNULL)
    while not target.exists() or target.stat().st_size == 0:
        time.sleep(0.002)
        assert job.poll() is None
    second = quern("batch", "-m", tiny_model, "-i", source, "-o", target)
    job.kill()
    job.wait()
    assert second.code == 1 and "another batch is writing to it" in second.err


def test_files_that_are_no_batch_are_refused_and_left_alone(quern, tiny_model, files):
    source, target = files
    write_lines(source, [chat_line("same", "a"), chat_line("other", "b"), chat_line("same", "c")])
    done = quern("batch", "-m", tiny_model, "-i", source, "-o", target)
    assert done.code == 1 and "lines 1 and 3 have the same custom_id" in done.err
    write_lines(source, many(2))
    before = source.read_bytes()
    done = quern("batch", "-m", tiny_model, "-i", source, "-o", source)
    assert done.code == 1 and "is no result of a batch" in done.err
    assert source.read_bytes() == before
    assert quern("batch", "-m", tiny_model, "-i", source).code == 2
    assert quern("batch", "-m", tiny_model, "-i", target.with_name("nothing"), "-o", target).code == 1
