"""What may be asked of every method, whatever it does to the weights."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from permtrain.core.cut import Cut


class Method:
    """What a loop, a proof or a picture asks of a method; as it is, the answers of plain training.

    `LaPerm`, `IndexOptimizer`, `SGPerm`, `Rewiring`, `FrozenZeros` and `Supermask` answer alike.
    """

    @property
    def ended_at(self) -> int | None:
        """The step after which it permuted no more; None while it goes on."""
        return None

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The parameters that it acts on, by name."""
        return {}

    @property
    def cuts(self) -> dict[str, Cut]:
        """How each parameter that it permutes is cut into weight vectors, by name."""
        return {}

    @property
    def scores(self) -> dict[str, Tensor]:
        """What the optimizer moves in place of a parameter, by name: latent weights, scores."""
        return {}

    @property
    def unarranged(self) -> list[str]:
        """Names of the parameters whose weights are not a permutation of the initial ones now."""
        return []

    @property
    def has_begun(self) -> bool:
        """Whether it knows the initial values; else it takes those at the first step for them."""
        return True

    @property
    def changed_unseen(self) -> list[str]:
        """Names of its parameters that were written since attaching, where it has seen no step."""
        return []

    def vectors(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weight vectors that weights of these names form, (V, L) each, as it permutes them."""
        return {}

    def weights_to_verify(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Its weights to verify: these, or of a method that has ended those that it left."""
        return dict(weights)

    def intact(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whether each vector is what the method promises, (V,) bool, by name.

        Args:
            weights: what `weights_to_verify` gave.
        """
        return {}

    def arranged(self) -> AbstractContextManager[None]:
        """Shows the model for use inside the block; most methods leave it as it is."""
        return nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on exactly, beside the model's and the optimizer's states."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> None:
        """Goes on from a saved state."""
