"""Run by test_serve_operation.py with an interpreter that has the openai package: its own client against the server."""
import json
import sys

import openai

ANSWER, THINKING = "Hello, world! 日", "quick"
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
done = 0


def check(holds, what=""):
    global done
    assert holds, what
    done += 1


hi = [{"role": "user", "content": "Hi"}]
answer = client.chat.completions.create(model="scripted", messages=hi, temperature=0)
check(answer.choices[0].message.content == ANSWER)
check(answer.choices[0].message.reasoning_content == THINKING)
check(answer.choices[0].finish_reason == "stop")
check(answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens)
check(answer.usage.completion_tokens_details.reasoning_tokens > 0)

text, last = "", None
for chunk in client.chat.completions.create(model="scripted", messages=hi, temperature=0, stream=True,
                                            stream_options={"include_usage": True}):
    if chunk.choices:
        text += chunk.choices[0].delta.content or ""
    last = chunk
check(text == ANSWER)
check(last.usage.completion_tokens == answer.usage.completion_tokens)

with client.chat.completions.stream(model="scripted", messages=hi, temperature=0) as stream:
    final = stream.get_final_completion()
check(final.choices[0].message.content == ANSWER)

many = client.chat.completions.create(model="scripted", messages=hi, n=3, max_tokens=30, seed=1, temperature=0)
check(len(many.choices) == 3)
lp = client.chat.completions.create(model="scripted", messages=hi, temperature=0, logprobs=True, top_logprobs=2)
check(b"".join(bytes(t.bytes) for t in lp.choices[0].logprobs.content).decode() == ANSWER)
check(len(lp.choices[0].logprobs.content[0].top_logprobs) == 2)

completion = client.completions.create(model="scripted", prompt="Hello", max_tokens=4, temperature=0, logprobs=1)
check(completion.object == "text_completion" and completion.choices[0].logprobs.tokens)
streamed = "".join(c.choices[0].text for c in client.completions.create(
    model="scripted", prompt="Hello", max_tokens=4, temperature=0, stream=True))
check(streamed == completion.choices[0].text)

embedding = client.embeddings.create(model="scripted", input=["a", "b"])
check(len(embedding.data) == 2 and abs(sum(x * x for x in embedding.data[0].embedding) - 1) < 1e-4)
check([m.id for m in client.models.list()] == ["scripted"])
check(client.models.retrieve("scripted").owned_by == "quern")
try:
    client.chat.completions.create(model="other", messages=hi)
except openai.NotFoundError as e:
    check(e.code == "model_not_found")
try:
    client.chat.completions.create(model="scripted", messages=hi, temperature=9)
except openai.BadRequestError as e:
    check(e.param == "temperature")
print(json.dumps({"done": done}))
