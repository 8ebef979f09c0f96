"""Pixels that change places, grey and in colour."""

from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from permtrain.core.arrange import arrange
from permtrain.errors import NonFiniteError, ProfileError
from permtrain.lab.inputs.pixels import (
    LUMA,
    brightness,
    in_order,
    lay_out_pixels,
    same_pixels,
    shuffle_generator,
    shuffled,
)


def some_pixels(N: int, C: int, P: int, seed: int, levels: int = 256) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, levels, (N, C, P), generator=generator).float()


def multiset(pixels_CP: Tensor) -> list[tuple[float, ...]]:
    return sorted(tuple(column.tolist()) for column in pixels_CP.T)


@given(
    C=st.sampled_from([1, 3]),
    P=st.integers(2, 30),
    levels=st.sampled_from([2, 5, 256]),
    seed=st.integers(0, 999),
    matching=st.sampled_from(["order", "assignment"]),
)
def test_what_comes_out_are_the_pixels_that_went_in_taken_whole(
    C: int, P: int, levels: int, seed: int, matching
) -> None:
    pixels = some_pixels(3, C, P, seed, levels)
    arranged = lay_out_pixels(pixels, torch.randn(3, C, P), matching)
    for before, after in zip(pixels, arranged, strict=True):
        assert multiset(after) == multiset(before)
    assert same_pixels(pixels.byte(), arranged.byte())


@given(P=st.integers(2, 40), levels=st.sampled_from([2, 5, 256]), seed=st.integers(0, 999))
def test_grey_pixels_are_cores_arrangement(P: int, levels: int, seed: int) -> None:
    pixels, like = some_pixels(4, 1, P, seed, levels), torch.randn(4, 1, P)
    expected = arrange(pixels[:, 0].sort(dim=1).values, like[:, 0])
    for matching in ("order", "assignment"):
        assert torch.equal(lay_out_pixels(pixels, like, matching)[:, 0], expected)


@given(P=st.integers(2, 20), seed=st.integers(0, 999))
def test_colours_by_order_match_the_ranks_of_brightness(P: int, seed: int) -> None:
    pixels, like = some_pixels(1, 3, P, seed), torch.randn(1, 3, P)
    by_pixels = sorted(range(P), key=lambda i: float(brightness(pixels)[0, i]))
    by_like = sorted(range(P), key=lambda i: float(brightness(like)[0, i]))
    arranged = lay_out_pixels(pixels, like)
    for source, place in zip(by_pixels, by_like, strict=True):
        assert torch.equal(arranged[0, :, place], pixels[0, :, source])


@given(P=st.integers(2, 5), seed=st.integers(0, 999))
def test_no_layout_of_colours_is_closer_than_the_assignment(P: int, seed: int) -> None:
    pixels, like = some_pixels(1, 3, P, seed), 255 * torch.rand(1, 3, P)
    arranged = lay_out_pixels(pixels, like, "assignment")
    found = float((arranged - like).square().sum())
    best = min(
        float((pixels[:, :, list(order)] - like).square().sum()) for order in permutations(range(P))
    )
    assert found == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("matching", ["order", "assignment"])
@pytest.mark.parametrize("C", [1, 3])
def test_the_gradient_passes_unchanged_to_what_says_the_order(C: int, matching) -> None:
    pixels = some_pixels(2, C, 9, 0).requires_grad_()
    like = torch.randn(2, C, 9, requires_grad=True)
    weight = torch.randn(2, C, 9)
    (lay_out_pixels(pixels, like, matching) * weight).sum().backward()
    assert torch.equal(like.grad, weight)
    assert pixels.grad is None


@pytest.mark.parametrize("matching", ["order", "assignment"])
@pytest.mark.parametrize("C", [1, 3])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_nan_enters_a_ranking(C: int, matching, value: float) -> None:
    fine, bad = torch.rand(1, C, 4), torch.rand(1, C, 4)
    bad[0, 0, 2] = value
    with pytest.raises(NonFiniteError, match="NaN or infinity"):
        lay_out_pixels(fine, bad, matching)
    with pytest.raises(NonFiniteError, match="pixels hold NaN or infinity"):
        lay_out_pixels(bad, fine, matching)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ProfileError, match=r"pixels have shape \(1, 1, 4\), like has \(1, 1, 5\)"):
        lay_out_pixels(torch.rand(1, 1, 4), torch.rand(1, 1, 5))
    with pytest.raises(ProfileError, match="C 1 or 3"):
        lay_out_pixels(torch.rand(1, 2, 4), torch.rand(1, 2, 4))


def test_brightness_is_the_luma() -> None:
    assert sum(LUMA) == pytest.approx(1.0)
    colours = torch.tensor([[[1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 0.0, 2.0], [0.0, 0.0, 1.0, 2.0]]])
    assert brightness(colours)[0].tolist() == pytest.approx([0.299, 0.587, 0.114, 2.0])


@pytest.mark.parametrize("C", [1, 3])
def test_in_order_forgets_where_pixels_of_different_brightness_were(C: int) -> None:
    pixels = torch.arange(20.0).expand(2, C, 20)
    one, other = (in_order(shuffled(pixels, shuffle_generator(seed))) for seed in (0, 1))
    assert torch.equal(one, other)
    assert torch.equal(one, pixels)


def test_a_shuffle_is_a_function_of_its_name() -> None:
    pixels = torch.arange(6).expand(2, 1, 6)
    mixed = shuffled(pixels, shuffle_generator(0, "test"))
    assert mixed.tolist() == [PINNED[0], PINNED[1]]
    others = [(1, "test"), (0, "train"), (0, "test", 1)]
    assert all(not torch.equal(shuffled(pixels, shuffle_generator(*n)), mixed) for n in others)
    one = shuffled(pixels, shuffle_generator(0, "test"), one_for_all=True)
    assert one.tolist() == [PINNED[0]] * 2


PINNED = [[[4, 3, 1, 5, 2, 0]], [[3, 1, 2, 4, 0, 5]]]


def test_colours_are_shuffled_whole() -> None:
    pixels = some_pixels(5, 3, 16, 0).byte()
    mixed = shuffled(pixels, shuffle_generator(0))
    assert not torch.equal(mixed, pixels)
    assert same_pixels(mixed, pixels)


def test_same_pixels_tells_values_that_changed_their_colour() -> None:
    pixels = torch.tensor([[[1, 2], [3, 4], [5, 6]]], dtype=torch.uint8)
    crossed = pixels.clone()
    crossed[0, 0] = pixels[0, 0].flip(0)  # each channel holds its values, no colour does
    assert same_pixels(pixels, pixels.flip(2))
    assert not same_pixels(pixels, crossed)
    assert not same_pixels(pixels, pixels[:, :, :1])
    both = torch.cat([pixels, crossed])
    assert not same_pixels(both, both.flip(0))
