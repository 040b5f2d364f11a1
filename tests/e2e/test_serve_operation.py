"""quern serve as operators see it: start, configuration, several models, log, the end."""
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import threading
import time
import warnings

import pytest

import serving
from conftest import ROOT
from serving import Connection, request_bytes

CHAT = "/v1/chat/completions"


def endless_body():
    return {"messages": [{"role": "user", "content": "x"}], "max_tokens": 90000, "ignore_eos": True, "stream": True,
            "temperature": 0}


# ---- start -----------------------------------------------------------------------------------------

def test_it_listens_before_the_model_is_there(serve, tiny_model, tmp_path):
    """A model whose files come from a pipe that nobody writes to yet cannot be loaded: it still listens."""
    server = serve("-m", f"no={tmp_path / 'nothing'}", ready=False)
    server.wait_until(lambda: server.entries("model_failed"))
    assert server.get("/health").status == 200
    reply = server.get("/ready")
    assert reply.status == 503 and reply.json["models"][0]["state"] == "failed"
    assert "no such directory" in reply.json["models"][0]["message"]
    reply = server.chat("x")
    assert reply.status == 500 and "no such directory" in reply.error["message"]


def test_health_says_when_a_step_takes_too_long(serve):
    """A step over a long prompt, seen through a limit of a millisecond; by itself it is sound again afterwards."""
    demo = ROOT / "models" / "quern-demo"
    if not (demo / "model.safetensors").exists():
        pytest.skip("models/quern-demo is not here")
    server = serve("-m", demo, "--stuck-after", "0.001")
    done = []

    def ask():
        for number in range(400):  # other prompts each time: nothing of them is known
            if done:
                return
            server.post("/v1/completions", {"prompt": f"{number} " + "one two three " * 600, "max_tokens": 1})
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        server.wait_until(lambda: server.get("/health").status == 503, 30)
    finally:
        done.append(True)
        thread.join()
    server.wait_until(server.idle)
    reply = server.get("/health")
    assert reply.status == 200 and reply.json["status"] == "ok"


def test_the_demo_model_is_listened_for_within_200_ms(program, environment, serve):
    """From the start of the process; measured with slack, since tests share the machine."""
    demo = ROOT / "models" / "quern-demo"
    if not (demo / "model.safetensors").exists():
        pytest.skip("models/quern-demo is not here")
    began = time.monotonic()
    serve("-m", demo, ready=False)
    assert time.monotonic() - began < 1.0


def test_it_does_not_open_itself_to_the_network_without_a_key(quern, tiny_model, tmp_path, serve):
    done = quern("serve", "-m", tiny_model, "--host", "0.0.0.0", "--port", "0")
    assert done.code == 1 and "--api-key-file" in done.err
    keys = tmp_path / "keys"
    keys.write_text("sk-1\n")
    server = serve("-m", tiny_model, "--host", "0.0.0.0", "--api-key-file", keys)
    assert server.get("/v1/models", {"x-api-key": "sk-1"}).status == 200
    assert serve("-m", tiny_model, "--host", "0.0.0.0", "--allow-no-key").get("/v1/models").status == 200


def test_a_port_in_use_is_told(quern, tiny_server, tiny_model):
    done = quern("serve", "-m", tiny_model, "--port", tiny_server.port)
    assert done.code == 1 and str(tiny_server.port) in done.err and "in use" in done.err


@pytest.mark.parametrize("text, problem", [
    ("", "holds no key"), ("# none\n", "holds no key"), ("k" * 300, "at most 255 bytes")])
def test_a_bad_key_file_is_told(quern, tiny_model, tmp_path, text, problem):
    keys = tmp_path / "keys"
    keys.write_text(text)
    done = quern("serve", "-m", tiny_model, "--port", "0", "--api-key-file", keys)
    assert done.code == 1 and problem in done.err


# ---- configuration -----------------------------------------------------------------------------------

