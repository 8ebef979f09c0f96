from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage

from permtrain.errors import SettingError
from permtrain.lab.data.augment import (
    Augmentation,
    Draws,
    augment,
    augmentation_generator,
    draw,
    warp,
)

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
EVERYTHING = Augmentation(
    rotation_degrees=40, shift_fraction=0.3, zoom_fraction=0.4, horizontal_flip=True
)


def keras_reference(
    image: npt.NDArray[Any], theta: float, tx: float, ty: float, zx: float, zy: float
) -> npt.NDArray[Any]:
    """One image (C, H, W), step by step as Keras' `apply_affine_transform` describes it."""
    rotation = np.array(
        [[np.cos(theta), -np.sin(theta), 0], [np.sin(theta), np.cos(theta), 0], [0, 0, 1]]
    )
    shift = np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
    zoom = np.diag([zx, zy, 1])
    height, width = image.shape[1:]
    to_centre, back = np.eye(3), np.eye(3)
    to_centre[:2, 2] = height / 2 - 0.5, width / 2 - 0.5
    back[:2, 2] = -to_centre[:2, 2]
    matrix = to_centre @ rotation @ shift @ zoom @ back
    return np.stack(
        [
            ndimage.affine_transform(
                channel, matrix[:2, :2], matrix[:2, 2], order=1, mode="nearest"
            )
            for channel in image
        ]
    )


def still(num_images: int, **changes: torch.Tensor) -> Draws:
    zero, one = torch.zeros(num_images), torch.ones(num_images)
    fields = {
        "angle": zero,
        "shift_rows": zero,
        "shift_columns": zero,
        "zoom_rows": one,
        "zoom_columns": one,
        "flip": zero.bool(),
    }
    return Draws(**{**fields, **changes})


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 7, 12), (1, 9, 4), (1, 1, 5)])
def test_against_the_reference(shape: tuple[int, int, int], device: str) -> None:
    num_images = 12
    images = torch.rand(num_images, *shape, generator=torch.Generator().manual_seed(0))
    draws = draw(num_images, *shape[1:], EVERYTHING, augmentation_generator(1, 2, 3))
    found = augment(images.to(device), EVERYTHING, augmentation_generator(1, 2, 3)).cpu()
    for i in range(num_images):
        expected = keras_reference(
            images[i].double().numpy(),
            draws.angle[i].item(),
            draws.shift_rows[i].item(),
            draws.shift_columns[i].item(),
            draws.zoom_rows[i].item(),
            draws.zoom_columns[i].item(),
        )
        if draws.flip[i]:
            expected = expected[:, :, ::-1]
        np.testing.assert_allclose(found[i].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("size", [8, 28, 32])
@pytest.mark.parametrize("name", ["shift_rows", "shift_columns"])
@pytest.mark.parametrize("pixels", [1, -1, 3])
def test_a_shift_by_whole_pixels_copies_pixels(size: int, name: str, pixels: int) -> None:
    images = torch.arange(2.0 * size * size).reshape(2, 1, size, size) % 251
    found = warp(images, still(2, **{name: torch.full((2,), float(pixels))}))
    places = (torch.arange(size) + pixels).clamp(0, size - 1)
    expected = images.index_select(2 if name == "shift_rows" else 3, places)
    if size in (8, 32):  # sizes of a power of two have exact coordinates
        assert torch.equal(found, expected)
    else:
        torch.testing.assert_close(found, expected, atol=251 * 1e-5, rtol=0)


def test_a_quarter_turn_is_clockwise() -> None:
    images = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    found = warp(images, still(2, angle=torch.full((2,), torch.pi / 2)))
    torch.testing.assert_close(found, images.rot90(-1, (2, 3)), atol=1e-5, rtol=0)


def test_zoom_above_one_shrinks_and_repeats_the_border() -> None:
    image = torch.zeros(1, 1, 9, 9)
    image[..., 0], image[..., 8] = 1.0, 1.0
    found = warp(image, still(1, zoom_columns=torch.tensor([2.0])))[0, 0, 4]
    assert found.tolist() == pytest.approx([1, 1, 1, 0, 0, 0, 1, 1, 1], abs=1e-5)


def test_all_zero_is_the_same_tensor_and_draws_nothing() -> None:
    images = torch.rand(4, 1, 5, 5)
    generator = augmentation_generator(0, 0, 0)
    before = generator.get_state()
    assert augment(images, Augmentation(), generator) is images
    assert torch.equal(before, generator.get_state())


def test_no_images() -> None:
    images = torch.rand(0, 1, 5, 5)
    assert augment(images, EVERYTHING, augmentation_generator(0, 0, 0)).shape == images.shape


@pytest.mark.parametrize(
    "settings",
    [
        Augmentation(rotation_degrees=20),
        Augmentation(shift_fraction=0.2),
        Augmentation(zoom_fraction=0.2),
    ],
)
def test_one_draw_for_each_image(settings: Augmentation) -> None:
    same = torch.rand(1, 1, 11, 11, generator=torch.Generator().manual_seed(0)).repeat(40, 1, 1, 1)
    found = augment(same, settings, augmentation_generator(0, 0, 0))
    assert len(found.flatten(1).unique(dim=0)) == 40


def test_flips_are_exact_and_half_of_them() -> None:
    images = torch.rand(2000, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    found = augment(images, Augmentation(horizontal_flip=True), augmentation_generator(0, 0, 0))
    flipped = (found == images.flip(-1)).flatten(1).all(1)
    assert torch.equal(flipped, ~(found == images).flatten(1).all(1))
    assert 900 < int(flipped.sum()) < 1100


def test_draws_stay_in_range_and_fill_it() -> None:
    draws = draw(5000, 20, 40, EVERYTHING, augmentation_generator(0, 0, 0))
    for values, centre, reach in (
        (draws.angle, 0, np.deg2rad(40)),
        (draws.shift_rows, 0, 6),
        (draws.shift_columns, 0, 12),
        (draws.zoom_rows, 1, 0.4),
        (draws.zoom_columns, 1, 0.4),
    ):
        away = (values - centre) / reach
        assert away.abs().max() <= 1 + 1e-6
        assert away.min() < -0.99
        assert away.max() > 0.99
        assert abs(away.mean()) < 0.05
    fields = torch.stack([draws.angle, draws.shift_rows, draws.shift_columns, draws.zoom_rows])
    off_diagonal = torch.corrcoef(fields) - torch.eye(4)
    assert off_diagonal.abs().max() < 0.06


def test_one_kind_leaves_the_draws_of_the_others() -> None:
    def angles(settings: Augmentation) -> torch.Tensor:
        return draw(9, 5, 5, settings, augmentation_generator(0, 1, 2)).angle

    turned = Augmentation(rotation_degrees=40)
    assert torch.equal(angles(turned), angles(EVERYTHING))


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_counters_give_the_same_images(device: str) -> None:
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)).to(device)

    def run(*counters: int) -> torch.Tensor:
        return augment(images, EVERYTHING, augmentation_generator(*counters, device))

    torch.manual_seed(1)
    first = run(1, 2, 3)
    torch.manual_seed(2)
    assert torch.equal(first, run(1, 2, 3))
    for other in ((0, 2, 3), (1, 0, 3), (1, 2, 0), (2, 1, 3), (1, 3, 2)):
        assert not torch.equal(first, run(*other))


