"""Judges a generated answer by an example's `check`. All given conditions must hold:
  equals / any_of / contains / excludes / starts / ends / case    of the answer's text
  json    the answer is JSON with the same keys in the same order and the same values
  calls   the tool calls are exactly these: names, arguments, order free between calls
and thinking is checked against what was asked for, and the end token against its absence."""
import json
import re

CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)


def split_thought(text):
    """(thought or None, answer)"""
    head, mark, tail = text.rpartition("</think>")
    return (head.removeprefix("<think>").strip(), tail.strip()) if mark else (None, text.strip())


def parse_calls(text):
    try:
        return [json.loads(c) for c in CALL.findall(text)]
    except ValueError:
        return None


def same_json(a, b):
    return json.dumps(a) == json.dumps(b)


def calls_match(found, wanted):
    if found is None or len(found) != len(wanted):
        return False
    key = lambda c: json.dumps(c, sort_keys=True)  # noqa: E731
    return sorted(map(key, found)) == sorted(map(key, wanted))


def answer_ok(check, answer):
    if "equals" in check and answer != check["equals"].strip():
        return False
    if "any_of" in check and answer not in check["any_of"]:
        return False
    if any(part not in answer for part in check.get("contains", ())):
        return False
    if any(part in answer for part in check.get("excludes", ())):
        return False
    if "starts" in check and not answer.startswith(check["starts"]):
        return False
    if "ends" in check and (answer.split() or [""])[-len(check["ends"].split()):] != check["ends"].split():
        return False
    if check.get("case") == "upper" and answer != answer.upper():
        return False
    if check.get("case") == "lower" and answer != answer.lower():
        return False
    if "json" in check:
        try:
            return same_json(json.loads(answer), json.loads(check["json"]))
        except ValueError:
            return False
    if "calls" in check:
        return calls_match(parse_calls(answer), check["calls"])
    return True


def thinking_ok(item, text):
    """With thinking on the answer opens with a closed block; off, it has none (the prompt brings the empty one)."""
    if item["thinking"]:
        return text.startswith("<think>") and "</think>" in text
    return "<think>" not in text and "</think>" not in text
