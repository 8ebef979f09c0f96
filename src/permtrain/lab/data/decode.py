"""Encoded image files to one uint8 array; all images must have one size and one kind of colour,
unless they are cut to squares.

The decoder of `datasets` (`with_format("numpy")`) is three times as slow on MNIST and takes images
of 16 bits, of which Pillow drops half.
"""

import io
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from permtrain.errors import DataError
from permtrain.files import require_file
from permtrain.lab.data.crops import middle_part
from permtrain.text import printable

_NAMED = (
    "AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA",
    "TIFF", "WEBP",
)  # fmt: skip
# init() finds every reader of Pillow; an older one lacks some of ours.
Image.init()
FORMATS = tuple(name for name in _NAMED if name in Image.OPEN)
"""What is decoded. Pillow has more readers; one of them, of EPS, starts another program."""

_GREY_MODES = ("1", "L", "LA", "La")
_COLOUR_MODES = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB")

MAX_PIXELS = 1 << 25
"""Of one picture, unless the variable `PERMTRAIN_MAX_PIXELS` says otherwise (Pillow's own limit,
178,956,970, stays). All that are decoded to one array may have eight times as many, and
`PIXELS_PER_BYTE` for each byte of their files."""
PIXELS_PER_BYTE = 64


@dataclass(frozen=True)
class EncodedImage:
    """One image file, not yet decoded.

    Fields:
        where: how errors name it.
        content: its bytes, or the path of the file.
    """

    where: str
    content: bytes | Path

    @property
    def size(self) -> int:
        """Bytes of the file."""
        if isinstance(self.content, Path):
            return self.content.stat().st_size
        return len(self.content)


@dataclass(frozen=True)
class PixelFormat:
    """Size and colour that all images of a data set share, and the image that set them.

    `mode` is "L" (grey, 1 channel) or "RGB" (3 channels).
    """

    width: int
    height: int
    mode: str
    where: str

    def __str__(self) -> str:
        return f"{self.width}x{self.height} {'grey' if self.mode == 'L' else 'RGB'}"


def decode_images(
    encoded: Iterable[EncodedImage],
    num_images: int,
    form: PixelFormat | None = None,
    size: int | None = None,
) -> tuple[npt.NDArray[np.uint8], PixelFormat]:
    """Decode images to one array.

    Grey images of any kind get one channel; colour images, and those with a palette, three.
    Transparency is dropped. Orientation noted by a camera is applied. Where a size is given, images
    of any size and kind become RGB squares, as those of a stream in evaluation: `middle_part`.

    Args:
        encoded: at least `num_images` of them, at least 1.
        form: what the images must look like; None takes it from the first.
        size: side of the squares, in pixels.

    Shapes: (num_images, C, H, W) uint8.
    Raises: DataError for the first image that cannot be decoded, has more than 8 bits for each
        channel, differs from that, or goes beyond a ceiling (`MAX_PIXELS`).
    """
    most = max_pixels()
    num_bytes = 0
    pixels_nhwc: npt.NDArray[np.uint8] | None = None
    transparent: list[str] = []
    for index, one in enumerate(encoded):
        original = _opened(one)
        if _is_seen_through(original):
            transparent.append(one.where)
        image = _plain(original)
        if size is not None:
            image = middle_part(image.convert("RGB"), size)
        found = PixelFormat(image.width, image.height, image.mode, one.where)
        if form is None:
            form = found
        if (found.width, found.height, found.mode) != (form.width, form.height, form.mode):
            raise DataError(
                f"{one.where} is {found}, but {form.where} is {form}; "
                "all images must have one size and be all grey or all RGB "
                "(--image-size cuts them to squares of one, in RGB)"
            )
        num_bytes += one.size
        allowed = 8 * most + PIXELS_PER_BYTE * num_bytes
        if (index + 1) * form.width * form.height > allowed:
            raise DataError(
                f"{one.where}: {index + 1} images of {form} have more pixels than their "
                f"{num_bytes} bytes allow, {allowed}, or more with PERMTRAIN_MAX_PIXELS, "
                f"now {most}"
            )
        if pixels_nhwc is None:
            num_channels = 1 if form.mode == "L" else 3
            shape = (num_images, form.height, form.width, num_channels)
            pixels_nhwc = np.empty(shape, dtype=np.uint8)
        pixels_nhwc[index] = np.asarray(image).reshape(pixels_nhwc.shape[1:])
    assert pixels_nhwc is not None
    assert form is not None
    if transparent:
        warnings.warn(
            f"{len(transparent)} of {num_images} images have transparency, which is dropped: what "
            f"lies under it is seen; the first is {printable(transparent[0])}",
            stacklevel=2,
        )
    return pixels_nhwc.transpose(0, 3, 1, 2).copy(), form


