"""Pictures are decoded within ceilings that are checked before."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from permtrain.errors import DataError
from permtrain.lab.data.crops import middle_square
from permtrain.lab.data.decode import EncodedImage, decode_image, decode_images


def blank(width: int, height: int, mode: str = "L") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG")
    return file.getvalue()


def test_a_picture_of_too_many_pixels_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(blank(1 << 13, (1 << 12) + 1, "1"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    message = r"^a has 8192 x 4097 pixels; allowed: 33554432 together, or more with PERMTRAIN_MAX_P"
    for content in (tmp_path / "a.png", (tmp_path / "a.png").read_bytes()):
        with pytest.raises(DataError, match=message):
            decode_image(EncodedImage("a", content))


def test_a_user_may_allow_other_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    image = EncodedImage("a", blank(5, 4))
    monkeypatch.setenv("PERMTRAIN_MAX_PIXELS", "20")
    assert decode_image(image).size == (5, 4)
    monkeypatch.setenv("PERMTRAIN_MAX_PIXELS", "19")
    with pytest.raises(DataError, match="a has 5 x 4 pixels; allowed: 19 together, or more with P"):
        decode_image(image)
    for wrong in ("0", "many", "-1", ""):
        monkeypatch.setenv("PERMTRAIN_MAX_PIXELS", wrong)
        message = f"^PERMTRAIN_MAX_PIXELS is '{wrong}'; allowed: 1 or more, an integer$"
        with pytest.raises(DataError, match=message):
            decode_image(image)


@pytest.mark.parametrize("turned", [False, True])
def test_of_a_very_long_picture_only_the_middle_is_scaled(turned: bool) -> None:
    """Its rows of one pixel would become rows of 16; the middle is black and white."""
    image = Image.new("RGB", (1, 1 << 20), "red")
    image.paste("white", (0, 1 << 19, 1, (1 << 19) + 1))
    image.paste("black", (0, (1 << 19) - 1, 1, 1 << 19))
    pixels = middle_square(image.transpose(Image.Transpose.ROTATE_90) if turned else image, 14)
    along = pixels[0, 0] if turned else pixels[0, :, 0]
    assert pixels.shape == (3, 14, 14)
    assert (pixels == pixels[:1]).all()  # no red
    assert (along[0], along[-1]) == (24, 231)  # 6.5 / 16 of a pixel's width from where they meet
    assert (np.diff(along.astype(int)) >= 0).all()


def test_many_pictures_that_hold_little_are_bounded_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """9,000 pixels each, from files of some 100 bytes."""
    image = EncodedImage("a", blank(90, 100))
    monkeypatch.setenv("PERMTRAIN_MAX_PIXELS", "9000")
    num_allowed = 8 * 9000 // (9000 - 64 * image.size)
    pixels, _ = decode_images([image] * num_allowed, num_allowed)
    assert pixels.shape == (num_allowed, 1, 100, 90)
    more = num_allowed + 1
    message = f"^a: {more} images of 90x100 grey have more pixels than their {more * image.size} "
    with pytest.raises(DataError, match=message):
        decode_images([image] * more, more)
