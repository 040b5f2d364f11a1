"""Run by test_serve_operation.py with an interpreter that has the anthropic package: its own client against the server."""
import json
import sys

import anthropic

ANSWER, THINKING = "Hello, world! 日", "quick"
client = anthropic.Anthropic(base_url=sys.argv[1], api_key="none", max_retries=0)
done = 0


def check(holds, what=""):
    global done
    assert holds, what
    done += 1


hi = [{"role": "user", "content": "Hi"}]
cold = {"extra_body": {"temperature": 0}}  # newer versions of the package have no argument for it
message = client.messages.create(model="scripted", max_tokens=100, messages=hi, **cold)
check([b.type for b in message.content] == ["thinking", "text"])
check(message.content[0].thinking == THINKING)
check(message.content[1].text == ANSWER)
check(message.stop_reason == "end_turn")
check(message.usage.output_tokens > 0)

with client.messages.stream(model="scripted", max_tokens=100, messages=hi, **cold) as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
check(text == ANSWER)
check(final.content[1].text == ANSWER and final.stop_reason == "end_turn")
check(final.usage.output_tokens == message.usage.output_tokens)

count = client.messages.count_tokens(model="scripted", messages=hi)
check(count.input_tokens > 0)
cut = client.messages.create(model="scripted", max_tokens=100, messages=hi, **cold, stop_sequences=[","])
check(cut.stop_reason == "stop_sequence" and cut.stop_sequence == ",")
try:
    client.messages.create(model="other", max_tokens=1, messages=hi)
except anthropic.NotFoundError as e:
    check(e.body["error"]["type"] == "not_found_error")
print(json.dumps({"done": done}))
