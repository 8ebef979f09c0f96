"""Checkpoints of every format, and files that are none."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from run_problem import interrupted_run, place_in, plain, tiny
from safetensors.torch import save_file
from torch import nn

import permtrain
from permtrain.errors import CheckpointError, PermtrainError, PictureError
from permtrain.lab.pictures.runs import run_weights
from permtrain.lab.pictures.weights import read_layers, read_tensors
from permtrain.lab.training.run import start_run
from permtrain.packed.ceilings import Ceilings


@pytest.fixture(scope="module")
def net() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 5))
    permtrain.initialize_(model, seed=4)
    return model


def expected(net: nn.Module) -> dict[str, list[list[float]]]:
    state = net.state_dict()
    return {
        "0.weight": state["0.weight"].flatten(1).tolist(),
        "3.weight": state["3.weight"].tolist(),
    }


def as_lists(path: Path) -> dict[str, list[list[float]]]:
    return {name: w_VL.tolist() for name, w_VL in read_layers(path).items()}


def test_safetensors_whatever_the_name(net: nn.Module, tmp_path: Path) -> None:
    save_file(net.state_dict(), tmp_path / "weights.bin")
    assert as_lists(tmp_path / "weights.bin") == expected(net)


def test_packed_file(net: nn.Module, tmp_path: Path) -> None:
    permtrain.pack(net, tmp_path / "packed")
    assert as_lists(tmp_path / "packed") == expected(net)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("zipped", [True, False])
def test_state_dicts(wrapper: str | None, zipped: bool, net: nn.Module, tmp_path: Path) -> None:
    state = net.state_dict()
    torch.save(
        {wrapper: state, "epoch": 3} if wrapper else state,
        tmp_path / "a.pt",
        _use_new_zipfile_serialization=zipped,
    )
    assert as_lists(tmp_path / "a.pt") == expected(net)


def test_bfloat16_is_widened(tmp_path: Path) -> None:
    save_file({"w": torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16)}, tmp_path / "w")
    layers = read_layers(tmp_path / "w")
    assert layers["w"].dtype == np.float32
    assert layers["w"].tolist() == [[1.5, -2.0]]


def test_keras_kernels_have_their_output_units_last(tmp_path: Path) -> None:
    kernel = np.arange(24, dtype=np.float32).reshape(2, 2, 3, 2)
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file["model_weights/conv/conv/kernel:0"] = kernel
        file["model_weights/conv/conv/bias:0"] = np.zeros(2, dtype=np.float32)
        file["optimizer_weights/m"] = kernel
    layers = read_layers(tmp_path / "net.h5")
    assert list(layers) == ["conv/kernel"]
    assert layers["conv/kernel"].tolist() == [
        kernel[..., i].transpose(2, 0, 1).ravel().tolist() for i in (0, 1)
    ]


def test_keras_files_read_no_other_files(tmp_path: Path) -> None:
    (tmp_path / "private").write_bytes(b"secret, 16 bytes")
    with h5py.File(tmp_path / "external.h5", "w") as file:
        place = [(str(tmp_path / "private"), 0, 16)]
        file.create_dataset("kernel:0", (2, 2), dtype="f4", external=place)
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["kernel:0"] = np.ones((2, 2), dtype=np.float32)
    layout = h5py.VirtualLayout(shape=(2, 2), dtype="f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "source.h5"), "kernel:0", shape=(2, 2))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("kernel:0", layout)
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["kernel:0"] = h5py.ExternalLink(str(tmp_path / "source.h5"), "kernel:0")
        file["own:0"] = np.zeros((1, 2), dtype=np.float32)
    for name in ("external", "virtual"):
        with pytest.raises(CheckpointError, match="kernel:0 has its values in other files"):
            read_layers(tmp_path / f"{name}.h5")
    assert list(read_layers(tmp_path / "linked.h5")) == ["own"]


class Harm:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["pickle", "torch", "old torch"])
def test_malicious_pickles_are_refused_and_not_executed(form: str, tmp_path: Path) -> None:
    file, harm = tmp_path / "net.pt", {"w": torch.zeros(2, 2), "x": Harm(tmp_path / "harm")}
    if form == "pickle":
        file.write_bytes(pickle.dumps(Harm(tmp_path / "harm")))
    else:
        torch.save(harm, file, _use_new_zipfile_serialization=form == "torch")
    said = "not readable: neither" if form == "pickle" else "holds more than plain tensors, as"
    with pytest.raises(CheckpointError, match=rf"net\.pt: {said}"):
        read_layers(file)
    assert not (tmp_path / "harm").exists()


def saved(what: object, old: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(what, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as members:
        members.writestr(name, b"nothing")
    return file.getvalue()


def script() -> bytes:
    """What `torch.jit.save` writes, as far as its names go."""
    file = io.BytesIO(saved({"w": torch.ones(2, 2)}))
    with zipfile.ZipFile(file, "a") as members:
        members.writestr("archive/constants.pkl", b"")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty", b"", "empty: not readable"),
        ("text", b"weights, weights, weights", "text: not readable"),
        ("cut.safetensors", b"\x40\0\0\0\0\0\0\0{cut", "cut.safetensors: not readable as safetens"),
        ("net.h5", b"\x89HDF\r\n\x1a\nbroken", "net.h5: not readable as HDF5"),
        ("whole.pt", saved(nn.Linear(2, 2)), "whole.pt: holds more than plain tensors, as a whole"),
        ("script.pt", script(), "script.pt: holds more than plain tensors, as a whole module"),
        ("cut.pt", saved({"w": torch.ones(9, 9)})[:-99], "cut.pt: not readable: neither safetens"),
        ("old.pt", saved({"w": torch.ones(9, 9)}, old=True)[:-99], "old.pt: not readable as a Py"),
        ("a.npz", zipped("a.npy"), "a.npz: not readable: neither safetensors, nor a packed file"),
        ("odd.pt", zipped("a/data.pkl"), "odd.pt: holds more than plain|odd.pt: not readable as"),
    ],
)
def test_damaged_files(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as refused:
        read_layers(tmp_path / name)
    said = str(refused.value)
    assert "\n" not in said
    assert "weights_only" not in said  # torch's own advice, which is none for a file of others


def stride_0(file: Path, shape: tuple[int, int]) -> None:
    torch.save({"w": torch.ones(1, 1).expand(shape), "kept": torch.zeros(2, 2)}, file)


def unwritten(file: Path, shape: tuple[int, int]) -> None:
    with h5py.File(file, "w") as opened:
        opened.create_dataset("w/kernel:0", shape, dtype="f4", chunks=(1, 64))


def chunk_beyond_its_data(file: Path, shape: tuple[int, int]) -> None:
    with h5py.File(file, "w") as opened:
        weights = opened.create_dataset(
            "w/kernel:0", (2, 2), dtype="f4", chunks=shape, maxshape=(None, None), compression=9
        )
        assert weights.chunks == shape


def compressed(file: Path, shape: tuple[int, int]) -> None:
    plain = file.with_suffix(".plain")
    torch.save({"w": torch.zeros(shape)}, plain)
    with zipfile.ZipFile(plain) as members, zipfile.ZipFile(file, "w") as zipped:
        for member in members.infolist():
            zipped.writestr(member.filename, members.read(member), zipfile.ZIP_DEFLATED)


def packed_alike(file: Path, shape: tuple[int, int]) -> None:
    module = nn.ParameterDict({"w": nn.Parameter(torch.ones(shape))})
    permtrain.pack(module, file)


@pytest.mark.parametrize("write", [stride_0, unwritten, compressed, packed_alike])
def test_a_file_may_not_claim_more_than_its_size_allows(
    write: Callable[[Path, tuple[int, int]], None], tmp_path: Path
) -> None:
    """Unless a user says so; nothing is read before."""
    write(tmp_path / "small", (4, 100))
    assert read_layers(tmp_path / "small")["w/kernel" if write is unwritten else "w"].size == 400
    with pytest.raises(PermtrainError, match=r"claims \d+ (numbers|weights); allowed: 399, or"):
        read_layers(tmp_path / "small", Ceilings(399))
    assert read_layers(tmp_path / "small", Ceilings(1_000))


@pytest.mark.parametrize("write", [stride_0, unwritten])
def test_the_default_ceiling(
    write: Callable[[Path, tuple[int, int]], None], tmp_path: Path
) -> None:
    write(tmp_path / "large", (4096, 4500))
    most = (1 << 24) + 64 * (tmp_path / "large").stat().st_size
    with pytest.raises(
        PermtrainError, match=rf"large: claims 1843200[04] numbers; allowed: {most}, or more"
    ):
        read_layers(tmp_path / "large")
    if write is stride_0:
        with pytest.raises(
            PermtrainError, match=rf"claims 1843200[04] numbers; allowed: {most}, o"
        ):
            read_tensors(tmp_path / "large")


def test_a_chunk_larger_than_its_data_is_claimed_whole(tmp_path: Path) -> None:
    chunk_beyond_its_data(tmp_path / "large", (8192, 8192))
    with pytest.raises(CheckpointError, match="/large: claims 67108864 numbers; allowed: 169"):
        read_layers(tmp_path / "large")


def test_nothing_to_draw(tmp_path: Path) -> None:
    save_file(
        {"bias": torch.zeros(3), "steps": torch.zeros(2, 2, dtype=torch.int64)}, tmp_path / "b"
    )
    with pytest.raises(PictureError, match="b: holds no weights of two or more dimensions to draw"):
        read_layers(tmp_path / "b")
    torch.save([torch.zeros(2, 2)], tmp_path / "list.pt")
    with pytest.raises(PictureError, match=r"list\.pt: holds no tensors by name"):
        read_layers(tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="nowhere: no such file"):
        read_layers(tmp_path / "nowhere")


@pytest.mark.parametrize("settings", [tiny(), plain()], ids=["laperm", "plain"])
def test_run_folder_before_and_after(settings, tmp_path: Path) -> None:
    folder = start_run(settings, place_in(tmp_path)).folder
    random_state = torch.get_rng_state()
    before, after = run_weights(folder).by_unit()
    assert torch.equal(torch.get_rng_state(), random_state)
    assert list(before) == list(after)
    assert {n: w_VL.tolist() for n, w_VL in after.items()} == as_lists(folder)
    for name in after:
        is_permuted = np.array_equal(np.sort(before[name], axis=1), np.sort(after[name], axis=1))
        assert is_permuted == (settings.permutation.method == "laperm")
        assert not np.array_equal(before[name], after[name])


def test_checkpoints_of_runs_are_read(tmp_path: Path) -> None:
    folder = interrupted_run(tiny(), place_in(tmp_path), step=7)
    with pytest.raises(
        PictureError, match=r"the run is not complete, weights\.safetensors is missing"
    ):
        read_layers(folder)
    (checkpoint,) = (folder / "checkpoints").glob("step-*7.pt")
    saved = torch.load(checkpoint, weights_only=True)["trainer"]["model"]
    layers = read_layers(checkpoint)
    assert layers["output.weight"].tolist() == saved["output.weight"].tolist()


def test_before_is_known_of_runs_only(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="only the folder of a run tells the weights before"):
        run_weights(tmp_path / "net.pt")
    with pytest.raises(PermtrainError, match=r"no run folder, settings\.json is missing"):
        run_weights(tmp_path)


def test_sparse_tensors_and_those_without_numbers_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    meta = torch.zeros(2, 3, device="meta")
    torch.save({"s": torch.eye(4).to_sparse(), "w": torch.ones(2, 3), "m": meta}, file)
    assert {name: w_VL.tolist() for name, w_VL in read_layers(file).items()} == {
        "w": [[1.0] * 3] * 2
    }
