"""quern serve --adapter: adapters as models, side by side with their base and with each other."""
import threading

import pytest

import adapter_file

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def adapters(tiny_model, tmp_path_factory):
    base = tmp_path_factory.mktemp("adapters")
    adapter_file.make(base / "one", tiny_model, seed=1)
    adapter_file.make(base / "two", tiny_model, seed=2, r=3, use_dora=True)
    return base


def ask(server, model, text="Hello", n=24):
    reply = server.post(CHAT, {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": n,
                               "temperature": 0, "ignore_eos": True, "logprobs": True})
    assert reply.status == 200, reply.body
    assert reply.json["model"] == model
    choice = reply.json["choices"][0]
    return [(t["token"], t["logprob"]) for t in choice["logprobs"]["content"]]


def test_adapters_are_listed_and_chosen_by_name(serve, tiny_model, adapters, quern):
    server = serve("-m", f"tiny={tiny_model}", "--adapter", f"first={adapters / 'one'}", "--adapter", adapters / "two")
    models = {m["id"]: m for m in server.get("/v1/models").json["data"]}
    assert set(models) == {"tiny", "first", "two"}
    assert models["first"]["parent"] == models["two"]["parent"] == "tiny" and "parent" not in models["tiny"]
    assert server.get("/v1/models/first").json["parent"] == "tiny"
    alone = {name: ask(server, name) for name in models}
    assert alone["tiny"] != alone["first"] != alone["two"] != alone["tiny"]
    # The same prompts at once: nobody gets another's bits.
    found, threads = [], []
    for i in range(18):
        name = ["tiny", "first", "two"][i % 3]
        threads.append(threading.Thread(target=lambda name=name: found.append((name, ask(server, name)))))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 18 and all(answer == alone[name] for name, answer in found)
    # The program alone says the same.
    done = quern("run", "-m", tiny_model, "--adapter", adapters / "one", "-p", "Hello", "-n", 24, "--temp", 0, "--ignore-eos", "--show-thinking")
    assert done.code == 0, done.err
    said = "".join(t for t, _ in alone["first"] if not t.startswith("<|"))
    assert done.out.strip() == said.strip()


def test_an_adapter_that_cannot_be_used_leaves_its_base_alone(serve, tiny_model, adapters, tmp_path):
    server = serve("-m", f"tiny={tiny_model}", "--adapter", f"bad={tmp_path}", "--adapter", f"good={adapters / 'one'}", ready=False)
    server.wait_until(lambda: [m["state"] for m in server.get("/ready").json["models"]] == ["ready", "failed", "ready"])
    assert server.entries("model_failed")
    assert ask(server, "tiny") != ask(server, "good")
    reply = server.post(CHAT, {"model": "bad", "messages": [{"role": "user", "content": "x"}]})
    assert reply.status == 500 and "adapter_config.json" in reply.error["message"]
    state = {m["id"]: m["state"] for m in server.get("/ready").json["models"]}
    assert state == {"tiny": "ready", "good": "ready", "bad": "failed"}


def test_an_idle_model_takes_its_adapters_along_and_brings_them_back(serve, tiny_model, adapters):
    server = serve("-m", f"tiny={tiny_model}", "--adapter", f"a={adapters / 'one'}:0.5", "--unload-idle", "0.2")
    before = ask(server, "a")
    server.wait_until(lambda: server.entries("model_unloaded"))
    assert ask(server, "a") == before


def test_the_cache_is_each_adapters_own(serve, tiny_model, adapters):
    server = serve("-m", f"tiny={tiny_model}", "--adapter", f"a={adapters / 'one'}")
    text = "the quick brown fox " * 12
    def cached(model):
        reply = server.post(CHAT, {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 2})
        return reply.json["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached("tiny") == 0 and cached("a") == 0
    assert cached("tiny") > 0 and cached("a") > 0


@pytest.mark.parametrize("words, text", [(["x=DIR:2", "x=DIR"], "two models"), (["DIR:2"], "needs a name"), (["=DIR"], "expected"),
                                         (["tiny=DIR"], "two models")])
def test_names_that_cannot_be_are_told(words, text, quern, tiny_model, adapters):
    args = [a for w in words for a in ("--adapter", w.replace("DIR", str(adapters / "one")))]
    done = quern("serve", "-m", f"tiny={tiny_model}", *args, "--port", 0)
    assert done.code == 1 and text in done.err
