"""A running `quern serve`, and a client that leaves nothing to a library: raw sockets, JSON, SSE."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]

    def events(self):
        return list(parse_events(self.body.decode()))

    def chunks(self):
        """The JSON of OpenAI's data lines; the last one must be [DONE]."""
        data = [d for _, d in self.events()]
        assert data[-1] == "[DONE]", data[-1:]
        return [json.loads(d) for d in data[:-1]]


def parse_events(text):
    for block in text.split("\n\n"):
        name, data = None, None
        for line in block.split("\n"):
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                data = line[6:]
        if data is not None:
            yield name, data


class Connection:
    """One HTTP/1.1 connection."""

    def __init__(self, port, timeout=30, tls=None):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.file = self.sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data)

    def read_head(self):
        line = self.file.readline()
        if not line:
            return None, {}
        status, headers = int(line.split()[1]), {}
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return status, headers

    def read_chunk(self):
        size = int(self.file.readline() or b"0", 16)
        data = self.file.read(size)
        self.file.readline()
        return data

    def read_reply(self):
        status, headers = self.read_head()
        while status == 100:
            status, headers = self.read_head()
        if status is None:
            return None
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while chunk := self.read_chunk():
                body += chunk
        else:
            body = self.file.read(int(headers.get("content-length", 0)))
        return Reply(status, headers, body)

    def close(self):
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def request_bytes(method, path, body=None, headers=()):
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    head = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    head += [f"{k}: {v}" for k, v in dict(headers).items()]
    if body is not None:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + (body or b"")


class Server:
    def __init__(self, program, environment, *args, ready=True, tls=None):
        self.program, self.tls = program, tls
        self.process = subprocess.Popen([program, "serve", "--port", "0", *map(str, args)], stderr=subprocess.PIPE,
                                        stdout=subprocess.DEVNULL, env=environment)
        self.log, self.port = [], None
        self.changed = threading.Condition()
        threading.Thread(target=self._read_log, daemon=True).start()
        with self.changed:
            self.changed.wait_for(lambda: self.port or self.process.poll() is not None or "exit" in self.log, 30)
        assert self.port, self.log
        if ready:
            self.wait_ready()

    def _read_log(self):
        for line in self.process.stderr:
            with self.changed:
                try:
                    entry = json.loads(line)
                except ValueError:
                    entry = {"event": "text", "text": line.decode("utf-8", "replace")}
                self.log.append(entry)
                if entry.get("event") == "listening":
                    self.port = entry["port"]
                self.changed.notify_all()
        with self.changed:
            self.log.append("exit")
            self.changed.notify_all()

    def entries(self, event):
        with self.changed:
            return [e for e in self.log if e != "exit" and e["event"] == event]

    def wait_ready(self, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.get("/ready").status == 200:
                return
            time.sleep(0.01)
        raise AssertionError(f"not ready: {self.get('/ready').body}")

    def call(self, method, path, body=None, headers=(), timeout=60):
        with Connection(self.port, timeout, self.tls) as c:
            c.send(request_bytes(method, path, body, headers))
            return c.read_reply()

    def get(self, path, headers=()):
        return self.call("GET", path, headers=headers)

    def post(self, path, body, headers=(), timeout=60):
        return self.call("POST", path, body, headers, timeout)

    def chat(self, content, **more):
        body = {"messages": [{"role": "user", "content": content}], **more}
        return self.post("/v1/chat/completions", body)

    def metric(self, name, **labels):
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith("#"):
                continue
            key, _, value = line.rpartition(" ")
            if key.split("{")[0] == name and all(f'{k}="{v}"' in key for k, v in labels.items()):
                return float(value)
        return None

    def wait_until(self, what, seconds=10):
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, "did not come true"
            time.sleep(0.01)

    def idle(self):
        return self.metric("quern_requests_running") == 0 and self.metric("quern_requests_waiting") == 0

    def rss(self):
        """Resident bytes; 0 under AddressSanitizer, which keeps what was freed."""
        if b"__asan_init" in pathlib.Path(self.program).read_bytes():
            return 0
        return self.metric("process_resident_memory_bytes")

    def n_descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def terminate(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def stop(self):
        """The exit code after SIGTERM."""
        if self.process.poll() is None:
            self.terminate()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
