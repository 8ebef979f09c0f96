"""One image file as a network wants it that was trained on a data set."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from permtrain.lab.data.crops import middle_square
from permtrain.lab.data.decode import EncodedImage, decode_image


def read_image(
    path: Path, shape: tuple[int, int, int], cut: bool = False
) -> tuple[Tensor, str | None]:
    """An image of this shape, and in words what had to be done for it; None where nothing had.

    Args:
        path: the file.
        shape: (channels, height, width) of the data set's images.
        cut: they are cut from images of any size, and so is this one.

    Shapes: the image (C, H, W) uint8.

    Raises:
        DataError: it cannot be decoded.
    """
    image = decode_image(EncodedImage(str(path), path))
    channels, height, width = shape
    mode, done = ("L" if channels == 1 else "RGB"), []
    if image.mode != mode:
        image = image.convert(mode)
        done.append("made grey" if mode == "L" else "made RGB")
    if cut:
        pixels_CHW = middle_square(image, height)
        return torch.from_numpy(np.array(pixels_CHW)), "; ".join(done) or None
    if image.size != (width, height):
        done.append(f"scaled from {image.width}x{image.height} to {width}x{height}")
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels_HWC = np.asarray(image).reshape(height, width, channels)
    return torch.from_numpy(pixels_HWC.transpose(2, 0, 1).copy()), "; ".join(done) or None
