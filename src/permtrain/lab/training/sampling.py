"""Text from a network that tells the next character."""

import torch
from torch import nn

from permtrain.errors import SettingError


@torch.no_grad()
def sample(
    model: nn.Module,
    context: int,
    codes: list[int],
    length: int,
    *,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[int]:
    """Draw characters one after the other, each given up to `context` characters before it.

    Args:
        model: from (1, 1, 1, T) codes to (1, characters, T) logits; in evaluation mode meanwhile.
        context: the largest T.
        codes: what the text begins with, one character or more.
        length: how many characters are drawn.
        temperature: logits are divided by it; 0 takes the likeliest character each time.
        seed: of the draws, on the CPU.

    Returns: the codes of the drawn characters.

    Raises:
        SettingError: a temperature below 0, a negative length, or nothing to begin with.

    Example:
        >>> from permtrain.lab.models.registry import build_network
        >>> _ = torch.manual_seed(0)
        >>> network = build_network("gpt-char", (1, 1, 8), 5)
        >>> sample(network, 8, [0], 6, seed=3) == sample(network, 8, [0], 6, seed=3)
        True
    """
    for name, value, is_fine, allowed in (
        ("temperature", temperature, temperature >= 0, "0 or more"),
        ("length", length, length >= 0, "0 or more"),
        ("prompt", codes, bool(codes), "one character or more"),
    ):
        if not is_fine:
            raise SettingError(f"{name} is {value}; allowed: {allowed}")
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    text = list(codes)
    for _ in range(length):
        logits = model(torch.tensor(text[-context:], device=device)[None, None, None])
        last = logits[0, :, -1].double().cpu()
        if temperature == 0:
            text.append(int(last.argmax()))
        else:
            odds = torch.softmax(last / temperature, 0)
            text.append(int(torch.multinomial(odds, 1, generator=generator)))
    model.train(was_training)
    return text[len(codes) :]
