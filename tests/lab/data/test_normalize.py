import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from permtrain.errors import DataError, SettingError
from permtrain.lab.data.images import Split
from permtrain.lab.data.normalize import channel_statistics, mean_image, normalize

SHAPES = st.tuples(*[st.integers(1, 4)] * 4)


@given(hnp.arrays(np.uint8, SHAPES))
def test_against_numpy(images: np.ndarray) -> None:
    mean, std = channel_statistics(torch.from_numpy(images))
    scaled = images.astype(np.float64) / 255
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 2, 3)), atol=1e-12)
    np.testing.assert_allclose(std, scaled.std(axis=(0, 2, 3)), atol=1e-9)
    expected = (scaled - scaled.mean((0, 2, 3), keepdims=True)) / np.where(
        np.array(std) > 0, std, 1
    ).reshape(-1, 1, 1)
    found = normalize(torch.from_numpy(images), mean, std)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4)


def test_exact_where_floats_are_not() -> None:
    """Many equal pixels and one other: a running float32 sum loses the one."""
    images = torch.full((300, 1, 300, 300), 255, dtype=torch.uint8)
    images[0, 0, 0, 0] = 254
    (mean,), (std,) = channel_statistics(images)
    num = images.numel()
    assert mean == (255 * num - 1) / (255 * num)
    assert std == pytest.approx((1 / num - 1 / num**2) ** 0.5 / 255, rel=1e-15)


def test_a_constant_channel() -> None:
    images = torch.full((3, 2, 2, 2), 51, dtype=torch.uint8)
    images[0, 1] = 0
    mean, std = channel_statistics(images)
    assert (mean[0], std[0]) == (0.2, 0.0)
    assert normalize(images, mean, std)[:, 0].abs().max() < 1e-7
    other = torch.full((1, 2, 2, 2), 255, dtype=torch.uint8)
    assert normalize(other, mean, std)[0, 0].tolist() == [[pytest.approx(0.8)] * 2] * 2


@given(hnp.arrays(np.uint8, SHAPES))
def test_the_mean_image_against_numpy(images: np.ndarray) -> None:
    scaled = images.astype(np.float64) / 255
    mean = mean_image(torch.from_numpy(images))
    assert mean.dtype == torch.float32
    np.testing.assert_allclose(mean.numpy(), scaled.mean(0), atol=1e-7)
    found = normalize(torch.from_numpy(images), mean, [1.0] * images.shape[1])
    np.testing.assert_allclose(found.numpy(), scaled - scaled.mean(0), atol=3e-7)


def test_the_mean_image_is_exact() -> None:
    """A sum of 2**24 and more in float32 loses ones."""
    images = torch.full((70_000, 1, 1, 1), 255, dtype=torch.uint8)
    images[0] = 254
    assert mean_image(images).item() == torch.tensor(1 - 1 / (255 * 70_000)).item()


def test_what_a_split_is_normalised_with() -> None:
    images = torch.tensor([[0, 255, 51, 51], [255, 255, 0, 0]], dtype=torch.uint8)
    split = Split(images.reshape(2, 2, 1, 2), torch.zeros(2, dtype=torch.int64))
    mean, std = split.statistics("mean-image")
    assert torch.equal(mean, torch.tensor([[[0.5, 1.0]], [[0.1, 0.1]]]))
    assert std == (1.0, 1.0)
    mean, std = split.statistics("unit")
    assert normalize(images.reshape(2, 2, 1, 2), mean, std).flatten().tolist() == pytest.approx(
        [0, 1, 0.2, 0.2, 1, 1, 0, 0]
    )
    assert split.statistics() == split.statistics("z-score") == channel_statistics(split.images)


def test_a_mean_image_of_other_images() -> None:
    images = torch.zeros(1, 1, 2, 3, dtype=torch.uint8)
    with pytest.raises(SettingError, match=r"has the shape \(1, 3, 2\), the images \(1, 2, 3\)"):
        normalize(images, torch.zeros(1, 3, 2), [1.0])


def test_the_images_are_not_changed() -> None:
    images = torch.arange(8, dtype=torch.uint8).reshape(2, 1, 2, 2)
    normalize(images, (0.5,), (0.1,))
    assert images.flatten().tolist() == list(range(8))


def test_bad_images() -> None:
    with pytest.raises(DataError, match=r"uint8 of shape \(N, C, H, W\), got torch.float32"):
        channel_statistics(torch.zeros(1, 1, 1, 1))
    with pytest.raises(DataError, match=r"no mean of no pixels: .* \(0, 1, 2, 2\)"):
        channel_statistics(torch.zeros(0, 1, 2, 2, dtype=torch.uint8))
    with pytest.raises(DataError, match="no mean of no pixels"):
        mean_image(torch.zeros(0, 1, 2, 2, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.5, 0.5), (1.0,), "mean has 2 values; the images have 1 channels"),
        ((0.5,), (), "std has 0 values; the images have 1 channels"),
        ((float("nan"),), (1.0,), r"mean is \(nan,\); allowed: finite numbers"),
        ((0.5,), (-1.0,), r"std is \(-1.0,\); allowed: at least 0"),
    ],
)
def test_bad_settings(mean: tuple[float, ...], std: tuple[float, ...], message: str) -> None:
    with pytest.raises(SettingError, match=f"^{message}$"):
        normalize(torch.zeros(1, 1, 1, 1, dtype=torch.uint8), mean, std)
