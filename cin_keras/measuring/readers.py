"""Where the models of a comparison get their pairs and images from.

A reader has `model(row, num_classes)`, `pairs(samples, seed)` and `images(samples)`: a model of the
row, what it is trained on, and what it is judged on, in the form that it takes.
"""

import pathlib

import keras

from cin_keras.data import image_dataset, pair_dataset
from cin_keras.measuring.frozen_part import FrozenPart


class Photographs:
    """Whole networks, on photographs.

    Args:
        build: Function of a row and a number of classes that returns a model.
        image_size: Int ≥ 1, pixels of a side.
        pairs_per_batch: Int ≥ 1.

    Example:

    >>> from cin_keras.data import drawn_cars
    >>> from cin_keras.measuring.rows import build_row
    >>> samples = drawn_cars("test", image_size=32).limit(12)
    >>> reader = Photographs(build_row, image_size=32, pairs_per_batch=4)
    >>> reader.images(samples).element_spec[0].shape
    TensorShape([None, 32, 32, 3])
    """

    def __init__(self, build, image_size, pairs_per_batch):
        self.model, self.image_size, self.pairs_per_batch = build, image_size, pairs_per_batch

    def pairs(self, samples, seed):
        return pair_dataset(samples, self.image_size, self.pairs_per_batch, seed=seed)

    def images(self, samples):
        return image_dataset(samples, self.image_size, 2 * self.pairs_per_batch)


def make_reader(build, samples, image_size, pairs_per_batch, crops=None, frozen_to=None, folder=None):
    """`Photographs`, or with `crops` a `FrozenPart`, whose maps a folder keeps.

    Args:
        build: Function of a row and a number of classes that returns a model.
        samples: `Samples` to train on.
        image_size: Int ≥ 1, pixels of a side.
        pairs_per_batch: Int ≥ 1.
        crops: Int ≥ 1, crops of each image, or `None` for photographs. Defaults to `None`.
        frozen_to: Str, the last layer of the backbone that is not trained, with `crops`.
        folder: Str or path of the maps, made where it is not there, with `crops`.

    Returns:
        `Photographs` or `FrozenPart`.
    """
    if not crops:
        return Photographs(build, image_size, pairs_per_batch)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)  # one without pretrained weights is the same every time
    network = build("plain", samples.num_classes).backbone
    return FrozenPart(network, frozen_to, samples, image_size, crops, folder, pairs_per_batch)
