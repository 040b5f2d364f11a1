#!/usr/bin/env python3
"""The evaluation's tool skills through the server: as the model pleases ("strict": false), with calls kept in form by a grammar, and
the same streamed. Starts quern serve itself; greedy. Every arguments string of a constrained call must be valid. --openai asks through the
openai package instead of plain HTTP.

    evaluate_server.py --quern build/release/quern --model models/quern-demo [--per-skill 300] [--openai] [--json F]
"""
import argparse
import http.client
import json
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from check import answer_ok, calls_match  # noqa: E402
from generate import eval_examples  # noqa: E402

SKILLS = ("tool_call", "tool_calls", "tool_none", "tool_result")
TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool}


def as_openai(message):
    calls = [{"id": f"call_{i}", "type": "function", "function": {**c.get("function", c)}} for i, c in enumerate(message.get("tool_calls") or [])]
    return {**message, "tool_calls": calls} if calls else message


def request(item, strict, stream):
    tools = [{**t, "function": {**t["function"], "strict": strict}} for t in item["tools"]]
    return {"messages": [as_openai(m) for m in item["messages"][:-1]], "tools": tools, "temperature": 0, "max_tokens": 256, "stream": stream,
            "chat_template_kwargs": {"enable_thinking": item["thinking"]}}


def gather(chunks):
    """(content, calls with their arguments as text, finish reason) of a stream's choices"""
    content, calls, reason = "", [], None
    for choice in chunks:
        content += choice["delta"].get("content") or ""
        for call in choice["delta"].get("tool_calls") or []:
            if call["index"] == len(calls):
                calls.append(dict(call["function"]))
            else:
                calls[call["index"]]["arguments"] += call["function"]["arguments"]
        reason = choice.get("finish_reason") or reason
    return content, calls, reason


def of_message(choice):
    message = choice["message"]
    return message.get("content") or "", [c["function"] for c in message.get("tool_calls") or []], choice["finish_reason"]


class Plain:
    """By HTTP, one connection for all."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port)

    def ask(self, body):
        self.connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        reply = self.connection.getresponse()
        text = reply.read()
        assert reply.status == 200, text
        if not body["stream"]:
            return of_message(json.loads(text)["choices"][0])
        lines = [line for line in text.decode().split("\n\n") if line.startswith("data: {")]
        return gather(c for line in lines for c in json.loads(line[6:])["choices"])


class Package:
    """By OpenAI's own client."""

    def __init__(self, port):
        import openai
        self.client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
        self.model = self.client.models.list().data[0].id

    def ask(self, body):
        body = dict(body)
        extra = {"chat_template_kwargs": body.pop("chat_template_kwargs")}
        reply = self.client.chat.completions.create(model=self.model, extra_body=extra, **body)
        if not body["stream"]:
            return of_message(reply.choices[0].model_dump())
        return gather(c.model_dump() for chunk in reply for c in chunk.choices)


def valid(call, tools):
    """By the schemas of the recipe, which are objects of scalars."""
    schema = next(t["function"]["parameters"] for t in tools if t["function"]["name"] == call["name"])
    arguments = json.loads(call["arguments"])
    if not set(schema["required"]) <= set(arguments):
        return False
    for key, value in arguments.items():
        p = schema["properties"].get(key)
        if p and (not isinstance(value, TYPES[p["type"]]) or (p["type"] != "boolean" and isinstance(value, bool)) or value not in p.get("enum", [value])):
            return False
    return True


def good(item, content, calls):
    check = dict(item["check"])
    wanted = check.pop("calls", [])
    try:
        found = [{"name": c["name"], "arguments": json.loads(c["arguments"])} for c in calls]
    except ValueError:
        return False
    return calls_match(found, wanted) and answer_ok(check, content.strip())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quern", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--per-skill", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--openai", action="store_true")
    parser.add_argument("--json")
    args = parser.parse_args()
    items = [i for i in eval_examples(args.seed, args.per_skill) if i["skill"] in SKILLS]
    server = subprocess.Popen([args.quern, "serve", "-m", args.model, "--port", "0", "--log", "json"], stderr=subprocess.PIPE, text=True)
    port = next(int(re.search(r'"port": *(\d+)', line)[1]) for line in server.stderr if '"listening"' in line)
    import threading
    threading.Thread(target=lambda: all(server.stderr), daemon=True).start()
    connection, table, invalid, differing, whole = http.client.HTTPConnection("127.0.0.1", port), {}, 0, 0, {}
    try:
        while True:
            connection.request("GET", "/ready")
            reply = connection.getresponse()
            if reply.read() is not None and reply.status == 200:
                break
        client = Package(port) if args.openai else Plain(port)
        for mode, strict, stream in (("free", False, False), ("constrained", True, False), ("streamed", True, True)):
            for n, item in enumerate(items):
                content, calls, reason = client.ask(request(item, strict, stream))
                table.setdefault(item["skill"], {}).setdefault(mode, []).append(good(item, content, calls) and reason != "length")
                if strict and reason != "length":
                    invalid += sum(not valid(c, item["tools"]) for c in calls)
                if mode == "constrained":
                    whole[n] = content, [(c["name"], c["arguments"]) for c in calls]
                elif mode == "streamed":
                    differing += whole[n] != (content, [(c["name"], c["arguments"]) for c in calls])
    finally:
        server.terminate()
    scores = {skill: {m: round(100 * sum(v) / len(v), 2) for m, v in modes.items()} for skill, modes in table.items()}
    print("| skill | as it pleases | kept in form | the same, streamed | cases |\n|---|--:|--:|--:|--:|")
    for skill in SKILLS:
        s = scores[skill]
        print(f"| {skill.replace('_', ' ')} | {s['free']} % | {s['constrained']} % | {s['streamed']} % | {len(table[skill]['free'])} |")
    print(f"\n{invalid} constrained calls with arguments their schema does not allow, {differing} answers that differ when streamed")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"accuracy": scores, "invalid": invalid, "differing": differing}, indent=1) + "\n")
    return 1 if invalid or differing else 0


if __name__ == "__main__":
    sys.exit(main())
