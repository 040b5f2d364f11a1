"""Makes tests/fixtures/qwen3-tiny/ and tests/golden/tokenizer/: small byte-level BPE tokenizers of the
forms that Quern reads, trained by Hugging Face's `tokenizers` on text made by mixed_text.py, and the
ids which `tokenizers` gives.

    python tests/golden/make_tokenizer.py [--check]      (needs tokenizers 0.23.3)

With --check nothing is written; exit code 1 when a file would change."""
import argparse
import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Tokenizer, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

import mixed_text

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"
GOLDEN = HERE / "tokenizer"
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


def gpt2(vocab_size, add_prefix_space=False, merges_as_strings=True):
    t = train(vocab_size - 1, None, byte_level(add_prefix_space), [AddedToken("<|endoftext|>", special=True)])
    t["post_processor"] = {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True}
    if merges_as_strings:
        t["model"]["merges"] = [" ".join(m) for m in t["model"]["merges"]]
    return t


def roberta():
    t = gpt2(400, add_prefix_space=True)
    for s in ("<s>", "</s>"):
        t["model"]["vocab"][s] = len(t["model"]["vocab"])
        t["added_tokens"].append(dict(t["added_tokens"][0], content=s, id=t["model"]["vocab"][s]))
    t["added_tokens"][0]["id"] = len(t["model"]["vocab"])
    ids = t["model"]["vocab"]
    t["post_processor"] = {"type": "RobertaProcessing", "sep": ["</s>", ids["</s>"]], "cls": ["<s>", ids["<s>"]],
                           "trim_offsets": True, "add_prefix_space": True}
    return t


