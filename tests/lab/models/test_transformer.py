"""Transformers: attention as torch has it, causality, shapes that are refused."""

import pytest
import torch
from torch import nn

from permtrain.errors import SettingError
from permtrain.lab.models.registry import build_network
from permtrain.lab.models.transformer import Attention, residual_outputs


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_is_that_of_torchs_own_module(is_causal: bool) -> None:
    torch.manual_seed(0)
    ours, torchs = Attention(8, 2, is_causal), nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        torchs.in_proj_weight.copy_(ours.qkv.weight)
        torchs.in_proj_bias.copy_(ours.qkv.bias)
        torchs.out_proj.load_state_dict(ours.output.state_dict())
    x = torch.randn(3, 5, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(5) if is_causal else None
    expected, _ = torchs(x, x, x, attn_mask=mask)
    torch.testing.assert_close(ours(x), expected)


def test_a_character_changes_the_logits_of_its_place_and_of_later_ones_only() -> None:
    torch.manual_seed(0)
    network = build_network("gpt-char", (1, 1, 6), 7).eval()
    codes = torch.tensor([[[[1, 2, 3, 4, 5, 6]]]])
    other = codes.clone()
    other[..., 3] = 0
    is_same = (network(codes) == network(other)).all(dim=1)
    assert is_same.tolist() == [[True, True, True, False, False, False]]
    torch.testing.assert_close(network(codes)[..., :4], network(codes[..., :4]))


def test_every_place_has_its_own_position() -> None:
    torch.manual_seed(0)
    network = build_network("gpt-char", (1, 1, 4), 7).eval()
    logits = network(torch.full((1, 1, 1, 4), 3))
    assert not torch.allclose(logits[..., 0], logits[..., 3])


def test_residual_outputs_are_the_layers_that_blocks_add() -> None:
    network = build_network("gpt-char", (1, 1, 4), 7)
    parts = ("attention.output", "mlp.output")
    assert residual_outputs(network) == {
        f"blocks.{block}.{part}.weight": 6 for block in range(3) for part in parts
    }
    assert residual_outputs(build_network("resnet20", (3, 32, 32), 10)) == {}


@pytest.mark.parametrize(
    ("name", "shape", "allowed"),
    [
        ("vit-tiny", (1, 30, 28), "height and width must be multiples of 4"),
        ("gpt-char", (1, 28, 28), "must be (1, 1, context): it reads text, as --data text"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    name: str, shape: tuple[int, int, int], allowed: str
) -> None:
    with pytest.raises(SettingError) as caught:
        build_network(name, shape, 10)
    assert str(caught.value) == f"{name}: image_shape is {shape}, {allowed}"
