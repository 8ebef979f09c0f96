"""Images as pixels that change places: shuffled, and laid out in the order of other images.

Shape suffixes: N images, C channels (1 grey, 3 red, green, blue), P pixels of an image. A pixel is
moved whole: its C values stay together.
"""

import hashlib
from typing import Any, Literal, TypeAlias

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from permtrain.core.arrange import straight_through
from permtrain.core.ranking import sorting_order
from permtrain.errors import NonFiniteError, ProfileError

Matching: TypeAlias = Literal["order", "assignment"]

LUMA = (0.299, 0.587, 0.114)
"""How much red, green and blue count in a pixel's brightness (ITU-R BT.601)."""


def shuffle_generator(seed: int, *stream: str | int) -> torch.Generator:
    """A generator named by words and counters, so that a resumed run shuffles the same.

    Example:
        >>> first = torch.rand(2, generator=shuffle_generator(0, "train", 3))
        >>> torch.equal(first, torch.rand(2, generator=shuffle_generator(0, "train", 3)))
        True
    """
    name = " ".join(map(str, ("permtrain shuffle", seed, *stream)))
    digest = hashlib.sha256(name.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def shuffled(
    pixels_NCP: Tensor, generator: torch.Generator, *, one_for_all: bool = False
) -> Tensor:
    """Each image's pixels in a random order, another for each image unless `one_for_all`.

    Shapes: (N, C, P) of any dtype; the result likewise.

    Example:
        >>> pixels = torch.tensor([[[1, 2, 3]], [[4, 5, 6]]])
        >>> shuffled(pixels, shuffle_generator(0)).sort(dim=2).values.equal(pixels)
        True
    """
    N, C, P = pixels_NCP.shape
    draws = torch.rand(1 if one_for_all else N, P, generator=generator)
    order_NP = draws.argsort(dim=1, stable=True).to(pixels_NCP.device)
    return pixels_NCP.gather(2, order_NP[:, None].expand(N, C, P))


def brightness(pixels_NCP: Tensor) -> Tensor:
    """What pixels are ranked by: a grey pixel's value, a colour's luma.

    Shapes: (N, C, P) floating point, C 1 or 3; the result (N, P).

    Example:
        >>> brightness(torch.tensor([[[1.0], [1.0], [0.0]]]))
        tensor([[0.8860]])
    """
    if pixels_NCP.shape[1] == 1:
        return pixels_NCP[:, 0]
    return torch.einsum("ncp,c->np", pixels_NCP, pixels_NCP.new_tensor(LUMA))


def in_order(pixels_NCP: Tensor) -> Tensor:
    """Each image's pixels from the darkest to the brightest: all that a shuffled image tells.

    Ties: by position; colours of one brightness stay in the order they came in.

    Example:
        >>> in_order(torch.tensor([[[3.0, 1.0, 2.0]]]))
        tensor([[[1., 2., 3.]]])
    """
    if pixels_NCP.shape[1] == 1:
        return pixels_NCP.sort(dim=2).values
    return _taken(pixels_NCP, sorting_order(brightness(pixels_NCP)))


def lay_out_pixels(pixels_NCP: Tensor, like_NCP: Tensor, matching: Matching = "order") -> Tensor:
    """The pixels laid out as `like` has them; the gradient passes to `like` unchanged.

    sortGAN's step between generator and discriminator (Index optimizer thesis, 4.3): both are
    sorted, and pixels at the same place of the two orders are matched. Grey pixels are ordered by
    value. Colours, which the thesis leaves for later, have two rules here: "order" matches the
    pixels' brightness with that of the colours in `like`, rank to rank; "assignment" is the
    one that makes the summed squared distance of the colours smallest, of which sorting is the
    special case for grey pixels.

    Args:
        pixels_NCP: the image's own pixels, in any order.
        like_NCP: what stands where, as a generator says it.
        matching: how colours find their places; grey pixels are sorted either way.

    Shapes: both (N, C, P), floating point, C 1 or 3; the result likewise, exactly the pixels given.
    Ties: equal places of `like` take pixels in ascending order of position.
    Cost: of an assignment, some 50 ms for an image of 1,024 pixels.
    Raises:
        NonFiniteError: NaN or infinity in either.
        ProfileError: shapes differ.

    Example:
        >>> pixels, like = torch.tensor([[[7.0, 5.0, 6.0]]]), torch.tensor([[[0.1, 0.9, 0.2]]])
        >>> lay_out_pixels(pixels, like)
        tensor([[[5., 7., 6.]]])
    """
    if pixels_NCP.shape != like_NCP.shape or pixels_NCP.shape[1] not in (1, 3):
        raise ProfileError(
            f"pixels have shape {tuple(pixels_NCP.shape)}, like has {tuple(like_NCP.shape)}; "
            "allowed: one shape (N, C, P), C 1 or 3"
        )
    if not torch.isfinite(pixels_NCP).all():
        raise NonFiniteError("pixels hold NaN or infinity; allowed: finite values")
    if pixels_NCP.shape[1] == 1:
        return straight_through(in_order(pixels_NCP.detach())[:, 0], like_NCP[:, 0])[:, None]
    match = _matched_by_order if matching == "order" else _matched_by_assignment
    matched_NCP = match(pixels_NCP.detach(), like_NCP.detach())
    arranged: Tensor = _PassThrough.apply(matched_NCP, like_NCP)
    return arranged


def same_pixels(one_NCP: Tensor, other_NCP: Tensor) -> bool:
    """Whether each image of the one is a permutation of the other's pixels, taken whole.

    Shapes: both (N, C, P) uint8.

    Example:
        >>> image = torch.tensor([[[1, 2]]], dtype=torch.uint8)
        >>> same_pixels(image, image.flip(2)), same_pixels(image, image + 1)
        (True, False)
    """
    if one_NCP.shape != other_NCP.shape:
        return False
    return torch.equal(_sorted_codes(one_NCP), _sorted_codes(other_NCP))


class _PassThrough(torch.autograd.Function):
    """The first argument forward, the gradient to the second one."""

    @staticmethod
    def forward(ctx: Any, arranged: Tensor, like: Tensor) -> Tensor:
        return arranged.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor]:
        return None, grad_outputs[0]


