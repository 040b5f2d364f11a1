"""quern serve: what the endpoints answer, by raw HTTP."""
import base64
import json
import math
import shutil
import struct
import subprocess

import pytest

import conftest
import scripted_model
import serving
from conftest import ANSWER, THINKING

CHAT = "/v1/chat/completions"


# ---- chat ---------------------------------------------------------------------------------------

def test_a_chat_is_answered_in_openais_form_with_the_thinking_apart(scripted_server):
    reply = scripted_server.chat("Hi", model="scripted", temperature=0)
    assert reply.status == 200 and reply.headers["content-type"] == "application/json"
    body = reply.json
    assert body["object"] == "chat.completion" and body["model"] == "scripted"
    assert body["id"].startswith("chatcmpl-") and body["created"] > 0
    choice = body["choices"][0]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] == ANSWER
    assert choice["message"]["reasoning_content"] == THINKING
    assert choice["finish_reason"] == "stop" and choice["logprobs"] is None
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["completion_tokens_details"]["reasoning_tokens"] < usage["completion_tokens"]
    assert body["timings"]["predicted_n"] == usage["completion_tokens"]


def test_a_streamed_chat_adds_up_to_the_whole_one(scripted_server):
    chunks = scripted_server.chat("Hi", temperature=0, stream=True, stream_options={"include_usage": True}).chunks()
    assert all(c["object"] == "chat.completion.chunk" and c["id"] == chunks[0]["id"] for c in chunks)
    deltas = [c["choices"][0]["delta"] for c in chunks[:-1]]
    assert deltas[0]["role"] == "assistant"
    assert "".join(d.get("content", "") for d in deltas) == ANSWER
    assert "".join(d.get("reasoning_content", "") for d in deltas) == THINKING
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1]][-1] == "stop"
    assert all(c["usage"] is None for c in chunks[:-1])
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] > 0
    assert "prompt_ms" in chunks[-1]["timings"]


def test_without_include_usage_there_is_no_usage_chunk(scripted_server):
    chunks = scripted_server.chat("Hi", stream=True).chunks()
    assert all("usage" not in c and len(c["choices"]) == 1 for c in chunks)


def test_the_second_turn_finds_the_first_one_computed(tiny_server):
    messages = [{"role": "user", "content": "a long question about nothing at all " * 4}]
    first = tiny_server.post(CHAT, {"messages": messages, "max_tokens": 40, "temperature": 0, "ignore_eos": True}).json
    messages += [{"role": "assistant", "content": first["choices"][0]["message"]["content"]},
                 {"role": "user", "content": "and then?"}]
    second = tiny_server.post(CHAT, {"messages": messages, "max_tokens": 4, "temperature": 0}).json
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"] // 32 * 32 - 32


def test_n_answers_differ_by_seed_and_the_first_is_the_only_ones(tiny_server):
    one = tiny_server.chat("Hi", temperature=1, seed=7, max_tokens=12, ignore_eos=True).json
    three = tiny_server.chat("Hi", temperature=1, seed=7, max_tokens=12, ignore_eos=True, n=3).json
    texts = [c["message"]["content"] for c in three["choices"]]
    assert [c["index"] for c in three["choices"]] == [0, 1, 2]
    assert texts[0] == one["choices"][0]["message"]["content"]
    assert len(set(texts)) == 3
    assert three["usage"]["prompt_tokens"] == one["usage"]["prompt_tokens"]
    assert three["usage"]["completion_tokens"] == 36


def test_streamed_n_answers_come_by_index(tiny_server):
    arguments = dict(temperature=1, seed=7, max_tokens=12, ignore_eos=True, n=3)
    whole = tiny_server.chat("Hi", **arguments).json
    texts = {0: "", 1: "", 2: ""}
    for chunk in tiny_server.chat("Hi", stream=True, **arguments).chunks():
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["delta"].get("content") or ""
    assert texts == {c["index"]: c["message"]["content"] for c in whole["choices"]}


