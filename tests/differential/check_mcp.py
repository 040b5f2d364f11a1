#!/usr/bin/env python3
"""Quern's MCP client against servers made with the published `mcp` package, over both transports. Not part of `make test`:

    python3 -m venv /tmp/mcp && /tmp/mcp/bin/pip install mcp && /tmp/mcp/bin/python tests/differential/check_mcp.py build/release/quern
"""
import os
import pathlib
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PORT = int(os.environ.get("QUERN_MCP_PORT", "0"))


def serve(transport, json_response, stateless):
    from mcp.server import MCPServer
    server = MCPServer("check", log_level="WARNING")

    @server.tool()
    async def get_time(city: str) -> dict:
        """Get the time"""
        if os.environ.get("QUERN_MCP_FAILS"):
            raise ValueError("the clock is broken")
        return {"city": city, "time": "12:34"}

    more = {} if transport == "stdio" else {"port": PORT, "json_response": json_response, "stateless_http": stateless}
    server.run(transport=transport, **more)


def ask(program, target, tool, prompt):
    """The demo model was not made for the package's schemas: it calls by some seeds and declines by others."""
    for seed in range(60):
        done = subprocess.run([program, "run", "-m", ROOT / "models" / "quern-demo", "--mcp", target, "--allow-tools", "--no-think", "--temp", "2",
                               "--seed", str(seed), "-n", "60", "--max-tool-rounds", "1", "-p", prompt], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        if f"-> {tool} " in done.stderr:
            return done.stderr
    raise AssertionError(f"{tool} was never called: {done.stdout} {done.stderr}")


def check(program, target, what):
    err = ask(program, target, "get_time", "Get the time: city Lisbon.")
    assert ("<- " in err and "rror" in err) if os.environ.get("QUERN_MCP_FAILS") else "12:34" in err, err
    print(f"{what}: fine" + (", failing tool" if os.environ.get("QUERN_MCP_FAILS") else ""))


def main():
    program = sys.argv[1]
    if not os.environ.get("QUERN_MCP_FAILS"):
        subprocess.run([sys.executable, *sys.argv], env={**os.environ, "QUERN_MCP_FAILS": "1"}, check=True)
    check(program, f"{sys.executable} {__file__} --serve stdio", "standard streams")
    for mode in ("events", "json", "stateless"):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        server = subprocess.Popen([sys.executable, __file__, "--serve", mode], env={**os.environ, "QUERN_MCP_PORT": str(port)})
        try:
            end = time.monotonic() + 30
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert time.monotonic() < end
                time.sleep(0.1)
            check(program, f"http://127.0.0.1:{port}/mcp", f"HTTP, {mode}")
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve("stdio" if sys.argv[2] == "stdio" else "streamable-http", sys.argv[2] == "json", sys.argv[2] == "stateless")
    else:
        main()
