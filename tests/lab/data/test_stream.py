"""Data sets that are read as they are needed: ImageNet's folders, the hub's shards."""

import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from run_problem import interrupted_run, outcome, place_in

from permtrain.errors import DataError, SettingError
from permtrain.lab.cli.main import main
from permtrain.lab.data import stream_shards
from permtrain.lab.data.augment_settings import Augmentation
from permtrain.lab.data.crops import crop_draws, middle_square, random_box, random_square
from permtrain.lab.data.load import load_images, open_stream
from permtrain.lab.data.order import permutation
from permtrain.lab.data.registry import DATASETS
from permtrain.lab.data.sources import Source
from permtrain.lab.data.splits import carve_validation, limit
from permtrain.lab.data.stream import StreamedData, StreamedSplit
from permtrain.lab.pictures.runs import run_weights
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.training.run import start_run
from permtrain.lab.training.settings import DataSettings, PermutationSettings, Settings
from permtrain.lab.training.trainer import Trainer

Write = Callable[[Path], Path]
CLASSES = ("n01440764", "n01443537", "n02102040")
NUM = {"train": 4, "val": 2}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` sleeps for five seconds wherever a stream of several files ends."""
    monkeypatch.setattr("datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN", 0.2)


def photograph(seed: int) -> Image.Image:
    """An image whose size and pixels follow from the seed."""
    generator = np.random.default_rng(seed)
    height, width = generator.integers(36, 60, 2)
    small = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((int(width), int(height)))


def photographs(split: str) -> list[tuple[Image.Image, int, str]]:
    """Image, label and file name of all images of a split, sorted by class."""
    found = []
    for label, name in enumerate(CLASSES):
        for number in range(NUM[split]):
            seed = 100 * (split == "val") + 10 * label + number
            found.append((photograph(seed), label, f"{name}_{number}.JPEG"))
    return found


def write_folders(folder: Path) -> Path:
    """train/CLASS/CLASS_0.JPEG and so on, and val/CLASS/..."""
    for split in NUM:
        for image, label, name in photographs(split):
            (folder / split / CLASSES[label]).mkdir(parents=True, exist_ok=True)
            image.save(folder / split / CLASSES[label] / name, "JPEG")
    (folder / "train" / CLASSES[0] / "notes.txt").write_text("no image")
    return folder


def write_shards(
    folder: Path,
    num_shards: int = 2,
    names: tuple[str, ...] = CLASSES,
    labels_are: str = "ClassLabel",
) -> Path:
    """data/train-00000-of-00002.parquet and so on, one validation file: the hub's layout."""
    datasets.disable_progress_bars()
    (folder / "data").mkdir(parents=True)
    jpeg = folder / "image.JPEG"
    is_class = labels_are == "ClassLabel"
    label: Any = datasets.ClassLabel(names=[*names]) if is_class else datasets.Value(labels_are)
    features = datasets.Features({"image": datasets.Image(), "label": label})
    for split, written, num in (("train", "train", num_shards), ("val", "validation", 1)):
        images, labels = [], []
        for image, place, name in photographs(split):
            image.save(jpeg, "JPEG")
            images.append({"bytes": jpeg.read_bytes(), "path": name})
            labels.append(names[place] if labels_are == "string" else place)
        for shard in range(num):
            columns = {"image": images[shard::num], "label": labels[shard::num]}
            table = datasets.Dataset.from_dict(columns, features=features)
            table.to_parquet(folder / "data" / f"{written}-{shard:05d}-of-{num:05d}.parquet")
    jpeg.unlink()
    return folder


LAYOUTS = pytest.mark.parametrize("write", [write_folders, write_shards])


def epoch_of(split: StreamedSplit, batch_size: int = 5, first: int = 0, epoch: int = 0, seed=3):
    batches = list(split.epoch_batches(batch_size, seed=seed, epoch=epoch, first=first))
    assert [sizes for _, labels, sizes in batches] == [[len(b[1])] for b in batches]
    return [(images, labels) for images, labels, _ in batches]


def same(left, right) -> bool:
    pairs = zip(left, right, strict=True)
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in pairs)


# Crops


@pytest.mark.parametrize(("width", "height"), [(50, 50), (400, 300), (30, 500), (1, 1), (9, 1)])
def test_boxes_lie_in_the_image_and_have_the_published_areas_and_aspects(
    width: int, height: int
) -> None:
    boxes = [random_box(width, height, crop_draws(0, 1, place)) for place in range(200)]
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    if min(width, height) >= 300:
        sizes = [(right - left, bottom - top) for left, top, right, bottom in boxes]
        areas = [w * h / (width * height) for w, h in sizes]
        aspects = [w / h for w, h in sizes]
        assert 0.078 < min(areas) < 0.15
        assert 0.8 < max(areas) <= 1
        assert 0.74 < min(aspects) < 0.78
        assert 1.28 < max(aspects) < 1.35
        assert len(set(boxes)) == 200


def test_a_box_by_hand() -> None:
    draws = np.full(22, 0.5)
    draws[0], draws[1] = 0.25, 0.5  # area 2500 * (.08 + .92 / 4), aspect 1
    side = round((2500 * 0.31) ** 0.5)
    assert side == 28
    start = int((50 - 28 + 1) * 0.5)
    assert random_box(50, 50, draws) == (start, start, start + side, start + side)


def test_where_nothing_fits_it_is_the_middle_with_the_nearest_allowed_aspect() -> None:
    tallest = np.zeros(22)  # 8% of 100 x 900 at aspect 3/4 is 73 wide: fits
    assert random_box(100, 900, tallest) == (0, 0, 73, 98)
    widest = np.full(22, 0.999)
    assert random_box(100, 900, widest) == (0, 383, 100, 516)
    assert random_box(900, 100, widest) == (383, 0, 516, 100)


def test_draws_are_those_of_the_counters_and_not_of_the_order() -> None:
    first = crop_draws(1, 2, 3)
    assert first.shape == (22,)
    assert first.min() >= 0
    assert first.max() < 1
    others = [crop_draws(*key) for key in ((2, 2, 3), (1, 3, 3), (1, 2, 4))]
    assert all((other != first).all() for other in others)
    # The epoch's order takes one word an image from the start of the same key's sequence. Crops
    # start 2**128 blocks of four words further on, which no data set reaches.
    key = np.array([1, 2], dtype=np.uint64)
    order_words = np.random.Philox(key=key).random_raw(400) >> np.uint64(11)
    for place in (0, 1, 3, 90):
        draws = crop_draws(1, 2, place)
        assert not set(draws) & set(order_words * 2.0**-53)
        far = np.random.Philox(key=key).advance(2**128 + 2**64 * place).random_raw(22)
        assert draws.tolist() == ((far >> np.uint64(11)) * 2.0**-53).tolist()
    with pytest.raises(SettingError, match="seed is -1"):
        crop_draws(-1, 0, 0)


def test_squares_are_those_of_pillow() -> None:
    image = photograph(1)
    draws = crop_draws(0, 0, 0)
    part = image.crop(random_box(*image.size, draws))
    expected = np.asarray(part.resize((14, 14), Image.Resampling.BILINEAR))
    assert (random_square(image, 14, draws) == expected.transpose(2, 0, 1)).all()
    wide = Image.fromarray(
        np.arange(64 * 96 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 96, 3)
    )
    # 64 x 96 at size 56: the shorter side is 64 as it is, so only the middle is taken
    assert (middle_square(wide, 56) == np.asarray(wide)[4:60, 20:76].transpose(2, 0, 1)).all()


# What is read


@LAYOUTS
def test_all_images_of_both_layouts(write: Write, tmp_path: Path) -> None:
    data = open_stream(write(tmp_path / "tiny"), image_size=28)
    assert (data.class_names, data.num_classes) == (CLASSES, 3)
    assert (data.image_shape, data.name) == ((3, 28, 28), "tiny")
    assert data.source == str((tmp_path / "tiny").resolve())
    assert (len(data.train), len(data.test)) == (12, 6)
    for split, part in (("train", data.train), ("val", data.test)):
        ((images, labels),) = part.in_order()
        assert images.dtype == torch.uint8
        found = sorted(
            (int(label), image.numpy().tobytes())
            for image, label in zip(images, labels, strict=True)
        )
        expected = []
        for image, label, _ in photographs(split):
            image.save(tmp_path / "one.JPEG", "JPEG")
            with Image.open(tmp_path / "one.JPEG") as file:
                expected.append((label, middle_square(file, 28).tobytes()))
        assert found == sorted(expected)


@LAYOUTS
def test_an_epoch_is_a_function_of_seed_and_epoch(write: Write, tmp_path: Path) -> None:
    train = open_stream(write(tmp_path / "tiny"), image_size=16).train
    first = epoch_of(train)
    assert [images.shape for images, _ in first] == [(5, 3, 16, 16), (5, 3, 16, 16), (2, 3, 16, 16)]
    assert sorted(torch.cat([labels for _, labels in first]).tolist()) == 4 * [0] + 4 * [1] + 4 * [
        2
    ]
    assert same(first, epoch_of(open_stream(tmp_path / "tiny", image_size=16).train))
    assert same(first[2:], epoch_of(train, first=2))
    assert not same(first, epoch_of(train, epoch=1))
    assert not same(first, epoch_of(train, seed=4))


def test_a_folder_is_shuffled_whole_and_cut_by_place(tmp_path: Path) -> None:
    train = open_stream(write_folders(tmp_path / "tiny"), image_size=16).train
    files, labels = train.encoded.files, train.encoded.labels
    perm = permutation(12, 3, 7)
    images = torch.cat([images for images, _ in epoch_of(train, epoch=7)])
    for place, file in enumerate(perm):
        with Image.open(files[file]) as image:
            expected = random_square(image, 16, crop_draws(3, 7, place))
        assert (images[place].numpy() == expected).all(), place
        assert files[file].parent.name == CLASSES[labels[file]]


def test_the_first_images_are_of_all_classes(tmp_path: Path) -> None:
    train = open_stream(write_folders(tmp_path / "tiny")).train
    assert len(set(limit(train, 6).encoded.labels.tolist())) > 1
    assert len(limit(train, 100)) == 12


@LAYOUTS
def test_limits_keep_the_first(write: Write, tmp_path: Path) -> None:
    data = open_stream(write(tmp_path / "tiny"), image_size=16)
    whole = next(data.test.in_order())
    few = next(limit(data.test, 4).in_order())
    assert same([few], [(whole[0][:4], whole[1][:4])])
    few_for_training = limit(data.train, 7).encoded
    first = sorted(encoded.where for encoded, _ in few_for_training.in_order())
    for epoch in range(3):
        shuffled = few_for_training.shuffled(3, epoch, 0)
        assert sorted(encoded.where for encoded, _ in shuffled) == first


def test_validation_images_of_a_folder_are_no_training_images(tmp_path: Path) -> None:
    train = open_stream(write_folders(tmp_path / "tiny")).train
    kept, validation = carve_validation(train, 0.25, seed=1)
    assert validation is not None
    names = [{path.name for path in each.encoded.files} for each in (kept, validation)]
    assert [len(each) for each in names] == [9, 3]
    assert not names[0] & names[1]


def test_shards_have_no_validation_images(tmp_path: Path) -> None:
    train = open_stream(write_shards(tmp_path / "tiny")).train
    with pytest.raises(SettingError, match=r"is read from its beginning only; allowed with it: 0$"):
        carve_validation(train, 0.25, seed=1)


def test_shards_are_shuffled_by_files_and_within_a_buffer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_shards, "BUFFER", 1)
    train = open_stream(write_shards(tmp_path / "tiny", num_shards=3)).train
    orders = []
    for epoch in range(6):
        rows = train.encoded.shuffled(0, epoch, 0)
        orders.append([encoded.where.rpartition(" ")[2] for encoded, _ in rows])
        assert sorted(orders[-1]) == sorted(name for _, _, name in photographs("train"))
        by_shard = [name for _, _, name in photographs("train")]
        starts = {by_shard[shard] for shard in range(3)}
        assert orders[-1][0] in starts  # whole files, each in its own order
    assert len({tuple(order) for order in orders}) > 1


def test_grey_and_cmyk_photographs_become_rgb(tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "tiny")
    for mode, file in zip(("L", "CMYK"), sorted(folder.glob("val/*/*.JPEG"))[:2], strict=True):
        photograph(0).convert(mode).save(file, "JPEG")
    ((images, _),) = open_stream(folder, image_size=16).test.in_order()
    assert images.shape == (6, 3, 16, 16)
    assert any((image[0] == image[1]).all() for image in images)


def test_statistics_are_the_usual_ones(tmp_path: Path) -> None:
    data = open_stream(write_folders(tmp_path / "tiny"))
    assert data.train.statistics() == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with pytest.raises(
        SettingError, match="'mean-image'; allowed with streamed images: z-score, u"
    ):
        data.train.statistics("mean-image")
    assert data.train.statistics("unit") == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert data.image_shape == (3, 224, 224)


@pytest.mark.parametrize("labels_are", ["string", "int32"])
def test_labels_need_no_names_in_local_shards(labels_are: str, tmp_path: Path) -> None:
    """Text is numbered in alphabetical order, here the other way round; order and crops stay."""
    turned = ("c", "b", "a")
    data, plain = (
        open_stream(write_shards(tmp_path / kind, names=turned, labels_are=kind), image_size=8)
        for kind in (labels_are, "ClassLabel")
    )
    is_text = labels_are == "string"
    assert data.class_names == (("a", "b", "c") if is_text else ("0", "1", "2"))
    for found, known in zip(epoch_of(data.train), epoch_of(plain.train), strict=True):
        assert torch.equal(found[0], known[0])
        assert torch.equal(found[1], 2 - known[1] if is_text else known[1])


@pytest.mark.parametrize(
    ("kind", "validation", "message"),
    [
        ("string", ("a", "b", "x"), "validation, column 'label', has the label 'x'; allowed, as"),
        ("string", (None, "b", "a"), "validation has 2 rows without a label in 'label'"),
        ("int32", (0, 1, 3), "validation row 4 has the label 3; allowed: 0 to 2"),
        ("int32", (0, -1, 2), "validation row 2 has the label -1; allowed: 0 to 2"),
    ],
)
def test_labels_that_training_lacks_are_refused_at_once(
    kind: str, validation: tuple[Any, ...], message: str, tmp_path: Path
) -> None:
    folder = write_shards(tmp_path / "tiny", names=("a", "b", "c"), labels_are=kind)
    (file,) = folder.glob("data/validation-*")
    rows = pq.read_table(file).to_pydict()
    rows["label"] = [each for each in validation for _ in range(2)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value(kind)})
    datasets.Dataset.from_dict(rows, features=features).to_parquet(file)
    with pytest.raises(DataError, match=message):
        open_stream(folder)


def test_transparency_that_is_dropped_is_said_once_for_a_split(tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "tiny")
    for number in range(2):
        image = photograph(number).convert("RGBA")
        image.save(folder / "train" / CLASSES[0] / f"opaque{number}.png")
        image.putpixel((3, 3), (1, 2, 3, 254))
        image.save(folder / "train" / CLASSES[0] / f"clear{number}.png")
    train = open_stream(folder, image_size=8).train
    with pytest.warns(UserWarning, match=r"clear[01]\.png has transparency, which is drop") as said:
        first = epoch_of(train, batch_size=3)
    assert len(said) == 1
    assert same(first, epoch_of(train, batch_size=3))  # and no further warning
    assert len(list(train.to("cpu").limited(16).in_order())) == 1


# Bad input


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "tiny")
    bad = folder / "train" / CLASSES[1] / f"{CLASSES[1]}_2.JPEG"
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"{bad.name} cannot be decoded as an image"):
        epoch_of(open_stream(folder).train)


def test_a_row_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "tiny")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=[*CLASSES])}
    )
    rows = {"image": [{"bytes": b"no image", "path": "n1.JPEG"}], "label": [0]}
    file = folder / "data" / "validation-00000-of-00001.parquet"
    datasets.Dataset.from_dict(rows, features=features).to_parquet(file)
    with pytest.raises(DataError, match=r"validation n1\.JPEG cannot be decoded as an image"):
        list(open_stream(folder).test.in_order())


def test_shards_with_other_classes_are_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "tiny")
    other = write_shards(tmp_path / "other", names=(*CLASSES[:2], "n09"))
    name = "validation-00000-of-00001.parquet"
    shutil.copy(other / "data" / name, folder / "data" / name)
    with pytest.raises(DataError, match="the class 'n09', which it lacks"):
        open_stream(folder)


def remove_train(folder: Path) -> None:
    shutil.rmtree(folder / "train")


def empty_val(folder: Path) -> None:
    shutil.rmtree(folder / "val")
    (folder / "val" / "n0").mkdir(parents=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_train, "expected train.parquet and test.parquet, or train/ and test/"),
        (empty_val, "val has no images in folders of classes"),
    ],
)
def test_folders_in_another_layout_are_refused(
    spoil: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    folder = write_folders(tmp_path / "tiny")
    spoil(folder)
    with pytest.raises(DataError) as refused:
        open_stream(folder)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_imagenet_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"imagenet: there is no data folder .*nowhere; set"):
        open_stream("imagenet", data_folder=tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"is empty; expected imagenet/ with train/ and val/"):
        open_stream("imagenet", data_folder=tmp_path)
    (tmp_path / "imagenet").mkdir()
    with pytest.raises(DataError, match=r"imagenet has no images; expected train/ and val/"):
        open_stream("imagenet", data_folder=tmp_path)
    write_folders(tmp_path / "imagenet")
    with pytest.raises(DataError, match=r"has images in 3 classes; imagenet has 1000$"):
        open_stream("imagenet", data_folder=tmp_path)
    with pytest.raises(DataError, match="imagenet is streamed, and cannot be loaded whole"):
        load_images("imagenet", data_folder=tmp_path)


@LAYOUTS
def test_a_data_folder_may_be_a_link_or_relative(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ImageNet is large: the data folder often points to where it lies."""
    write(tmp_path / "disk" / "imagenet")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "imagenet").symlink_to(tmp_path / "disk" / "imagenet")
    entry = replace(DATASETS["imagenet"], num_classes=3, num_images=(12, 6))
    monkeypatch.setitem(DATASETS, "imagenet", entry)
    monkeypatch.chdir(tmp_path)
    for data_folder in (tmp_path / "disk", tmp_path / "data", Path("disk"), Path("data")):
        data = open_stream("imagenet", data_folder=data_folder, image_size=16)
        assert (data.name, data.class_names, len(data.train)) == ("imagenet", CLASSES, 12)
        assert data.source == str(tmp_path / "disk" / "imagenet")
    monkeypatch.setitem(DATASETS, "imagenet", replace(entry, num_images=(1_281_167, 6)))
    message = "imagenet has 12 training and 6 test images; imagenet has 1,281,167 and 6; data"
    with pytest.raises(DataError, match=message):
        open_stream("imagenet", data_folder=data_folder)


def test_the_hub_is_asked_for_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        assert (args, kwargs["streaming"]) == (("ILSVRC/imagenet-1k",), True)
        raise ConnectionError("gated")

    monkeypatch.setattr(datasets, "load_dataset", refused)
    with pytest.raises(DataError, match=r"imagenet-1k train cannot be read \(gated\); log in"):
        open_stream("imagenet")


# Training


def settings_for(folder: Path) -> Settings:
    return Settings(
        data=DataSettings(data=str(folder), image_size=10),
        augmentation=Augmentation(horizontal_flip=True),
        model="run_problem:net_with_dropout",
        permutation=PermutationSettings(method="index", granularity="layer"),
        epochs=2,
        batch_size=5,
    )


@LAYOUTS
def test_a_resumed_run_ends_as_one_that_was_not_interrupted(write: Write, tmp_path: Path) -> None:
    settings = settings_for(write(tmp_path / "tiny"))
    whole = start_run(settings, place_in(tmp_path / "whole"))
    folder = interrupted_run(settings, place_in(tmp_path / "cut"), step=4)
    assert main(["resume", str(folder)]) == 0
    assert outcome(folder) == outcome(whole.folder)
    assert whole.intact


def test_folders_are_trained_on_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_folders(tmp_path / "tiny")
    flags = ["--data", str(folder), "--image-size", "10", "--horizontal-flip"]
    flags += ["--model", "run_problem:net_with_dropout", "--method", "index"]
    flags += ["--epochs", "2", "--batch-size", "6", "--no-baseline"]
    flags += ["--runs-folder", str(tmp_path / "runs"), "--device", "cpu", "--threads", "1"]
    assert main(["train", *flags]) == 0
    said = capsys.readouterr().out
    assert "proof: " in said
    assert "VIOLATED" not in said
    (run,) = (tmp_path / "runs").iterdir()
    assert main(["verify", str(run)]) == 0


@LAYOUTS
def test_the_weights_of_a_streamed_run_can_be_drawn(write: Write, tmp_path: Path) -> None:
    """A network is built anew for that, by the size of the run's images."""
    settings = replace(settings_for(write(tmp_path / "tiny")), epochs=1)
    weights = run_weights(start_run(settings, place_in(tmp_path / "runs")).folder)
    assert weights.before["5.weight"].shape == (3, 8 * 8 * 8)
    assert set(weights.by_unit()[1]) == {"0.weight", "5.weight"}


def test_resnet34_takes_a_step_of_the_recipe(tmp_path: Path) -> None:
    (arm,) = (a for a in RECIPES["index-imagenet"].arms("quick") if a.published is not None)
    data = DataSettings(data=str(write_folders(tmp_path / "tiny")), image_size=32)
    trainer = Trainer(replace(arm.settings, data=data, batch_size=4), place_in(tmp_path))
    before = layers_of(trainer)
    assert trainer.advance() is None
    after = layers_of(trainer)
    assert len(before) == len(after) == 37  # 33 convolutions, 3 shortcuts, the output
    for name, weight in after.items():
        assert torch.equal(weight.sort().values, before[name].sort().values), name
        assert not torch.equal(weight, before[name]), name


def layers_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    shown = trainer.shown_weights()
    return {name: weight.flatten() for name, weight in shown.items() if weight.dim() >= 2}


def test_batches_are_read_ahead_in_order(tmp_path: Path) -> None:
    data = open_stream(write_folders(tmp_path / "tiny"), image_size=16)
    assert isinstance(data, StreamedData)
    batches = data.train.epoch_batches(2, seed=0, epoch=0)
    some = list(itertools.islice(batches, 2))
    batches.close()  # whoever stops in the middle of an epoch leaves no thread behind
    assert same([b[:2] for b in some], epoch_of(data.train, batch_size=2, seed=0)[:2])


def test_a_stream_of_the_hub_has_the_number_of_images_that_the_hub_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = write_shards(tmp_path / "tiny") / "data"
    load = datasets.load_dataset
    told = {"train": 12, "validation": 6}

    def as_the_hub(name: str, *, split: str, streaming: bool) -> datasets.IterableDataset:
        assert (name, streaming) == ("ILSVRC/imagenet-1k", True)
        files = {split: [str(path) for path in sorted(shards.glob(f"{split}-*"))]}
        table = load("parquet", data_files=files, split=split, streaming=True)
        sizes = {split: datasets.SplitInfo(split, num_examples=told[split])}
        table.info.splits = datasets.SplitDict(sizes)
        return table

    monkeypatch.setattr(datasets, "load_dataset", as_the_hub)
    source = Source("streamed hub", "imagenet", "ILSVRC/imagenet-1k")
    data = stream_shards.open_shards(source, 16)
    assert (len(data.train), len(data.test), data.class_names) == (12, 6, CLASSES)
    assert len(torch.cat([labels for _, labels in epoch_of(data.train)])) == 12
    told["train"] = 13
    with pytest.raises(DataError, match=r"imagenet-1k train ends after 12 of 13 images$"):
        epoch_of(stream_shards.open_shards(source, 16).train)
    with pytest.raises(DataError, match=r"imagenet-1k has images in 3 classes; imagenet has 1000$"):
        open_stream("imagenet")