def test_options_may_come_from_a_file_and_the_command_line_comes_after(serve, tiny_model, tmp_path):
    config = tmp_path / "quern.ini"
    config.write_text(f"; comment\n[server]\nmodel = one={tiny_model}\nmodel = two={tiny_model}\nmax-n = 2\n"
                      "[limits]\nmax-stop = 3\nignore-unknown = yes\nlazy = no\n")
    server = serve("--config", config, "--max-n", 3)
    assert [m["id"] for m in server.get("/v1/models").json["data"]] == ["one", "two"]
    assert server.chat("x", n=3, max_tokens=1, whatever=1).status == 200
    assert server.chat("x", n=4).status == 400
    assert server.chat("x", stop=["a", "b", "c", "d"]).status == 400


@pytest.mark.parametrize("text, problem", [
    ("prot = 1", 'line 1: there is no option "prot"; did you mean "port"?'),
    ("\nlazy = perhaps", "line 2: lazy: \"perhaps\" is neither yes nor no"),
    ("port = x", '"x" is not a whole number'), ("port = 99999", "outside 0 to 65535"),
    ("nonsense", "line 1: expected NAME = VALUE"), ("config = other", "no option")])
def test_a_bad_configuration_is_told_with_its_line(quern, tmp_path, text, problem):
    config = tmp_path / "quern.ini"
    config.write_text(text)
    done = quern("serve", "--config", config)
    assert done.code == 2 and problem in done.err


def test_weights_and_caches_have_the_forms_asked_for(serve, tiny_model, quern):
    """What the server answers with quantized weights is what the program says with them."""
    server = serve("-m", tiny_model, "--weights", "int8", "--math", "exact", "--pin", "off")
    text = server.post("/v1/completions", {"prompt": "Hello", "max_tokens": 12, "temperature": 0}).json["choices"][0]["text"]
    said = quern("run", "-m", tiny_model, "--weights", "int8", "--math", "exact", "--raw", "-p", "Hello", "-n", 12,
                 "--temp", 0)
    assert said.out == text
    other = serve("-m", tiny_model, "--kv-type", "int8")
    assert other.chat("x", max_tokens=4).status == 200


def test_two_models_of_one_name_are_refused(quern, tiny_model):
    done = quern("serve", "-m", tiny_model, "-m", tiny_model, "--port", "0")
    assert done.code == 1 and "NAME=DIR" in done.err


def test_each_model_answers_to_its_name(serve, tiny_model, scripted):
    server = serve("-m", f"tiny={tiny_model}", "-m", f"said={scripted}")
    assert server.chat("x", model="said", temperature=0).json["choices"][0]["message"]["content"].startswith("Hello")
    assert server.chat("x", model="tiny", max_tokens=1).json["model"] == "tiny"
    assert server.chat("x", max_tokens=1).json["model"] == "tiny"
    assert server.chat("x", model="neither").status == 404
    assert server.metric("quern_model_loaded", model="said") == 1


def test_a_draft_model_changes_nothing_but_the_number_of_steps(serve, tiny_model, scripted, quern):
    arguments = dict(max_tokens=24, temperature=0.7, seed=3, ignore_eos=True)
    alone = serve("-m", tiny_model, "--speculation", "off").chat("Hello", **arguments).json["choices"]
    server = serve("-m", f"a={tiny_model}", "-m", f"b={tiny_model}", "-m", f"c={scripted}", "--draft", tiny_model,
                   "--draft", f"c={scripted}", "--unload-idle", 1)
    for name in "ab":
        reply = server.chat("Hello", model=name, **arguments).json
        assert reply["choices"] == alone
    assert server.chat("x", model="c", temperature=0).json["choices"][0]["message"]["content"].startswith("Hello")
    assert sum(server.metric(f"quern_spec_decode_draft_tokens_total", model=name) for name in "abc") > 0
    server.wait_until(lambda: len(server.entries("model_unloaded")) == 3)
    assert server.chat("Hello", model="a", **arguments).json["choices"] == alone
    done = quern("serve", "-m", f"a={tiny_model}", "--draft", f"d={tiny_model}", "--port", "0")
    assert done.code == 1 and 'no model is called "d"' in done.err


