#!/usr/bin/env python3
"""A small MCP server for the tests, with nothing but Python: over standard streams, or with --http PORT_FILE over streamable HTTP.

It has what a client must bear: pages of tools, notifications and requests of its own between replies, lines that are no JSON, replies as
server-sent events, a session, tools that fail, hang or end the server. `--log FILE` keeps every message it gets."""
import argparse
import http.server
import json
import os
import sys
import threading
import time

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
options = None
log_lock = threading.Lock()


def text(value, **more):
    return {"content": [{"type": "text", "text": value}], **more}


def call(name, arguments):
    if options.mode == "crash":
        sys.stderr.write("out of luck\n")
        sys.stderr.flush()
        os._exit(3)
    if options.mode == "hang":
        time.sleep(600)
    if options.mode == "error":
        return text("no such city", isError=True)
    if options.mode == "parts":
        return {"content": [{"type": "image", "data": "", "mimeType": "image/png"}, {"type": "text", "text": "time 12:34"},
                            {"type": "resource", "resource": {"uri": "a:b", "text": "more"}}]}
    if options.mode == "structured":
        return {"content": [], "structuredContent": {"time": "12:34"}}
    return text(json.dumps({"city": arguments["city"], "time": "12:34"}))


def answer(message):
    """The reply to a request, or None."""
    method, params = message.get("method"), message.get("params") or {}
    if "id" not in message or method is None:
        return None
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    if method == "initialize":
        assert params["protocolVersion"] and params["clientInfo"]["name"] == "quern"
        reply["result"] = {"protocolVersion": "2025-03-26", "capabilities": {"tools": {}}, "serverInfo": {"name": "test", "version": "1"}}
    elif method == "tools/list":
        if options.mode == "refuse":
            return {**reply, "error": {"code": -32000, "message": "no tools today"}}
        if "cursor" not in params:
            reply["result"] = {"tools": [{"name": "get_report", "description": "Get a report", "inputSchema": CITY}], "nextCursor": "2"}
        else:
            assert params["cursor"] == "2"
            reply["result"] = {"tools": [{"name": "set_alarm", "inputSchema": {"type": "object", "properties": {}}}]}
    elif method == "tools/call":
        reply["result"] = call(params["name"], params["arguments"])
    else:
        reply["error"] = {"code": -32601, "message": "Method not found"}
    return reply


def keep(message):
    if options.log:
        with log_lock, open(options.log, "a") as f:
            f.write(json.dumps(message) + "\n")


NOISE = [{"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}},
         {"jsonrpc": "2.0", "id": "srv-1", "method": "ping"}, {"jsonrpc": "2.0", "id": 1, "method": "roots/list"}]


def over_streams():
    out = sys.stdout
    print("this line is no JSON", flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        keep(message)
        reply = answer(message)
        if reply:
            for noise in NOISE:
                out.write(json.dumps(noise) + "\n")
            half = json.dumps(reply) + "\n"
            out.write(half[:7])
            out.flush()
            out.write(half[7:])
            out.flush()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, body=b"", kind="application/json", **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        if body:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_DELETE(self):
        keep({"method": "DELETE", "session": self.headers.get("Mcp-Session-Id")})
        self.send(200)

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        keep(message)
        assert "text/event-stream" in self.headers["Accept"] and "application/json" in self.headers["Accept"]
        if options.mode == "login" and self.headers.get("Authorization") != "Bearer s3cret":
            return self.send(401, b"who are you?", "text/plain")
        if message.get("method") == "initialize":
            return self.send(200, json.dumps(answer(message)).encode(), Mcp_Session_Id="s-77")
        if self.headers.get("Mcp-Session-Id") != "s-77" or self.headers.get("MCP-Protocol-Version") != "2025-03-26":
            return self.send(400, b'{"error": "no session"}')
        if options.mode == "broken" and message.get("method") == "tools/call":
            return self.send(500, b"on fire", "text/plain")
        reply = answer(message)
        if reply is None:
            return self.send(202)
        if message["method"] == "tools/list":
            return self.send(200, json.dumps(reply).encode())
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()  # no length: the client has to end it
        self.close_connection = True
        for noise in NOISE[:1]:
            self.wfile.write(f": hello\r\nevent: message\r\ndata: {json.dumps(noise)}\r\n\r\n".encode())
        whole = json.dumps(reply, indent=1)
        self.wfile.write(("event: message\n" + "".join(f"data: {line}\n" for line in whole.split("\n")) + "\n").encode())
        self.wfile.flush()
        if options.mode == "open":
            time.sleep(30)


def over_http():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with open(options.http + ".part", "w") as f:
        f.write(str(server.server_address[1]))
    os.rename(options.http + ".part", options.http)
    server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--http")
    parser.add_argument("--log")
    parser.add_argument("--mode", default="fine")
    options = parser.parse_args()
    if options.mode == "login" and not options.http and os.environ.get("MCP_KEY") != "s3cret":
        sys.exit("who are you?")
    over_http() if options.http else over_streams()
