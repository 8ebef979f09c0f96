"""What docs/format.md says of drawing is enough: another program draws the same bits by it."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from packed import page
from packed.nets import Tied, conv_net
from permtrain import Rule, Structure, initialize_, pack
from permtrain.lab.models.lenet import lenet5
from permtrain.packed.checksums import digest_of

FORMATS = {"float64": "d", "float32": "f", "float16": "e"}


def drawn_by_the_page(file: Path) -> dict[str, bool]:
    """Whether each tensor that stands as it was born has the digest of what the page draws."""
    data = file.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    lines = header["__metadata__"]["plan"].split("\n")
    births = [line for line in lines if line.startswith("* ")]
    agrees = {}
    for line in lines[len(births) :]:
        if born := re.match(r"i([0-9]+) \S+ (?:[a-z_]+=\S+ )*(\S{8}) ", line):
            values = page.initial_values(births[int(born[1])], line)
            dtype = "bfloat16" if "dtype=bfloat16" in line else "float32"
            dtype = next((each for each in FORMATS if f"dtype={each} " in line), dtype)
            if dtype == "bfloat16":
                content = b"".join(struct.pack("<f", value)[2:] for value in values)
            else:
                content = struct.pack(f"<{len(values)}{FORMATS[dtype]}", *values)
            agrees[line[born.end() :]] = digest_of(content) == born[2]
    return agrees


def test_the_page_draws_lenet5(tmp_path: Path) -> None:
    model = lenet5()
    initialize_(model, seed=2**64 - 3, bias_values="rule")
    pack(model, tmp_path / "m")
    agrees = drawn_by_the_page(tmp_path / "m")
    assert agrees == dict.fromkeys(model.state_dict(), True)


def small() -> nn.Module:
    return nn.ModuleDict(
        {
            "conv": nn.Conv2d(2, 6, 3, groups=2),
            "transposed": nn.ConvTranspose2d(4, 6, 3, groups=2),
            "linear": nn.Linear(21, 10),
            "embedding": nn.Embedding(20, 6),
        }
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "rule",
    [
        "kaiming_uniform",
        "kaiming_normal",
        "kaiming_trunc_normal",
        "xavier_uniform",
        "xavier_normal",
        "xavier_trunc_normal",
        "unit_uniform",
        "orthogonal",
        Rule("constant", 0.3),
    ],
    ids=str,
)
def test_the_page_draws_by_every_rule(rule: str | Rule, dtype: torch.dtype, tmp_path: Path) -> None:
    model = small().to(dtype)
    initialize_(
        model,
        rule,
        Structure(sparsity=0.25, share=rule == Rule("constant", 0.3)),
        bias_values="rule",
    )
    pack(model, tmp_path / "m")
    agrees = drawn_by_the_page(tmp_path / "m")
    assert len(agrees) >= 4
    assert all(agrees.values())


STRUCTURES: dict[str, Structure] = {
    "exact zeros": Structure(sparsity=0.3),
    "zeros by chance": Structure(sparsity=0.3, sparsity_by="bernoulli"),
    "the smallest": Structure(sparsity=0.3, sparsity_by="magnitude"),
    "the smallest of levels": Structure(levels=3, sparsity=0.5, sparsity_by="magnitude"),
    "shared": Structure(share=True),
    "shared, zeros": Structure(share=True, sparsity=0.3),
    "shared, the smallest": Structure(share=True, sparsity=0.3, sparsity_by="magnitude"),
    "quantiles": Structure(quantiles=True),
    "quantiles, zeros": Structure(quantiles=True, sparsity=0.3),
    "pairs": Structure(pairwise=True),
    "pairs of a layer": Structure("layer", pairwise=True),
    "pairs, shared, zeros": Structure(pairwise=True, share=True, sparsity=0.4),
    "levels": Structure(levels=4),
    "levels and pairs": Structure(levels=3, pairwise=True),
    "levels, shared, zeros": Structure(levels=2, share=True, sparsity=0.4),
    "of kernels": Structure({"conv*": "kernel", "trans*": "kernel"}, quantiles=True),
}


@pytest.mark.parametrize("rule", ["kaiming_uniform", "xavier_normal", "kaiming_trunc_normal"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_page_draws_every_structure(structure: str, rule: str, tmp_path: Path) -> None:
    model = small()
    initialize_(model, rule, STRUCTURES[structure], seed=7, bias_values="rule")
    pack(model, tmp_path / "m")
    agrees = drawn_by_the_page(tmp_path / "m")
    assert len(agrees) >= 4
    assert all(agrees.values()), agrees


@pytest.mark.parametrize("make", [conv_net, Tied])
def test_the_page_says_under_which_name_a_tensor_was_drawn(
    make: Callable[[], nn.Module], tmp_path: Path
) -> None:
    part = make()
    initialize_(part, seed=3, bias_values="rule")
    pack(nn.ModuleDict({"a b": part}), tmp_path / "m")
    agrees = drawn_by_the_page(tmp_path / "m")
    assert agrees
    assert all(agrees.values()), agrees


def test_the_page_draws_the_far_tails_of_the_normal_distribution() -> None:
    """Beyond r = 5, some 7 standard deviations, where no seed of a test comes."""
    from permtrain.initial.quantiles import normal_quantile

    for q in (0.4, 0.425, 0.4250001, 0.49, 0.5 - 2**-30, 0.5 - 2**-40, 0.5 - 2**-54):
        for signed in (q, -q):
            assert page.normal(signed) == normal_quantile(np.array([signed]))
