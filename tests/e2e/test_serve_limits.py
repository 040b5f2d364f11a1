"""quern serve among bad clients: limits of size and time, keys, hosts, disconnects, overload."""
import json
import socket
import threading
import time

import pytest

from conftest import ROOT
from serving import Connection, parse_events, request_bytes

CHAT = "/v1/chat/completions"


def body_of(content="x", **more):
    return {"messages": [{"role": "user", "content": content}], **more}


def endless(**more):
    return body_of(max_tokens=100000, ignore_eos=True, stream=True, temperature=0, **more)


@pytest.fixture
def hasty(serve, tiny_model):
    """A server with short limits of time."""
    return serve("-m", tiny_model, "--header-timeout", 0.4, "--body-timeout", 0.6, "--idle-timeout", 1,
                 "--write-timeout", 1)


def is_closed(c, seconds):
    """Whether the server ends the connection within so many seconds."""
    c.sock.settimeout(seconds)
    try:
        while c.sock.recv(65536):
            pass
        return True
    except ConnectionError:
        return True
    except TimeoutError:
        return False


# ---- the form of requests ------------------------------------------------------------------------

def test_a_request_may_be_split_at_every_byte(tiny_server):
    data = request_bytes("POST", CHAT, body_of(max_tokens=2, temperature=0))
    whole = tiny_server.chat("x", max_tokens=2, temperature=0).json["choices"]
    for at in range(1, len(data)):
        with Connection(tiny_server.port) as c:
            c.send(data[:at])
            if at % 16 == 0:  # let the server see the first part alone, now and then
                time.sleep(0.002)
            c.send(data[at:])
            assert c.read_reply().json["choices"] == whole, at


def test_many_requests_go_over_one_connection(tiny_server):
    with Connection(tiny_server.port) as c:
        for i in range(20):
            c.send(request_bytes("POST", CHAT, body_of(max_tokens=2, stream=i % 2 == 1)))
            assert c.read_reply().status == 200
        c.send(request_bytes("GET", "/health") * 3)
        assert [c.read_reply().status for _ in range(3)] == [200, 200, 200]


def test_chunked_bodies_are_read(tiny_server):
    body = json.dumps(body_of(max_tokens=1)).encode()
    data = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    for byte in body:
        data += b"1\r\n" + bytes([byte]) + b"\r\n"
    with Connection(tiny_server.port) as c:
        c.send(data + b"0\r\n\r\n")
        assert c.read_reply().status == 200


@pytest.mark.parametrize("text", [
    b"GET\r\n\r\n", b"\x00\x01\x02\x03\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
    b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    b"GET /%00%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\r\n" * 100])
def test_what_is_no_http_does_no_harm(tiny_server, text):
    with Connection(tiny_server.port, 3) as c:
        c.send(text)
        c.sock.shutdown(socket.SHUT_WR)
        status, _ = c.read_head()
        assert status is None or 400 <= status < 600
    assert tiny_server.get("/health").status == 200


# ---- sizes -------------------------------------------------------------------------------------------

def test_headers_have_their_limits(tiny_server):
    assert tiny_server.get("/health", {"X-Long": "a" * 8000}).status == 200
    for headers in ({"X-Long": "a" * 8300}, {f"X-{i}": "b" * 3000 for i in range(12)},
                    {f"X-{i}": "c" for i in range(101)}):
        reply = tiny_server.get("/health", headers)
        assert reply.status == 431, reply.status
    with Connection(tiny_server.port) as c:
        c.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        try:
            for i in range(100000):
                c.send(f"X-{i}: {'d' * 1000}\r\n".encode())
        except ConnectionError:
            pass
        else:
            pytest.fail("a hundred megabytes of headers were taken")
    assert tiny_server.get("/v1/models/" + "x" * 9000).status in (414, 431)


