"""Scores of explanations: an explanation that cannot be wrong says nothing.

The pointing game (Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016):
does a map's peak lie on the right spot? Deletion and insertion (Petsiuk, Das, Saenko, "RISE",
BMVC 2018, arXiv:1806.07421): how fast does the prediction go when what a map calls important is
taken away, how fast does it come back when that is all there is? A cell of the map is taken away
or put back as a whole, so that all maps, and a random order, are judged on the same pieces.
"""

import numpy as np
from PIL import Image, ImageFilter

from cin_keras.checks import check_int

BLUR = 0.1  # standard deviation of the blur that insertion starts from, in sides of the image


def peaks(maps, seed=0):
    """Where each map is highest.

    Args:
        maps: Floats of shape `(batch, height, width)`.
        seed: Int, decides between cells of one height. Defaults to 0.

    Returns:
        float64 of shape `(batch, 2)`: x and y of the middle of the highest cell, as shares of
        width and height.

    Example:

    >>> peaks(np.array([[[0.0, 1.0], [0.0, 0.0]]])).tolist()
    [[0.75, 0.25]]
    """
    maps = np.asarray(maps)
    height, width = maps.shape[1:]
    rows, columns = np.divmod(order_of_cells(maps, seed)[:, 0], width)
    return np.stack([(columns + 0.5) / width, (rows + 0.5) / height], axis=1)


def order_of_cells(maps, seed=0):
    """The cells of each map, highest first, cells of one height in random order.

    Args:
        maps: Floats of shape `(batch, height, width)`.
        seed: Int. Defaults to 0.

    Returns:
        Ints of shape `(batch, height * width)`, numbers of cells, row by row.

    Example:

    >>> order_of_cells(np.array([[[0.1, 0.3], [0.2, 0.0]]])).tolist()
    [[1, 2, 0, 3]]
    """
    flat = np.asarray(maps).reshape(len(maps), -1)
    ties = np.random.default_rng(seed).random(flat.shape)
    return np.lexsort((ties, -flat), axis=1)


def in_boxes(points, boxes):
    """Which points lie in at least one of some boxes.

    Args:
        points: Floats of shape `(points, 2)`, x and y.
        boxes: Numbers of shape `(boxes, 4)`: left, top, right, bottom; right and bottom exclusive.

    Returns:
        Bools of shape `(points,)`.

    Example:

    >>> in_boxes([[1, 1], [5, 5]], [[0, 0, 5, 5]]).tolist()
    [True, False]
    """
    x, y = np.asarray(points, "float64").T[:, :, None]
    left, top, right, bottom = np.asarray(boxes, "float64").reshape(-1, 4).T
    return ((left <= x) & (x < right) & (top <= y) & (y < bottom)).any(axis=1)


def near_points(points, targets, radius):
    """Which points lie within a radius of at least one target.

    Args:
        points: Floats of shape `(points, 2)`, x and y.
        targets: Floats of shape `(targets, 2)`, x and y.
        radius: Float ≥ 0, in the same unit.

    Returns:
        Bools of shape `(points,)`.

    Example:

    >>> near_points([[0, 0], [3, 4]], [[0, 1]], radius=2).tolist()
    [True, False]
    """
    points = np.asarray(points, "float64").reshape(-1, 1, 2)
    distances = np.linalg.norm(points - np.asarray(targets, "float64").reshape(1, -1, 2), axis=2)
    return (distances <= radius).any(axis=1)


def grid(height, width):
    """The middles of the pixels, or cells, of a picture, as shares of its width and height.

    Args:
        height: Int.
        width: Int.

    Returns:
        float64 of shape `(height * width, 2)`, x and y, row by row.

    Example:

    >>> grid(1, 2).tolist()
    [[0.25, 0.5], [0.75, 0.5]]
    """
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width,
                       indexing="ij")  # fmt: skip
    return np.stack([x.ravel(), y.ravel()], axis=1)


