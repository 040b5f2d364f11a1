#!/usr/bin/env python3
"""Completes the model directory: config.json, generation_config.json, tokenizer_config.json.

    export.py --model ../quern-demo      (after train_tokenizer.py; train.py writes the weights)
"""
import argparse
import json
import pathlib

from train_tokenizer import ADDED, SPECIAL

HERE = pathlib.Path(__file__).parent


def write(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    args = parser.parse_args()
    recipe = json.loads((HERE / "recipe.json").read_text())
    tokenizer = json.loads((args.model / "tokenizer.json").read_text(encoding="utf-8"))
    ids = {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
    write(args.model / "config.json", {
        **recipe["model"], "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"], "torch_dtype": "bfloat16", "vocab_size": recipe["tokenizer"]["vocab_size"]})
    write(args.model / "generation_config.json", {
        "bos_token_id": ids["<|endoftext|>"], "do_sample": False, "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        "pad_token_id": ids["<|endoftext|>"]})
    write(args.model / "tokenizer_config.json", {
        "add_prefix_space": False,
        "added_tokens_decoder": {str(t["id"]): {k: t[k] for k in ("content", "lstrip", "normalized", "rstrip", "single_word", "special")}
                                 for t in tokenizer["added_tokens"]},
        "additional_special_tokens": SPECIAL[1:], "bos_token": None, "clean_up_tokenization_spaces": False,
        "chat_template": (args.model / "chat_template.jinja").read_text(encoding="utf-8"),
        "eos_token": "<|im_end|>", "errors": "replace", "model_max_length": recipe["model"]["max_position_embeddings"],
        "pad_token": "<|endoftext|>", "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None})
    assert len(ids) == len(SPECIAL) + len(ADDED)


if __name__ == "__main__":
    main()
