"""Callbacks of Hugging Face's and Lightning's Trainer: arranged where used, exact where resumed.

Both are held against the same training in a plain loop.
"""

import logging
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from training_problem import assert_same, weights_of

from permtrain import IndexOptimizer, LaPerm, verify
from permtrain.errors import ChangedWeightsError, CheckpointError

# The frameworks' own warnings are theirs; ours are errors.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.filterwarnings("error:.*permtrain")]

METHODS = {
    "laperm": partial(LaPerm, sync_period=4),
    "index-4": partial(IndexOptimizer, sync_period=4, granularity="neuron"),
    "index": IndexOptimizer,
}
NUM_STEPS, STEPS_PER_EPOCH = 9, 3


@pytest.fixture(params=METHODS)
def attach(request):
    return METHODS[request.param]


class Net(nn.Module):
    """Answers as Trainers ask: from `x` and `labels`, with a loss."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3))

    def forward(self, x, labels):
        logits = self.layers(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def examples():
    generator = torch.Generator().manual_seed(0)
    return [
        {"x": torch.randn(12, generator=generator), "labels": torch.tensor(i % 3)}
        for i in range(4 * STEPS_PER_EPOCH)
    ]


def optimizer_of(model):
    return torch.optim.Adam(model.parameters(), lr=0.02)


def by_hand(attach, num_steps=NUM_STEPS):
    """The weights after a plain loop over the same batches, arranged."""
    model = Net()
    optimizer = optimizer_of(model)
    permuter = attach(optimizer, model=model)
    data = examples()
    for step in range(num_steps):
        first = 4 * (step % STEPS_PER_EPOCH)
        batch = data[first : first + 4]
        optimizer.zero_grad()
        out = model(
            torch.stack([each["x"] for each in batch]),
            torch.stack([each["labels"] for each in batch]),
        )
        out["loss"].backward()
        optimizer.step()
    permuter.synchronize()
    return weights_of(model)


class HuggingFace:
    """A training by its Trainer; evaluated every step, a checkpoint every 3 steps."""

    def __init__(self, folder: Path, attach, **own) -> None:
        pytest.importorskip("accelerate")
        transformers = pytest.importorskip("transformers")
        from permtrain.integrations.transformers import PermuterCallback

        logging.getLogger("transformers").setLevel(logging.ERROR)
        self.callback = PermuterCallback(attach)
        self.model = Net()
        self.start = weights_of(self.model)
        self.seen: list[bool] = []

        class InOrder(transformers.Trainer):
            def _get_train_sampler(self, *_):
                return torch.utils.data.SequentialSampler(self.train_dataset)

        settings = {
            "output_dir": str(folder), "max_steps": NUM_STEPS, "per_device_train_batch_size": 4,
            "save_strategy": "steps", "save_steps": 3, "eval_strategy": "steps", "eval_steps": 1,
            "max_grad_norm": 0.0, "use_cpu": True, "report_to": [], "disable_tqdm": True,
            "logging_strategy": "no", "remove_unused_columns": False,
        }  # fmt: skip
        optimizer = optimizer_of(self.model)
        self.trainer = InOrder(
            self.model,
            transformers.TrainingArguments(**(settings | own)),
            train_dataset=examples(),
            eval_dataset=examples()[:4],
            optimizers=(optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)),
            callbacks=[self.callback],
            compute_metrics=self._look,
        )

    def _look(self, _):
        self.seen.append(bool(verify(self.model, self.start, granularity="any")))
        return {"never_better": float(len(self.seen))}

    def train(self, resume_from: Path | None = None):
        self.trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
        return self

    def checkpoint(self, step: int) -> Path:
        return Path(self.trainer.args.output_dir) / f"checkpoint-{step}"

    @staticmethod
    def weights_in(checkpoint: Path):
        from safetensors.torch import load_file

        return load_file(checkpoint / "model.safetensors")

    def without_its_state(self, checkpoint: Path) -> Path:
        (checkpoint / "permuter.pt").unlink()
        return checkpoint


class Lightning:
    """A training by its Trainer; validated every step, a checkpoint every 3 steps."""

    def __init__(self, folder: Path, attach) -> None:
        pl = pytest.importorskip("lightning.pytorch")
        from lightning.pytorch.callbacks import ModelCheckpoint

        from permtrain.integrations.lightning import PermuterCallback

        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.ERROR)
        seen: list[bool] = []
        self.seen = seen
        self.callback = PermuterCallback(attach)

        class Module(pl.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.net = Net()
                self.start = weights_of(self)

            def training_step(self, batch, _):
                return self.net(**batch)["loss"]

            def validation_step(self, batch, _):
                seen.append(bool(verify(self, self.start, granularity="any")))

            def configure_optimizers(self):
                return optimizer_of(self)

        self.module = Module()
        self.model = self.module.net
        self.folder = folder
        self.trainer = pl.Trainer(
            max_steps=NUM_STEPS, accelerator="cpu", logger=False, enable_progress_bar=False,
            enable_model_summary=False, val_check_interval=1, num_sanity_val_steps=0,
            callbacks=[
                self.callback,
                ModelCheckpoint(folder, "{step}", every_n_train_steps=3, save_top_k=-1),
            ],
        )  # fmt: skip

    def train(self, resume_from: Path | None = None):
        loader = torch.utils.data.DataLoader(examples(), batch_size=4)
        one = torch.utils.data.DataLoader(examples()[:4], batch_size=4)
        self.trainer.fit(self.module, loader, one, ckpt_path=resume_from, weights_only=True)
        return self

    def checkpoint(self, step: int) -> Path:
        return self.folder / f"step={step}.ckpt"

    @staticmethod
    def weights_in(checkpoint: Path):
        state = torch.load(checkpoint)["state_dict"]
        return {name.removeprefix("net."): weight for name, weight in state.items()}

    def without_its_state(self, checkpoint: Path) -> Path:
        state = torch.load(checkpoint)
        del state["permtrain"]
        torch.save(state, checkpoint)
        return checkpoint


@pytest.fixture(params=[HuggingFace, Lightning])
def framework(request):
    return request.param


def test_evaluation_and_checkpoints_see_arranged_weights_and_training_does_not(
    framework, attach, tmp_path
):
    run = framework(tmp_path, attach).train()
    assert len(run.seen) == NUM_STEPS
    assert all(run.seen)
    assert_same(weights_of(run.model), by_hand(attach))
    assert run.callback.permuter.num_steps == NUM_STEPS
    for step in (3, 6, 9):
        assert_same(run.weights_in(run.checkpoint(step)), by_hand(attach, step))


def test_a_training_goes_on_from_a_checkpoint_bit_for_bit(framework, attach, tmp_path):
    first = framework(tmp_path, attach).train()
    again = framework(tmp_path, attach).train(first.checkpoint(6))
    assert len(again.seen) == NUM_STEPS - 6
    assert again.callback.permuter.num_steps == NUM_STEPS
    assert_same(weights_of(again.model), weights_of(first.model))


def test_a_checkpoint_without_the_permuters_state_is_refused(framework, tmp_path):
    first = framework(tmp_path, METHODS["laperm"]).train()
    bare = first.without_its_state(first.checkpoint(6))
    with pytest.raises(CheckpointError, match="made with this callback"):
        framework(tmp_path, METHODS["laperm"]).train(bare)


def test_lightnings_tuner_goes_back_to_the_beginning(attach, tmp_path):
    run = Lightning(tmp_path, attach)
    from lightning.pytorch.tuner import Tuner

    run.module.lr = 0.02
    loader = torch.utils.data.DataLoader(examples(), batch_size=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a search that saw too little
        Tuner(run.trainer).lr_find(
            run.module, loader, num_training=4, update_attr=False, early_stop_threshold=None
        )
    assert_same(weights_of(run.train().model), by_hand(attach))


def test_of_a_checkpoint_in_another_folder_the_callback_is_told(tmp_path):
    first = HuggingFace(tmp_path / "first", METHODS["laperm"]).train()
    again = HuggingFace(tmp_path / "again", METHODS["laperm"])
    with pytest.raises(
        CheckpointError, match=r"goes on at step 6, and there is no permuter\.pt in"
    ):
        again.train(first.checkpoint(6))
    again.callback.resume_from = first.checkpoint(6)
    again.train(first.checkpoint(6))
    assert_same(weights_of(again.model), weights_of(first.model))


def test_the_optimizer_is_a_plain_one_after_training(framework, attach, tmp_path):
    run = framework(tmp_path, attach).train()
    assert not run.callback.permuter.optimizer._optimizer_step_pre_hooks


BEST = {
    "load_best_model_at_end": True,
    "metric_for_best_model": "never_better",
    "greater_is_better": False,
}


@pytest.mark.parametrize(("strategy", "best"), [("steps", 3), ("best", 1)])
def test_the_best_model_is_loaded_and_is_a_permutation(attach, tmp_path, strategy, best):
    run = HuggingFace(tmp_path, attach, **BEST, save_strategy=strategy, eval_steps=best).train()
    assert all(run.seen)
    assert_same(weights_of(run.model), by_hand(attach, best))
    assert verify(run.model, run.callback.permuter)


def test_a_best_model_that_is_no_permutation_is_refused(tmp_path, monkeypatch):
    run = HuggingFace(tmp_path, METHODS["laperm"], **BEST, eval_steps=3)

    def load_others():
        run.model.load_state_dict(Net(7).state_dict())

    monkeypatch.setattr(run.trainer, "_load_best_model", load_others)
    with pytest.raises(ChangedWeightsError, match=r"the best model, .*, holds no permutation"):
        run.train()


def test_accelerate_saves_a_permuter_that_is_registered_and_goes_on_bit_for_bit(attach, tmp_path):
    accelerate = pytest.importorskip("accelerate")

    def started(seed):
        accelerator = accelerate.Accelerator(cpu=True)
        model = Net(seed)
        model, optimizer = accelerator.prepare(model, optimizer_of(model))
        permuter = attach(optimizer, model=model)
        accelerator.register_for_checkpointing(permuter)
        return accelerator, model, optimizer, permuter

    def train(accelerator, model, optimizer, steps):
        data = examples()
        for step in steps:
            first = 4 * (step % STEPS_PER_EPOCH)
            batch = torch.utils.data.default_collate(data[first : first + 4])
            optimizer.zero_grad()
            accelerator.backward(model(**batch)["loss"])
            optimizer.step()

    *first, _ = started(0)
    train(*first, range(6))
    first[0].save_state(str(tmp_path))
    *again, permuter = started(7)
    again[0].load_state(str(tmp_path))
    train(*again, range(6, NUM_STEPS))
    permuter.synchronize()
    assert_same(weights_of(again[1]), by_hand(attach))
