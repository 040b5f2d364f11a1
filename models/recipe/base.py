"""What all skills share: the random source, messages, and the shape of an example.

An example is a dict:
  skill     name of the skill
  messages  OpenAI-style messages; the last ones (after the last user or tool message) are the target
  tools     list of function schemas, only where tools are offered
  thinking  True: the target carries reasoning_content and the prompt leaves thinking on; False: off
  check     how a generated answer is judged (see check.py)
A fill-in-the-middle example has `text` (prompt) and `target` instead of messages.
"""
import hashlib
import random


def make_rng(*parts):
    """A generator whose stream depends only on `parts`, on every machine and Python version."""
    digest = hashlib.sha256("/".join(str(p) for p in parts).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "little"))


def held_out(text, tenths=2):
    """True for a fixed share of all texts: these appear in evaluation only."""
    return hashlib.sha256(text.encode()).digest()[0] % 10 < tenths


def user(text):
    return {"role": "user", "content": text}


def system(text):
    return {"role": "system", "content": text}


def assistant(text, thought=None, tool_calls=None):
    message = {"role": "assistant", "content": text}
    if thought is not None:
        message["reasoning_content"] = thought
    if tool_calls:
        message["tool_calls"] = [{"type": "function", "function": c} for c in tool_calls]
    return message


def tool(text):
    return {"role": "tool", "content": text}


def chance(rng, p):
    return rng.random() < p


def example(skill, messages, answer, check, thought=None, thinking=False, tools=None, tool_calls=None):
    """Closes `messages` with the target. `thought` is used only when thinking is on."""
    target = assistant(answer, (thought or "This is simple.") if thinking else None, tool_calls)
    made = {"skill": skill, "messages": messages + [target], "thinking": thinking, "check": check}
    if tools:
        made["tools"] = tools
    return made


POLITE = ["", "", "", "", "Please: ", "Hey, ", "Hello! ", "Hi. ", "One question: ", "Tell me, ", "So, ", "Okay, "]
ENDS = ["", "", "", " Thanks.", " Thank you!", " Please.", " Please answer."]


def dress(rng, text):
    """Wraps a request in small talk, so that the same request has many surface forms."""
    head = rng.choice(POLITE)
    if head.endswith(", ") and text[:2] != "I " and not text[:2].isupper():
        text = text[0].lower() + text[1:]
    return head + text + rng.choice(ENDS)
