"""The frozen part of a network, computed once: what comparisons on a small machine are made of.

The layers up to some one of a pretrained network are not trained. What they make of a photograph
depends on its crop alone, so a few crops of each are put through them once; all rows of the
comparison then train the rest of the network on these feature maps, drawn anew in every epoch.
"""

import hashlib
import math

import keras
import numpy as np

from cin_keras.data import PairSampler, image_dataset
from cin_keras.data.samples import fingerprint
from cin_keras.files import whole_file
from cin_keras.measuring.rows import build_row


def cut(network, name):
    """Parts a network in two behind a layer.

    Args:
        network: `keras.Model` with one input and one output.
        name: Str, of the layer.

    Returns:
        `(first, rest)`, two models that share the layers of the network. The second takes the
        feature map of the first folded to three channels, as an image has them (`fold`).

    Raises:
        ValueError: If there is no such layer, or the network has another way around it.

    Example:

    >>> from cin_keras.models.small_backbone import small_backbone
    >>> network = small_backbone(32)
    >>> first, rest = cut(network, "block_2")
    >>> images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
    >>> parts = rest.predict(fold(first.predict(images, verbose=0)), verbose=0)
    >>> bool(np.allclose(network.predict(images, verbose=0), parts, atol=1e-5))
    True
    """
    middle = network.get_layer(name).output
    first = keras.Model(network.input, middle)
    try:
        rest = keras.Model(middle, network.output)
    except ValueError as error:
        raise ValueError(
            f"{name!r} is a layer inside a block that has another way around it: give the last of "
            "the block."
        ) from error
    entries = math.prod(middle.shape[1:])
    folded = keras.Input(fold(np.zeros((1, *middle.shape[1:]), "float32")).shape[1:])
    flat = keras.layers.Flatten(name="flat")(folded)[:, :entries]
    unfolded = keras.layers.Reshape(middle.shape[1:], name="unfold")(flat)
    return first, keras.Model(folded, rest(unfolded), name="rest")


def fold(features):
    """Feature maps as "images": `(batch, height, width, channels)` to `(batch, n, 1, 3)`.

    Zeros fill up what three does not divide.

    Args:
        features: Array.

    Returns:
        float32 array.

    Example:

    >>> fold(np.zeros((2, 8, 8, 80))).shape
    (2, 1707, 1, 3)
    """
    flat = np.asarray(features, "float32").reshape(len(features), -1)
    flat = np.pad(flat, ((0, 0), (0, -flat.shape[1] % 3)))
    return flat.reshape(len(flat), -1, 1, 3)


def feature_maps(network, samples, image_size, crops, path):
    """What a network makes of some crops of every image, computed once and kept in a file.

    Args:
        network: `keras.Model`, the first of the two parts.
        samples: `Samples`.
        image_size: Int, in pixels.
        crops: Int ≥ 1, random crops of each image, or 0 for the one in the centre.
        path: `pathlib.Path` of the file, whose name says of what it is: it is read if it is there.

    Returns:
        float16 of shape `(crops or 1, images, ...)`, on disk.
    """
    if not path.exists():
        maps = []
        for crop in range(crops or 1):
            print(f"crop {crop + 1} of {crops or 1} of {len(samples)} images", flush=True)
            augment = "crop" if crops else None
            images = image_dataset(samples, image_size, 64, augment=augment, start_epoch=crop)
            maps.append(network.predict(images, verbose=0).astype("float16"))
        with whole_file(path) as partial, open(partial, "wb") as file:
            np.save(file, np.stack(maps))
    return np.load(path, mmap_mode="r")


