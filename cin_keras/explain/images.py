"""Checks of the images that are to be explained."""

import warnings

import numpy as np
from keras import ops

from cin_keras.checks import agree


def check_images(model, images, argument="images"):
    """Images as a batch that the model takes.

    Args:
        model: `cin_keras.CIN`.
        images: Array or tensor of any dtype, RGB from 0 to 255, of shape
            `(batch, height, width, 3)`, or `(height, width, 3)` for one image. For a model built
            with channels_first, the channels come before height and width.
        argument: Str, the argument's name, for the message. Defaults to `"images"`.

    Returns:
        float32 array, a batch of the shape of the model's input.

    Raises:
        TypeError: If the images are no numbers.
        ValueError: If shape, height, width or values are not as above.
    """
    array = _as_array(images, argument)
    expected = tuple(model.input_shape[1:])
    batch = array[None] if array.ndim == 3 else array
    if not agree(batch.shape[1:], expected):
        size = ", ".join("any" if side is None else str(side) for side in expected)
        raise ValueError(
            f"`{argument}` must be a batch of images of shape ({size}), as the model takes them, "
            f"or one such image; resize them first. Received: shape={array.shape}"
        )
    if not batch.size:
        raise ValueError(f"`{argument}` must hold at least one image. Received: {array.shape}")
    batch = batch.astype("float32")
    if not np.isfinite(batch).all():
        raise ValueError(
            f"`{argument}` must hold finite numbers. Received: NaN or infinity in "
            f"{int((~np.isfinite(batch)).any(axis=(1, 2, 3)).sum())} of {len(batch)} images"
        )
    low, high = float(batch.min()), float(batch.max())
    if low < 0 or high > 255:
        raise ValueError(
            f"`{argument}` must be RGB from 0 to 255, before any preprocessing. Received: values "
            f"from {low:.4g} to {high:.4g}"
        )
    if 0 < high <= 1 and not np.array_equal(batch, np.round(batch)):
        warnings.warn(
            f"`{argument}` are RGB from 0 to 255, but none of the values received exceeds 1: if "
            "the images are scaled to [0, 1], multiply them by 255.",
            stacklevel=3,
        )
    return batch


def check_image(model, image):
    """As `check_images`, for exactly one image: a batch of one."""
    batch = check_images(model, image, "image")
    if len(batch) != 1:
        raise ValueError(f"`image` must be one image. Received: {len(batch)} images")
    return batch


def channels_last(model, images):
    """A batch of the model's images or maps with the channels on the last axis."""
    if model.data_format == "channels_last":
        return images
    return np.moveaxis(images, 1, -1)


def _as_array(images, argument):
    try:
        array = np.asarray(ops.convert_to_numpy(images) if ops.is_tensor(images) else images)
    except ValueError as error:
        raise ValueError(
            f"`{argument}` must be one array; the images of a batch have one size. "
            f"Received: {type(images).__name__}, of which NumPy says: {error}"
        ) from None
    # Not all floats are NumPy's: bfloat16 is one by convention only.
    if array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16":
        raise TypeError(
            f"`{argument}` must be an array of numbers, RGB from 0 to 255. Received: "
            f"{type(images).__name__} of dtype {array.dtype}"
        )
    return array
