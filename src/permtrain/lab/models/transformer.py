"""Small transformers: an image classifier and a character-level language model.

Both are stacks of pre-norm blocks: x + attention(norm(x)), then x + mlp(norm(x)). What is no weight
matrix (cls token, positions, gains and biases) is left to the inner optimizer.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from permtrain.errors import SettingError
from permtrain.lab.models._checks import ImageShape, check_inputs

_PATCHES_PER_SIDE = 4
_TABLE_STD = 0.02  # of tokens and positions at birth, as in BERT, GPT-2 and ViT


class Attention(nn.Module):
    """Multi-head self-attention; query, key and value come from one linear layer.

    Shapes: (N, T, width) -> (N, T, width).
    """

    def __init__(self, width: int, num_heads: int, is_causal: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.is_causal = is_causal
        self.qkv = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x_NTD: Tensor) -> Tensor:
        qkv_NTD = self.qkv(x_NTD).chunk(3, dim=-1)
        q, k, v = (each.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in qkv_NTD)
        mixed_NHTK = F.scaled_dot_product_attention(q, k, v, is_causal=self.is_causal)
        output: Tensor = self.output(mixed_NHTK.transpose(1, 2).flatten(2))
        return output


class Block(nn.Module):
    """A pre-norm block: attention, then a hidden GELU layer, each added to what came in."""

    def __init__(self, width: int, num_heads: int, hidden: int, is_causal: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads, is_causal)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict[str, nn.Module](
                hidden=nn.Linear(width, hidden), gelu=nn.GELU(), output=nn.Linear(hidden, width)
            )
        )

    def forward(self, x_NTD: Tensor) -> Tensor:
        x_NTD = x_NTD + self.attention(self.norm1(x_NTD))
        output: Tensor = x_NTD + self.mlp(self.norm2(x_NTD))
        return output


class Positions(nn.Module):
    """Adds a learned vector to each place. It is a bias, so it is neither drawn nor permuted."""

    def __init__(self, num_places: int, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(num_places, width) * _TABLE_STD)

    def forward(self, x_NTD: Tensor) -> Tensor:
        output: Tensor = x_NTD + self.bias[: x_NTD.shape[1]]
        return output


class ViT(nn.Module):
    """Patches by a convolution, a cls token, positions, blocks, norm, linear output of the token.

    Source: Dosovitskiy et al., An Image is Worth 16x16 Words, 2021, section 3.1.
    """

    def __init__(
        self, image_shape: ImageShape, num_classes: int, width: int, num_blocks: int, num_heads: int
    ) -> None:
        super().__init__()
        channels, height, width_px = image_shape
        patch = (height // _PATCHES_PER_SIDE, width_px // _PATCHES_PER_SIDE)
        self.patches = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)
        self.cls = nn.Parameter(torch.randn(width) * _TABLE_STD)
        self.positions = Positions(_PATCHES_PER_SIDE**2 + 1, width)
        self.blocks = nn.Sequential(
            *[Block(width, num_heads, 2 * width, is_causal=False) for _ in range(num_blocks)]
        )
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        patches_NTD = self.patches(images).flatten(2).transpose(1, 2)
        token_N1D = self.cls.expand(len(images), 1, -1)
        x_NTD = self.blocks(self.positions(torch.cat([token_N1D, patches_NTD], dim=1)))
        logits: Tensor = self.output(self.norm(x_NTD[:, 0]))
        return logits


class GPT(nn.Module):
    """Token embedding, positions, causal blocks, norm, linear output without bias.

    Source: Radford et al., Language Models are Unsupervised Multitask Learners, 2019 (GPT-2), but
    the embedding and the output are not tied.
    """

    def __init__(
        self, context: int, num_tokens: int, width: int, num_blocks: int, num_heads: int
    ) -> None:
        super().__init__()
        self.context = context
        self.embedding = nn.Embedding(num_tokens, width)
        self.positions = Positions(context, width)
        self.blocks = nn.Sequential(
            *[Block(width, num_heads, 4 * width, is_causal=True) for _ in range(num_blocks)]
        )
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, num_tokens, bias=False)

    def forward(self, codes: Tensor) -> Tensor:
        """The logits of the next character at each place.

        Shapes: (N, 1, 1, T), whole numbers of any dtype, T up to the context -> (N, tokens, T).
        """
        codes_NT = codes.flatten(1).long()
        x_NTD = self.blocks(self.positions(self.embedding(codes_NT)))
        logits: Tensor = self.output(self.norm(x_NTD)).transpose(1, 2)
        return logits


def residual_outputs(model: nn.Module) -> dict[str, int]:
    """The weights whose outputs a transformer of ours adds up, with how many such branches it has.

    Returns: weight names with 2 x blocks each; empty for other networks.

    Example:
        >>> list(residual_outputs(vit_tiny()).items())[:2]
        [('blocks.0.attention.output.weight', 8), ('blocks.0.mlp.output.weight', 8)]
    """
    if not isinstance(model, ViT | GPT):
        return {}
    num = len(model.blocks)
    parts = ("attention.output.weight", "mlp.output.weight")
    return {f"blocks.{block}.{part}": 2 * num for block in range(num) for part in parts}


def vit_tiny(image_shape: ImageShape = (1, 28, 28), num_classes: int = 10) -> nn.Module:
    """A small vision transformer: 4 x 4 patches, 4 blocks of width 64, 4 heads, hidden layers 128.

    Source: ours, after Dosovitskiy et al., 2021.

    Args:
        image_shape: channels, height, width; height and width are multiples of 4.
        num_classes: number of outputs, at least 1.

    Shapes: (N, *image_shape) -> (N, num_classes), logits.

    Raises:
        SettingError: height or width is no multiple of 4, or a size is below 1.

    Example:
        >>> sum(p.numel() for p in vit_tiny().parameters())
        139018
    """
    check_inputs("vit-tiny", image_shape, num_classes, min_size=_PATCHES_PER_SIDE)
    if any(side % _PATCHES_PER_SIDE for side in image_shape[1:]):
        raise SettingError(
            f"vit-tiny: image_shape is {tuple(image_shape)}, "
            f"height and width must be multiples of {_PATCHES_PER_SIDE}"
        )
    return ViT(image_shape, num_classes, width=64, num_blocks=4, num_heads=4)


def gpt_char(image_shape: ImageShape = (1, 1, 64), num_classes: int = 10) -> nn.Module:
    """A small character-level GPT: 3 causal blocks of width 96, 4 heads, hidden layers 384.

    Source: ours, after GPT-2; as in Karpathy's nanoGPT for characters, but smaller.

    Args:
        image_shape: 1, 1 and the context, the characters that it sees at once.
        num_classes: number of different characters, at least 1.

    Shapes: (N, 1, 1, T) codes, T up to the context -> (N, num_classes, T), logits.

    Raises:
        SettingError: the shape is one of images, or a size is below 1.

    Example:
        >>> sum(p.numel() for p in gpt_char().parameters())
        343776
    """
    check_inputs("gpt-char", image_shape, num_classes)
    if tuple(image_shape[:2]) != (1, 1):
        raise SettingError(
            f"gpt-char: image_shape is {tuple(image_shape)}, must be (1, 1, context): "
            "it reads text, as --data text"
        )
    return GPT(image_shape[2], num_classes, width=96, num_blocks=3, num_heads=4)