def _matched_by_order(pixels_NCP: Tensor, like_NCP: Tensor) -> Tensor:
    places_NP = sorting_order(brightness(like_NCP))
    index_NCP = places_NP[:, None].expand(pixels_NCP.shape)
    return torch.empty_like(pixels_NCP).scatter_(2, index_NCP, in_order(pixels_NCP))


def _matched_by_assignment(pixels_NCP: Tensor, like_NCP: Tensor) -> Tensor:
    """Squared distances sum to a constant minus twice these products."""
    if not torch.isfinite(like_NCP).all():
        raise NonFiniteError("like holds NaN or infinity; allowed: finite values")
    chosen = []
    for pixels_CP, like_CP in zip(pixels_NCP, like_NCP, strict=True):  # P^2 numbers at a time
        products_PP = (like_CP.T @ pixels_CP).cpu().numpy()
        chosen.append(torch.from_numpy(linear_sum_assignment(products_PP, maximize=True)[1]))
    return _taken(pixels_NCP, torch.stack(chosen).to(pixels_NCP.device))


def _taken(pixels_NCP: Tensor, order_NP: Tensor) -> Tensor:
    return pixels_NCP.gather(2, order_NP[:, None].expand(pixels_NCP.shape))


def _sorted_codes(pixels_NCP: Tensor) -> Tensor:
    """One number for each colour, ascending."""
    codes_NP = pixels_NCP.new_zeros((len(pixels_NCP), pixels_NCP.shape[2]), dtype=torch.int64)
    for channel in pixels_NCP.unbind(1):
        codes_NP = codes_NP * 256 + channel
    return codes_NP.sort(dim=1).values
