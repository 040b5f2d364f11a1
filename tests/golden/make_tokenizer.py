"""Makes tests/fixtures/qwen3-tiny/ and tests/golden/tokenizer/: small byte-level BPE tokenizers of the
forms that Quern reads, trained by Hugging Face's `tokenizers` on text made by mixed_text.py, and the
ids which `tokenizers` gives.

    python tests/golden/make_tokenizer.py [--check]      (needs tokenizers 0.23.3)

With --check nothing is written; exit code 1 when a file would change."""
import argparse
import json
import pathlib
import sys

from tokenizers import AddedToken, Tokenizer, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

import mixed_text

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"
QWEN2_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                 r"|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3_PATTERN = QWEN2_PATTERN.replace(r"\p{N}|", r"\p{N}{1,3}|")

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
           "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>"]
NOT_SPECIAL = ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
               "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"]
QWEN3_ADDED = ([AddedToken(s, normalized=False, special=True) for s in SPECIAL]
               + [AddedToken(s, normalized=False, special=False) for s in NOT_SPECIAL])


def split_then_bytes(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated", invert=False),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])


def byte_level(add_prefix_space=False, use_regex=True):
    return pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, trim_offsets=True, use_regex=use_regex)


def train(vocab_size, normalizer, pre_tokenizer, added, seed=1, size=200_000):
    t = Tokenizer(models.BPE())
    if normalizer is not None:
        t.normalizer = normalizer
    t.pre_tokenizer = pre_tokenizer
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    t.train_from_iterator([mixed_text.ordinary(seed, size)], trainer)
    for a in added:
        (t.add_special_tokens if a.special else t.add_tokens)([a])
    return json.loads(t.to_str())


def qwen3(vocab_size, **changes):
    t = train(vocab_size - len(QWEN3_ADDED), normalizers.NFC(), split_then_bytes(QWEN2_PATTERN), QWEN3_ADDED)
    t["post_processor"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    t["decoder"] = dict(t["post_processor"])
    t["model"].update({"continuing_subword_prefix": "", "end_of_word_suffix": ""})
    t.update(changes)
    return t


def dump(t):
    """One line an entry at most; the form of the merges is kept as it is."""
    return json.dumps(t, ensure_ascii=False, separators=(",", ":")).replace('"model":', '\n"model":') + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    files = {FIXTURES / "qwen3-tiny" / "tokenizer.json": dump(qwen3(512))}
    changed = []
    for path, text in files.items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        changed.append(str(path))
        if not args.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    print("\n".join(f"changed: {c}" for c in changed) or "nothing changed")
    return 1 if args.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
