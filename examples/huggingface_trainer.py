"""Hugging Face's Trainer on a small GPT-2 made from its config: one callback."""

import tempfile
from functools import partial

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

from permtrain import LaPerm, Verification, describe, initialize_, verify
from permtrain.integrations.transformers import PermuterCallback

TEXT = "the quick brown fox jumps over the lazy dog. " * 60


def main(num_steps: int = 60) -> Verification:
    set_seed(0)
    letters = sorted(set(TEXT))
    ids = torch.tensor([letters.index(each) for each in TEXT])
    pieces = [ids[start : start + 32] for start in range(0, len(ids) - 32, 8)]
    data = [{"input_ids": each, "labels": each} for each in pieces]

    config = GPT2Config(
        vocab_size=len(letters), n_positions=32, n_embd=48, n_layer=2, n_head=2,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    initialize_(model, "kaiming_uniform", seed=0)
    print(describe(model))

    callback = PermuterCallback(partial(LaPerm, sync_period=10))  # the one line
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, max_steps=num_steps, per_device_train_batch_size=16, learning_rate=5e-3,
            lr_scheduler_type="cosine", warmup_steps=5, eval_strategy="steps", eval_steps=30,
            save_strategy="steps", save_steps=30, load_best_model_at_end=True, report_to=[],
            use_cpu=True, disable_tqdm=True, seed=0,
        )  # fmt: skip
        trainer = Trainer(
            model, arguments, train_dataset=data, eval_dataset=data[:32], callbacks=[callback]
        )
        trainer.train()
        print(f"loss: {trainer.evaluate()['eval_loss']:.3f}")
    return verify(model, callback.permuter)


if __name__ == "__main__":
    print(main())
