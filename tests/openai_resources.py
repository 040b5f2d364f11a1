#!/usr/bin/env python3
"""The openai package's own tests/api_resources against `quern serve`, as far as they apply to it.

    openai_resources.py PROGRAM MODEL_DIR OPENAI_SOURCE [more for pytest]

OPENAI_SOURCE is the unpacked source archive of the package (`pip download --no-binary :all: openai`); the python that runs
this needs the package and what its tests import (pytest, pytest-asyncio, respx, ...). Of the resources chat, completions,
embeddings, models and responses some cases are left out: see LEFT_OUT."""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "e2e"))
from serving import Server  # noqa: E402

# pytest's -k expressions.
LEFT_OUT = [
    # Values that have the right type and no meaning: a logit_bias for token "foo", best_of 0, a voice.
    "(TestCompletions or TestAsyncCompletions) and all_params",
    # Answers are not stored.
    "(TestCompletions or TestAsyncCompletions) and (retrieve or update or list or delete)",
    # Models are the operator's.
    "(TestModels or TestAsyncModels) and delete",
    # The client asks for base64 by itself, and strict validation sees the answer before the client has decoded it.
    "(TestEmbeddings or TestAsyncEmbeddings) and _create and (strict or aiohttp) and not all_params",
    # Every argument at once, with those there is nothing for here (conversations, prompts, moderation, the background).
    "(TestResponses or TestAsyncResponses) and create_with_all_params",
    "(TestInputTokens or TestAsyncInputTokens) and all_params",
    # Conversations are not made shorter, and nothing runs in the background.
    "(TestResponses or TestAsyncResponses) and (compact or (cancel and not path_params))",
    # Pages of no items.
    "(TestInputItems or TestAsyncInputItems) and all_params",
]
MODELS = ["gpt-6-astra", "gpt-3.5-turbo-instruct", "text-embedding-3-small"]
FILES = ["test_models.py", "test_completions.py", "test_embeddings.py", "chat/test_completions.py", "test_responses.py",
         "responses/test_input_items.py", "responses/test_input_tokens.py"]


def main():
    program, model, source = sys.argv[1:4]
    args = [x for name in MODELS for x in ("-m", f"{name}={model}")]
    server = Server(program, dict(os.environ), *args)
    words = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider", "-p", "openai_defaults",
             "-k", "not (" + ") and not (".join(LEFT_OUT) + ")",
             *[f"tests/api_resources/{f}" for f in FILES], *sys.argv[4:]]
    done = subprocess.run(words, cwd=source, env={
        **os.environ, "TEST_API_BASE_URL": f"http://127.0.0.1:{server.port}/v1", "PYTHONPATH": str(pathlib.Path(__file__).resolve().parent)})
    code = server.stop()
    sys.exit(done.returncode or code)


if __name__ == "__main__":
    main()
