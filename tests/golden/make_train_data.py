"""Makes tests/golden/train_data/: tokenizers that `tokenizers` trains on a small corpus, and examples of training data with
the tokens that are trained, found in jinja2's text by where ChatML puts an answer.

    python tests/golden/make_train_data.py      (needs tokenizers 0.23.3, transformers, jinja2)
"""
import json
import pathlib
import random
import re

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import chat_oracle
import make_tokenizer
import mixed_text

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "train_data"
TINY = HERE.parent / "fixtures" / "qwen3-tiny"


def new_tokenizer():
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(make_tokenizer.QWEN2_PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False, trim_offsets=False)])
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(add_prefix_space=False, use_regex=False, trim_offsets=False)
    return t


def trainer(size, **options):
    return trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                               **options)


def make_tokenizers():
    r = random.Random(11)
    # Few letters: many ties, and pairs that come up by two ways.
    letters = ["".join(r.choice("aab ") for _ in range(r.randint(1, 9))) for _ in range(300)]
    text = "".join(mixed_text.prose(r) for _ in range(30)) + " ".join(letters) + "\n\n\n" + "e\u0301t\u00e9 日本語 " * 5
    (OUT / "corpus.txt").write_text(text, encoding="utf-8")
    t = new_tokenizer()
    t.train([str(OUT / "corpus.txt")], trainer(480 - 26))
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in make_tokenizer.SPECIAL])
    t.add_tokens([AddedToken(s, special=False, normalized=False) for s in make_tokenizer.NOT_SPECIAL])
    t.save(str(OUT / "tokenizer-lines.json"))
    t = new_tokenizer()
    t.train_from_iterator([text], trainer(420 - 2, max_token_length=6, min_frequency=3))
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in ("<s>", "</s>")])
    t.save(str(OUT / "tokenizer-whole.json"))


def call(name, **arguments):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


TOOL = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {"type": "object"}}}


def user(text):
    return {"role": "user", "content": text}


def answer(text, **more):
    return {"role": "assistant", "content": text, **more}


RECORDS = [
    {"messages": [user("hi"), answer("Hello, world!")]},
    {"messages": [{"role": "system", "content": "Be brief."}, user("a"), answer("b"), user("c"), answer("d e f")]},
    {"messages": [user("2+2?"), answer("4", reasoning_content="It is four.")]},
    {"messages": [user("a"), answer("b", reasoning_content="thoughts of a turn past"), user("c"), answer("d")]},
    {"messages": [user("add"), answer("", tool_calls=[call("add", a=1), call("add", a=2)]), {"role": "tool", "content": "3"},
                  {"role": "tool", "content": "4"}, answer("3 and 4 日本")], "tools": [TOOL]},
    {"messages": [user("x"), answer("no thinking")], "enable_thinking": False},
    {"messages": [user("x"), answer("y", weight=0), user("z"), answer("only this")]},
    {"messages": [user("the text <|im_end|> in a question"), answer("fine")]},
    {"messages": [user("x"), answer("  spaces at both ends \n\n")]},
]


def expected(tokenizer, template, record):
    """Ids and marks; the record's texts have no ChatML of their own in answers."""
    options = {"tools": record.get("tools")}
    if "enable_thinking" in record:
        options["enable_thinking"] = record["enable_thinking"]
    text = template.render(messages=record["messages"], add_generation_prompt=False, **options)
    answers = [m for m in record["messages"] if m["role"] == "assistant"]
    found = list(re.finditer(r"<\|im_start\|>assistant\n((?:<think>\n\n</think>\n\n)?)(.*?<\|im_end\|>)", text, re.S))
    assert len(found) == len(answers)
    ids, marks, at = [], [], 0
    for match, message in zip(found, answers):
        thoughts = message.get("reasoning_content", "").strip()
        if message.get("weight", 1) == 0 or (thoughts and thoughts not in match.group(0)):
            continue
        for piece, mark in ((text[at:match.start(2)], 0), (match.group(2), 1)):
            new = tokenizer.encode(piece, add_special_tokens=False).ids
            ids += new
            marks += [mark] * len(new)
        at = match.end(2)
    return ids, marks


def main():
    OUT.mkdir(exist_ok=True)
    make_tokenizers()
    tokenizer = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    template = chat_oracle.compile_template((TINY / "chat_template.jinja").read_text(encoding="utf-8"))
    with open(OUT / "examples.jsonl", "w", encoding="utf-8") as out:
        for record in RECORDS:
            ids, marks = expected(tokenizer, template, record)
            out.write(json.dumps({"record": record, "tokens": ids, "trained": marks}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