def llama3():
    """With ignore_merges: words of the vocabulary that no merge makes are taken whole."""
    added = [AddedToken(s, normalized=False, special=True) for s in
             ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")]
    t = train(500, None, split_then_bytes(LLAMA3_PATTERN), [])
    vocab = t["model"]["vocab"]
    for word in ("Ġinternationalization", "attention", "ĠprobabilityX", "2024", "123", "Ġn", "ĠĠĠĠĠ", "好ä½ł"):
        vocab.setdefault(word, len(vocab))
    t["model"]["ignore_merges"] = True
    t["added_tokens"] = [dict(id=len(vocab) + i, content=a.content, single_word=False, lstrip=False, rstrip=False,
                              normalized=False, special=True) for i, a in enumerate(added)]
    bos = {"id": "<|begin_of_text|>", "ids": [len(vocab)], "tokens": ["<|begin_of_text|>"]}
    template = [{"SpecialToken": {"id": bos["id"], "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    t["post_processor"] = {"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        {"type": "TemplateProcessing", "single": template,
         "pair": template + [{"SpecialToken": {"id": bos["id"], "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
         "special_tokens": {bos["id"]: bos}}]}
    return t


def with_flags(normalizer):
    """Added tokens with every flag, beginning alike, in each other's way, and in need of the normal form."""
    t = train(360, normalizer, split_then_bytes(QWEN2_PATTERN), [
        AddedToken("<l>", lstrip=True, normalized=False), AddedToken("<r>", rstrip=True, normalized=False),
        AddedToken("<lr>", lstrip=True, rstrip=True, normalized=False, special=True),
        AddedToken("word", single_word=True, normalized=False), AddedToken("don't", single_word=True, normalized=True),
        AddedToken("ab", normalized=False), AddedToken("abcd", normalized=False), AddedToken("abcde", normalized=True),
        AddedToken("  ", normalized=False), AddedToken("caf\u00e9", normalized=True),
        AddedToken("e\u0301t\u00e9", normalized=True), AddedToken("\ufb01n", normalized=True, special=True),
        AddedToken("\u597d\u4f60", normalized=False), AddedToken("\u00e9\u00e8", normalized=False),
        AddedToken("\n\n", normalized=True, rstrip=True), AddedToken("the", normalized=True, lstrip=True, single_word=True)])
    t["post_processor"] = None
    return t


def with_pretokenizer(pre_tokenizer, normalizer=None):
    return train(360, normalizer, pre_tokenizer, [])


def split(pattern, behavior, invert=False):
    return pre_tokenizers.Split(pattern if isinstance(pattern, str) else pattern, behavior, invert=invert)


def without_bytes(unk, fuse):
    """Some bytes have no token: they become the unknown token, or vanish."""
    t = train(330, None, split_then_bytes(QWEN2_PATTERN), [])
    gone = set("\u00c3\u00a4qz\u00e4\u0122")
    t["model"]["merges"] = [m for m in t["model"]["merges"] if not gone & set("".join(m))]
    tokens = [k for k in t["model"]["vocab"] if not gone & set(k)] + (["<unk>"] if unk else [])
    t["model"]["vocab"] = {k: i for i, k in enumerate(tokens)}
    t["model"]["unk_token"], t["model"]["fuse_unk"] = ("<unk>" if unk else None), fuse
    return t


DEEPSEEK = [Regex(r"\p{N}{1,3}"), Regex("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
            Regex(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
                  r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")]
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]"
          r"|\s+(?!\S)|\s+")


def behaviors():
    raw = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([
        split(Regex(r"\w+"), "contiguous", invert=True), split("the", "merged_with_previous"),
        split(Regex(r"[,.;]"), "merged_with_next"), split(Regex(r"\d"), "isolated", invert=True),
        split("@", "removed"), split(Regex(r"x*"), "isolated"), pre_tokenizers.Digits(individual_digits=True), raw])


def tokenizers_to_make():
    raw = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return {
        "gpt2": gpt2(500), "gpt2-pairs": gpt2(300, merges_as_strings=False), "roberta": roberta(), "llama3": llama3(),
        "flags": with_flags(None), "flags-nfc": with_flags(normalizers.NFC()),
        "flags-nfkc": with_flags(normalizers.Sequence([normalizers.NFKD(), normalizers.NFKC()])),
        "nfd": with_pretokenizer(split_then_bytes(QWEN2_PATTERN), normalizers.NFD()),
        "nfkd": with_pretokenizer(split_then_bytes(LLAMA3_PATTERN), normalizers.Sequence([normalizers.NFKD()])),
        "behaviors": with_pretokenizer(behaviors()),
        "deepseek": with_pretokenizer(pre_tokenizers.Sequence([split(p, "isolated") for p in DEEPSEEK] + [raw])),
        "cl100k": with_pretokenizer(split_then_bytes(CL100K)),
        "prefix-space-in-sequence": with_pretokenizer(pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=False), byte_level(add_prefix_space=True)])),
        "unk": without_bytes(True, False), "unk-fused": without_bytes(True, True), "no-unk": without_bytes(False, False),
    }


TEXTS = [
    "", " ", "a", "Hello world", "Hello, world! It's 2024.", "  leading", "trailing  ", "\n", "\r\n\r\n", " \n \n", "\t\tx",
    "don't DON'T we'll WE'LL I'M you\u2019re '\u017f '\u017fx 'S'T 'llx 'rEx'Ve", "'", "''", "'s's", "x'", "a\u0301'd",
    "1234567890 12 3.14 \u0661\u0662\u0663 \u216b\u00bd\u00b2", "caf\u00e9 cafe\u0301 \u212b \ufb01n \uff46\uff55\uff4c\uff4c",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", "<|im_end|", "<<|im_end|>>", "<|im_end|><|im_end|>",
    "e<|im_end|>\u0301", "<|endoftext|>", "x <s> y</s>", "<|begin_of_text|><|start_header_id|>", "a  <l>  b  <r>  c  <lr>  d<lr><l> <r> <l>",
    "word words sword word, a word_ wordword \u00e9word word\u0301 word\u200d", "don't undon't don't.", "ababcd abcde abcd ab a b abcdeabcde",
    "e\u0301t\u00e9 \u00e9te\u0301 caf\u00e9s cafe\u0301 fin \ufb01n fi n", "the the other  the\tthe\u3000the", "a\n\n\n\nb \n\n c", "\u597d\u4f60\u597d \u00e9\u00e8e",
    "\u0130\u0131 \u212a \u00df \u1e9e \ufb06 '\ufb06", "\u1112\u1161\u11ab\u1100\u1173\u11af \ud55c\uae00 \uac00\u11a8 \uac00\u11a7 \u1100\u1161\u11a7",
    "q\u0307\u0323 q\u0323\u0307 \u0958 \u0344 \u0f73 \u0f75\u0f71 \u2adc \u1d15e \U0001d15e \U0001d1bf", "\u0301\u0301a\u0301", "a" + "\u0316\u0301" * 40,
    "\ua7f2\u32ff\U00010781\U0001e030 \U00011938 \U00011935\U00011930", "\U00031350\U0002ebf0 \U00010d4f \U00016d40",
    "\u4f60\u597d\u4e16\u754c\uff0c\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002\u6211\u4eec\u53bb\u516c\u56ed\u6563\u6b65\u5427\uff01", "\u3053\u3093\u306b\u3061\u306f \u304b\u3099 \u30d7\u30ed\u30b0\u30e9\u30df\u30f3\u30b0",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0650\u0633\u0652\u0645\u0650", "\u05e1\u05b5\u05e4\u05b6\u05e8", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 \U0001f1e9\U0001f1ea 1\ufe0f\u20e3", "\u00a0\u3000\u2003x \u2028y\u0085z \u180e w \x1c v",
    "\x00\x01\x7f a\x00b", "int main(void) {\n    return x[0] != y->z ? 1 : -1;\n}\n", "https://example.org/a?b=c&d=%20#e",
    "internationalization probability probabilityX attention 2024 1234     n", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", " " * 50, "=" * 37, "ab" * 60,
    "\u597d" * 40, "the@end, of;the.day xxthexx @@", "x" * 200 + "y", "\n" * 30 + "a", "na\u00efve qz\u00e4q\u0122 zzqq z", "\ufffd\ufffd",
]
BROKEN = [b"\xff", b"a\xc3", b"\xe4\xbd", b"\xe4\xbd\xe4\xbd\xa0", b"\xf0\x9f\x98 x", b"\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf",
          b"\xe0\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xc3(", b"<|im_end|>\xc3<|im_end|>", b"e\xcc\x81\xcc", b"\xf0\x9f\x98\xff"]


def texts():
    r = random.Random(11)
    made = [m(r) for m in (mixed_text.prose, mixed_text.code, mixed_text.other, mixed_text.wild, mixed_text.cjk,
                           mixed_text.emoji, mixed_text.spaces) * 3]
    return TEXTS + [m[:160] for m in made]


def golden(tokenizer_json):
    """What `tokenizers` makes of the texts; `plain`: with no added tokens at all."""
    t = Tokenizer.from_str(json.dumps(tokenizer_json))
    plain = Tokenizer.from_str(json.dumps(dict(tokenizer_json, added_tokens=[], post_processor=None)))
    r = random.Random(5)
    n = max(list(tokenizer_json["model"]["vocab"].values()) + [a["id"] for a in tokenizer_json["added_tokens"]]) + 1
    decoded = []
    for _ in range(12):
        ids = [r.randrange(n) for _ in range(r.randint(0, 30))]
        decoded.append({"ids": ids, "text": t.decode(ids, skip_special_tokens=False), "skipped": t.decode(ids)})
    with_special = t.encode(TEXTS[3], add_special_tokens=True).ids
    return {"n_ids": n, "with_special": with_special, "decoded": decoded,
            "ids": [t.encode(x, add_special_tokens=False).ids for x in texts()],
            "broken": [t.encode(x.decode("utf-8", "replace"), add_special_tokens=False).ids for x in BROKEN],
            "plain": [plain.encode(x, add_special_tokens=False).ids for x in TEXTS]}


def dump(t):
    """One line for the model, one for all else; the form of the merges is kept as it is."""
    return json.dumps(t, ensure_ascii=False, separators=(",", ":")).replace('"model":', '\n"model":') + "\n"


def dump_escaped(t):
    """As Python writes JSON by default, and with the members of the model in another order."""
    model = t["model"]
    late = {"merges": model["merges"], "vocab": model["vocab"], **{k: v for k, v in model.items() if k not in ("merges", "vocab")}}
    return json.dumps(dict({"model": late}, **{k: v for k, v in t.items() if k != "model"}), indent=1) + "\n"


def dump_golden(g):
    """A line for each list of ids."""
    return json.dumps(g, ensure_ascii=False, separators=(",", ":")).replace("],[", "],\n[").replace("]],", "]],\n") + "\n"


def files():
    tiny = qwen3(512)
    out = {FIXTURES / "qwen3-tiny" / "tokenizer.json": dump(tiny),
           GOLDEN / "qwen3-tiny.json": dump_golden(golden(tiny)),
           GOLDEN / "texts.json": json.dumps({"texts": texts(), "broken": [b.hex() for b in BROKEN], "n_plain": len(TEXTS)},
                                             ensure_ascii=False, indent=0) + "\n"}
    for name, t in tokenizers_to_make().items():
        out[GOLDEN / name / "tokenizer.json"] = dump_escaped(t) if name == "gpt2-pairs" else dump(t)
        out[GOLDEN / f"{name}.json"] = dump_golden(golden(t))
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    changed = []
    for path, text in files().items():
        if path.exists() and path.read_bytes() == text.encode():
            continue
        changed.append(str(path))
        if not args.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
    print("\n".join(f"changed: {c}" for c in changed) or "nothing changed")
    return 1 if args.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
