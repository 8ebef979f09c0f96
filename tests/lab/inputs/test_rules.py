"""The published rules, step by step, against slow versions written from the thesis."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from permtrain.core.arrange import straight_through
from permtrain.errors import SettingError
from permtrain.lab.data.load import load_images
from permtrain.lab.inputs.judge import judge_settings, trained
from permtrain.lab.inputs.pixels import same_pixels, shuffle_generator, shuffled
from permtrain.lab.inputs.quality import class_means, psnr
from permtrain.lab.inputs.settings import JudgeSettings, SortGANSettings, UnshuffleSettings
from permtrain.lab.inputs.sortgan import SortGAN
from permtrain.lab.inputs.splits import shuffled_split, splits_of
from permtrain.lab.inputs.unshuffle import Unshuffle
from permtrain.lab.training.settings import DataSettings, Place

CPU = torch.device("cpu")


def data_of(folder: Path) -> DataSettings:
    return DataSettings(str(folder), validation_fraction=0.2)


def sortgan(folder: Path, place: Place, **changes: Any) -> SortGAN:
    base: dict[str, Any] = {"epochs": 1, "batch_size": 16, "judge": JudgeSettings("logistic")}
    return SortGAN(SortGANSettings(data=data_of(folder), **(base | changes)), place)


def unshuffle(folder: Path, place: Place, **changes: Any) -> Unshuffle:
    base: dict[str, Any] = {
        "images": 6,
        "steps": 40,
        "guide_epochs": 1,
        "num_classifiers": 2,
        "judge": JudgeSettings("logistic"),
    }
    return Unshuffle(UnshuffleSettings(data=data_of(folder), **(base | changes)), place)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(runs_folder=tmp_path, device="cpu", threads=1)


def without_dropout(work: SortGAN) -> SortGAN:
    for module in work.networks.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return work


@pytest.mark.parametrize("regress", ["arranged", "generated"])
def test_a_step_of_sortgan_is_that_of_equation_4_3(
    regress, image_folder: Path, place: Place
) -> None:
    """Generator, then discriminator; by plain steps, as Adam's first ones tell signs alone."""
    work = without_dropout(sortgan(image_folder, place, regress=regress, fooling_weight=0.5))
    for adam in work.optimizers.values():
        assert isinstance(adam, torch.optim.Adam)
        assert adam.defaults["lr"] == 2e-3
    networks: dict[str, nn.Module] = {n: copy.deepcopy(m) for n, m in work.networks.items()}
    steps = {n: torch.optim.SGD(m.parameters(), lr=0.1) for n, m in networks.items()}
    work.optimizers = {n: torch.optim.SGD(m.parameters(), lr=0.1) for n, m in work.networks.items()}
    images, labels = work.splits.train.images[:16], work.splits.train.labels[:16]
    losses = work._step(images, labels)

    x = images.flatten(2).float() / 255
    z = shuffled(x, shuffle_generator(0, "train", 0, 0))  # takes the place of cGAN's noise
    says = networks["generator"](z, labels)
    arranged = straight_through(x[:, 0].sort(dim=1).values, says[:, 0])[:, None]
    entropy = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(16), torch.zeros(16)
    squared = ((arranged if regress == "arranged" else says) - x).square().mean()
    fooling = entropy(networks["discriminator"](arranged, labels), ones)
    (squared + 0.5 * fooling).backward()
    steps["generator"].step()
    steps["discriminator"].zero_grad()
    told = [networks["discriminator"](each, labels) for each in (x, arranged.detach())]
    telling = (entropy(told[0], ones) + entropy(told[1], zeros)) / 2
    telling.backward()
    steps["discriminator"].step()

    expected = torch.stack([squared, fooling, telling]).detach().double()
    assert torch.allclose(losses, expected, atol=1e-6)
    for name, module in networks.items():
        for key, value in module.state_dict().items():
            found = work.networks[name].state_dict()[key]
            assert torch.allclose(found, value, atol=1e-6), f"{name}.{key}"


def test_regression_says_more_than_a_shuffle_and_each_epoch_shuffles_anew(
    image_folder: Path, place: Place
) -> None:
    changes = {"reads": "sorted", "discriminator": "none", "regress": "generated"}
    work = sortgan(image_folder, place, epochs=30, **changes)
    while not work.is_finished:
        work.advance()
    split = work.splits.validation
    mixed = work._shuffled(split, "validation")
    found = work.recovered(mixed, split.labels)
    originals = split.images.flatten(2)
    gain = psnr(found, originals) - psnr(mixed, originals)
    assert gain > 0.6  # .3 after an epoch; .9 by AVX512, 1.3 by AVX2
    published = sortgan(image_folder, place)
    originals = published.splits.train.images[:4].flatten(2).float()
    given = []
    for published.part, published.step_in_part in ((0, 0), (0, 1), (1, 0)):
        given.append(published._given(originals))
        assert same_pixels(given[-1].byte(), originals.byte())
    assert not any(torch.equal(a, b) for a, b in zip(given, given[1:] + given[:1], strict=True))


