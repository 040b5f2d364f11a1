#!/usr/bin/env python3
"""Trains the demo model from recipe.json (torch and transformers from PyPI, on a CPU).

    train.py --work DIR --model ../quern-demo
Stops at any time without loss: run it again with the same --work and it goes on. The batches of every
step come from data.py, so that another trainer can follow the same order.
"""
import argparse
import csv
import json
import math
import pathlib
import time

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import Qwen3Config, Qwen3ForCausalLM

import data

HERE = pathlib.Path(__file__).parent


def locate(stages, step):
    """(stage, its first step) of a step of the whole run."""
    first = 0
    for stage in stages:
        if step < first + stage["steps"]:
            return stage, first
        first += stage["steps"]
    raise SystemExit(f"step {step}: the recipe ends at {first}")


def rate(stage, final_share, step):
    """Share of the recipe's rates at a stage's step: linear warmup, flat, linear decay over the last decay_share."""
    if step < stage["warmup_steps"]:
        return stage["peak_share"] * (step + 1) / stage["warmup_steps"]
    decay, left = stage["decay_share"] * stage["steps"], stage["steps"] - step
    return stage["peak_share"] * (max(final_share, left / decay) if decay > left else 1.0)


def make_model(recipe, vocab, ids):
    torch.manual_seed(recipe["schedule"]["init_seed"])
    config = Qwen3Config(**{k: v for k, v in recipe["model"].items() if k != "architectures"}, vocab_size=vocab,
                         bos_token_id=None, eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"])
    config._attn_implementation = "sdpa"
    return Qwen3ForCausalLM(config).float().train()


def make_optimizers(model, s):
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    muon = torch.optim.Muon(hidden, lr=s["muon_lr"], momentum=s["muon_momentum"], weight_decay=s["muon_weight_decay"],
                            nesterov=True, adjust_lr_fn="original")
    adamw = torch.optim.AdamW(others, lr=s["adamw_lr"], betas=tuple(s["adamw_betas"]), weight_decay=s["adamw_weight_decay"])
    return [(muon, s["muon_lr"]), (adamw, s["adamw_lr"])]


def begun(entries, step):
    """The weight of the last of [[first step, weight], ...] that has begun."""
    return [w for first, w in entries if step >= first][-1]


def backward(model, batches, weight, verdict_weight, use_bf16):
    """Gradients of one step; returns the mean cross entropy of the target tokens. The loss adds `weight` times the
    mean over the prompts' tokens: what repeats in a prompt teaches copying early. Target tokens that say whether a tool
    is there count verdict_weight times: few tokens on which much depends. The means are over all batches of the step."""
    n_target = sum(int(target[:, 1:].sum()) for _, target, _, _ in batches)
    n_prompt = sum(int(prompt[:, 1:].sum()) for _, _, prompt, _ in batches)
    n_verdict = sum(int(verdict[:, 1:].sum()) for _, _, _, verdict in batches)
    total = 0.0
    for ids, target, prompt, verdict in batches:
        rows = target[:, 1:] | prompt[:, 1:] if weight else target[:, 1:]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=use_bf16):
            hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
            logits = model.lm_head(hidden[rows])
        each = F.cross_entropy(logits.float(), ids[:, 1:][rows], reduction="none")
        of_target = target[:, 1:][rows]
        total += each[of_target].sum().item() / n_target
        scale = 1 + (verdict_weight - 1) * verdict[:, 1:][rows][of_target]
        loss = (each[of_target] * scale).sum() / (n_target + (verdict_weight - 1) * n_verdict)
        if weight:
            loss = loss + weight * each[~of_target].sum() / n_prompt
        loss.backward()
    return total


def save(path, model, optimizers, step):
    state = {"step": step, "model": model.state_dict(), "optimizers": [o.state_dict() for o, _ in optimizers]}
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)


def export(model, directory):
    """model.safetensors in BF16 under Hugging Face's names, without the tied head."""
    tensors = {n: p.detach().to(torch.bfloat16).contiguous() for n, p in model.named_parameters()}
    save_file(tensors, str(directory / "model.safetensors"), metadata={"format": "pt"})


def schedule(recipe, directory, start, end):
    """(step, share of the rates, batches of the step) from step `start` to `end` of the whole run."""
    while start < end:
        stage, first = locate(recipe["stages"], start)
        upto = min(end, first + stage["steps"])
        for step, batch in data.Batches(recipe, directory, stage).from_step(start - first, upto - first):
            yield first + step, rate(stage, recipe["schedule"]["final_share"], step), batch
        start = upto


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="checkpoints and the loss log")
    parser.add_argument("--model", type=pathlib.Path, required=True, help="directory with tokenizer.json; the weights go here")
    parser.add_argument("--stop-at", type=int, help="stop after this step, to go on later")
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-bf16", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    recipe = json.loads((HERE / "recipe.json").read_text())
    stages, total = recipe["stages"], sum(stage["steps"] for stage in recipe["stages"])
    batches = data.Batches(recipe, args.model, stages[0])
    model = make_model(recipe, batches.vocab_size, batches.special)
    optimizers = make_optimizers(model, recipe["schedule"])
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    checkpoint, step = args.work / "checkpoint.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for (o, _), s in zip(optimizers, state["optimizers"]):
            o.load_state_dict(s)
        step = state["step"]
        print(f"going on at step {step}", flush=True)
    log = open(args.work / "loss.csv", "a", newline="")
    writer = csv.writer(log)
    started, tokens = time.time(), 0
    last = min(total, args.stop_at or total)
    for step, share, batch in schedule(recipe, args.model, step, last):
        for optimizer, lr in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * share
        value = backward(model, batch, begun(recipe["schedule"]["prompt_weight"], step),
                         begun(recipe["schedule"]["verdict_weight"], step), not args.no_bf16)
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe["schedule"]["clip_norm"])
        for optimizer, _ in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        size = sum(b[0].numel() for b in batch)
        tokens += size
        if not math.isfinite(value):
            raise SystemExit(f"step {step}: the loss is {value}")
        writer.writerow([step + 1, f"{value:.5f}", size, f"{time.time() - started:.1f}"])
        if (step + 1) % 10 == 0:
            log.flush()
            print(f"step {step + 1}/{total}  loss {value:.4f}  {tokens / (time.time() - started):,.0f} tok/s", flush=True)
        if (step + 1) % args.save_every == 0 or step + 1 == last:
            save(checkpoint, model, optimizers, step + 1)
            export(model, args.model)


if __name__ == "__main__":
    main()
