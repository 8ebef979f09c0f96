"""Adapters of peft on a small GPT-2: only they are trained, by moving their weights."""

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, set_seed

from permtrain import LaPerm, Verification, verify

TEXT = "the quick brown fox jumps over the lazy dog. " * 20


def main(num_steps: int = 60) -> Verification:
    set_seed(0)
    letters = sorted(set(TEXT))
    ids = torch.tensor([letters.index(each) for each in TEXT])
    config = GPT2Config(
        vocab_size=len(letters), n_positions=32, n_embd=48, n_layer=2, n_head=2,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    lora = LoraConfig(r=8, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True)
    model = get_peft_model(GPT2LMHeadModel(config), lora)
    adapters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for name, weight in adapters.items():
        if "lora_B" in name:  # born as zeros, which no permutation changes
            nn.init.normal_(weight, std=0.05)
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}

    optimizer = torch.optim.Adam(adapters.values(), lr=5e-3)
    permuter = LaPerm(optimizer, sync_period=10, model=model)
    for step in range(num_steps):
        starts = torch.randint(len(ids) - 32, (16,))
        batch = torch.stack([ids[start : start + 32] for start in starts])
        optimizer.zero_grad()
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(f"step {step}: loss {loss.item():.3f}")
    permuter.synchronize()

    own = dict(model.named_parameters())
    assert all(torch.equal(own[name], weight) for name, weight in frozen.items())
    assert permuter.cuts.keys() == adapters.keys()
    return verify(model, permuter)


if __name__ == "__main__":
    print(main())
