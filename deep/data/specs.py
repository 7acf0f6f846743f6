"""The data sets: how each is read, and the settings that experiments on it use unless told otherwise."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from deep.data.augment import Augment
from deep.data.raw_files import Files, Raw, sha256
from deep.data.sources import CIFAR10, CIFAR100, FASHION_MNIST, MNIST, STL10, SVHN
from theory.common.inputs import InputError

__all__ = ["DATASETS", "OWN", "DataSpec", "is_own", "own_name", "spec_of"]


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """A data set, and the settings that experiments on it use unless told otherwise.

    Args:
        classes: name of each class.
        files: where the images are; None for the digits that scikit-learn embeds.
        side: height and width of an image in pixels; both, or what else follows the channels of an input, of
            own data.
        peak: largest pixel value, which becomes 1.
        mean: mean of each channel of the training images in [0, 1].
        std: standard deviation of each channel.
        augment: what is done to training images; nothing if None.
        held_out: test images of each class, or their share, drawn by seed, where nobody published which.
        val_per_class: validation images of each class; by share if None.
        eps: l-infinity radius; None where there is no usual one.
        model: key of `deep.nets.networks.MODELS`.
        epochs: epochs in all.
        batch_size: images a step.
        threads: CPU threads; all cores if None.
    """

    classes: tuple[str, ...]
    files: Files | None = None
    side: int | tuple[int, ...]
    peak: float = 255
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Augment | None = None
    held_out: int | float | None = None
    val_per_class: int | None
    eps: str | None
    model: str
    epochs: int
    batch_size: int = 128
    threads: int | None = None

    @property
    def sides(self) -> tuple[int, ...]:
        """Return what follows the channels in the shape of an input: height and width of an image."""
        return (self.side, self.side) if isinstance(self.side, int) else self.side

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of an input, channels first."""
        return (len(self.mean), *self.sides)

    def read(self, name: str, data_dir: Path | None, *, download: bool = False) -> Raw:
        """Return all images of the data set.

        Args:
            name: its name, for messages.
            data_dir: folder of the files, for data sets that are not embedded.
            download: fetch files that are missing.

        Raises:
            InputError: the folder or a file is missing or damaged.
        """
        if self.files is None:
            if data_dir is not None or download:
                given = f"--data-dir, got {data_dir}" if data_dir is not None else "--download"
                raise InputError(f"--dataset {name} is embedded and takes no {given}")
            return _embedded_digits()
        if data_dir is None:
            raise InputError(f"--dataset {name} needs --data-dir, the folder of its files")
        return self.files.read(data_dir, download=download)


def _embedded_digits() -> Raw:
    """Return the 1797 digits embedded in scikit-learn (8 x 8, 17 grey levels).

    They have no published test set, so held-out images are drawn anew for each seed. The draws of
    different seeds overlap: an interval over seeds speaks of these 1797 images, not of new ones.
    """
    images, labels = load_digits(return_X_y=True)
    arrays = images.reshape(-1, 1, 8, 8).astype(np.uint8), labels.astype(np.uint8)
    digest = sha256(arrays)
    return Raw(arrays, None, digest, digest == DIGITS_SHA256)


DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
"""The digits of scikit-learn 1.0 to 1.9."""


CIFAR10_CLASSES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
CIFAR100_CLASSES = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
    camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
    cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
    lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
    oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
    spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """.split()
)
FASHION_CLASSES = (
    *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
DIGITS = tuple("0123456789")
STL10_CLASSES = tuple("airplane bird car cat deer dog horse monkey ship truck".split())

DATASETS: Mapping[str, DataSpec] = {
    "cifar10": DataSpec(
        classes=CIFAR10_CLASSES,
        files=CIFAR10,
        side=32,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        augment=Augment(padding=4, flip=True),
        val_per_class=300,  # as in FRL's published code
        eps="8/255",
        model="preact-resnet18",
        epochs=110,
    ),
    "cifar100": DataSpec(
        classes=CIFAR100_CLASSES,
        files=CIFAR100,
        side=32,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        augment=Augment(padding=4, flip=True),
        val_per_class=30,  # the same share as of CIFAR-10
        eps="8/255",
        model="preact-resnet18",
        epochs=110,
    ),
    "digits": DataSpec(
        classes=DIGITS,
        side=8,
        peak=16,
        mean=(0.305,),
        std=(0.376,),
        held_out=60,
        val_per_class=25,
        eps="0.15",
        model="preact-small",
        epochs=12,
        batch_size=64,
        threads=1,
    ),
    "fmnist": DataSpec(
        classes=FASHION_CLASSES,
        files=FASHION_MNIST,
        side=28,
        mean=(0.2860,),
        std=(0.3530,),
        val_per_class=300,
        eps="0.1",  # Wong and Kolter (2018)
        model="preact-small",
        epochs=20,
    ),
    "mnist": DataSpec(
        classes=DIGITS,
        files=MNIST,
        side=28,
        mean=(0.1307,),
        std=(0.3081,),
        val_per_class=300,
        eps="0.3",  # Madry et al. (2018)
        model="preact-small",
        epochs=20,
    ),
    "stl10": DataSpec(
        classes=STL10_CLASSES,
        files=STL10,
        side=96,
        mean=(0.4467, 0.4398, 0.4066),
        std=(0.2603, 0.2566, 0.2713),
        augment=Augment(padding=12, flip=True),
        val_per_class=50,
        eps="8/255",
        model="preact-resnet18",
        epochs=110,
    ),
    "svhn": DataSpec(
        classes=DIGITS,
        files=SVHN,
        side=32,
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
        augment=Augment(padding=4, flip=False),  # a mirrored digit is another sign
        val_per_class=300,
        eps="8/255",  # Rice et al. (2020)
        model="preact-resnet18",
        epochs=110,
    ),
}
"""Every data set by name."""
OWN = DataSpec(
    classes=(),
    side=(),
    mean=(),
    std=(),
    augment=Augment(padding=0, flip=False),  # none, until a crop is asked for
    held_out=0.2,
    val_per_class=None,
    eps=None,
    model="preact-small",
    epochs=20,
    batch_size=64,
)
"""What holds of anybody's own data before they are read; `deep.data.own.read_own` says the rest."""
DIGEST = 12  # hexadecimal digits of a checksum in a name


def own_name(sha256: str) -> str:
    """Return the name of own data: their checksum tells them apart, wherever they lie."""
    return f"own:{sha256[:DIGEST]}"


def is_own(name: str) -> bool:
    """Return whether this is a name of own data."""
    return re.fullmatch(f"own:[0-9a-f]{{{DIGEST}}}", name) is not None


def spec_of(name: str) -> DataSpec:
    """Return what is usual of a data set by name.

    Raises:
        InputError: it is none.
    """
    if name not in DATASETS and not is_own(name):
        raise InputError(f"--dataset must be one of {', '.join(DATASETS)}, got {name!r:.60}")
    return DATASETS.get(name, OWN)
