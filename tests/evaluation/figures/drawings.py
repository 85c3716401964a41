"""What the tests of figures share."""

import pathlib

import numpy as np
from PIL import Image

HAZARDS = ["costs $5 or $7_a^b", "$\\frac{", "Citroën Größe Ωμέγα", "Бронированный", "x" * 300]


def texts(figure):
    """All that is written in a figure."""
    return [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_fontsize"))]


def opened(path, smallest, largest):
    """The PNG at `path`, decoded, after a check of its width and height."""
    assert isinstance(path, pathlib.Path)
    image = Image.open(path)
    assert image.format == "PNG"
    image.load()
    assert all(smallest <= length <= largest for length in image.size), image.size
    return np.asarray(image.convert("RGB")).astype(int)


def labels_and_predictions(classes, count, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, count)
    return true, np.where(rng.random(count) < 0.5, true, rng.integers(0, classes, count))
