"""Makes tests/golden/train/: tiny models, what torch's autograd says of their gradients, and the losses of ten
steps of AdamW by torch, transformers and peft, in float32.

    python tests/golden/make_train.py [NAME ...]     (needs torch, transformers 5.23, peft, bitsandbytes, safetensors)

NAME/config.json, model.safetensors: the model. NAME/expected.safetensors: row.I.tokens, .labels, .is_prompt,
.starts; value.P and grad.P of every parameter P (values only for adapters); losses [10, 3] (answer, prompt,
gradient norm) of the ten steps.
"""
import json
import pathlib
import shutil
import sys
import warnings

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
OUT = pathlib.Path(__file__).resolve().parent / "train"
BASE = dict(vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=128, rope_theta=10000.0, rms_norm_eps=1e-6,
            initializer_range=0.15, tie_word_embeddings=False, attention_bias=False, hidden_act="silu")
WIDE = dict(hidden_size=64, intermediate_size=128, head_dim=16)
PROMPT_WEIGHT, STEPS = 0.3, 10
# The options the C test sets, too: tests/unit/train/test_golden.c.
LR, BETAS, EPS, DECAY, CLIP = 0.01, (0.9, 0.95), 1e-8, 0.1, 1.0
LION_LR = 0.002
LORA_PLUS_LR, LORA_PLUS_RATIO = 0.002, 8

