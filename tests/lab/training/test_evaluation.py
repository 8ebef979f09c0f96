"""Evaluation, batch norm measured anew, and travel, against hand computations."""

import pytest
import torch
from run_problem import net_with_dropout
from torch import nn
from training_problem import assert_same, weights_of

from permtrain.core.cut import Cut
from permtrain.core.vectors import vectors_of
from permtrain.errors import ProfileError
from permtrain.lab.data import images as images_module
from permtrain.lab.data.images import Split
from permtrain.lab.training.evaluation import Scale, evaluate, with_measured_batch_norm
from permtrain.lab.training.travel import travel_between


def split_of(num: int, size: int = 8) -> Split:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (num, 1, size, size), generator=generator, dtype=torch.uint8)
    return Split(images, torch.randint(0, 3, (num,), generator=generator))


def test_evaluate_by_hand() -> None:
    images = torch.tensor([[0.0, 255.0], [255.0, 0.0], [255.0, 255.0]]).to(torch.uint8)
    split = Split(images.reshape(3, 1, 1, 2), torch.tensor([1, 1, 0]))
    model = nn.Flatten()  # the logits are the two normalised pixels, -1 and 1
    score = evaluate(model, split, Scale([0.5], [0.5]))
    right, wrong, tie = (torch.tensor(x).exp() for x in (2.0, -2.0, 0.0))
    losses = [torch.log1p(1 / x) for x in (right, wrong, tie)]
    assert score.loss == pytest.approx(float(sum(losses)) / 3, rel=1e-6)
    assert score.accuracy == 2 / 3  # of equal logits the first one counts


def test_evaluate_in_parts_is_evaluate_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, split, scale = net_with_dropout((1, 8, 8), 3), split_of(25), Scale([0.4], [0.3])
    at_once = evaluate(model, split, scale)
    monkeypatch.setattr(images_module, "_EVALUATED_AT_ONCE", 10)
    in_parts = evaluate(model, split, scale)
    assert in_parts.accuracy == at_once.accuracy
    assert in_parts.loss == pytest.approx(at_once.loss, rel=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_leaves_no_trace(training: bool) -> None:
    model = net_with_dropout((1, 8, 8), 3).train(training)
    before, generator = weights_of(model), torch.get_rng_state()
    evaluate(model, split_of(20), Scale([0.4], [0.3]))
    assert model.training is training
    assert_same(weights_of(model), before)
    assert torch.equal(torch.get_rng_state(), generator)


def test_bfloat16_rounds_the_logits() -> None:
    model, split, scale = net_with_dropout((1, 8, 8), 3), split_of(20), Scale([0.4], [0.3])
    exact, rounded = (evaluate(model, split, scale, bfloat16=b) for b in (False, True))
    assert exact.loss != rounded.loss
    assert rounded.loss == pytest.approx(exact.loss, rel=0.02)


@pytest.mark.parametrize("training", [True, False])
def test_measured_batch_norm_is_a_copy_and_leaves_no_trace(
    training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images_module, "_EVALUATED_AT_ONCE", 10)
    model = net_with_dropout((1, 8, 8), 3).train(training)
    split, scale = split_of(30), Scale([0.4], [0.3])
    before, generator = weights_of(model), torch.get_rng_state()
    measured = with_measured_batch_norm(model, split, scale, num_images=20)
    assert_same(weights_of(model), before)
    assert torch.equal(torch.get_rng_state(), generator)
    assert [module.training for module in model.modules()] == [training] * 7
    norm = measured[1]
    with torch.no_grad():
        maps = [measured[0](scale(split.images[i : i + 10])) for i in (0, 10)]
    mean = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)
    var = torch.stack([m.var((0, 2, 3), unbiased=True) for m in maps]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, var)
    assert norm.momentum == 0.1
    with torch.no_grad():
        measured[0].weight.zero_()
    assert_same(weights_of(model), before)


def test_travel_by_hand() -> None:
    before = {
        "a": torch.tensor([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]]),
        "b": torch.tensor([10.0, 20.0, 30.0]),
        "left alone": torch.zeros(2),
    }
    after = {
        # One cycle of three, ranks changed by 1, 1 and 2; and two cycles of two, each rank by 1.
        "a": torch.tensor([[2.0, 3.0, 1.0, 4.0], [3.0, 4.0, 1.0, 2.0]]),
        "b": torch.tensor([30.0, 20.0, 10.0]),  # one cycle of two, each rank by 2
        "left alone": torch.ones(2),
    }
    cuts = {"a": Cut("neuron").of((2, 4)), "b": Cut("layer").of((3,))}
    born = vectors_of(before, cuts)
    travel = travel_between(born, vectors_of(after, cuts), cuts)
    assert travel.moved_fraction == (3 + 4 + 2) / 11
    assert travel.num_cycles == 4
    assert travel.mean_ranking_distance == pytest.approx((8 / 4 + 4 / 3) / 11, rel=1e-12)
    still = travel_between(born, born, cuts)
    assert (still.moved_fraction, still.mean_ranking_distance, still.num_cycles) == (0, 0, 0)


def test_travel_of_other_values_is_refused() -> None:
    cut = {"a": Cut("neuron").of((1, 3))}
    with pytest.raises(ProfileError):
        travel_between({"a": torch.tensor([[1.0, 2, 3]])}, {"a": torch.tensor([[1.0, 2, 4]])}, cut)
