import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from permtrain.errors import DataError, SettingError
from permtrain.lab.data import images as images_module
from permtrain.lab.data.images import Split
from permtrain.lab.data.order import batch_indices, permutation
from permtrain.lab.data.splits import carve_validation, limit


def numbered(num_images: int) -> Split:
    labels = torch.arange(num_images)
    return Split(labels.to(torch.uint8).reshape(-1, 1, 1, 1), labels)


@given(st.integers(2, 200), st.floats(0.01, 0.99), st.integers(0, 2**64 - 1))
def test_parts_are_disjoint_complete_and_in_order(num: int, fraction: float, seed: int) -> None:
    if not 0 < round(fraction * num) < num:
        return
    train, validation = carve_validation(numbered(num), fraction, seed)
    assert validation is not None
    assert len(validation) == round(fraction * num)
    both = torch.cat((train.labels, validation.labels))
    assert both.sort().values.tolist() == list(range(num))
    for part in (train, validation):
        assert (part.labels.diff() > 0).all()
        assert torch.equal(part.images.flatten().long(), part.labels % 256)


def test_the_choice_depends_on_the_seed_alone() -> None:
    chosen = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(chosen))
        _, validation = carve_validation(numbered(100), 0.1, seed)
        assert validation is not None
        chosen.append(validation.labels.tolist())
    assert chosen[0] == chosen[1] != chosen[2]
    assert chosen[0] != sorted(permutation(100, 0, 0)[:10].tolist())


def test_no_validation() -> None:
    split = numbered(5)
    train, validation = carve_validation(split, 0, seed=3)
    assert train is split
    assert validation is None


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 7, float("nan")])
def test_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(SettingError, match=rf"validation fraction is {fraction}; allowed: 0 <="):
        carve_validation(numbered(5), fraction, seed=0)


@pytest.mark.parametrize(("fraction", "num_validation"), [(0.01, 0), (0.99, 5)])
def test_a_part_without_images(fraction: float, num_validation: int) -> None:
    with pytest.raises(SettingError, match=f"{fraction} of 5 images is {num_validation} images"):
        carve_validation(numbered(5), fraction, seed=0)


def test_limit() -> None:
    assert limit(numbered(5), 2).labels.tolist() == [0, 1]
    assert len(limit(numbered(5), 50)) == 5
    with pytest.raises(SettingError, match="number of images is 0; allowed: at least 1"):
        limit(numbered(5), 0)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 1, 1), torch.arange(2), "images must be uint8 .* torch.float32"),
        (torch.zeros(2, 1, 1).byte(), torch.arange(2), r"got torch.uint8 of shape \(2, 1, 1\)"),
        (torch.zeros(2, 1, 1, 1).byte(), torch.arange(2).int(), "labels must be int64"),
        (torch.zeros(2, 1, 1, 1).byte(), torch.arange(3), "2 images but 3 labels"),
    ],
)
def test_a_split_checks_its_tensors(
    images: torch.Tensor, labels: torch.Tensor, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Split(images, labels)


def test_to_device() -> None:
    assert numbered(3).to("meta").images.device.type == "meta"


@pytest.mark.parametrize(("num_images", "batch_size", "first"), [(23, 4, 0), (23, 4, 2), (5, 9, 0)])
def test_batches_of_an_epoch_are_those_of_its_order(
    num_images: int, batch_size: int, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images_module, "_VALUES_AT_ONCE", 3 * batch_size * 4)  # three batches
    pixels = torch.arange(num_images * 4, dtype=torch.uint8).reshape(num_images, 1, 2, 2)
    split = Split(pixels, torch.arange(num_images))
    found = list(split.epoch_batches(batch_size, seed=1, epoch=2, first=first))
    expected = batch_indices(num_images, batch_size, seed=1, epoch=2)[first:]
    assert all(len(sizes) == 3 for _, _, sizes in found[:-1])
    assert [size for _, _, sizes in found for size in sizes] == [len(each) for each in expected]
    order = torch.cat(expected)
    assert torch.equal(torch.cat([labels for _, labels, _ in found]), order)
    assert torch.equal(torch.cat([images for images, _, _ in found]), pixels[order])


def test_all_images_in_order_in_parts_of_a_thousand() -> None:
    split = Split(torch.zeros(1001, 1, 1, 1, dtype=torch.uint8), torch.arange(1001))
    parts = [labels for _, labels in split.in_order()]
    assert [len(labels) for labels in parts] == [1000, 1]
    assert torch.equal(torch.cat(parts), split.labels)
