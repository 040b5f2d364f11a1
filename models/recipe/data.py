"""From the recipe to the batches of every step: examples, their tokens, which tokens are trained, and the order.

Order: examples in the generator's order are cut into windows of window_examples; a window is sorted by length
(ties by index) and cut into batches of at most batch_tokens tokens including padding; the window's batches are
shuffled by make_rng("quern-demo", "order", seed, window), and batches_per_step of them in a row, of mixed lengths,
make a step (what is left of a window is dropped). When the examples run out, the next epoch continues with
the windows of a new data seed (seed + epoch), so that no conversation is seen twice. A stage of the recipe has its own data seed and mix; its steps count from 0.
"""
import json
import pathlib

import torch
from tokenizers import Tokenizer
from transformers.utils.chat_template_utils import _compile_jinja_template

from base import make_rng
from generate import make, SKILLS

HERE = pathlib.Path(__file__).parent


class Renderer:
    """Text of an example, split where training begins."""

    def __init__(self, directory):
        self.template = _compile_jinja_template((pathlib.Path(directory) / "chat_template.jinja").read_text())

    def render(self, item):
        """(prompt, target)"""
        if "text" in item:
            return item["text"], item["target"] + "<|endoftext|>"
        options = {"tools": item.get("tools"), "enable_thinking": item["thinking"]}
        prompt = self.template.render(messages=item["messages"][:-1], add_generation_prompt=True, **options)
        whole = self.template.render(messages=item["messages"], add_generation_prompt=False, **options)
        if not whole.startswith(prompt):
            raise ValueError(f"the prompt is no prefix of the conversation:\n{prompt}\n---\n{whole}")
        return prompt, whole[len(prompt):].removesuffix("\n")


class Batches:
    def __init__(self, recipe, directory, stage):
        self.recipe, self.stage = recipe, stage
        self.renderer = Renderer(directory)
        self.tokenizer = Tokenizer.from_file(str(pathlib.Path(directory) / "tokenizer.json"))
        self.vocab_size = self.tokenizer.get_vocab_size()
        self.special = {t: self.tokenizer.token_to_id(t) for t in ("<|im_end|>", "<|endoftext|>", "<think>")}
        self.opening = self.tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False).ids
        self.comma = self.tokenizer.encode('x",', add_special_tokens=False).ids[-1]
        self.verdicts = {self.tokenizer.encode(w, add_special_tokens=False).ids[0] for w in (" found", " missing")}
        self.names = sorted(SKILLS)
        self.weights = [stage["mix"].get(n, SKILLS[n][1]) for n in self.names]

    def example(self, seed, index):
        name = make_rng("quern-demo", "mix", seed, index).choices(self.names, self.weights)[0]
        prompt, target = self.renderer.render(make(name, "train", seed, index))
        prompt_ids = self.tokenizer.encode(prompt, add_special_tokens=False).ids
        return prompt_ids, self.tokenizer.encode(target, add_special_tokens=False).ids

    def window(self, number):
        """The batches of one window, each a list of examples."""
        data, order = self.recipe["data"], self.recipe["order"]
        size = order["window_examples"]
        per_epoch = data["train_examples"] // size
        seed, first = self.stage["seed"] + number // per_epoch, number % per_epoch * size
        items = [self.example(seed, first + i) for i in range(size)]
        items.sort(key=lambda e: len(e[0]) + len(e[1]))
        batches, batch = [], []
        for item in items:  # ascending: the newest item sets the padded length
            if batch and (len(batch) + 1) * (len(item[0]) + len(item[1])) > order["batch_tokens"]:
                batches.append(batch)
                batch = []
            batch.append(item)
        batches.append(batch)
        make_rng("quern-demo", "order", order["seed"], number).shuffle(batches)
        return batches

    def first_words(self, prompt):
        """Where earlier answers begin. The template drops their thoughts: what would be learned there is to answer
        without one."""
        n = len(self.opening)
        return [i for i in range(n, len(prompt)) if prompt[i - n:i] == self.opening and prompt[i] != self.special["<think>"]]

    def tensors(self, batch):
        """Ids padded to the longest row, which of them are the target, the prompt, and those of the target that say
        whether a tool is there."""
        width = max(len(p) + len(t) for p, t in batch)
        ids = torch.full((len(batch), width), self.special["<|endoftext|>"])
        target = torch.zeros((len(batch), width), dtype=torch.bool)
        prompt = torch.zeros((len(batch), width), dtype=torch.bool)
        verdict = torch.zeros((len(batch), width), dtype=torch.bool)
        for row, (p, t) in enumerate(batch):
            verdict[row, [len(p) + i for i in range(1, len(t)) if t[i - 1] == self.comma and t[i] in self.verdicts]] = True
            ids[row, :len(p) + len(t)] = torch.tensor(p + t)
            prompt[row, :len(p)] = True
            prompt[row, self.first_words(p)] = False
            target[row, len(p):len(p) + len(t)] = True
        return ids, target, prompt, verdict

    def from_step(self, start, end):
        """(step, [(ids, target mask, prompt mask, verdict mask), ...]) for steps in [start, end)."""
        step, number, n = 0, 0, self.recipe["order"]["batches_per_step"]
        while step < end:
            batches = self.window(number)
            number += 1
            for i in range(0, len(batches) - n + 1, n):
                if start <= step < end:
                    yield step, [self.tensors(b) for b in batches[i:i + n]]
                step += 1