# ---- TLS ---------------------------------------------------------------------------------------------------

@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not here to make a certificate")
    directory = tmp_path_factory.mktemp("tls")
    for name in ("own", "other"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", directory / f"{name}.key", "-out", directory / f"{name}.pem", "-days", "2", "-subj",
                        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True,
                       capture_output=True)
    return directory


def test_https_is_spoken_with_a_certificate(program, environment, endless, certificates):
    context = ssl.create_default_context(cafile=certificates / "own.pem")
    server = serving.Server(program, environment, "-m", endless, "--context", "100000", "--tls-cert",
                            certificates / "own.pem", "--tls-key", certificates / "own.key", tls=context)
    try:
        assert server.entries("listening")[0]["page"].startswith("https://")
        whole = server.chat("x", max_tokens=30, temperature=0).json["choices"][0]["message"]["content"]
        pieces = [c["choices"][0]["delta"].get("content") or "" for c in
                  server.chat("x", max_tokens=30, temperature=0, stream=True).chunks()]
        assert "".join(pieces) == whole  # pieces that are ready together go out as one
        for stream in (True, False):  # who leaves is noticed here too
            with Connection(server.port, tls=context) as c:
                c.send(request_bytes("POST", CHAT, {**endless_body(), "stream": stream}))
                server.wait_until(lambda: server.metric("quern_requests_running") == 1)
            server.wait_until(server.idle, 2)
        with Connection(server.port) as plain:  # without TLS there is no answer
            plain.send(request_bytes("GET", "/health"))
            try:
                assert plain.read_head()[0] is None
            except (ConnectionError, ValueError, IndexError):
                pass
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            Connection(server.port, tls=old)
        assert server.get("/health").status == 200
    finally:
        assert server.stop() == 0


def test_a_certificate_that_cannot_be_used_is_told(quern, tiny_model, certificates, tmp_path):
    own, key, other = certificates / "own.pem", certificates / "own.key", certificates / "other.key"
    for args, problem in ((["--tls-cert", own], "--tls-key"), (["--tls-key", key], "--tls-cert"),
                          (["--tls-cert", key, "--tls-key", key], "CERTIFICATE"),
                          (["--tls-cert", own, "--tls-key", own], "PRIVATE KEY"),
                          (["--tls-cert", own, "--tls-key", other], "one pair"),
                          (["--tls-cert", tmp_path / "none", "--tls-key", key], "none")):
        done = quern("serve", "-m", tiny_model, "--port", "0", *args)
        assert done.code == 1 and problem in done.err, (args, done.err)


# ---- memory ------------------------------------------------------------------------------------------------

def test_an_idle_model_is_unloaded_and_comes_back(serve, tiny_model):
    server = serve("-m", tiny_model, "--unload-idle", 0.3)
    first = server.chat("x", max_tokens=8, temperature=0).json["choices"]
    server.wait_until(lambda: server.entries("model_unloaded"))
    assert server.metric("quern_model_loaded") == 0
    assert server.get("/ready").status == 200 and server.get("/health").status == 200
    assert server.chat("x", max_tokens=8, temperature=0).json["choices"] == first
    server.wait_until(lambda: len(server.entries("model_ready")) == 2)


def test_a_lazy_model_is_loaded_by_its_first_request(serve, tiny_model):
    server = serve("-m", tiny_model, "--lazy")
    assert not server.entries("model_ready")
    assert server.chat("x", max_tokens=2).status == 200
    server.wait_until(lambda: len(server.entries("model_ready")) == 1)


