"""The three data sets of shared/data against the figures of their README."""

from pathlib import Path

import pytest
import torch

from permtrain.lab.data.load import load_images
from permtrain.lab.data.normalize import channel_statistics

TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]  # of MNIST
FIGURES = {
    "mnist": ([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], (0.1325,), (0.3105,)),
    "fashion_mnist": ([1000] * 10, (0.2868,), (0.3524,)),
    "cifar10-jpeg": ([1000] * 10, (0.4941, 0.4851, 0.4504), (0.2448, 0.2422, 0.2606)),
}


@pytest.mark.parametrize("name", FIGURES)
def test_test_split(name: str, real_data: Path, tmp_path: Path) -> None:
    counts, means, stds = FIGURES[name]
    for split in ("train", "test"):  # the small file twice: decoding the large one takes long
        (tmp_path / f"{split}.parquet").symlink_to(real_data / name / "test.parquet")
    data = load_images(tmp_path)
    assert torch.bincount(data.test.labels).tolist() == counts
    mean, std = channel_statistics(data.test.images)
    assert mean == pytest.approx(means, abs=6e-5)
    assert std == pytest.approx(stds, abs=6e-5)
    assert len(data.class_names) == 10


def test_mnist_whole(real_data: Path) -> None:
    data = load_images("mnist", data_folder=real_data)
    assert torch.bincount(data.train.labels).tolist() == TRAIN_COUNTS
    assert len(data.test) == 10_000
    mean, std = channel_statistics(data.train.images)
    assert mean == pytest.approx((0.1307,), abs=6e-5)
    assert std == pytest.approx((0.3081,), abs=6e-5)
    assert data.class_names == tuple("0123456789")
