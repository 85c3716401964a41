"""The field's crop: what a network sees of a photograph.

An image is resized to a square of 8/7 of the network's size (512 for 448), whatever its aspect;
training takes a random crop of the network's size and flips half of them, evaluation the centre.
"""

import numpy as np
from PIL import Image

RESIZE_RATIO = 512 / 448


def crop(image, height, width, rng=None):
    """Resizes to 8/7 of the size and crops, in one interpolation.

    Args:
        image: `PIL.Image.Image` in mode RGB.
        height: Int, in pixels.
        width: Int, in pixels.
        rng: `numpy.random.Generator` for a random crop and a flip of every second image, or
            `None` for the centre. Defaults to `None`.

    Returns:
        uint8 array of shape `(height, width, 3)`.
    """
    flip = False
    offsets = (0.5, 0.5)
    if rng is not None:
        offsets = rng.random(2)
        flip = rng.random() < 0.5
    cropped = image.resize(
        (width, height),
        Image.Resampling.BILINEAR,
        box=crop_box(image.width, image.height, offsets),
    )
    if flip:  # by Pillow, which takes a sixth of NumPy's time
        cropped = cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(cropped, "uint8")


def crop_box(width, height, offsets=(0.5, 0.5)):
    """The part of an image that `crop` shows, in the image's own pixels.

    Args:
        width: Int, the image's width.
        height: Int, its height.
        offsets: Floats in [0, 1], where the crop lies along width and height. Defaults to
            `(0.5, 0.5)`, the centre.

    Returns:
        Floats: left, top, right, bottom.

    Example:

    >>> crop_box(512, 256)
    (32.0, 16.0, 480.0, 240.0)
    """
    box_width, box_height = width / RESIZE_RATIO, height / RESIZE_RATIO
    left = offsets[0] * (width - box_width)
    top = offsets[1] * (height - box_height)
    return left, top, left + box_width, top + box_height
