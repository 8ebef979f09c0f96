"""What guides pixels to their places: classifiers, a discriminator, and how a class's images vary.

Source: Index optimizer thesis, appendix B, "Bagging" and "Prototype of Discriminator".
"""

from dataclasses import dataclass, replace

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from permtrain.lab.data.images import ImageData, Split
from permtrain.lab.inputs.judge import judge_settings, trained
from permtrain.lab.inputs.pixels import shuffle_generator, shuffled
from permtrain.lab.inputs.settings import GUIDE_MODEL
from permtrain.lab.inputs.splits import Splits
from permtrain.lab.training.evaluation import Scale
from permtrain.lab.training.locks import locked
from permtrain.lab.training.settings import Place, settings_hash
from permtrain.lab.training.trainer import Trainer
from permtrain.lab.training.weights_file import write_weights


@dataclass(frozen=True, eq=False)
class Guides:
    """Frozen networks, in evaluation mode.

    Attributes:
        classifiers: differ in the first layer only.
        scale: how pixels in [0, 255] are normalised for them.
        discriminator: two logits, of shuffled and of real images; with a scale of its own.
    """

    classifiers: list[nn.Module]
    scale: Scale
    discriminator: nn.Module
    discriminator_scale: Scale


def trained_guides(
    splits: Splits, seed: int, num_classifiers: int, epochs: int, place: Place
) -> Guides:
    """Trains what is not yet in the folder of runs, on the training images of the splits.

    The first classifier is a run of its own. The others take its weights, draw a first layer of
    their own, and train that alone. The discriminator is trained on the same images, each once as
    it is and once shuffled.
    """
    plain = judge_settings(splits.settings.data, GUIDE_MODEL, epochs, None)
    training = replace(plain, data=splits.settings, seed=seed)
    first = trained(training, place)
    data = replace(splits.data, train=splits.train)
    classifiers = [first.model]
    for number in range(1, num_classifiers):
        other = Trainer(replace(plain, seed=seed + number), place, data)
        _share_all_but_the_first_layer(first.model, other.model)
        _train_once(other, place, f"classifier-{number}-{settings_hash(training)}")
        classifiers.append(other.model)
    discriminator = Trainer(replace(plain, seed=seed), place, real_and_shuffled(data))
    _train_once(discriminator, place, f"discriminator-{settings_hash(training)}")
    for model in (*classifiers, discriminator.model):
        model.eval().requires_grad_(False)
    return Guides(classifiers, first.scale, discriminator.model, discriminator.scale)


def real_and_shuffled(data: ImageData) -> ImageData:
    """The data set of two classes that the discriminator learns: 0 shuffled, 1 real.

    Example:
        >>> images = torch.arange(8, dtype=torch.uint8).reshape(2, 1, 2, 2)
        >>> split = Split(images, torch.tensor([5, 6]))
        >>> real_and_shuffled(ImageData("x", split, split, ("a", "b"), "")).train.labels
        tensor([0, 0, 1, 1])
    """

    def doubled(split: Split, name: str) -> Split:
        pixels_NCP = shuffled(split.images.flatten(2), shuffle_generator(0, "discriminator", name))
        images = torch.cat([pixels_NCP.view_as(split.images), split.images])
        labels = torch.arange(2, device=images.device).repeat_interleave(len(split))
        return Split(images, labels)

    return replace(
        data,
        train=doubled(data.train, "train"),
        test=doubled(data.test, "test"),
        class_names=("shuffled", "real"),
    )


@dataclass(frozen=True, eq=False)
class NormalPrior:
    """How the images of each label vary, as normal distributions.

    Attributes:
        precision_KVV: inverse covariances.
    """

    precision_KVV: Tensor

    def energy(self, pixels_NCP: Tensor, labels_N: Tensor, means_NCP: Tensor) -> Tensor:
        """Negative log likelihood in nats by number of values, up to a constant. One an image."""
        away_NV = (pixels_NCP - means_NCP).flatten(1)
        pulled_NV = torch.zeros_like(away_NV)
        for label in labels_N.unique():
            mine = labels_N == label
            pulled_NV = pulled_NV.index_put(
                (mine.nonzero()[:, 0],), away_NV[mine] @ self.precision_KVV[label]
            )
        return (away_NV * pulled_NV).sum(dim=1) / (2 * away_NV.shape[1])


def normal_prior(split: Split, num_classes: int, variance: float) -> NormalPrior:
    """Covariances of training images, pixels in [0, 1].

    Args:
        split: training images.
        variance: added to the diagonal, without which pixels that are always black could not move.
    """
    precisions = []
    size = split.images[0].numel()
    floor_VV = variance * torch.eye(size, dtype=torch.float64, device=split.images.device)
    for label in range(num_classes):
        images_MV = split.images[split.labels == label].flatten(1).double() / 255
        count = max(len(images_MV), 1)
        away_MV = images_MV - images_MV.sum(dim=0) / count
        precisions.append(torch.linalg.inv(away_MV.T @ away_MV / count + floor_VV).float())
    return NormalPrior(torch.stack(precisions))


def _share_all_but_the_first_layer(first: nn.Module, other: nn.Module) -> None:
    """Gives `other` the weights of `first` and freezes them, but for the first layer's."""
    name, _ = next(iter(first.named_parameters()))
    layer = name.rpartition(".")[0] + "."
    shared = {key: value for key, value in first.state_dict().items() if not key.startswith(layer)}
    other.load_state_dict(other.state_dict() | shared)
    for key, parameter in other.named_parameters():
        parameter.requires_grad_(key.startswith(layer))


def _train_once(trainer: Trainer, place: Place, name: str) -> None:
    """Trains, or takes the weights from the folder of runs if that was done before."""
    data = trainer.settings.data.data.rpartition("/")[2]
    path = place.runs_folder / "guides" / f"{data}-{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if path.is_file():
            trainer.model.load_state_dict(load_file(path))
            return
        trainer.run()
        write_weights(path, trainer.shown_weights())