def test_nothing_is_left_behind_by_many_requests(serve, tiny_model):
    server = serve("-m", tiny_model)

    def work(n):
        for i in range(n):
            server.chat(f"request {i % 5}", max_tokens=3, stream=i % 2 == 0, n=1 + i % 3)
            server.post("/v1/embeddings", {"input": "x"})
            server.post(CHAT, b"{")
            with Connection(server.port) as c:
                c.send(request_bytes("POST", CHAT, endless_body()))
    work(20)
    server.wait_until(server.idle)
    server.wait_until(lambda: server.metric("quern_http_connections") <= 1)
    rss, descriptors = server.rss(), server.n_descriptors()
    work(60)
    server.wait_until(server.idle)
    server.wait_until(lambda: server.metric("quern_http_connections") <= 1)
    # The last connections are closed a moment after they are done with; what leaks stays.
    server.wait_until(lambda: server.n_descriptors() <= descriptors + 1)
    assert server.rss() - rss < 10e6
    assert server.metric("quern_kv_cache_usage_ratio") == 0


# ---- the log -------------------------------------------------------------------------------------------------

def test_each_request_is_one_json_line(serve, tiny_model):
    server = serve("-m", f"m={tiny_model}")
    reply = server.chat("x", max_tokens=3, ignore_eos=True)
    server.wait_until(lambda: any(e["path"] == CHAT for e in server.entries("request")))
    entry = [e for e in server.entries("request") if e["path"] == CHAT][0]
    assert entry["status"] == 200 and entry["method"] == "POST" and entry["model"] == "m" and entry["ms"] > 0
    assert entry["completion_tokens"] == 3 and entry["id"] == reply.headers["x-request-id"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["ts"])


# ---- the end -----------------------------------------------------------------------------------------------------

# Long enough that a test has something to say meanwhile.
LONG = 20000


def test_on_sigterm_running_answers_are_completed_and_new_ones_refused(serve, endless):
    server = serve("-m", endless, "--context", 100000)
    alone = server.chat("x", max_tokens=LONG, temperature=0, ignore_eos=True).json["choices"]
    got = {}

    def client():
        got["reply"] = server.chat("x", max_tokens=LONG, temperature=0, ignore_eos=True)
    thread = threading.Thread(target=client)
    thread.start()
    server.wait_until(lambda: server.metric("quern_requests_running") == 1)
    server.terminate()
    server.wait_until(lambda: server.entries("draining"))
    refused = server.chat("y", max_tokens=1)
    assert refused.status == 503 and int(refused.headers["retry-after"]) > 0
    ready = server.get("/ready")
    assert ready.status == 503 and ready.json["status"] == "draining"
    assert server.get("/health").status == 200
    thread.join()
    assert got["reply"].status == 200 and got["reply"].json["choices"] == alone
    assert server.process.wait(10) == 0
    assert server.entries("stopped")


def test_the_drain_has_an_end(serve, endless):
    server = serve("-m", endless, "--context", 100000, "--drain-timeout", 0.3)
    with Connection(server.port) as c:
        c.send(request_bytes("POST", CHAT, endless_body()))
        c.read_head()
        c.read_chunk()
        began = time.monotonic()
        server.terminate(signal.SIGINT)
        assert server.process.wait(10) == 0
        assert time.monotonic() - began < 5


def test_a_second_signal_ends_it_at_once(serve, endless):
    server = serve("-m", endless, "--context", 100000)
    with Connection(server.port) as c:
        c.send(request_bytes("POST", CHAT, endless_body()))
        c.read_head()
        c.read_chunk()
        server.terminate()
        server.wait_until(lambda: server.entries("draining"))
        server.terminate()
        assert server.process.wait(5) == 1


# ---- the package's own clients -----------------------------------------------------------------------------------

def python_with(module):
    """An interpreter that has the package, or a skip."""
    for python in (os.environ.get("QUERN_CLIENT_PYTHON"), "/usr/bin/python3", "python3"):
        if python and subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0:
            return python
    pytest.skip(f"the package {module} is not installed (QUERN_CLIENT_PYTHON names another interpreter)")


@pytest.mark.parametrize("module", ["openai", "anthropic"])
def test_the_published_client_understands_the_answers(scripted_server, module):
    python = python_with(module)
    script = ROOT / "tests" / "e2e" / f"client_{module}.py"
    done = subprocess.run([python, script, f"http://127.0.0.1:{scripted_server.port}"], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["done"] > 5
