"""One step of LoRA or full training by torch, transformers and peft, to stand beside bench_train.

    python bench/peers/train_torch.py DIR [full|lora [TOKENS [STEPS [bf16|f32 [eager|compile [keep|checkpointing]]]]]]
"""
import os
import resource
import sys
import time

sys.path.remove(os.path.dirname(os.path.abspath(__file__)))  # tokenizers.py there is a peer, too
import torch
import transformers

args = sys.argv[1:] + [None] * 7
directory, method, tokens, steps = args[0], args[1] or "lora", int(args[2] or 512), int(args[3] or 3)
dtype = torch.float32 if args[4] == "f32" else torch.bfloat16
torch.set_num_threads(2)
model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=dtype)
if method == "lora":
    import peft
    model = peft.get_peft_model(model, peft.LoraConfig(
        task_type="CAUSAL_LM", r=16, lora_alpha=32, lora_dropout=0.0,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]))
if args[6] == "checkpointing":
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
model.train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
run = torch.compile(model) if args[5] == "compile" else model
torch.manual_seed(1)
ids = torch.randint(0, 50000, (1, tokens))
best = 1e9
for step in range(steps):
    start = time.time()
    loss = run(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    took = time.time() - start
    best = min(best, took)
    print(f"step {step + 1}: loss {float(loss):.4f}, {took:.3f} s, {tokens / took:.1f} tokens/s", flush=True)
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(f"best {tokens / best:.1f} tokens/s; peak RSS {rss:.2f} GB; {' '.join(sys.argv[2:])}")
