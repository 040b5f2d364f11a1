"""The part of quern.h that the evaluation needs, by ctypes: open, render, generate greedily."""
import ctypes as c
import json


class Error(c.Structure):
    _fields_ = [("code", c.c_int), ("message", c.c_char * 508)]


class RenderOptions(c.Structure):
    _fields_ = [("tools_json", c.c_char_p), ("template_source", c.c_char_p), ("kwargs_json", c.c_char_p),
                ("enable_thinking", c.c_int), ("add_generation_prompt", c.c_bool), ("continue_final_message", c.c_bool)]


class ModelOptions(c.Structure):
    _fields_ = [("n_threads", c.c_int), ("cpu", c.c_char_p), ("tokenizer_only", c.c_bool), ("weights_only", c.c_bool),
                ("weights", c.c_int), ("embed_weights", c.c_int), ("math", c.c_int), ("adapters", c.c_void_p),
                ("n_adapters", c.c_size_t), ("cache_dir", c.c_char_p), ("on_progress", c.c_void_p), ("user", c.c_void_p)]


WEIGHTS = ("auto", "bf16", "f32", "int8", "int4", "nf4", "fp8")  # enum quern_weights
MATH = ("auto", "exact", "fast")


class SessionOptions(c.Structure):
    _fields_ = [("n_context", c.c_int32), ("prefill_chunk", c.c_int32), ("yarn", c.c_int), ("yarn_expected_tokens", c.c_int32),
                ("kv_type", c.c_int), ("adapters", c.c_void_p), ("n_adapters", c.c_size_t)]


class Sampling(c.Structure):
    _fields_ = [("temperature", c.c_float), ("top_k", c.c_int32), ("top_p", c.c_float), ("min_p", c.c_float),
                ("typical_p", c.c_float), ("repetition_penalty", c.c_float), ("presence_penalty", c.c_float),
                ("frequency_penalty", c.c_float), ("penalty_window", c.c_int32), ("dry_multiplier", c.c_float),
                ("dry_base", c.c_float), ("dry_allowed_length", c.c_int32), ("dry_window", c.c_int32),
                ("top_n_sigma", c.c_float), ("xtc_probability", c.c_float), ("xtc_threshold", c.c_float), ("seed", c.c_uint64),
                ("logit_bias", c.c_void_p), ("n_logit_bias", c.c_size_t)]


class Event(c.Structure):
    _fields_ = [("token", c.c_int32), ("text", c.POINTER(c.c_char)), ("text_len", c.c_size_t), ("logprob", c.c_float),
                ("top", c.c_void_p), ("n_top", c.c_size_t)]


ON_EVENT = c.CFUNCTYPE(c.c_bool, c.c_void_p, c.POINTER(Event))


class GenerateOptions(c.Structure):
    _fields_ = [("sampling", Sampling), ("max_tokens", c.c_int32), ("stop_tokens", c.POINTER(c.c_int32)),
                ("n_stop_tokens", c.c_size_t), ("stop_strings", c.c_void_p), ("n_stop_strings", c.c_size_t),
                ("ignore_eos", c.c_bool), ("keep_special", c.c_bool), ("n_top_logprobs", c.c_int32),
                ("thinking_budget", c.c_int32), ("form", c.c_void_p), ("on_event", ON_EVENT), ("user", c.c_void_p)]


class GenerateResult(c.Structure):
    _fields_ = [("finish", c.c_int), ("stop_token", c.c_int32), ("stop_string", c.c_int32), ("n_tokens", c.c_size_t),
                ("n_thinking", c.c_size_t), ("seconds", c.c_double)]


class Quern:
    """One model and one session. With a context manager, or close()."""

    def __init__(self, library, directory, n_context=2048, weights="auto", math="auto", n_threads=0):
        self.lib = c.CDLL(str(library))
        self.lib.quern_free.argtypes = [c.c_void_p]
        self.model, self.session = c.c_void_p(), c.c_void_p()
        how = ModelOptions(n_threads=n_threads, weights=WEIGHTS.index(weights), math=MATH.index(math))
        self.call("quern_model_open", str(directory).encode(), c.byref(how), c.byref(self.model))
        options = SessionOptions(n_context=n_context)
        self.call("quern_session_create", self.model, c.byref(options), c.byref(self.session))

    def call(self, name, *args):
        error = Error()
        if getattr(self.lib, name)(*args, c.byref(error)):
            raise RuntimeError(f"{name}: {error.message.decode(errors='replace')}")

    def render(self, messages, tools=None, thinking=None):
        options = RenderOptions(tools_json=json.dumps(tools).encode() if tools else None,
                                enable_thinking=-1 if thinking is None else int(thinking), add_generation_prompt=True)
        text, length = c.c_void_p(), c.c_size_t()
        self.call("quern_render_chat", self.model, json.dumps(messages).encode(), c.byref(options), c.byref(text), c.byref(length))
        try:
            return c.string_at(text.value, length.value).decode()
        finally:
            self.lib.quern_free(text)

    def tokenize(self, text):
        data = text.encode()
        ids, n = c.POINTER(c.c_int32)(), c.c_size_t()
        self.call("quern_tokenize", self.model, data, c.c_size_t(len(data)), c.c_bool(False), c.c_bool(True), c.byref(ids), c.byref(n))
        try:
            return ids[:n.value]
        finally:
            self.lib.quern_free(ids)

    def complete_ids(self, ids, max_tokens):
        """(generated ids, text, ended by an end token), greedily."""
        array = (c.c_int32 * len(ids))(*ids)
        self.call("quern_session_sync", self.session, array, c.c_size_t(len(ids)), None)
        tokens, pieces = [], []

        def on_event(_, event):
            if event.contents.token >= 0:
                tokens.append(event.contents.token)
            pieces.append(c.string_at(event.contents.text, event.contents.text_len))
            return True

        options = GenerateOptions(max_tokens=max_tokens, n_top_logprobs=-1, on_event=ON_EVENT(on_event))
        options.sampling = Sampling(temperature=0, top_p=1, typical_p=1, repetition_penalty=1, dry_base=1.75, dry_allowed_length=2)
        result = GenerateResult()
        self.call("quern_generate", self.session, c.byref(options), c.byref(result))
        return tokens, b"".join(pieces).decode(), result.finish == 0

    def complete(self, prompt, max_tokens):
        _, text, ended = self.complete_ids(self.tokenize(prompt), max_tokens)
        return text, ended

    def close(self):
        self.lib.quern_session_destroy(self.session)
        self.lib.quern_model_close(self.model)
        self.session = self.model = c.c_void_p()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