def test_logprobs_name_the_tokens_of_the_content(scripted_server):
    body = scripted_server.chat("Hi", temperature=0, logprobs=True, top_logprobs=3).json
    entries = body["choices"][0]["logprobs"]["content"]
    assert b"".join(bytes(e["bytes"]) for e in entries).decode() == ANSWER
    for e in entries:
        assert len(e["top_logprobs"]) == 3
        assert e["top_logprobs"][0]["logprob"] == e["logprob"] <= 0
        assert e["top_logprobs"][0]["bytes"] == e["bytes"]
    chunks = scripted_server.chat("Hi", temperature=0, logprobs=True, top_logprobs=3, stream=True).chunks()
    streamed = [e for c in chunks if c["choices"][0]["logprobs"] for e in c["choices"][0]["logprobs"]["content"]]
    assert streamed == entries


def test_stop_strings_and_max_tokens_end_an_answer(scripted_server):
    body = scripted_server.chat("Hi", temperature=0, stop=[",", "zzz"]).json["choices"][0]
    assert body["message"]["content"] == ANSWER.split(",")[0] and body["finish_reason"] == "stop"
    body = scripted_server.chat("Hi", temperature=0, max_completion_tokens=1).json
    assert body["choices"][0]["finish_reason"] == "length" and body["usage"]["completion_tokens"] == 1


def test_logit_bias_forbids_a_token(scripted_server, ids_of):
    first = ids_of("\n\n" + ANSWER)[1]
    body = scripted_server.chat("Hi", temperature=0, max_tokens=60, logit_bias={str(first): -100}).json
    assert not body["choices"][0]["message"]["content"].startswith(ANSWER[:5])


def test_samplers_that_leave_one_token_leave_no_chance(tiny_server):
    def said(**more):
        reply = tiny_server.post("/v1/completions", {"prompt": "Hello", "max_tokens": 12, "ignore_eos": True, **more})
        return reply.json["choices"][0]["text"]
    greedy = said(temperature=0)
    assert said(temperature=2, seed=1, top_n_sigma=1e-6) == said(temperature=2, seed=2, top_n_sigma=1e-6) == greedy
    # Everything is at least so likely: what stays is the least likely token.
    rare = [said(temperature=1, seed=seed, xtc_probability=1, xtc_threshold=0) for seed in (1, 2)]
    assert rare[0] == rare[1] != greedy
    assert said(temperature=0.5, seed=1, top_n_sigma=-1, xtc_probability=0) == said(temperature=0.5, seed=1)


def test_curl_gets_what_it_asks_for(scripted_server):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")

    def curl(*args):
        url = f"http://127.0.0.1:{scripted_server.port}/v1/chat/completions"
        return subprocess.run(["curl", "-sSN", url, *args], capture_output=True, text=True, check=True, timeout=60).stdout
    body = {"messages": [{"role": "user", "content": "Hello!"}], "temperature": 0}
    whole = json.loads(curl("-d", json.dumps(body)))["choices"][0]["message"]["content"]
    data = [d for _, d in serving.parse_events(curl("-d", json.dumps({**body, "stream": True})))]
    assert data[-1] == "[DONE]"
    assert "".join(json.loads(d)["choices"][0]["delta"].get("content") or "" for d in data[:-1]) == whole
    text = json.dumps(body) + " " * 2000  # curl asks before it sends more than 1 MB
    assert json.loads(curl("-H", "Expect: 100-continue", "-d", text))["choices"][0]["message"]["content"] == whole


def test_thinking_can_be_switched_off_in_three_ways(scripted_server):
    for switch in ({"chat_template_kwargs": {"enable_thinking": False}}, {"reasoning_effort": "none"},
                   {"thinking": {"type": "disabled"}}):
        prompt = scripted_server.post("/apply-template", {"messages": [{"role": "user", "content": "x"}], **switch})
        assert prompt.json["prompt"].endswith("<think>\n\n</think>\n\n"), switch


def test_a_thinking_budget_is_kept(endless, serve, ids_of):
    server = serve("-m", endless)
    closing = "</think>"
    body = server.post("/v1/chat/completions", {
        "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "<think>\n"}],
        "continue_final_message": True, "max_thinking_tokens": 20, "max_tokens": 200, "temperature": 0}).json
    details = body["usage"]["completion_tokens_details"]
    assert 20 <= details["reasoning_tokens"] < 100
    message = body["choices"][0]["message"]
    assert message["reasoning_content"] and message["content"] and closing not in message["content"]