def decode_image(encoded: EncodedImage) -> Image.Image:
    """One image, of mode L or RGB; transparency is dropped, a camera's orientation applied.

    Raises: DataError if it cannot be decoded, or has more than 8 bits for each channel or more than
        `MAX_PIXELS` pixels, which is found before it is decoded.
    """
    return _plain(_opened(encoded))


def decode_rgb(encoded: EncodedImage, look: bool) -> tuple[Image.Image, bool]:
    """One image of mode RGB, and whether it has transparency, which is dropped.

    Args:
        look: for transparency; else the answer is False.

    Raises: DataError as `decode_image`.
    """
    original = _opened(encoded)
    return _plain(original).convert("RGB"), look and _is_seen_through(original)


def _opened(encoded: EncodedImage) -> Image.Image:
    """The image in its own mode."""
    content = encoded.content
    most = max_pixels()
    try:
        if isinstance(content, Path):
            require_file(content)
        opened = io.BytesIO(content) if isinstance(content, bytes) else content
        with Image.open(opened, formats=FORMATS) as file:
            if file.width * file.height > most:
                raise DataError(
                    f"{encoded.where} has {file.width} x {file.height} pixels; allowed: {most} "
                    "together, or more with PERMTRAIN_MAX_PIXELS"
                )
            is_deep = any(";16" in str(tile[3]) for tile in getattr(file, "tile", ()))
            file.load()
            image = file if file.format == "PNG" else ImageOps.exif_transpose(file)
    except DataError:
        raise
    except Exception as error:  # decoders of damaged files raise nearly anything
        first_line = str(error).partition("\n")[0]
        if isinstance(error, UnidentifiedImageError):
            first_line = f"no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"
        raise DataError(f"{encoded.where} cannot be decoded as an image ({first_line})") from error
    if is_deep or image.mode not in _GREY_MODES + _COLOUR_MODES:
        # Pillow reads colours of 16 bits by leaving half of them out.
        mode = f"{image.mode}, 16 bits for each channel" if is_deep else image.mode
        raise DataError(
            f"{encoded.where} has the pixel mode {mode!r}; expected 8-bit grey, RGB or a palette"
        )
    return image


def _plain(image: Image.Image) -> Image.Image:
    return image.convert("L" if image.mode in _GREY_MODES else "RGB")


def max_pixels() -> int:
    """How many pixels a picture may have.

    Raises: DataError if `PERMTRAIN_MAX_PIXELS` is set to what is no number from 1.
    """
    given = os.environ.get("PERMTRAIN_MAX_PIXELS")
    if given is None:
        return MAX_PIXELS
    if not given.isdecimal() or not int(given):
        raise DataError(f"PERMTRAIN_MAX_PIXELS is {given!r}; allowed: 1 or more, an integer")
    return int(given)


def _is_seen_through(image: Image.Image) -> bool:
    """Whether a pixel is less than opaque; many images carry a channel that says nothing."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return False
    return any(image.convert("RGBA").getchannel("A").histogram()[:255])
