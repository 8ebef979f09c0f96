"""Text as data: its characters, windows, epochs and parts."""

from pathlib import Path

import pytest
import torch

from permtrain.errors import DataError
from permtrain.lab.data.sources import is_text
from permtrain.lab.data.splits import carve_validation, limit
from permtrain.lab.data.text import TextSplit, load_text


def counting(length: int, context: int) -> TextSplit:
    """A text of different characters, so that a code tells its place."""
    return TextSplit(torch.arange(length, dtype=torch.int32), context)


def windows_of(split: TextSplit, epoch: int, batch_size: int = 3, seed: int = 0) -> list[list[int]]:
    found = []
    for codes, labels, sizes in split.epoch_batches(batch_size, seed=seed, epoch=epoch):
        assert codes.shape[1:] == (1, 1, split.context)
        assert sizes == [len(codes)]
        assert labels.dtype == torch.int64
        assert torch.equal(labels, codes.flatten(1) + 1)  # the next character of each
        found += codes.flatten(1).tolist()
    return found


def test_codes_count_the_characters_in_their_order_and_the_last_tenth_is_tested_on(
    tmp_path: Path,
) -> None:
    text = "ba" * 40 + "é\n" * 10
    file = tmp_path / "a.txt"
    file.write_text(text, encoding="utf-8")
    data = load_text(str(file), context=5)
    assert data.class_names == ("\n", "a", "b", "é")
    codes = torch.cat([data.train.codes, data.test.codes])
    assert "".join(data.class_names[code] for code in codes.tolist()) == text
    assert len(data.test.codes) == 10
    assert (data.image_shape, data.num_classes, data.source) == ((1, 1, 5), 4, str(file))


@pytest.mark.parametrize("length", [24, 25, 26, 27, 28])
def test_an_epoch_has_every_window_once_wherever_the_first_begins(length: int) -> None:
    split = counting(length, context=4)
    shifts = set()
    for epoch in range(40):
        windows = sorted(windows_of(split, epoch))
        shift = windows[0][0]
        starts = [shift + 4 * number for number in range(len(split))]
        assert windows == [list(range(start, start + 4)) for start in starts]
        assert windows[-1][-1] + 1 < length
        shifts.add(shift)
    assert shifts == {0, 1, 2, 3}


def test_an_epochs_batches_are_a_function_of_seed_and_epoch() -> None:
    split = counting(400, context=4)
    first = windows_of(split, epoch=2, seed=5)
    assert windows_of(split, epoch=2, seed=5) == first
    assert windows_of(split, epoch=3, seed=5) != first
    assert windows_of(split, epoch=2, seed=6) != first
    later = list(split.epoch_batches(3, seed=5, epoch=2, first=10))
    assert later[0][0].flatten(1).tolist() == first[30:33]


def test_validation_takes_the_last_windows_and_no_character_is_in_both_parts() -> None:
    train, validation = carve_validation(counting(105, context=4), 0.2, seed=3)
    assert validation is not None
    assert len(validation) == round(0.2 * 25)
    assert torch.equal(torch.cat([train.codes, validation.codes]), torch.arange(105))


def test_limited_keeps_the_first_windows() -> None:
    split = limit(counting(100, context=4), 3)
    codes, _ = next(split.in_order())
    assert codes.flatten(1).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert len(split) == 3
    assert len(limit(split, 50)) == 3


def test_the_standard_library_is_the_same_text_each_time() -> None:
    first, second = load_text("text"), load_text("text")
    assert torch.equal(first.train.codes, second.train.codes)
    assert set(first.class_names) <= {"\n", *map(chr, range(32, 127))}
    assert len(first.train.codes) > 3_000_000
    text = "".join(first.class_names[code] for code in first.train.codes[:4_000].tolist())
    assert text in Path(__import__("abc").__file__).read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"short", "has 5 characters; allowed with context 64: 1,280 or more"),
        (b"\xff\xfe" * 2000, "no text in UTF-8 ('utf-8' codec can't decode byte 0xff"),
    ],
)
def test_a_file_that_is_no_text_or_too_short(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    assert is_text(str(file))
    with pytest.raises(DataError) as caught:
        load_text(str(file))
    assert message in str(caught.value)
    assert str(file) in str(caught.value)
