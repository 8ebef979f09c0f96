"""Which files of a folder are images, of which split and class: by their paths alone."""

from pathlib import Path

import pytest

from permtrain.errors import DataError
from permtrain.lab.data.folders import labelled_files
from permtrain.lab.data.order import permutation

SPLITS = ("train", "val")
GOOD = ("train/b/1.png", "train/b/2.JPEG", "train/a/3.png", "val/b/4.png")


def labelled(*names: str):
    return labelled_files([Path("/own", name) for name in names], "/own", SPLITS)


def test_images_are_mixed_and_carry_the_number_of_their_folder() -> None:
    train, val, class_names = labelled(*GOOD, "train/b/notes.txt", "train/c/paper.pdf", "val/x.txt")
    assert class_names == ("a", "b")
    order = permutation(3, 0, 0)
    assert [str(path) for path in train.files] == [f"/own/{GOOD[place]}" for place in order]
    assert train.labels.tolist() == [[1, 1, 0][place] for place in order]
    assert ([str(path) for path in val.files], val.labels.tolist()) == (["/own/val/b/4.png"], [1])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            (*GOOD, "val/5.png"),
            "/own/val/5.png does not lie directly in the folder of a class",
        ),
        ((*GOOD, "train/a/deep/5.png"), "/own/train/a/deep/5.png does not lie directly in the "),
        (GOOD[:3], "/own/val has no images; both splits need at least one"),
        ((GOOD[3], "train/b/notes.txt"), "/own/train has no images; both splits need at least one"),
        ((*GOOD, "val/B/5.png"), "/own/val/B is a class that /own/train lacks; allowed: a, b"),
        (
            (*(f"train/{n}/5.png" for n in range(11)), "val/x/5.png"),
            "/own/val/x is a class that /own/train lacks; allowed: its 11 classes",
        ),
    ],
)
def test_files_in_another_layout_are_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError) as refused:
        labelled(*names)
    assert str(refused.value).startswith(message)
