"""Run by test_tools_server.py with an interpreter that has the package named: tool calls through its own client, and again streamed."""
import json
import sys

URL, PACKAGE = sys.argv[1:3]
TOOLS = json.load(sys.stdin)
done = 0


def check(holds, what=""):
    global done
    assert holds, what
    done += 1


def with_openai():
    import openai
    client = openai.OpenAI(base_url=URL + "/v1", api_key="none", max_retries=0)
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    for seed in range(8):
        request = dict(model="tiny", messages=[{"role": "user", "content": "Hi"}], tools=TOOLS, tool_choice="required", seed=seed, temperature=1.5,
                       parallel_tool_calls=False, max_tokens=400, extra_body=off)
        choice = client.chat.completions.create(**request).choices[0]
        check(choice.finish_reason == "tool_calls")
        (call,) = choice.message.tool_calls
        check(isinstance(json.loads(call.function.arguments), dict))
        with client.chat.completions.stream(**request) as stream:
            deltas = [e.arguments_delta for e in stream if e.type == "tool_calls.function.arguments.delta"]
            final = stream.get_final_completion().choices[0]
        (streamed,) = final.message.tool_calls
        check(streamed.function.name == call.function.name and streamed.function.arguments == call.function.arguments)
        check("".join(deltas) == call.function.arguments, deltas)
        check(final.finish_reason == "tool_calls")


def with_anthropic():
    import anthropic
    client = anthropic.Anthropic(base_url=URL, api_key="none", max_retries=0)
    tools = [{"name": t["function"]["name"], "input_schema": t["function"]["parameters"]} for t in TOOLS]
    for tool in tools:
        request = dict(model="tiny", messages=[{"role": "user", "content": "Hi"}], tools=tools, max_tokens=400, thinking={"type": "disabled"},
                       tool_choice={"type": "tool", "name": tool["name"], "disable_parallel_tool_use": True})
        message = client.messages.create(**request)
        check(message.stop_reason == "tool_use" and [b.type for b in message.content] == ["tool_use"])
        check(message.content[0].name == tool["name"])
        with client.messages.stream(**request) as stream:
            pieces = [e.partial_json for e in stream if e.type == "input_json"]
            final = stream.get_final_message()
        check(final.content[0].name == tool["name"] and final.stop_reason == "tool_use")
        check(json.loads("".join(pieces)) == final.content[0].input)
        check(sorted(final.content[0].input) == sorted(tool["input_schema"]["required"]))
        result = {"type": "tool_result", "tool_use_id": message.content[0].id, "content": [{"type": "text", "text": "7"}]}
        conversation = [*request["messages"], {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
        following = client.messages.create(**{**request, "messages": conversation, "tool_choice": {"type": "none"}, "max_tokens": 8})
        check({b.type for b in following.content} == {"text"} and following.usage.input_tokens + following.usage.cache_read_input_tokens > message.usage.input_tokens)
    anthropics_forms(client)


def anthropics_forms(client):
    """The package keeps lengths and ranges from the server, so the values are words."""
    import typing

    import pydantic

    class Thing(pydantic.BaseModel):
        kind: typing.Literal["a", "b"]
        fine: bool
    for _ in range(4):
        request = dict(model="tiny", messages=[{"role": "user", "content": "Hi"}], max_tokens=400, thinking={"type": "disabled"}, output_format=Thing)
        check(isinstance(client.messages.parse(**request).parsed_output, Thing))
        with client.messages.stream(**request) as stream:
            check(isinstance(stream.get_final_message().parsed_output, Thing))


{"openai": with_openai, "anthropic": with_anthropic}[PACKAGE]()
print(json.dumps({"done": done}))
