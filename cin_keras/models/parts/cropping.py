"""Crops of boxes by two products with interpolation matrices: any backend, fixed shapes."""

import keras
import numpy as np
from keras import ops

# In RGB: what the preprocessing of networks trained on ImageNet makes zero, or nearly.
MEAN_COLOUR = (123.68, 116.779, 103.939)


def interpolation_matrix(start, stop, size, pixels):
    """Which pixels a resized stretch of a row or column is made of, and by which shares.

    Bilinear, with aligned corners: the first and last of `size` samples lie in the middle of the
    first and last pixel of the stretch. A sample beyond the border has no share of any pixel, so
    what is outside an image is zero.

    Args:
        start: Floats `(...)`, the stretches' begin, 0 being the outer edge of the first pixel.
        stop: Floats `(...)`, their end.
        size: Int ≥ 1, samples; the only one of 1 lies in the first pixel.
        pixels: Int ≥ 1, of the whole row or column.

    Returns:
        float32 tensor `(..., size, pixels)`.

    Example:

    >>> keras.ops.convert_to_numpy(interpolation_matrix([-1.0], [2.0], 3, 3))[0].tolist()
    [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    start, stop = (ops.cast(ops.convert_to_tensor(x), "float32") for x in (start, stop))
    steps = ops.arange(size, dtype="float32") / max(size - 1, 1)
    positions = start[..., None] + (stop - start - 1.0)[..., None] * steps
    distances = ops.abs(positions[..., None] - ops.arange(pixels, dtype="float32"))
    return ops.maximum(1.0 - distances, 0.0)


def crop_parts(images, boxes, size, data_format="channels_last"):
    """Boxes of images, each brought to one size; what lies beyond the border is zero.

    Args:
        images: Floats `(batch, height, width, channels)` of known height and width, or
            `(batch, channels, height, width)` for channels_first.
        boxes: Floats `(batch, parts, 4)`: top, left, bottom and right in pixels; no gradient
            flows to them.
        size: `(height, width)` of every crop.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to `"channels_last"`.

    Returns:
        float32 `(batch, parts, *size, channels)`, or `(batch, parts, channels, *size)`.

    Example:

    >>> image = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    >>> crop = crop_parts(image, np.array([[[1, 1, 3, 3]]]), (2, 2))
    >>> keras.ops.convert_to_numpy(crop).reshape(2, 2).tolist()
    [[5.0, 6.0], [9.0, 10.0]]
    """
    boxes = ops.stop_gradient(ops.cast(ops.convert_to_tensor(boxes), "float32"))
    images = ops.cast(images, "float32")
    rows, columns = (1, 2) if data_format == "channels_last" else (2, 3)
    down = interpolation_matrix(boxes[..., 0], boxes[..., 2], size[0], images.shape[rows])
    across = interpolation_matrix(boxes[..., 1], boxes[..., 3], size[1], images.shape[columns])
    if data_format == "channels_last":
        narrow = ops.einsum("nphy,nyxc->nphxc", down, images)
        return ops.einsum("npwx,nphxc->nphwc", across, narrow)
    narrow = ops.einsum("nphy,ncyx->npchx", down, images)
    return ops.einsum("npwx,npchx->npchw", across, narrow)


@keras.saving.register_keras_serializable(package="cin_keras")
class PartCrops(keras.layers.Layer):
    """The parts of a batch of photographs as a batch of photographs, ImageNet's grey beyond them.

    Args:
        size: `(height, width)` of every part.
        **kwargs: As for every Keras layer; its dtype is float32.

    Call arguments:
        inputs: `(images, boxes)`, as for `crop_parts`, RGB from 0 to 255.

    Output shape:
        `(batch * parts, *size, 3)`, or `(batch * parts, 3, *size)` for channels_first: the parts of
        an image stand next to each other.

    Example:

    >>> images, boxes = np.ones((2, 8, 8, 3)), np.tile([0, 0, 4, 4], (2, 5, 1))
    >>> tuple(PartCrops((6, 6))((images, boxes)).shape)
    (10, 6, 6, 3)
    """

    def __init__(self, size, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.size = size
        self.data_format = keras.config.image_data_format()

    def call(self, inputs):
        images, boxes = inputs
        colour = np.array(MEAN_COLOUR, "float32")
        if self.data_format == "channels_first":
            colour = colour[:, None, None]
        # PyTorch would take its sum with an array for a constant as it writes ONNX.
        colour = ops.convert_to_tensor(colour)
        # Zero beyond the border is that colour, then.
        crops = crop_parts(images - colour, boxes, self.size, self.data_format)
        return ops.reshape(crops, (-1, *crops.shape[2:])) + colour

    def get_config(self):
        return {**super().get_config(), "size": self.size}
