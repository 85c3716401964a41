"""Labels and photographs made up at random, where only their number and size matter."""

import pathlib

import numpy as np
from PIL import Image


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
