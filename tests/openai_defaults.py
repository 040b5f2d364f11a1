"""A pytest plugin for openai_resources.py. The package's own cases call a mock: create() without input, answers of an id nobody made. Here such a
call gets an input, a few tokens, and an answer made for it; what comes back is checked by the package's cases as they stand."""
import pytest
from openai.resources import responses
from openai.resources.responses import input_items, input_tokens

MADE_UP = ("resp_677efb5139a88190b512bc3fef8e535d", "response_id")
DEFAULTS = {"input": "Hi", "max_output_tokens": 4}


def patch(monkeypatch, owner, name, before):
    original = getattr(owner, name)

    def call(self, response_id=None, **kwargs):
        if response_id is not None:
            kwargs["response_id"] = response_id
        return original(self, **before(self, kwargs))
    monkeypatch.setattr(owner, name, call)


def with_input(defaults):
    return lambda self, kwargs: {**defaults, **kwargs}


@pytest.fixture(autouse=True)
def calls_that_mean_something(monkeypatch):
    import os
    import openai
    maker = openai.OpenAI(base_url=os.environ["TEST_API_BASE_URL"], api_key="none")

    def with_id(self, kwargs):
        if kwargs.get("response_id") in MADE_UP:
            kwargs["response_id"] = maker.responses.create(**DEFAULTS).id
            if "after" in kwargs:
                kwargs["after"] = maker.responses.input_items.list(kwargs["response_id"]).first_id
        return kwargs
    for kind in ("", "Async"):
        patch(monkeypatch, getattr(responses.responses, kind + "Responses"), "create", with_input(DEFAULTS))
        patch(monkeypatch, getattr(input_tokens, ("Async" if kind else "") + "InputTokens"), "count", with_input({"input": "Hi"}))
        for name in ("retrieve", "delete"):
            patch(monkeypatch, getattr(responses.responses, kind + "Responses"), name, with_id)
        patch(monkeypatch, getattr(input_items, kind + "InputItems"), "list", with_id)