def test_bodies_have_their_limit(serve, tiny_model):
    server = serve("-m", tiny_model, "--max-body-bytes", 5000)
    assert server.post("/tokenize", {"content": "a" * 4900}).status == 200
    reply = server.post("/tokenize", {"content": "a" * 6000})
    assert reply.status == 413 and reply.error["code"] == "request_too_large"
    with Connection(server.port) as c:  # the length is not known beforehand
        c.send(b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            c.send(b"400\r\n" + b"a" * 1024 + b"\r\n")
        c.send(b"0\r\n\r\n")
        assert c.read_reply().status == 413


# ---- time ------------------------------------------------------------------------------------------------

def trickle(c, data, seconds, pause=0.05):
    """Sends byte after byte; how long the server suffers it."""
    began = time.monotonic()
    try:
        for byte in data:
            c.send(bytes([byte]))
            time.sleep(pause)
            if time.monotonic() - began > seconds:
                break
            c.sock.setblocking(False)
            try:
                if c.sock.recv(1) == b"":
                    break
            except BlockingIOError:
                pass
            finally:
                c.sock.settimeout(5)
    except ConnectionError:
        pass
    return time.monotonic() - began


def test_headers_that_trickle_are_cut_off(hasty):
    with Connection(hasty.port) as c:
        assert trickle(c, b"GET /health HTTP/1.1\r\nX: " + b"a" * 1000, 5) < 3
    assert hasty.get("/health").status == 200


def test_a_body_that_trickles_is_cut_off(hasty):
    with Connection(hasty.port) as c:
        c.send(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n".encode())
        assert trickle(c, b" " * 1000, 5) < 3
    assert hasty.get("/health").status == 200


def test_silent_connections_are_closed(hasty):
    with Connection(hasty.port) as silent, Connection(hasty.port) as idle:
        idle.send(request_bytes("GET", "/health"))
        assert idle.read_reply().status == 200
        assert is_closed(silent, 5)
        assert is_closed(idle, 6)


def test_a_slow_sender_within_the_limits_is_served_and_disturbs_nobody(tiny_server):
    data = request_bytes("POST", CHAT, body_of(max_tokens=1))
    with Connection(tiny_server.port) as slow:
        for i in range(0, len(data), 8):
            slow.send(data[i:i + 8])
            time.sleep(0.01)
            if i % 40 == 0:
                assert tiny_server.get("/health").status == 200
        assert slow.read_reply().status == 200


def test_a_client_that_takes_nothing_is_dropped_and_disturbs_nobody(serve, endless_model):
    server = serve("-m", endless_model, "--write-timeout", 1, "--context", 100000)
    c = socket.socket()
    c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    c.connect(("127.0.0.1", server.port))
    c.sendall(request_bytes("POST", CHAT, endless()))
    server.wait_until(lambda: server.metric("quern_requests_running") == 1)
    alone = server.chat("y", max_tokens=20, temperature=0).json["choices"]
    assert server.chat("y", max_tokens=20, temperature=0).json["choices"] == alone
    server.wait_until(server.idle, 60)
    c.close()


@pytest.fixture
def endless_model(endless):
    return endless


def test_a_silent_stream_is_kept_alive_by_comments(serve, endless):
    """While one answer is made, a second one waits in the queue."""
    server = serve("-m", endless, "--parallel", 1, "--keep-alive", 0.05, "--context", 100000)
    with Connection(server.port) as first, Connection(server.port) as second:
        first.send(request_bytes("POST", CHAT, endless_body()))
        assert first.read_head()[0] == 200
        first.read_chunk()
        second.send(request_bytes("POST", CHAT, endless_body()))
        assert second.read_head()[0] == 200
        assert any(second.read_chunk().startswith(b": keep-alive") for _ in range(3))


def endless_body():
    return body_of(max_tokens=90000, ignore_eos=True, stream=True, temperature=0)


# ---- who may ---------------------------------------------------------------------------------------------

def test_only_known_names_are_answered_to(tiny_server, serve, tiny_model):
    def status(server, host):
        with Connection(server.port) as c:
            c.send(f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            return c.read_reply().status
    for host in ("localhost", "LOCALHOST:80", "127.0.0.1", f"127.0.0.1:{tiny_server.port}", "[::1]:5"):
        assert status(tiny_server, host) == 200, host
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::1].evil", ":80"):
        assert status(tiny_server, host) == 403, host
    server = serve("-m", tiny_model, "--allowed-host", "quern.example")
    assert status(server, "quern.example:443") == 200 and status(server, "other.example") == 403
    assert status(serve("-m", tiny_model, "--allowed-host", "*"), "anything") == 200


def test_keys_are_asked_for_everywhere_but_at_public_pages(serve, tiny_model, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("# ours\nalice sk-alice-1\n\nsk-plain # a comment\n")
    server = serve("-m", tiny_model, "--api-key-file", keys)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "sk-alice-1"}, {"x-api-key": "sk-alice"},
                    {"Authorization": "Bearer "}, {"Authorization": "Bearer sk-alice-1 "[:-1] + "x"},
                    {"Authorization": "Bearer " + "k" * 5000}):
        for method, path in (("GET", "/v1/models"), ("POST", CHAT), ("GET", "/metrics"), ("GET", "/nothing"),
                             ("GET", "//v1/models"), ("GET", "/v1/../v1/models")):
            reply = server.call(method, path, body_of() if method == "POST" else None, headers)
            assert reply.status == 401, (headers, path)
            assert reply.error["code"] == "invalid_api_key" and reply.headers["www-authenticate"] == "Bearer"
    for path in ("/health", "/ready", "/docs", "/openapi.json"):
        assert server.get(path).status == 200
    assert server.get("/v1/models", {"Authorization": "Bearer sk-alice-1"}).status == 200
    assert server.get("/v1/models", {"x-api-key": "sk-plain"}).status == 200
    assert server.get("/%76%31/models", {"x-api-key": "sk-plain"}).status == 200
    assert server.get("/nothing", {"x-api-key": "sk-plain"}).status == 404
    server.wait_until(lambda: any(e.get("key") == "alice" for e in server.entries("request")))
    assert not any("sk-" in json.dumps(e) for e in server.entries("request"))


def test_one_keys_cache_is_not_anothers(serve, tiny_model, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("one sk-1\ntwo sk-2\n")
    server = serve("-m", tiny_model, "--api-key-file", keys)

    def cached(key):
        body = body_of("the same long text for everybody " * 5, max_tokens=1)
        reply = server.post(CHAT, body, {"Authorization": f"Bearer {key}"})
        return reply.json["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached("sk-1") == 0 and cached("sk-1") > 0
    assert cached("sk-2") == 0 and cached("sk-2") > 0


def test_other_origins_are_let_in_only_when_named(serve, tiny_server, tiny_model):
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    assert tiny_server.call("OPTIONS", CHAT, headers=asked).status == 405
    assert "access-control-allow-origin" not in tiny_server.get("/health", asked).headers
    server = serve("-m", tiny_model, "--cors-origin", "https://app.example")
    reply = server.call("OPTIONS", CHAT, headers=asked)
    assert reply.status == 204 and reply.headers["access-control-allow-origin"] == "https://app.example"
    assert "authorization" in reply.headers["access-control-allow-headers"].lower()
    assert server.get("/health", asked).headers["access-control-allow-origin"] == "https://app.example"
    other = {"Origin": "https://evil.example"}
    assert "access-control-allow-origin" not in server.get("/health", other).headers


def test_pages_of_other_origins_cannot_keep_the_server_busy(serve, tiny_server, tiny_model):
    """A browser sends such a post without asking first."""
    body = body_of(max_tokens=1)
    for origin in ("https://evil.example", "null", "http://localhost:1", "http://localhost.evil.example"):
        assert tiny_server.post(CHAT, body, {"Origin": origin}).status == 403, origin
    assert tiny_server.post(CHAT, body, {"Origin": "http://localhost"}).status == 200  # the Host these tests send
    server = serve("-m", tiny_model, "--cors-origin", "https://app.example")
    assert server.post(CHAT, body, {"Origin": "https://app.example"}).status == 200


# ---- clients that leave --------------------------------------------------------------------------------------

def left(server):
    return server.metric("quern_http_clients_left_total")


@pytest.mark.parametrize("stage", ["prefill", "decode", "queued", "not streamed", "n"])
def test_a_client_that_leaves_is_freed_at_once_and_disturbs_nobody(serve, endless, stage):
    server = serve("-m", endless, "--parallel", 4 if stage == "n" else 2 if stage != "queued" else 1, "--context", 100000)
    alone = server.chat("canary", max_tokens=30, temperature=0).json["choices"]
    result = {}

    def canary():
        result["choices"] = server.chat("canary", max_tokens=30, temperature=0).json["choices"]
    body = endless_body()
    if stage == "prefill":
        body["messages"][0]["content"] = "the new wor they " * 8000
    if stage == "not streamed":
        body["stream"] = False
    if stage == "n":
        body["n"] = 3
    blocker = None
    if stage == "queued":
        blocker = Connection(server.port)
        blocker.send(request_bytes("POST", CHAT, endless_body()))
        server.wait_until(lambda: server.metric("quern_requests_running") == 1)
    with Connection(server.port) as c:
        c.send(request_bytes("POST", CHAT, body))
        if stage in ("decode", "n"):
            c.read_head()
            for _ in range(5):
                c.read_chunk()
        elif stage == "queued":
            server.wait_until(lambda: server.metric("quern_requests_waiting") == 1)
        else:
            server.wait_until(lambda: server.metric("quern_requests_running") == 1)
        thread = threading.Thread(target=canary)
        if stage != "queued":
            thread.start()
    if stage == "queued":
        server.wait_until(lambda: server.metric("quern_requests_waiting") == 0, 2)
        blocker.close()
        thread.start()
    thread.join()
    assert result["choices"] == alone
    server.wait_until(server.idle, 2)
    server.wait_until(lambda: server.metric("quern_kv_cache_usage_ratio") == 0, 2)
    server.wait_until(lambda: left(server) >= 1, 2)


# ---- too much ----------------------------------------------------------------------------------------------------

def test_ten_times_too_much_is_refused_with_a_time_to_come_back(serve, tiny_model):
    server = serve("-m", tiny_model, "--parallel", 4, "--queue", 4)
    expected = server.chat("x", max_tokens=60, temperature=0, ignore_eos=True).json["choices"]
    statuses, wrong = [], []
    rss = server.rss()
    lock = threading.Lock()

    def client():
        for _ in range(3):
            reply = server.chat("x", max_tokens=60, temperature=0, ignore_eos=True)
            with lock:
                statuses.append(reply.status)
                if reply.status == 200 and reply.json["choices"] != expected:
                    wrong.append(reply.body)
                if reply.status == 429 and not (int(reply.headers["retry-after"]) >= 1 and
                                                reply.error["code"] == "rate_limit_exceeded"):
                    wrong.append(reply.body)
    threads = [threading.Thread(target=client) for _ in range(80)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert set(statuses) == {200, 429} and statuses.count(200) >= 8
    server.wait_until(server.idle)
    assert server.rss() - rss < 40e6
    assert server.chat("x", max_tokens=60, temperature=0, ignore_eos=True).json["choices"] == expected


def test_too_many_connections_do_not_stop_the_server(serve, tiny_model):
    server = serve("-m", tiny_model, "--max-connections", 20)
    many = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(60)]
    for c in many:
        c.close()
    server.wait_until(lambda: answers(server))


def answers(server):
    try:
        return server.get("/health").status == 200
    except (ConnectionError, AttributeError, OSError):
        return False


def test_a_requests_time_is_limited(serve, endless):
    server = serve("-m", endless, "--request-timeout", 0.3, "--context", 100000)
    body = server.chat("x", max_tokens=90000, ignore_eos=True, temperature=0).json
    assert body["choices"][0]["finish_reason"] == "length" and body["usage"]["completion_tokens"] > 0
    server.wait_until(server.idle)


# ---- many at once ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n", [16, 64])
@pytest.mark.parametrize("which", ["tiny", "demo"])
def test_concurrent_streams_are_bit_identical_to_one_alone(serve, tiny_model, which, n):
    demo = ROOT / "models" / "quern-demo"
    if which == "demo" and not (demo / "model.safetensors").exists():
        pytest.skip("models/quern-demo is not here")
    server = serve("-m", demo if which == "demo" else tiny_model, "--parallel", 16)

    def arguments(i):
        return body_of(f"canary {i % 13} " + "word " * (i % 13 * 7), max_tokens=5 + i % 29, ignore_eos=True, seed=i % 13,
                       temperature=0.9 if i % 3 else 0)

    def text(reply):
        assert reply.status == 200, reply.body
        return "".join(json.loads(d)["choices"][0]["delta"].get("content") or ""
                       for _, d in parse_events(reply.body.decode()) if d != "[DONE]")

    alone = {i: server.post(CHAT, arguments(i)).json["choices"][0]["message"]["content"] for i in range(n)}
    together = {}

    def client(i):
        together[i] = text(server.post(CHAT, {**arguments(i), "stream": True}))
    threads = [threading.Thread(target=client, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert together == alone