CASES = {
    "dense": {},
    "tied": {"config": {"tie_word_embeddings": True}, "optimizers": ["muon", "lion", "adafactor"]},
    "qwen2": {"class": "Qwen2", "config": {"head_dim": None}},
    "moe": {"class": "Qwen3Moe", "config": {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
                                            "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []}},
    "lora": {"lora": {"r": 4, "lora_alpha": 8}, "optimizers": ["loraplus"]},
    "bflora": {"lora": {"r": 4, "lora_alpha": 8}, "bf16": True},
    "savedlora": {"lora": {"r": 4, "lora_alpha": 8, "target_modules": r".*\.(q|k|v|o|gate|down)_proj",
                           "exclude_modules": ["o_proj"], "rank_pattern": {"q_proj": 6, r"1\..*v_proj": 3},
                           "alpha_pattern": {"layers.0.mlp.down_proj": 5}, "modules_to_save": ["embed_tokens", "lm_head"]},
                  "config": {"tie_word_embeddings": True}},
    "moelora": {"class": "Qwen3Moe", "config": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
                                                "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []},
                "experts": {"r": 3, "lora_alpha": 6}},
    "rslora": {"lora": {"r": 4, "lora_alpha": 8, "use_rslora": True}, "class": "Qwen2", "config": {"head_dim": None}},
    "dora": {"lora": {"r": 4, "lora_alpha": 8, "use_dora": True}},
    "qlora": {"lora": {"r": 4, "lora_alpha": 8}, "nf4": True, "config": WIDE},
}


def rows(vocab):
    """Three rows of packed segments, with prompts and tokens that are not trained."""
    g = torch.Generator().manual_seed(5)
    out = []
    for lengths in ([7, 13, 5], [21], [3, 18]):
        n = sum(lengths)
        tokens = torch.randint(0, vocab, (n,), generator=g, dtype=torch.int32)
        labels, prompt, starts = torch.full((n,), -1, dtype=torch.int32), torch.zeros(n, dtype=torch.uint8), [0]
        for length in lengths:
            a, b = starts[-1], starts[-1] + length
            labels[a:b - 1] = tokens[a + 1:b]
            prompt[a:a + length // 3] = 1
            labels[a + 1] = -1
            starts.append(b)
        out.append((tokens, labels, prompt, torch.tensor(starts, dtype=torch.int32)))
    return out


def loss_of(model, data):
    """Each segment by itself: what packing must come to. Means over all rows."""
    sums = [0.0, 0.0]
    n = [sum(int(((l >= 0) & (p == which)).sum()) for _, l, p, _ in data) for which in (0, 1)]
    for tokens, labels, prompt, starts in data:
        for a, b in zip(starts[:-1].tolist(), starts[1:].tolist()):
            logits = model(input_ids=tokens[None, a:b].long(), use_cache=False).logits[0].float()
            each = F.cross_entropy(logits, labels[a:b].long().clamp(min=0), reduction="none")
            for which in (0, 1):
                sums[which] = sums[which] + each[(labels[a:b] >= 0) & (prompt[a:b] == which)].sum() / n[which]
    return sums[0] + PROMPT_WEIGHT * sums[1], float(sums[0]), float(sums[1])


def split_experts(name, tensor):
    """transformers' fused experts as one tensor an expert and matrix."""
    if name.endswith("experts.gate_up_proj"):
        base = name[:-len("gate_up_proj")]
        for e, both in enumerate(tensor):
            gate, up = both.chunk(2)
            yield f"{base}{e}.gate_proj.weight", gate
            yield f"{base}{e}.up_proj.weight", up
    elif name.endswith("experts.down_proj"):
        for e, w in enumerate(tensor):
            yield f"{name[:-len('down_proj')]}{e}.down_proj.weight", w
    else:
        yield name, tensor


def our_name(name):
    name = name.removeprefix("base_model.model.").replace(".base_layer", "").replace(".modules_to_save", "")
    name = name.replace(".default", "")
    if "lora_magnitude_vector" in name:
        name = name[:name.index("lora_magnitude_vector")] + "lora_magnitude_vector"
    return name


def quantize_nf4(model):
    """Puts the values of bitsandbytes' NF4 with double quantization in; returns its tensors."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit
    tensors = {}
    for name, p in model.named_parameters():
        tensors[name] = p.detach().clone()
        if name.endswith("_proj.weight"):
            codes, state = quantize_4bit(p.data, blocksize=64, compress_statistics=True, quant_type="nf4")
            p.data = dequantize_4bit(codes, state).to(torch.float32).reshape(p.shape)
            tensors[name] = codes
            tensors.update({f"{name}.{k}": v for k, v in state.as_dict(packed=True).items()})
    return tensors


def adapted(model, options):
    import peft
    options = {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], **options}
    config = peft.LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **options)
    model = peft.get_peft_model(model, config)
    g = torch.Generator().manual_seed(9)
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.data = 0.1 * torch.randn(p.shape, generator=g)
        if "lora_magnitude" in name:
            p.data = p.data * (1 + 0.2 * torch.randn(p.shape, generator=g))
    return model


class WithExpertAdapters(torch.nn.Module):
    """One adapter an expert and matrix, as transformers 4 and peft name them: y = (W + s B A) x, by autograd through
    the fused weights that transformers 5 computes with."""
    def __init__(self, model, r, lora_alpha):
        super().__init__()
        g = torch.Generator().manual_seed(9)
        self.inner, self.scale, self.names = [model], lora_alpha / r, []
        model.requires_grad_(False)
        for name, p in model.named_parameters():
            for full, w in split_experts(name, p):
                if ".experts." not in full:
                    continue
                for part, shape in (("lora_A", (r, w.shape[1])), ("lora_B", (w.shape[0], r))):
                    key = full.replace(".weight", f".{part}.weight")
                    self.names.append(key)
                    self.register_parameter(key.replace(".", "/"),
                                            torch.nn.Parameter(0.2 * torch.randn(shape, generator=g)))

    def named_parameters(self, *args, **kwargs):
        return iter([(n, getattr(self, n.replace(".", "/"))) for n in self.names])

    def change(self, module):
        part = dict(self.named_parameters())
        return self.scale * part[module + ".lora_B.weight"] @ part[module + ".lora_A.weight"]

    def forward(self, **kwargs):
        weights = {}
        for name, p in self.inner[0].named_parameters():
            base, _, last = name.rpartition(".")
            if last == "gate_up_proj":
                weights[name] = p + torch.stack([torch.cat([self.change(f"{base}.{e}.gate_proj"),
                                                            self.change(f"{base}.{e}.up_proj")]) for e in range(len(p))])
            elif name.endswith("experts.down_proj"):
                weights[name] = p + torch.stack([self.change(f"{base}.{e}.down_proj") for e in range(len(p))])
        return torch.func.functional_call(self.inner[0], weights, kwargs=kwargs)


def make_model(case, folder):
    torch.manual_seed(1)
    family = case.get("class", "Qwen3")
    values = {k: v for k, v in {**BASE, **case.get("config", {})}.items() if v is not None}
    config = getattr(transformers, family + "Config")(**values)
    config._attn_implementation = "eager"
    model = getattr(transformers, family + "ForCausalLM")(config).float()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 1:  # norms and biases that matter
                p.add_(0.2 * torch.randn(p.shape))
    tensors, quantization = {}, {}
    if case.get("nf4"):
        tensors = quantize_nf4(model)
        quantization = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True,
                                                "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
                                                "bnb_4bit_compute_dtype": "float32"}}
    else:
        for name, p in model.named_parameters():
            if case.get("bf16"):
                p.data = p.data.to(torch.bfloat16).float()
            tensors.update({n: t.detach().to(torch.bfloat16 if case.get("bf16") else torch.float32).clone().contiguous()
                            for n, t in split_experts(name, p)})
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    told = {**quantization, **values, "architectures": [family + "ForCausalLM"], "torch_dtype": "bfloat16" if case.get("bf16") else "float32",
            "model_type": {"Qwen3": "qwen3", "Qwen2": "qwen2", "Qwen3Moe": "qwen3_moe"}[family]}
    (folder / "config.json").write_text(json.dumps(told, indent=1) + "\n")
    if "lora" in case:
        model = adapted(model, case["lora"])
    if "experts" in case:
        model = WithExpertAdapters(model, **case["experts"])
    return model.train()


def adamw(model):
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    groups = [{"params": [p for n, p in named if p.ndim > 1], "weight_decay": DECAY}]
    plain = [p for n, p in named if p.ndim == 1]
    if plain:
        groups.append({"params": plain, "weight_decay": 0.0})
    return [torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS)]


def steps(model, data, all_optimizers):
    out = []
    for _ in range(STEPS):
        loss, answer, prompt = loss_of(model, data)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], CLIP)
        out.append([answer, prompt, float(norm)])
        for optimizer in all_optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return torch.tensor(out, dtype=torch.float64)


def newton_schulz_in_float32(grad, ns_coefficients, ns_steps, eps):
    """torch.optim.Muon's iteration, which torch runs in bfloat16."""
    a, b, c = ns_coefficients
    x = grad.float()
    if grad.size(0) > grad.size(1):
        x = x.T
    x = x / x.norm().clamp(min=eps)
    for _ in range(ns_steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x.T if grad.size(0) > grad.size(1) else x


class Lion(torch.optim.Optimizer):
    """Chen et al., Symbolic discovery of optimization algorithms, algorithm 2."""
    def __init__(self, groups):
        super().__init__(groups, dict(lr=LION_LR, weight_decay=0.0))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                update = torch.sign(BETAS[0] * m + (1 - BETAS[0]) * p.grad)
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * update)
                m.mul_(BETAS[1]).add_((1 - BETAS[1]) * p.grad)


def optimizers(kind, model):
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    tables = [p for n, p in model.named_parameters() if "embed" in n]
    plain = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": hidden + tables, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]
    if kind == "loraplus":
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        return [torch.optim.AdamW([{"params": [p for n, p in named if "lora_A" in n], "lr": LORA_PLUS_LR},
                                   {"params": [p for n, p in named if "lora_B" in n], "lr": LORA_PLUS_RATIO * LORA_PLUS_LR}],
                                  betas=BETAS, eps=EPS, weight_decay=DECAY)]
    if kind == "lion":
        return [Lion(groups)]
    if kind == "adafactor":
        return [torch.optim.Adafactor(groups, lr=LR)]
    import torch.optim._muon as muon
    muon._zeropower_via_newtonschulz = newton_schulz_in_float32
    rest = [{"params": tables, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]
    return [muon.Muon(hidden, lr=0.02, momentum=0.95, weight_decay=0.01, nesterov=True, adjust_lr_fn="original"),
            torch.optim.AdamW(rest, lr=LR, betas=BETAS, eps=EPS)]


def main():
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or list(CASES)
    for name in wanted:
        case, folder = CASES[name], OUT / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        model = make_model(case, folder)
        data = rows(BASE["vocab_size"])
        expected = {}
        for i, parts in enumerate(data):
            for key, value in zip(("tokens", "labels", "is_prompt", "starts"), parts):
                expected[f"row.{i}.{key}"] = value
        loss_of(model, data)[0].backward()
        for n, p in model.named_parameters():
            if not p.requires_grad:
                continue
            for full, g in split_experts(our_name(n), p.grad):
                expected["grad." + full] = g.clone().contiguous()
            if "lora" in case or "experts" in case:
                expected["value." + our_name(n)] = p.detach().clone().contiguous()
            p.grad = None
        expected["losses"] = steps(model, data, adamw(model))
        for kind in case.get("optimizers", []):
            model = make_model(case, folder)
            expected["losses." + kind] = steps(model, data, optimizers(kind, model))
        save_file(expected, str(folder / "expected.safetensors"))
        print(name, expected["losses"][:, 0].tolist()[::3])


if __name__ == "__main__":
    main()