def test_generator_seed_is_pinned() -> None:
    assert augmentation_generator(1, 2, 3).initial_seed() == 5580329484966021790


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    images = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    found = augment(images.to(dtype), EVERYTHING, augmentation_generator(0, 0, 0))
    assert found.dtype == dtype
    expected = augment(images, EVERYTHING, augmentation_generator(0, 0, 0))
    torch.testing.assert_close(found.float(), expected, atol=1e-2, rtol=0)


def test_integers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"floating point to be augmented, got torch\.uint8"):
        augment(torch.zeros(1, 1, 2, 2).byte(), EVERYTHING, augmentation_generator(0, 0, 0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rotation_degrees": -1}, "rotation_degrees is -1; allowed: 0 to 180"),
        ({"rotation_degrees": 181.0}, r"rotation_degrees is 181\.0; allowed: 0 to 180"),
        ({"rotation_degrees": float("nan")}, "rotation_degrees is nan; allowed: 0 to 180"),
        ({"shift_fraction": 1.0}, r"shift_fraction is 1\.0; allowed: 0 to 1, without 1"),
        ({"zoom_fraction": 10}, "zoom_fraction is 10; allowed: 0 to 1, without 1"),
        ({"horizontal_flip": 1}, "horizontal_flip is 1; allowed: True or False"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=f"^{message}$"):
        Augmentation(**settings)


def test_bad_counter() -> None:
    with pytest.raises(SettingError, match="batch is -1; allowed: 0 to"):
        augmentation_generator(0, 0, -1)


def test_every_kind_of_augmentation_has_draws_of_its_own() -> None:
    settings = Augmentation(
        rotation_degrees=180, shift_fraction=0.5, zoom_fraction=0.5, horizontal_flip=True
    )
    drawn = draw(9, 4, 6, settings, augmentation_generator(0, 1, 2))
    uniform = torch.rand(6, 9, generator=augmentation_generator(0, 1, 2))
    signed = 2 * uniform - 1
    torch.testing.assert_close(drawn.angle, torch.pi * signed[0])
    torch.testing.assert_close(drawn.shift_rows, 0.5 * 4 * signed[1])
    torch.testing.assert_close(drawn.shift_columns, 0.5 * 6 * signed[2])
    torch.testing.assert_close(drawn.zoom_rows, 1 + 0.5 * signed[3])
    torch.testing.assert_close(drawn.zoom_columns, 1 + 0.5 * signed[4])
    assert torch.equal(drawn.flip, uniform[5] < 0.5)