def test_the_energy_is_the_published_sum(image_folder: Path, place: Place) -> None:
    weights = {
        "classifier_weight": 2.0,
        "border_weight": 3.0,
        "roughness_weight": 5.0,
        "discriminator_weight": 7.0,
        "prior_weight": 11.0,
    }
    work = unshuffle(image_folder, place, **weights)
    split = work.splits.validation
    images, labels = split.images[:3].float() / 255, split.labels[:3]
    means = work.means["validation"][:3]
    found = work.energy(images.flatten(2), labels, means)

    guides, prior = work.guides, work.prior
    assert guides is not None
    assert prior is not None
    train = work.splits.train.images.double() / 255
    normal = (images - train.mean().float()) / train.std(unbiased=False).float()
    nothing = torch.zeros(3)
    expected = nothing.clone()
    for classifier in guides.classifiers:
        expected += 2.0 * F.cross_entropy(classifier(normal), labels, reduction="none")
    logits = guides.discriminator(normal)
    expected += 7.0 * -F.log_softmax(logits, dim=1)[:, 1]  # class 1: real
    border = images.clone()
    border[..., 1:-1, 1:-1] = 0
    expected += 3.0 * border.sum(dim=(1, 2, 3)) / (4 * 12 - 4)
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().sum(dim=(1, 2, 3))
    right = (images[..., 1:] - images[..., :-1]).abs().sum(dim=(1, 2, 3))
    expected += 5.0 * (down + right) / (2 * 12 * 11)
    expected += 11.0 * prior.energy(images.flatten(2), labels, means)
    assert torch.allclose(found, expected, rtol=1e-4)


def test_guides_are_trained_frozen_and_differ_in_the_first_layer_only(
    image_folder: Path, place: Place
) -> None:
    guides = unshuffle(image_folder, place, num_classifiers=3).guides
    assert guides is not None
    first, *others = (each.state_dict() for each in guides.classifiers)
    for other in others:
        differing = {name for name in first if not torch.equal(first[name], other[name])}
        assert differing == {"conv1.weight", "conv1.bias"}
    assert not torch.equal(others[0]["conv1.weight"], others[1]["conv1.weight"])
    for model in (*guides.classifiers, guides.discriminator):
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())


def test_steps_make_the_energy_smaller(image_folder: Path, place: Place) -> None:
    """The smoothness penalty alone: pixels of one grey gather."""
    off = dict.fromkeys(["classifier_weight", "border_weight", "discriminator_weight"], 0.0)
    work = unshuffle(image_folder, place, lr=0.05, **off)
    labels, means = work.splits.validation.labels, work.means["validation"]
    before = work.energy(work.shuffled["validation"].float() / 255, labels, means)
    while work.part == 0:
        work.advance()
    (found,) = work.recovered["validation"]
    assert same_pixels(found, work.shuffled["validation"])
    after = work.energy(found.float() / 255, labels, means)
    assert float(after.mean()) < 0.9 * float(before.mean())


def test_what_is_measured_is_not_trained_on(image_folder: Path) -> None:
    data = load_images(str(image_folder))
    splits = splits_of(data, data_of(image_folder), seed=0, measured=5, device=CPU)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (64, 5, 5)
    assert torch.equal(splits.test.images, data.test.images[:5])

    def found(images: Tensor) -> set[bytes]:
        return {image.numpy().tobytes() for image in images}

    assert not found(splits.train.images) & found(splits.validation.images)
    means = class_means(splits.train, 2)
    mine = splits.train.images[splits.train.labels == 1].float().mean(dim=0) / 255
    assert torch.allclose(means[1], mine.flatten(1), atol=1e-6)
    one, other = (shuffled_split(splits.test, seed, "test") for seed in (0, 1))
    assert torch.equal(one, shuffled_split(splits.test, 0, "test"))
    assert not torch.equal(one, other)


def test_settings_of_the_data_reach_the_images(image_folder: Path) -> None:
    data, base = load_images(str(image_folder)), data_of(image_folder)
    few = splits_of(data, replace(base, train_images=7, test_images=3), 0, None, CPU)
    assert (len(few.train), len(few.validation), len(few.test)) == (7, 16, 3)
    with pytest.raises(SettingError, match="image_size is 8; allowed with permuted pixels"):
        splits_of(data, replace(base, image_size=8), 0, None, CPU)


def test_a_judge_of_other_settings_under_the_same_name_is_not_taken(
    image_folder: Path, place: Place
) -> None:
    """Names leave defaults out: where one has changed since, an older run has the name."""
    settings = judge_settings(str(image_folder), "logistic", 1, 20)
    first = trained(settings, place)
    (folder,) = (each for each in place.runs_folder.iterdir() if each.is_dir())
    assert trained(settings, place).position.step == first.position.step == 1
    old = json.loads((folder / "settings.json").read_text()) | {"batch_size": 5}
    (folder / "settings.json").write_text(json.dumps(old))
    again = trained(settings, place)
    assert again.settings == settings
    assert sorted(each.name for each in place.runs_folder.iterdir() if each.is_dir()) == [
        folder.name, f"{folder.name}-2",
    ]  # fmt: skip
