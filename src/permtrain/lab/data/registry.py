"""The data sets known by name: the only module that knows them all. It imports cheaply."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetEntry:
    """One data set that can be asked for by name.

    Fields:
        name: what the user types.
        hub_id: its name on the Hugging Face hub; None if it is not to be had there.
        folder: its folder inside the local data folder (`train.parquet` and `test.parquet`); None
            if it is bundled with a dependency.
        num_classes: number of classes; labels are 0 to num_classes - 1.
        image_shape: (channels, height, width) in pixels.
        num_images: of training and of test images.
        description: one line for listings.
        streamed: too large for memory; photographs of any size are cut to squares of
            `image_shape`, or of the side that is asked for.

    Example:
        >>> DATASETS["mnist"].image_shape
        (1, 28, 28)
    """

    name: str
    hub_id: str | None
    folder: str | None
    num_classes: int
    image_shape: tuple[int, int, int]
    num_images: tuple[int, int]
    description: str
    streamed: bool = False


DATASETS: dict[str, DatasetEntry] = {
    entry.name: entry
    for entry in (
        DatasetEntry(
            name="digits",
            hub_id=None,
            folder=None,
            num_classes=10,
            image_shape=(1, 8, 8),
            num_images=(1437, 360),
            description="1,797 handwritten digits bundled with scikit-learn; needs no download",
        ),
        DatasetEntry(
            name="mnist",
            hub_id="ylecun/mnist",
            folder="mnist",
            num_classes=10,
            image_shape=(1, 28, 28),
            num_images=(60_000, 10_000),
            description="70,000 handwritten digits (LeCun, Cortes and Burges)",
        ),
        DatasetEntry(
            name="fashion_mnist",
            hub_id="zalando-datasets/fashion_mnist",
            folder="fashion_mnist",
            num_classes=10,
            image_shape=(1, 28, 28),
            num_images=(60_000, 10_000),
            description="70,000 grey pictures of clothes (Xiao, Rasul and Vollgraf, 2017)",
        ),
        DatasetEntry(
            name="cifar10",
            hub_id="uoft-cs/cifar10",
            folder="cifar10",
            num_classes=10,
            image_shape=(3, 32, 32),
            num_images=(50_000, 10_000),
            description="60,000 colour pictures of ten kinds of thing (Krizhevsky, 2009)",
        ),
        DatasetEntry(
            name="cifar10-jpeg",
            hub_id=None,
            folder="cifar10-jpeg",
            num_classes=10,
            image_shape=(3, 32, 32),
            num_images=(50_000, 10_000),
            description=(
                "JPEG copies of CIFAR-10, not the original pixels; "
                "never compare with published CIFAR-10 numbers"
            ),
        ),
        DatasetEntry(
            name="imagenet",
            hub_id="ILSVRC/imagenet-1k",
            folder="imagenet",
            num_classes=1000,
            image_shape=(3, 224, 224),
            num_images=(1_281_167, 50_000),
            description=(
                "1.28 million photographs (Russakovsky et al., 2015), read as they are needed; "
                "the hub asks to log in and agree to its terms"
            ),
            streamed=True,
        ),
    )
}
"""Every data set of images by name, in the order of listings."""

TEXT = "text"
"""The name of the text that comes with Python."""

TEXTS = {
    TEXT: "source of Python's own standard library, some four million characters; for gpt-char. "
    "The path of a text file names a text of your own"
}
"""Every text by name, with a description."""
