"""Maps over images: brought to the image's size, aligned with it, and coloured."""

import numpy as np
from keras import ops
from PIL import Image

from cin_keras.checks import check_choice, check_number, check_size

COLOUR_MAPS = ("viridis", "plasma", "inferno", "magma", "cividis")


def upsample(maps, size):
    """Maps at the size of an image, smooth and aligned with it.

    A cell of a map stands for the rectangle of the image that it covers, and its value is that of
    the rectangle's middle (half-pixel centres). Between the middles runs the cubic of Keys ("Cubic
    convolution interpolation for digital image processing", IEEE Transactions on Acoustics,
    Speech, and Signal Processing 29, 1981), which has no creases and may swing past a sharp peak
    by about a tenth; beyond the outermost middles the border's cells go on for ever.

    Args:
        maps: Floats of shape `(batch, height, width)` or `(height, width)`.
        size: Int or `(height, width)` in pixels, no smaller than the maps.

    Returns:
        float32 of shape `(batch, *size)` or `size`.

    Raises:
        ValueError: If maps or size are not as above, or a value is not finite.

    Example:

    >>> upsample([[0.0, 1.0]], (1, 4)).tolist()
    [[-0.0703125, 0.203125, 0.796875, 1.0703125]]
    """
    maps = _check_maps(maps)
    size = check_size("size", size)
    if size[0] < maps.shape[-2] or size[1] < maps.shape[-1]:
        raise ValueError(
            "`size` must be no smaller than the maps, "
            f"{maps.shape[-2]}×{maps.shape[-1]}. Received: size={size}"
        )
    resized = [_resize(map, size) for map in maps.reshape(-1, *maps.shape[-2:])]
    return np.stack(resized).reshape(*maps.shape[:-2], *size)


def overlay(image, map, limits=None, opacity=0.5, colour_map="viridis"):
    """An image with a map over it in colours.

    Args:
        image: Array or tensor of shape `(height, width, 3)`, RGB from 0 to 255, any dtype.
        map: Floats of shape `(map_height, map_width)`, brought to the image's size by `upsample`.
        limits: `(low, high)`, the values of the map that get the first and the last colour; those
            outside get the same. Defaults to `None`, the least and the greatest of the map.
        opacity: Float in [0, 1]: 0 shows the image alone, 1 the map alone. Defaults to 0.5.
        colour_map: One of matplotlib's perceptually uniform `"viridis"`, `"plasma"`, `"inferno"`,
            `"magma"` and `"cividis"`. Defaults to `"viridis"`.

    Returns:
        uint8 array of shape `(height, width, 3)`, RGB.

    Raises:
        ValueError: If an argument is not as above.

    Example:

    >>> overlay(np.zeros((4, 4, 3)), [[0.0, 1.0], [0.0, 0.0]], opacity=1.0)[0, 3].tolist()
    [253, 231, 37]
    """
    from matplotlib import colormaps

    image = _check_picture(image)
    check_number("opacity", opacity, least=0, most=1)
    check_choice("colour_map", colour_map, COLOUR_MAPS)
    map = _check_maps(map, dimensions=(2,))
    low, high = value_limits(map) if limits is None else check_limits(limits)
    values = upsample(map, image.shape[:2])
    shares = np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)
    colours = colormaps[colour_map](shares)[..., :3] * 255
    return np.round((1 - opacity) * image + opacity * colours).astype("uint8")


def value_limits(values):
    """The least and the greatest value, as floats."""
    return float(np.min(values)), float(np.max(values))


def check_limits(limits):
    """Returns `(low, high)` as floats; ValueError unless they are finite and in order."""
    values = np.asarray(limits, "float64")
    if values.shape != (2,) or not np.isfinite(values).all() or values[0] > values[1]:
        raise ValueError(f"`limits` must be (low, high), low first. Received: limits={limits}")
    return tuple(values.tolist())


def _resize(map, size):
    # By Pillow, whose cubic is the same on every backend: that of Keras on PyTorch is another one.
    # Around it lie as many copies of the border as a cubic reaches, which Pillow would leave out.
    height, width = map.shape
    padded = Image.fromarray(np.pad(map, 2, mode="edge").astype("float32"))
    box = (2, 2, width + 2, height + 2)
    return np.asarray(padded.resize(size[::-1], Image.Resampling.BICUBIC, box=box))


def _check_maps(maps, dimensions=(2, 3)):
    try:
        array = np.asarray(maps, "float64")
    except (TypeError, ValueError):
        array = np.empty(())
    if array.ndim not in dimensions or not array.size:
        shapes = {2: "(height, width)", 3: "(batch, height, width)"}
        raise ValueError(
            f"A map must be numbers of shape {' or '.join(shapes[n] for n in dimensions)}. "
            f"Received: {type(maps).__name__} of shape {getattr(maps, 'shape', 'unknown')}"
        )
    if not np.isfinite(array).all():
        raise ValueError("A map must hold finite numbers. Received: NaN or infinity")
    return array


def _check_picture(image):
    array = ops.convert_to_numpy(image) if ops.is_tensor(image) else np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind not in "iuf":
        raise ValueError(
            "`image` must be numbers of shape (height, width, 3), RGB. "
            f"Received: dtype={array.dtype}, shape={array.shape}"
        )
    array = array.astype("float32")
    if not (array.min() >= 0 and array.max() <= 255):
        raise ValueError(
            "`image` must be RGB from 0 to 255. Received: values from "
            f"{array.min():.4g} to {array.max():.4g}"
        )
    return array
