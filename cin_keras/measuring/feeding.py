"""How fast pairs are drawn and photographs are read, on ones that are made up at random, too."""

import pathlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from cin_keras.data.pipeline import EpochCounter, places_in_order
from cin_keras.measuring.rounds import seconds


def random_labels(images, classes, long_tail=False, seed=0):
    """A class for every image, of each class at least one image, in random order.

    Args:
        images: Int, how many; fewer than classes leave the last classes out.
        classes: Int ≥ 1.
        long_tail: Bool, whether the size of a class falls as one over its rank, or all are
            equally large. Defaults to `False`.
        seed: Int, of the order. Defaults to 0.

    Returns:
        int32 of shape `(images,)`.

    Example:

    >>> np.bincount(random_labels(12, 3)).tolist()
    [4, 4, 4]
    >>> np.bincount(random_labels(12, 3, long_tail=True)).tolist()
    [6, 3, 3]
    """
    weights = 1 / np.arange(1, classes + 1) if long_tail else np.ones(classes)
    # One image of every class, and the others in proportion.
    others = np.arange(images - classes) + 0.5
    others = np.searchsorted(np.cumsum(weights) / weights.sum(), others / max(len(others), 1))
    labels = np.concatenate([np.arange(classes), others])[:images].astype("int32")
    return np.random.default_rng(seed).permutation(labels)


def random_photographs(folder, count, width, height, seed=0):
    """Writes JPEG files as large as photographs are: smooth colours under grain.

    Args:
        folder: Str or path, which exists.
        count: Int, how many.
        width: Int, in pixels.
        height: Int, in pixels.
        seed: Int. Defaults to 0.

    Returns:
        List of `pathlib.Path`.

    Example:

    >>> import tempfile
    >>> path = random_photographs(tempfile.mkdtemp(), 2, width=40, height=30)[1]
    >>> path.name, Image.open(path).size
    ('00001.jpg', (40, 30))
    """
    rng = np.random.default_rng(seed)
    paths = [pathlib.Path(folder) / f"{i:05}.jpg" for i in range(count)]
    for path in paths:
        coarse = rng.integers(0, 256, (12, 16, 3), "uint8")
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 6, (height, width, 3))
        drawn = np.clip(np.asarray(smooth) + grain, 0, 255).astype("uint8")
        Image.fromarray(drawn).save(path, quality=90)
    return paths


def read_all(batches):
    """Goes through an iterable once, and keeps nothing."""
    for _ in batches:
        pass


def decode_and_resize(paths, image_size, threads):
    """What any pipeline does at least: a bare loop that decodes and resizes, and keeps nothing.

    Args:
        paths: Sequence of str or path, photographs.
        image_size: Int, pixels of a side.
        threads: Int ≥ 1.
    """

    def read(path):
        # Not `cin_keras.data.decode`: what that does beyond Pillow is part of what is measured.
        with Image.open(path) as image:
            size = (image_size, image_size)
            return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR))

    with ThreadPoolExecutor(threads) as pool:
        read_all(pool.map(read, paths))


def time_sampler(make, pairs_per_batch, epoch):
    """What it takes to build a sampler, to draw an epoch, and to pass it through `tf.data`.

    Args:
        make: Function without arguments that returns a `cin_keras.data.PairSampler`.
        pairs_per_batch: Int ≥ 1, of that sampler.
        epoch: Int, its number.

    Returns:
        Dict of three floats.

    Example:

    >>> labels = random_labels(40, 4)
    >>> list(time_sampler(lambda: cin_keras.data.PairSampler(labels, 4), 4, epoch=0))
    ['build, s', 'pairs/s', 'pairs/s through tf.data']
    """
    sampler = make()
    images = 2 * pairs_per_batch * len(sampler)
    epochs = EpochCounter(lambda n: sampler.epoch(n).reshape(-1), np.arange(images), epoch)
    places = places_in_order(epochs, 2 * pairs_per_batch)
    return {
        "build, s": seconds(make),
        "pairs/s": images / 2 / seconds(sampler.epoch, epoch),
        "pairs/s through tf.data": images / 2 / seconds(read_all, places),
    }