class FrozenPart:
    """Feeds the part of a network that is trained with what the frozen part makes of photographs.

    Args:
        network: `keras.Model`, the whole network from images to a map.
        name: Str, its last layer that is not trained.
        samples: `Samples` to train on, or to draw such from.
        image_size: Int, in pixels.
        crops: Int ≥ 1, of each image to train on.
        folder: `pathlib.Path`, where feature maps are kept.
        pairs_per_batch: Int ≥ 1.

    Example:

    ```python
    part = FrozenPart(network, "block5b_add", train, 128, 8, pathlib.Path("runs"), 16)
    model = part.model("CIN", num_classes=98)
    model.fit(part.pairs(train), epochs=20, shuffle=False)
    model.predict(part.images(test))
    ```
    """

    def __init__(self, network, name, samples, image_size, crops, folder, pairs_per_batch):
        self._first, self._rest = cut(network, name)
        self._image_size, self._crops, self._folder = image_size, crops, folder
        self._samples, self.pairs_per_batch = samples, pairs_per_batch
        self._row = {place: row for row, place in enumerate(_places(samples))}
        weights = hashlib.sha256()
        for weight in self._first.get_weights():
            weights.update(weight.tobytes())
        self._weights = weights.hexdigest()

    def rest(self):
        """`keras.Model`, the part that is trained, with the weights it has in the network."""
        copy = keras.models.clone_model(self._rest)
        copy.set_weights(self._rest.get_weights())
        return copy

    def model(self, row, num_classes):
        """A row of the comparison, whose backbone is the part that is trained."""
        rest = self.rest()
        return build_row(
            row, num_classes, backbone=rest, weights=None, input_shape=rest.input_shape[1:]
        )

    def pairs(self, samples, seed=0):
        """`FeaturePairs` of samples to train on."""
        maps = self._maps(self._samples, self._crops)
        rows = [self._row[place] for place in _places(samples)]
        return FeaturePairs(maps, samples.labels, self.pairs_per_batch, seed, rows)

    def images(self, samples):
        """The centre crops of samples, as an array for `predict`."""
        return fold(self._maps(samples, 0)[0])

    def _maps(self, samples, crops):
        # Apart from where the photographs lie: which they are, what of them, and of which weights.
        strips = None if samples.bottom_strips is None else samples.bottom_strips.tolist()
        sizes = [samples.encoded_size(index) for index in range(len(samples))]
        seen = f"{self._weights} {strips} {[crop for _, crop in _places(samples)]} {sizes}"
        seen = hashlib.sha256(seen.encode()).hexdigest()[:12]
        path = self._folder / f"maps-{fingerprint(samples)}-{seen}-{crops}.npy"
        return feature_maps(self._first, samples, self._image_size, crops, path)


def _places(samples):
    """What each sample shows: its photograph, and where in it."""
    crops = [None] * len(samples) if samples.crops is None else samples.crops.tolist()
    return [(str(path), crop and tuple(crop)) for path, crop in zip(samples.paths, crops)]


class FeaturePairs(keras.utils.PyDataset):
    """Pairs of feature maps, as `pair_dataset` makes them of photographs, for `CIN.fit`.

    In every epoch each image is seen in one of its crops, drawn at random; order and crops follow
    from the seed and the number of the epoch.

    Args:
        maps: float16 of shape `(crops, rows, ...)`.
        labels: Integers of shape `(images,)`.
        pairs_per_batch: Int ≥ 1.
        seed: Int ≥ 0. Defaults to 0.
        rows: Integers of shape `(images,)`, where each image is in `maps`, or `None`, in their
            order. Defaults to `None`.

    Example:

    >>> maps, labels = np.zeros((3, 8, 2, 2, 6), "float16"), [0, 0, 0, 0, 1, 1, 1, 1]
    >>> (a, b), (labels_a, labels_b) = FeaturePairs(maps, labels, pairs_per_batch=2)[0]
    >>> a.shape, labels_b.shape
    ((2, 8, 1, 3), (2,))
    """

    def __init__(self, maps, labels, pairs_per_batch, seed=0, rows=None):
        super().__init__()
        self.maps, self.labels = maps, np.asarray(labels)
        self.rows = np.arange(len(self.labels)) if rows is None else np.asarray(rows)
        self.sampler = PairSampler(labels, pairs_per_batch, seed=seed)
        self._start(0)

    def _start(self, epoch):
        self.epoch = epoch
        self.order = self.sampler.epoch(epoch)
        rng = np.random.default_rng([self.sampler.seed, epoch, 3])
        self.crop = rng.integers(len(self.maps), size=len(self.labels))

    def __len__(self):
        return len(self.order)

    def __getitem__(self, index):
        a, b = self.order[index].T
        maps = [fold(self.maps[self.crop[images], self.rows[images]]) for images in (a, b)]
        return tuple(maps), (self.labels[a], self.labels[b])

    def on_epoch_end(self):
        self._start(self.epoch + 1)