def deletion_curves(predict, images, maps, classes, steps=16, seed=0):
    """The probability of a class while the cells of a map are taken away, highest first.

    What is taken away gets the image's mean colour. The faster a curve falls, the better the map.

    Args:
        predict: Function from float32 images `(batch, height, width, 3)` to class probabilities
            `(batch, classes)`. Gets all `len(images) * (steps + 1)` pictures at once.
        images: `(batch, height, width, 3)`, RGB from 0 to 255.
        maps: `(batch, map_height, map_width)`.
        classes: Ints `(batch,)`, whose probability is followed.
        steps: Int ≥ 1; after step `k`, `k / steps` of the cells are gone, rounded. Defaults to 16.
        seed: Int, orders cells of one height. Defaults to 0.

    Returns:
        float64 of shape `(batch, steps + 1)`, from the whole image to none of it.

    Raises:
        ValueError: If shapes do not fit together.

    Example:

    >>> images = np.full((1, 4, 4, 3), 100.0)
    >>> images[:, :2, :2] = 200.0
    >>> map = np.array([[[1.0, 0.0], [0.0, 0.0]]])
    >>> def predict(images):  # how bright the first pixel is
    ...     return images[:, 0, 0, :1] / 200
    >>> deletion_curves(predict, images, map, [0], steps=4).tolist()
    [[1.0, 0.625, 0.625, 0.625, 0.625]]
    """
    images = np.asarray(images, "float32")
    mean = np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
    return _curves(predict, images, mean, maps, classes, steps, seed)


def insertion_curves(predict, images, maps, classes, steps=16, seed=0):
    """The probability of a class while the cells of a map come back, highest first.

    The start is the image blurred until little can be told. The faster a curve rises, the better.

    Args:
        predict: As for `deletion_curves`.
        images: As for `deletion_curves`.
        maps: As for `deletion_curves`.
        classes: As for `deletion_curves`.
        steps: As for `deletion_curves`. Defaults to 16.
        seed: As for `deletion_curves`. Defaults to 0.

    Returns:
        float64 of shape `(batch, steps + 1)`, from the blurred image to the whole one.

    Raises:
        ValueError: If shapes do not fit together.
    """
    images = np.asarray(images, "float32")
    blur = ImageFilter.GaussianBlur(BLUR * max(images.shape[1:3]))
    blurred = [
        np.asarray(Image.fromarray(image.round().astype("uint8")).filter(blur), "float32")
        for image in images
    ]
    return _curves(predict, np.stack(blurred), images, maps, classes, steps, seed)


def _curves(predict, before, after, maps, classes, steps, seed):
    """The probabilities while `before` turns into `after`, cell by cell."""
    maps, classes = np.asarray(maps), np.asarray(classes)
    steps = check_int("steps", steps, least=1)
    count = len(before)
    if before.ndim != 4 or maps.ndim != 3 or len(maps) != count or classes.shape != (count,):
        raise ValueError(
            "`images`, `maps` and `classes` must have shapes (batch, height, width, 3), (batch, "
            f"map_height, map_width) and (batch,). Received: {before.shape}, {maps.shape} and "
            f"{classes.shape}"
        )
    cells = maps[0].size
    ranks = np.argsort(order_of_cells(maps, seed), axis=1).reshape(maps.shape)
    rows, columns = (
        (np.arange(pixels) + 0.5) * side // pixels
        for pixels, side in zip(before.shape[1:3], maps.shape[1:])
    )
    ranks = ranks[:, rows.astype(int)[:, None], columns.astype(int)]
    changed = np.round(np.arange(steps + 1) * cells / steps)
    turned = ranks[:, None] < changed[None, :, None, None]
    pictures = np.where(turned[..., None], after[:, None], before[:, None])
    probabilities = np.asarray(predict(pictures.reshape(-1, *before.shape[1:])))
    own = probabilities[np.arange(len(probabilities)), np.repeat(classes, steps + 1)]
    return own.reshape(count, steps + 1).astype("float64")


def mean_and_error(values):
    """The mean of values that vary from image to image, and its standard error.

    Args:
        values: Numbers or bools of shape `(images,)`.

    Returns:
        `(mean, standard_error)`, floats; the error is NaN for a single value.

    Example:

    >>> mean, error = mean_and_error([0.0, 1.0, 1.0, 0.0])
    >>> mean, round(error, 4)
    (0.5, 0.2887)
    """
    values = np.asarray(values, "float64")
    if len(values) < 2:
        return float(values.mean()), float("nan")
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
