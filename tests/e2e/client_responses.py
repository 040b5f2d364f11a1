"""Run by test_responses.py with an interpreter that has the openai package: client.responses against two servers, one whose model knows
nothing (every answer must be valid all the same) and one whose answer is known."""
import json
import sys
from typing import List, Literal

import openai
from openai import OpenAI
from pydantic import BaseModel, ConfigDict, Field

ANSWER, THINKING = "Hello, world! 日", "quick"
tiny, scripted = (OpenAI(base_url=url, api_key="none", max_retries=0, _strict_response_validation=True) for url in sys.argv[1:3])
done = 0


def check(holds, what=""):
    global done
    assert holds, what
    done += 1


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid")
    word: str = Field(max_length=12)
    kind: Literal["a", "b"]


class Plan(BaseModel):
    model_config = ConfigDict(extra="forbid")
    steps: List[Step] = Field(max_length=3)
    n: int = Field(ge=0, le=9)


class Look(BaseModel):
    """Looks somewhere."""
    model_config = ConfigDict(extra="forbid")
    at: Literal["x", "y"]
    times: int = Field(ge=1, le=5)


def plain():
    r = scripted.responses.create(model="scripted", input="Hi", temperature=0)
    check(r.output_text == ANSWER and r.status == "completed" and r.error is None)
    check([i.type for i in r.output] == ["reasoning", "message"] and r.output[0].content[0].text == THINKING)
    check(r.usage.total_tokens == r.usage.input_tokens + r.usage.output_tokens and r.usage.output_tokens_details.reasoning_tokens > 0)
    events = list(scripted.responses.create(model="scripted", input="Hi", temperature=0, stream=True))
    check([e.sequence_number for e in events] == list(range(len(events))))
    check("".join(e.delta for e in events if e.type == "response.output_text.delta") == ANSWER)
    check("".join(e.delta for e in events if e.type == "response.reasoning_text.delta") == THINKING)
    check(events[-1].type == "response.completed" and events[-1].response.output_text == ANSWER)
    with scripted.responses.stream(model="scripted", input="Hi", temperature=0) as stream:
        kinds = [e.type for e in stream]
        check(stream.get_final_response().output_text == ANSWER)
    check(kinds[0] == "response.created" and kinds[-1] == "response.completed" and "response.content_part.done" in kinds)
    cut = scripted.responses.create(model="scripted", input="Hi", temperature=0, max_output_tokens=2)
    check(cut.status == "incomplete" and cut.incomplete_details.reason == "max_output_tokens")


def kept():
    r = scripted.responses.create(model="scripted", input=[{"role": "user", "content": "Hi"}], temperature=0, metadata={"a": "b"})
    check(scripted.responses.retrieve(r.id).to_dict() == r.to_dict())
    page = scripted.responses.input_items.list(r.id)
    check([i.content[0].text for i in page] == ["Hi"])
    following = scripted.responses.create(model="scripted", input="More", previous_response_id=r.id, temperature=0)
    check(following.previous_response_id == r.id and following.usage.input_tokens > r.usage.input_tokens)
    check([i.type for i in scripted.responses.input_items.list(following.id, order="asc")] == ["message", "reasoning", "message", "message"])
    count = scripted.responses.input_tokens.count(model="scripted", input="Hi")
    check(count.input_tokens == r.usage.input_tokens)
    scripted.responses.delete(r.id)
    for call in (lambda: scripted.responses.retrieve(r.id), lambda: scripted.responses.cancel(r.id)):
        try:
            call()
            check(False)
        except openai.NotFoundError as e:
            check(e.code == "not_found")
    try:
        scripted.responses.create(model="scripted", input="More", previous_response_id=r.id)
        check(False)
    except openai.BadRequestError as e:
        check(e.code == "previous_response_not_found" and e.param == "previous_response_id")


def structured():
    for seed in range(6):
        request = dict(model="tiny", input="Hi", temperature=1.5, max_output_tokens=600, reasoning={"effort": "none"}, extra_body={"seed": seed})
        r = tiny.responses.parse(text_format=Plan, **request)
        check(isinstance(r.output_parsed, Plan), r.output_text)
        with tiny.responses.stream(text_format=Plan, **request) as stream:
            parsed = [e.parsed for e in stream if e.type == "response.output_text.done"]
            final = stream.get_final_response()
        check(final.output_parsed == r.output_parsed and parsed == [r.output_parsed])


def with_tools():
    """The loop of a client: the model calls, the client answers, until the model only speaks."""
    made = openai.pydantic_function_tool(Look)
    flat = {"type": "function", **made["function"]}
    for seed in range(6):
        request = dict(model="tiny", temperature=1.5, max_output_tokens=300, reasoning={"effort": "none"},
                       parallel_tool_calls=False, extra_body={"seed": seed})
        r = tiny.responses.parse(input="Hi", tools=[made], tool_choice={"type": "function", "name": "Look"}, **request)
        (call,) = [i for i in r.output if i.type == "function_call"]
        check(isinstance(call.parsed_arguments, Look))
        with tiny.responses.stream(input="Hi", tools=[made], tool_choice="required", **request) as stream:
            deltas = [e.delta for e in stream if e.type == "response.function_call_arguments.delta"]
            final = stream.get_final_response()
        (streamed,) = [i for i in final.output if i.type == "function_call"]
        check("".join(deltas) == streamed.arguments == call.arguments and Look(**json.loads(streamed.arguments)) == call.parsed_arguments)
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "nothing there"}
        by_id = tiny.responses.create(input=[result], previous_response_id=r.id, tools=[flat], tool_choice="none", **request)
        conversation = [{"role": "user", "content": "Hi"}, *[i.to_dict() for i in r.output], result]
        for item in conversation:
            item.pop("parsed_arguments", None)
        whole = tiny.responses.create(input=conversation, tools=[flat], tool_choice="none", **request)
        check(by_id.output_text == whole.output_text and by_id.usage.input_tokens == whole.usage.input_tokens)


def refused():
    for change, param in [({"tools": [{"type": "web_search"}]}, "tools[0].type"), ({"background": True}, "background"),
                          ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "?"}}}}, "text.format")]:
        try:
            tiny.responses.create(model="tiny", input="Hi", **change)
            check(False, change)
        except openai.BadRequestError as e:
            check(e.param == param, (e.param, e.message))


for part in (plain, kept, structured, with_tools, refused):
    part()
print(json.dumps({"done": done}))
