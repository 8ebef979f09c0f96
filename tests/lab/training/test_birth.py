"""What the settings of initial weights make of a network."""

import pytest

from permtrain.lab.training.birth import newborn_network
from permtrain.lab.training.settings import InitialSettings, Settings


@pytest.mark.parametrize(("sparsity", "of_first"), [(0.5, 0.2), (0.1, 0.1)])
def test_the_first_layer_is_pruned_up_to_its_cap(sparsity: float, of_first: float) -> None:
    initial = InitialSettings(sparsity=sparsity, first_layer_sparsity_cap=0.2)
    model = newborn_network(Settings(model="conv7", initial=initial), (1, 28, 28), 10)
    zeros = {
        name: int((weight == 0).sum()) / weight.numel() for name, weight in model.named_parameters()
    }
    assert zeros.pop("conv1.weight") == pytest.approx(of_first, abs=1 / 288)
    assert {name for name in zeros if name.endswith("weight")} == {
        *(f"conv{place}.weight" for place in range(2, 8)),
        "output.weight",
    }
    for name, fraction in zeros.items():
        expected = 0 if name.endswith("bias") else sparsity
        assert fraction == pytest.approx(expected, abs=1e-3), name
