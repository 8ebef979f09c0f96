"""Files of every version of the format, kept for ever: they still read, and are still written so.

`golden/NAME.safetensors` is the packed file, `golden/NAME.plain.safetensors` the same model as it
is. They were written once, by `python tests/packed/test_golden.py`, which adds missing ones only.
"""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import load_file

from permtrain import PackedFile
from permtrain.core.cut import Cut
from permtrain.packed.entries import Alias
from permtrain.packed.plain_file import write_plain

sys.path.insert(0, str(Path(__file__).parents[1]))

from packed import reference
from packed.nets import NETS
from permtrain.packed import coders
from permtrain.packed.model import tensors_of
from permtrain.packed.writer import TensorToPack, packed_bytes

FOLDER = Path(__file__).parent / "golden"
GOLDEN = {
    "v1-mixed-uniform": ("mixed", "uniform"),
    "v1-mixed-conditional": ("mixed", "conditional"),
    "v1-sparse-uniform": ("sparse", "uniform"),
    "v1-three-levels-conditional": ("three levels, sparse", "conditional"),
    "v1-hardly-moved-conditional": ("hardly moved", "conditional"),
    "v1-bfloat16-uniform": ("bfloat16", "uniform"),
    "v1-float16-conditional": ("float16", "conditional"),
    "v1-tied-uniform": ("tied", "uniform"),
    "v1-transposed-conditional": ("transposed, groups", "conditional"),
    "v1-norms-uniform": ("per neuron", "uniform"),
    "v1-levels-stored-uniform": ("few levels, unborn", "uniform"),
    "v1-raw-uniform": ("zeros of both signs", "uniform"),
    "v1-in-parts-conditional": ("drawn in parts", "conditional"),
    "v1-part-conditional": ("part of a whole", "conditional"),
}


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("decoders", [coders, reference], ids=["compiled", "reference"])
def test_golden_files_still_read(
    name: str, decoders: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for decoder in ("uniform_levels", "conditional_levels"):
        monkeypatch.setattr(f"permtrain.packed.reader.{decoder}", getattr(decoders, decoder))
    write_plain(PackedFile(FOLDER / f"{name}.safetensors"), tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == (FOLDER / f"{name}.plain.safetensors").read_bytes()


@pytest.mark.parametrize("name", GOLDEN)
def test_the_same_weights_are_still_written_so(name: str) -> None:
    """Packed again from what the golden file holds, with its own records and cuts."""
    data = (FOLDER / f"{name}.safetensors").read_bytes()
    file = PackedFile(data)
    tensors = [
        e
        if isinstance(e, Alias)
        else TensorToPack(
            e.name,
            e.dtype,
            np.array(file.bits(e.name)),
            () if e.coder in ("raw", "constant") else (e.cut or Cut("layer", shape=e.shape),),
            e.record,
        )
        for e in file.entries.values()
    ]
    assert packed_bytes(tensors, coders=(GOLDEN[name][1],)) == data


def test_plain_files_are_safetensors() -> None:
    for name in GOLDEN:
        if "bfloat16" not in name:  # NumPy has none
            assert load_file(FOLDER / f"{name}.plain.safetensors")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, (net, coder) in GOLDEN.items():
        path = FOLDER / f"{name}.safetensors"
        if not path.exists():
            path.write_bytes(packed_bytes(tensors_of(NETS[net](), "any", None), coders=(coder,)))
            write_plain(PackedFile(path), FOLDER / f"{name}.plain.safetensors")