def test_reasoning_is_taken_back_by_both_names(scripted_server):
    for name in ("reasoning", "reasoning_content"):
        reply = scripted_server.post("/apply-template", {"messages": [
            {"role": "user", "content": "x"}, {"role": "assistant", "content": "y", name: "z"},
            {"role": "user", "content": "w"}]})
        assert reply.status == 200, reply.body


def test_text_parts_are_joined_and_developer_means_system(tiny_server):
    a = tiny_server.post("/apply-template", {"messages": [
        {"role": "developer", "content": [{"type": "text", "text": "be "}, {"type": "text", "text": "kind"}]},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]}]}).json
    b = tiny_server.post("/apply-template", {"messages": [
        {"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]}).json
    assert a == b


# ---- completions ----------------------------------------------------------------------------------

def test_completions_take_texts_and_ids_one_or_many(tiny_server, ids_of):
    def complete(prompt, **more):
        return tiny_server.post("/v1/completions", {"prompt": prompt, "max_tokens": 8, "temperature": 0, **more}).json
    text = complete("Hello there")
    assert text["object"] == "text_completion" and text["choices"][0]["text"]
    ids = complete(ids_of("Hello there"))
    assert ids["choices"][0]["text"] == text["choices"][0]["text"]
    both = complete(["Hello there", "Another"], n=2)
    assert [c["index"] for c in both["choices"]] == [0, 1, 2, 3]
    assert both["choices"][0]["text"] == text["choices"][0]["text"]
    assert complete("Hello there", echo=True)["choices"][0]["text"] == "Hello there" + text["choices"][0]["text"]


def test_completions_have_their_own_form_of_logprobs(tiny_server):
    body = tiny_server.post("/v1/completions", {"prompt": "Hello", "max_tokens": 6, "temperature": 0, "logprobs": 2,
                                                "ignore_eos": True}).json["choices"][0]
    lp = body["logprobs"]
    assert len(lp["tokens"]) == len(lp["token_logprobs"]) == len(lp["top_logprobs"]) == len(lp["text_offset"]) == 6
    assert lp["text_offset"][0] == 0 and all(1 <= len(t) <= 2 for t in lp["top_logprobs"])


def test_an_echo_has_the_prompts_logprobs(tiny_server, ids_of):
    """Each token's is the one it has as the answer to what stands before it."""
    def complete(prompt, **more):
        return tiny_server.post("/v1/completions", {"prompt": prompt, "temperature": 0, "logprobs": 3, **more}).json
    text = "Hello there, how are you? " * 3
    ids = ids_of(text)
    whole = complete(text, echo=True, max_tokens=4)
    choice, plain = whole["choices"][0], complete(text, max_tokens=4)["choices"][0]
    lp, n = choice["logprobs"], len(ids)
    assert choice["text"] == text + plain["text"] and whole["usage"]["prompt_tokens"] == n
    assert len(lp["tokens"]) == n + 4 and "".join(lp["tokens"]) == choice["text"]
    assert lp["token_logprobs"][0] is None and lp["top_logprobs"][0] is None
    assert lp["text_offset"][:n] == [len("".join(lp["tokens"][:i])) for i in range(n)]
    for key in ("tokens", "token_logprobs", "top_logprobs"):
        assert lp[key][n:] == plain["logprobs"][key]
    for i in (1, 2, 5, n - 1):
        forced = complete(ids[:i], max_tokens=1, logit_bias={ids[i]: 100})["choices"][0]["logprobs"]
        assert forced["token_logprobs"][0] == lp["token_logprobs"][i]
        assert forced["top_logprobs"][0] == lp["top_logprobs"][i]
    only = complete(text, echo=True, max_tokens=0)
    assert only["choices"][0]["text"] == text and only["choices"][0]["finish_reason"] == "length"
    assert only["usage"]["completion_tokens"] == 0
    for key in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        assert only["choices"][0]["logprobs"][key] == lp[key][:n]
    chunks = tiny_server.post("/v1/completions", {"prompt": [ids, ids], "temperature": 0, "logprobs": 3, "echo": True,
                                                  "max_tokens": 4, "stream": True}).chunks()
    for index in range(2):
        mine = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == index]
        assert "".join(c["text"] for c in mine) == choice["text"]
        for key in lp:
            assert sum((c["logprobs"][key] for c in mine if c["logprobs"]), []) == lp[key]
    reply = tiny_server.post("/v1/completions", {"prompt": "x", "max_tokens": 0})
    assert reply.status == 400 and reply.error["param"] == "max_tokens"


def test_streamed_completions_add_up(tiny_server):
    arguments = {"prompt": "Hello", "max_tokens": 10, "temperature": 0}
    whole = tiny_server.post("/v1/completions", arguments).json["choices"][0]["text"]
    chunks = tiny_server.post("/v1/completions", {**arguments, "stream": True}).chunks()
    assert "".join(c["choices"][0]["text"] for c in chunks) == whole


def test_a_suffix_makes_a_gap_to_fill(tiny_server, ids_of):
    """What the model sees is Qwen's fill-in-the-middle form: checked by giving it as ids."""
    ids = ids_of("<|fim_prefix|>") + ids_of("abc") + ids_of("<|fim_suffix|>") + ids_of("def") + ids_of("<|fim_middle|>")
    arguments = {"max_tokens": 8, "temperature": 0}
    expected = tiny_server.post("/v1/completions", {"prompt": ids, **arguments}).json
    for path, body in (("/v1/completions", {"prompt": "abc", "suffix": "def"}),
                       ("/infill", {"input_prefix": "abc", "input_suffix": "def"})):
        got = tiny_server.post(path, {**body, **arguments}).json
        assert got["choices"][0]["text"] == expected["choices"][0]["text"]
        assert got["usage"]["prompt_tokens"] == len(ids)


# ---- embeddings, tokens --------------------------------------------------------------------------------

def test_embeddings_are_unit_vectors_in_both_encodings(tiny_server, ids_of):
    body = tiny_server.post("/v1/embeddings", {"input": ["a text", "another one"]}).json
    vectors = [d["embedding"] for d in body["data"]]
    assert [d["index"] for d in body["data"]] == [0, 1] and body["usage"]["prompt_tokens"] > 0
    for v in vectors:
        assert len(v) == 64 and abs(math.sqrt(sum(x * x for x in v)) - 1) < 1e-5
    coded = tiny_server.post("/v1/embeddings", {"input": ["a text"], "encoding_format": "base64"}).json
    floats = struct.unpack("<64f", base64.b64decode(coded["data"][0]["embedding"]))
    assert [struct.unpack("<f", struct.pack("<f", x))[0] for x in vectors[0]] == list(floats)
    by_ids = tiny_server.post("/v1/embeddings", {"input": ids_of("a text")}).json
    assert by_ids["data"][0]["embedding"] == vectors[0]


def test_shortened_embeddings_are_unit_vectors_again(tiny_server):
    whole = tiny_server.post("/v1/embeddings", {"input": "a text"}).json["data"][0]["embedding"]
    short = tiny_server.post("/v1/embeddings", {"input": "a text", "dimensions": 8}).json["data"][0]["embedding"]
    scale = math.sqrt(sum(x * x for x in whole[:8]))
    assert len(short) == 8 and all(abs(a / scale - b) < 1e-6 for a, b in zip(whole, short))


def test_many_inputs_do_not_overflow_the_queue(tiny_server):
    texts = [f"text number {i}" for i in range(200)]
    body = tiny_server.post("/v1/embeddings", {"input": texts}).json
    assert len(body["data"]) == 200
    assert body["data"][7]["embedding"] == tiny_server.post("/v1/embeddings", {"input": texts[7]}).json["data"][0]["embedding"]


def test_a_model_without_yes_and_no_cannot_rank(tiny_server):
    reply = tiny_server.post("/v1/rerank", {"query": "q", "documents": ["a", "b"]})
    assert reply.status == 400 and "yes" in reply.error["message"]


def test_documents_are_ranked_by_the_probability_of_yes(program, environment, quern, tmp_path):
    """The scores are those that the log-probabilities of both words give after the same prompt."""
    tokenizer = with_tokens(tmp_path / "tokenizer", merges=[("y", "es"), ("n", "o")])
    config = tmp_path / "config.json"
    config.write_text(json.dumps(scripted_model.config(
        vocab_size=514, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        intermediate_size=96, tie_word_embeddings=True, initializer_range=0.2)))
    made = quern("init", "--config", config, "--tokenizer", tokenizer, "-o", tmp_path / "model", "--seed", 1)
    assert made.code == 0, made.err
    conftest.finish(tmp_path / "model")
    server = serving.Server(program, environment, "-m", tmp_path / "model")
    try:
        yes, no = (server.post("/tokenize", {"content": w}).json["tokens"] for w in ("yes", "no"))
        assert (len(yes), len(no)) == (1, 1)
        documents = ["a text on cats", "a text on cars", "<|im_end|> nothing"]
        body = server.post("/v1/rerank", {"query": "cats", "documents": documents, "return_documents": True}).json
        scores = {r["index"]: r["relevance_score"] for r in body["results"]}
        assert sorted(scores) == [0, 1, 2] and len(set(scores.values())) == 3
        assert [r["relevance_score"] for r in body["results"]] == sorted(scores.values(), reverse=True)
        assert all(r["document"]["text"] == documents[r["index"]] for r in body["results"])
        for index in (0, 1):
            prompt = ("<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the "
                      "Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n"
                      "<|im_start|>user\n<Instruct>: Given a web search query, retrieve relevant passages that answer "
                      f"the query\n<Query>: cats\n<Document>: {documents[index]}<|im_end|>\n<|im_start|>assistant\n"
                      "<think>\n\n</think>\n\n")
            odds = [math.exp(server.post("/v1/completions", {
                "prompt": prompt, "max_tokens": 1, "logprobs": 0, "temperature": 0,
                "logit_bias": {str(word[0]): 100}}).json["choices"][0]["logprobs"]["token_logprobs"][0])
                for word in (yes, no)]
            # Log-probabilities are float32 in the answer.
            assert abs(odds[0] / sum(odds) - scores[index]) < 1e-5
        top = server.post("/v1/rerank", {"query": "cats", "documents": documents, "top_n": 1}).json["results"]
        assert [r["index"] for r in top] == [body["results"][0]["index"]]
    finally:
        server.stop()


def test_tokenize_and_detokenize_are_each_others_reverse(tiny_server, ids_of):
    text = "Hello, wörld <|im_end|>\n日"
    body = tiny_server.post("/tokenize", {"content": text}).json
    assert body["tokens"] == ids_of(text) and body["count"] == len(body["tokens"])
    assert tiny_server.post("/detokenize", {"tokens": body["tokens"]}).json["content"] == text
    pieces = tiny_server.post("/tokenize", {"content": text, "with_pieces": True}).json["tokens"]
    raw = b"".join(bytes(p["piece"]) if isinstance(p["piece"], list) else p["piece"].encode() for p in pieces)
    assert raw.decode() == text


# ---- models, pages ---------------------------------------------------------------------------------------

def test_models_are_listed_and_found_by_name(tiny_server):
    listed = tiny_server.get("/v1/models").json
    assert listed["object"] == "list" and [m["id"] for m in listed["data"]] == ["tiny"]
    assert tiny_server.get("/v1/models/tiny").json["object"] == "model"
    assert tiny_server.get("/v1/models/other").status == 404
    reply = tiny_server.chat("x", model="other")
    assert reply.status == 404 and reply.error["code"] == "model_not_found"


def test_health_ready_docs_and_metrics_answer(tiny_server):
    assert tiny_server.get("/health").json["status"] == "ok"
    assert tiny_server.get("/ready").json["models"][0]["state"] == "ready"
    spec = tiny_server.get("/openapi.json").json
    for path in (CHAT, "/v1/completions", "/v1/embeddings", "/v1/rerank", "/v1/models", "/v1/messages", "/tokenize",
                 "/detokenize", "/apply-template", "/infill", "/health", "/ready", "/metrics"):
        assert path in spec["paths"], path
    page = tiny_server.get("/docs")
    assert page.status == 200 and page.headers["content-type"].startswith("text/html") and b"openapi.json" in page.body


def test_metrics_count_what_was_done(tiny_server):
    before = {n: tiny_server.metric(n, model="tiny") for n in (
        "quern_prompt_tokens_total", "quern_generation_tokens_total", "quern_time_to_first_token_seconds_count",
        "quern_e2e_request_latency_seconds_count", "quern_request_queue_time_seconds_count")}
    usage = tiny_server.chat("count me", max_tokens=9, ignore_eos=True).json["usage"]
    after = {n: tiny_server.metric(n, model="tiny") for n in before}
    assert after["quern_prompt_tokens_total"] - before["quern_prompt_tokens_total"] == usage["prompt_tokens"]
    assert after["quern_generation_tokens_total"] - before["quern_generation_tokens_total"] == 9
    for name in list(before)[2:]:
        assert after[name] == before[name] + 1
    text = tiny_server.get("/metrics").body.decode()
    for name in ("quern_requests_running", "quern_requests_waiting", "quern_kv_cache_usage_ratio",
                 "quern_prefix_cache_hits_total", "quern_prefix_cache_queries_total",
                 "quern_inter_token_latency_seconds_bucket", "quern_spec_decode_accepted_tokens_total"):
        assert name in text


# ---- errors ------------------------------------------------------------------------------------------------

REFUSED = [
    ({"messages": []}, "messages", "invalid_value"),
    ({}, "messages", "missing_required_parameter"),
    ({"messages": "x"}, "messages", "invalid_type"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
    ({"messages": [{"role": "emperor", "content": "x"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content", "unsupported_value"),
    ({"temperature": 2.5}, "temperature", "invalid_value"),
    ({"temperature": "hot"}, "temperature", "invalid_type"),
    ({"top_p": -0.1}, "top_p", "invalid_value"),
    ({"n": 0}, "n", "invalid_value"),
    ({"n": 9}, "n", "invalid_value"),
    ({"n": 10**30}, "n", None),
    ({"n": 1.5}, "n", "invalid_type"),
    ({"max_tokens": 0}, "max_tokens", "invalid_value"),
    ({"max_tokens": -5}, "max_tokens", "invalid_value"),
    ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "invalid_value"),
    ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
    ({"stop": [str(i) for i in range(17)]}, "stop", "invalid_value"),
    ({"stop": "x" * 257}, "stop", "invalid_value"),
    ({"stop": ""}, "stop", "invalid_value"),
    ({"stop": "a\u0000b"}, "stop", "invalid_value"),
    ({"logit_bias": {"99999": 1}}, "logit_bias", "invalid_value"),
    ({"logit_bias": {"-1": 1}}, "logit_bias", "invalid_value"),
    ({"logit_bias": {"1": 101}}, "logit_bias", "invalid_value"),
    ({"logit_bias": {str(i): 0 for i in range(500)} | {str(i) + " ": 0 for i in range(600)}}, "logit_bias", "invalid_value"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
    ({"unheard_of": 1}, "unheard_of", "unknown_parameter"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}] * 129}, "tools", "invalid_value"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
    ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
    ({"reasoning_effort": "huge"}, "reasoning_effort", "invalid_value"),
    ({"chat_template_kwargs": {"os": 1}}, "chat_template_kwargs", "unsupported_value"),
    ({"chat_template_kwargs": {"enable_thinking": "no"}}, "chat_template_kwargs", "invalid_type"),
    ({"modalities": ["audio"]}, "modalities", "unsupported_value"),
]


@pytest.mark.parametrize("change, param, code", REFUSED, ids=lambda x: json.dumps(x)[:40] if isinstance(x, dict) else None)
def test_a_bad_parameter_is_refused_by_name(tiny_server, change, param, code):
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    body = {**body, **change} if change else {"max_tokens": 1}
    reply = tiny_server.post(CHAT, body)
    assert reply.status == 400, reply.body
    error = reply.error
    assert error["type"] == "invalid_request_error" and error["message"]
    if code:
        assert (error["param"], error["code"]) == (param, code), error


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"3", b'{"a":1}x', b'{"messages": [NaN]}', b"\xff\xfe",
                                  b'{"a":1,"a":2}', b"[" * 100, b'{"temperature": 1e999}'])
def test_what_is_no_json_object_is_refused(tiny_server, text):
    reply = tiny_server.post(CHAT, text)
    assert reply.status == 400 and reply.error["type"] == "invalid_request_error"


def test_a_prompt_too_long_is_refused_with_the_numbers(tiny_server):
    reply = tiny_server.chat("word " * 2000)
    assert reply.status == 400
    error = reply.error
    assert error["code"] == "context_length_exceeded" and "512" in error["message"]
    count = tiny_server.post("/tokenize", {"content": "word " * 2000}).json["count"]
    assert any(abs(int(w) - count) < 40 for w in error["message"].split() if w.isdigit() and len(w) > 3)


def test_a_templates_own_refusal_is_told(tiny_model, copy_of, serve):
    directory = copy_of(tiny_model)
    (directory / "chat_template.jinja").write_text("{{ raise_exception('roles must alternate, ' + messages[0].role) }}")
    reply = serve("-m", directory).chat("x")
    assert reply.status == 400 and reply.error["code"] == "template_error"
    assert "roles must alternate, user" in reply.error["message"]


def test_unknown_paths_and_methods(tiny_server):
    reply = tiny_server.get("/v1/nothing")
    assert reply.status == 404 and reply.error["code"] == "not_found"
    assert tiny_server.get(CHAT).status == 405
    assert tiny_server.call("DELETE", "/v1/models").status == 405


def test_unknown_parameters_can_be_let_through(tiny_model, serve):
    assert serve("-m", tiny_model, "--ignore-unknown").chat("x", unheard_of=1, max_tokens=1).status == 200


# ---- tools -------------------------------------------------------------------------------------------------

# Not strict: what a scripted model says is no text that a grammar knows.
TOOLS = [{"type": "function", "function": {"name": "look", "strict": False, "parameters": {"type": "object", "properties": {}}}}]


CALL = '{"name": "look", "arguments": {"at": "} z"}}'


def with_tokens(directory, added=(), merges=()):
    """A copy of the tokenizer in `directory` with more tokens: added ones by their spelling, and words by merges."""
    text = json.loads((conftest.TOKENIZER / "tokenizer.json").read_text())
    first = 512
    for spelling in added:
        text["added_tokens"].append({"id": first, "content": spelling, "single_word": False, "lstrip": False,
                                     "rstrip": False, "normalized": False, "special": False})
        first += 1
    for pair in merges:
        text["model"]["merges"].append(list(pair) if isinstance(text["model"]["merges"][0], list) else " ".join(pair))
        text["model"]["vocab"]["".join(pair)] = first
        first += 1
    directory.mkdir(parents=True)
    for file in conftest.TOKENIZER.iterdir():
        if file.name != "tokenizer.json":
            (directory / file.name).write_bytes(file.read_bytes())
    (directory / "tokenizer.json").write_text(json.dumps(text))
    return directory


@pytest.fixture(scope="module")
def calling_server(program, environment, quern, tmp_path_factory):
    """A model that says a word and calls a tool: the call's text is one token, since a scripted model's next token
    depends on the last one only."""
    directory = tmp_path_factory.mktemp("calling")
    tokenizer = with_tokens(directory / "tokenizer", added=[CALL])
    ids = json.loads(quern("tokenize", "-m", tokenizer, stdin=f"\nwell<tool_call>{CALL}</tool_call><|im_end|>").out)
    assert 512 in ids
    scripted_model.write(directory / "model", conftest.chain(ids), tokenizer, vocab_size=513, hidden_size=513)
    conftest.finish(directory / "model")
    server = serving.Server(program, environment, "-m", directory / "model")
    yield server
    assert server.stop() == 0


def test_a_tool_call_is_told_apart_whole_and_streamed(calling_server):
    choice = calling_server.chat("x", tools=TOOLS, temperature=0, max_tokens=60).json["choices"][0]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] == "well"
    call = choice["message"]["tool_calls"][0]
    assert call["type"] == "function" and call["function"]["name"] == "look"
    assert json.loads(call["function"]["arguments"]) == {"at": "} z"}
    chunks = calling_server.chat("x", tools=TOOLS, temperature=0, max_tokens=60, stream=True).chunks()
    deltas = [c["choices"][0]["delta"] for c in chunks]
    assert "".join(d.get("content") or "" for d in deltas) == "well"
    streamed = [k for d in deltas for k in d.get("tool_calls", [])]
    assert len(streamed) == 1 and streamed[0]["index"] == 0 and streamed[0]["id"].startswith("call_")
    assert streamed[0]["function"] == call["function"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_tool_call_in_anthropics_form(calling_server):
    request = {"max_tokens": 60, "temperature": 0, "messages": [{"role": "user", "content": "x"}],
               "tools": [{"name": "look", "strict": False, "input_schema": {"type": "object"}}]}
    body = calling_server.post("/v1/messages", request).json
    assert body["stop_reason"] == "tool_use"
    assert [c["type"] for c in body["content"]] == ["text", "tool_use"]
    assert body["content"][1]["name"] == "look" and body["content"][1]["input"] == {"at": "} z"}
    events = [json.loads(d) for _, d in calling_server.post("/v1/messages", {**request, "stream": True}).events()]
    partial = "".join(e["delta"].get("partial_json", "") for e in events if e["type"] == "content_block_delta")
    assert json.loads(partial) == {"at": "} z"}
    starts = [e["content_block"]["type"] for e in events if e["type"] == "content_block_start"]
    assert starts == ["text", "tool_use"]


def test_without_tools_or_with_none_a_call_is_text(calling_server):
    for more in ({}, {"tools": TOOLS, "tool_choice": "none"}):
        message = calling_server.chat("x", temperature=0, max_tokens=60, **more).json["choices"][0]["message"]
        assert "tool_calls" not in message and "<tool_call>" in message["content"]


# ---- Anthropic's messages ---------------------------------------------------------------------------------------

def messages(server, **more):
    return server.post("/v1/messages", {"model": "scripted", "max_tokens": 100, "temperature": 0,
                                        "messages": [{"role": "user", "content": "Hi"}], **more})


def test_a_message_is_answered_in_anthropics_form(scripted_server):
    body = messages(scripted_server, system=[{"type": "text", "text": "be kind"}]).json
    assert body["type"] == "message" and body["role"] == "assistant" and body["id"].startswith("msg_")
    assert [(c["type"], c.get("text") or c.get("thinking")) for c in body["content"]] == [
        ("thinking", THINKING), ("text", ANSWER)]
    assert body["stop_reason"] == "end_turn" and body["usage"]["output_tokens"] > 0


def test_a_streamed_message_adds_up(scripted_server):
    events = messages(scripted_server, stream=True).events()
    kinds = [name for name, _ in events]
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"]
    data = [json.loads(d) for _, d in events]
    assert all(d["type"] == name for (name, _), d in zip(events, data))
    text, thinking = "", ""
    for d in data:
        if d["type"] == "content_block_delta":
            text += d["delta"].get("text", "")
            thinking += d["delta"].get("thinking", "")
    assert (thinking, text) == (THINKING, ANSWER)
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 2


def test_a_stop_sequence_is_named(scripted_server):
    body = messages(scripted_server, stop_sequences=["zzz", ","]).json
    assert body["stop_reason"] == "stop_sequence" and body["stop_sequence"] == ","


def test_tokens_of_messages_are_counted_without_answering(scripted_server):
    request = {"model": "scripted", "messages": [{"role": "user", "content": "Hi"}]}
    count = scripted_server.post("/v1/messages/count_tokens", request).json["input_tokens"]
    usage = messages(scripted_server).json["usage"]
    assert count == usage["input_tokens"] + usage["cache_read_input_tokens"]


def test_errors_of_messages_have_anthropics_form(scripted_server):
    reply = messages(scripted_server, max_tokens=0)
    assert reply.status == 400 and reply.json["type"] == "error"
    assert reply.error["type"] == "invalid_request_error"
    assert messages(scripted_server, model="other").error["type"] == "not_found_error"


def test_tool_results_and_tool_uses_reach_the_template(scripted_server):
    reply = messages(scripted_server, messages=[
        {"role": "user", "content": "what is there?"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": ""},
                                          {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a cat"}]}],
        tools=[{"name": "look", "input_schema": {"type": "object"}}])
    assert reply.status == 200, reply.body
