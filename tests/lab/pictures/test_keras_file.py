"""Files that Keras 3.15 wrote of one net, in `keras/`, and one as Keras 2 lays it out.

The net: a convolution `zeta`, batch norm `norm`, `mid`, an inner network of `in_b` and `in_a`
(without a bias), `alpha`. Its variables hold 0, 1, 2, ..., one after the other in this order.
"""

import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from permtrain.errors import CheckpointError
from permtrain.lab.cli.main import main
from permtrain.lab.pictures.weights import read_layers, read_tensors
from permtrain.packed.model import unpack

SHAPES = {
    "zeta/kernel": (3, 3, 1, 2), "zeta/bias": (2,),
    "norm/gamma": (2,), "norm/beta": (2,), "norm/moving_mean": (2,), "norm/moving_variance": (2,),
    "mid/kernel": (8, 4), "mid/bias": (4,),
    "inner/in_b/kernel": (4, 3), "inner/in_b/bias": (3,), "inner/in_a/kernel": (3, 2),
    "alpha/kernel": (2, 2), "alpha/bias": (2,),
}  # fmt: skip
NUMBERED = [
    "zeta/0", "zeta/1", "norm/0", "norm/1", "norm/2", "norm/3", "mid/0", "mid/1",
    "inner/in_b/0", "inner/in_b/1", "inner/in_a/0", "alpha/0", "alpha/1",
]  # fmt: skip


def variables(names: list[str]) -> dict[str, torch.Tensor]:
    """What a file holds under these names, in the order of `SHAPES`."""
    sizes = [int(np.prod(shape)) for shape in SHAPES.values()]
    numbers = torch.arange(sum(sizes), dtype=torch.float32).split(sizes)
    return {
        name: each.reshape(shape)
        for name, each, shape in zip(names, numbers, SHAPES.values(), strict=True)
    }


def written(folder: Path, name: str) -> Path:
    file = folder / name
    if name != "keras2.h5":
        packed = Path(__file__).parent / "keras" / f"{name}.gz"
        file.write_bytes(gzip.decompress(packed.read_bytes()))
        return file
    layers: dict[str, list[str]] = {"image": []}
    for each in SHAPES:
        layers.setdefault(each.partition("/")[0], []).append(each)
    with h5py.File(file, "w") as opened:
        model = opened.create_group("model_weights")
        for number, layer in enumerate(layers):  # in parts, as where names are long
            model.attrs[f"layer_names{number}"] = [layer.encode()]
        for layer in sorted(layers):
            group = model.create_group(layer)
            names = [f"{each.removeprefix('inner/')}:0".encode() for each in layers[layer]]
            group.attrs["weight_names"] = names
            for each, weight in zip(layers[layer], names, strict=True):
                group[weight.decode()] = variables([*SHAPES])[each].numpy()
        opened["optimizer_weights/m"] = np.ones((2, 2), dtype=np.float32)
    return file


FILES = {
    "keras2.h5": [*SHAPES],
    "keras3.h5": [*SHAPES],
    "keras3.keras": NUMBERED,
    "keras3.weights.h5": NUMBERED,
}


@pytest.mark.parametrize("name", FILES)
def test_variables_stand_in_the_models_order_under_their_names(name: str, tmp_path: Path) -> None:
    expected = variables(FILES[name])
    found = read_tensors(written(tmp_path, name))
    assert list(found) == list(expected)
    assert all(torch.equal(found[each], expected[each]) for each in expected)
    layers = read_layers(tmp_path / name)
    assert list(layers) == [each for each, values in expected.items() if values.dim() > 1]
    for each, w_VL in layers.items():  # output units are on the last axis, inputs before
        assert w_VL.tolist() == expected[each].movedim((-1, -2), (0, 1)).flatten(1).tolist()


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_packed_bit_for_bit(name: str, tmp_path: Path) -> None:
    file = written(tmp_path, name)
    assert main(["pack", str(file)]) == 0
    expected = variables(FILES[name])
    found = unpack(tmp_path / f"{file.stem}-packed.safetensors")
    assert set(found) == set(expected)
    assert all(torch.equal(found[each], expected[each]) for each in expected)


def test_bits_of_other_types_are_kept_and_text_is_left_out(tmp_path: Path) -> None:
    bits = np.array([[0x3F80, -1]], dtype=np.int16)
    with h5py.File(tmp_path / "net.h5", "w") as file:
        data = file.create_dataset("layers/dense/vars/0", data=bits.view("V2"))
        data.attrs["dtype"] = "bfloat16"
        file["layers/dense/vars/1"] = np.array([1.5, -2], dtype=">f4")
        file["layers/dense/vars/2"] = np.array([7], dtype=np.int64)
        file["layers/dense/vars/3"] = "words"
    zero, one, two = read_tensors(tmp_path / "net.h5").values()
    assert zero.dtype == torch.bfloat16
    assert zero.view(torch.int16).tolist() == bits.tolist()
    assert (one.tolist(), two.tolist()) == ([1.5, -2], [7])


def test_names_that_would_be_one_stay_whole(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "net.h5", "w") as file:
        for path in ("a/a/kernel:0", "a/kernel:0"):
            file[path] = np.zeros((2, 2))
    assert sorted(read_tensors(tmp_path / "net.h5")) == ["a/a/kernel:0", "a/kernel:0"]


def test_attributes_lead_to_no_other_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "private.h5", "w") as file:
        file["kernel:0"] = np.ones((2, 2))
        file.attrs["weight_names"] = ["kernel:0"]
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file["own/kernel:0"] = np.zeros((2, 2))
        file["linked"] = h5py.ExternalLink("private.h5", "/")
        file["own/vars"] = h5py.ExternalLink("private.h5", "/")
        file.attrs["layer_names"] = ["linked", "own"]
        file["own"].attrs["weight_names"] = ["vars/kernel:0", "kernel:0"]
    assert list(read_tensors(tmp_path / "net.h5")) == ["own/kernel"]


def test_a_damaged_archive_is_one_line(tmp_path: Path) -> None:
    file = written(tmp_path, "keras3.keras")
    content = bytearray(file.read_bytes())
    place = content.index(b"\x89HDF")
    content[place : place + 400] = bytes(400)
    file.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"keras3\.keras: not readable as HDF5 \(.*\)$"):
        read_layers(file)
