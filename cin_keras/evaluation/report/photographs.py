"""The pictures of two classes that are confused: photographs, and where the classes differ."""

import base64
import functools
import io
import pathlib
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from PIL import Image

from cin_keras.data.cropping import crop
from cin_keras.data.decoding import MAX_PIXELS
from cin_keras.evaluation.confusions import order_of_mistakes
from cin_keras.evaluation.figures.mistakes import first_readable
from cin_keras.explain import class_contrast_map, overlay

LONGER_SIDE = 320  # pixels
COLOUR_MAP = "viridis"


class Photograph(NamedTuple):
    """What the model sees of a photograph, and where in it two classes differ.

    Attributes:
        name: Str, that of the file.
        index: Int, which of its samples it is.
        image: uint8 `(height, width, 3)`, RGB, for the eye: cut as for the model, but larger.
        contrast: uint8 of the same shape, the contrast map over it; `None` if there is none.
    """

    name: str
    index: int
    image: np.ndarray
    contrast: np.ndarray | None


def photographs_of(
    pairs,
    model,
    image_size,
    test,
    predicted,
    probabilities,
    train=None,
    max_pixels=MAX_PIXELS,
):
    """For each confused pair of classes, a confused photograph and one of the other class.

    The confused one is the test photograph that the model got most wrong. The other is the first
    training photograph of the class that it was taken for or, without training photographs, the
    test photograph that is most surely of that class. Files that cannot be read give way to the
    next. The contrast maps (`cin_keras.explain.class_contrast_map`) are positive, bright, where
    the photograph speaks for the class taken for, and negative, dark, where for the true one.
    Each has a scale of its own, with zero in its middle.

    Args:
        pairs: List of `ConfusedPair`.
        model: `cin_keras.CIN`, or `None` for no maps.
        image_size: `(height, width)` in pixels, as the model sees images.
        test: `Samples`.
        predicted: Ints `(images,)`, the classes that test images were taken for.
        probabilities: Floats `(images, classes)`.
        train: `Samples`, or `None`. Defaults to `None`.
        max_pixels: Int ≥ 1; larger images cannot be read. Defaults to 178,956,970.

    Returns:
        List with one `(confused, other)` a pair, each a `Photograph` or, where none can be read,
        `None`.
    """
    first = functools.partial(first_photograph, image_size=image_size, max_pixels=max_pixels)
    wrong = order_of_mistakes(test.labels, predicted, probabilities)
    found = []
    for true, taken_for, *_ in pairs:
        confused = wrong[(test.labels[wrong] == true) & (predicted[wrong] == taken_for)]
        found.append(first(test, confused))
        if train is not None:
            found.append(first(train, np.flatnonzero(train.labels == taken_for)))
        else:
            members = np.flatnonzero(test.labels == taken_for)
            surest = np.argsort(-probabilities[members, taken_for], kind="stable")
            found.append(first(test, members[surest]))
    if model is None:
        shown = [photograph and photograph[0] for photograph in found]
    else:
        shown = with_contrast(model, found, pairs)
    return list(zip(shown[::2], shown[1::2]))


def first_photograph(samples, indices, image_size, max_pixels):
    """The first of these `samples` that can be decoded, `None` if none can.

    Returns:
        `(photograph, seen)`: a `Photograph` without a map, and the same in the size that the
        model sees, uint8 `(*image_size, 3)`.
    """
    index, image = first_readable(samples, indices, max_pixels)
    if image is None:
        return None
    scale = LONGER_SIDE / max(image_size)
    shown_size = [max(1, round(scale * side)) for side in image_size]
    shown = Photograph(
        pathlib.PurePath(samples.paths[index]).name, index, crop(image, *shown_size), None
    )
    return shown, crop(image, *image_size)


def with_contrast(model, found, pairs):
    """The photographs of `pairs`, two each as from `first_photograph`, with their maps."""
    places = [i for i, photograph in enumerate(found) if photograph]
    if not places:
        return [None] * len(found)
    maps = class_contrast_map(
        model,
        model.in_own_format(np.stack([found[i][1] for i in places])),
        classes=np.array([pairs[i // 2].taken_for for i in places]),
        others=np.array([pairs[i // 2].true for i in places]),
    )
    shown = [None] * len(found)
    for i, map in zip(places, maps):
        photograph = found[i][0]
        most = float(np.abs(map).max()) or 1.0
        # Over grey, every colour is the map's.
        grey = np.asarray(Image.fromarray(photograph.image).convert("L").convert("RGB"))
        contrast = overlay(grey, map, limits=(-most, most), colour_map=COLOUR_MAP)
        shown[i] = photograph._replace(contrast=contrast)
    return shown


def colour_gradient():
    """The colours of a contrast map, from dark to bright, as a CSS gradient."""
    colours = (colormaps[COLOUR_MAP](np.linspace(0, 1, 9))[:, :3] * 255).round().astype(int)
    stops = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in colours.tolist())
    return f"linear-gradient(to right, {stops})"


def data_uri(image):
    """An image, uint8 `(height, width, 3)`, as a JPEG inside an address: str.

    Example:

    >>> data_uri(np.zeros((8, 8, 3), "uint8"))[:23]
    'data:image/jpeg;base64,'
    """
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
