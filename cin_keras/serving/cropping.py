"""The crop of evaluation by operations of TensorFlow, for a graph that serves without Python.

`images.crop` has Pillow resize a box of the image. Pillow's bilinear filter is widened where it
shrinks (antialiased), and works in whole numbers: along one axis, then along the other, each time a
weighted sum with weights in units of 2⁻²², rounded to 8 bits. So an image is cropped by two products
with sparse matrices of whole numbers, and every pixel is the same.
"""

import PIL

from cin_keras.data.images import RESIZE_RATIO

PRECISION_BITS = 22  # of Pillow's weights
# Pillow 13 shrinks tall images vertically first; all before shrink horizontally first.
TALL_VERTICALLY_FIRST = int(PIL.__version__.partition(".")[0]) >= 13


def crop_in_graph(image, height, width):
    """The centre of an image, as evaluation shows it.

    Args:
        image: uint8 tensor of shape `(rows, columns, 3)`.
        height: Int, in pixels.
        width: Int, in pixels.

    Returns:
        uint8 tensor of shape `(height, width, 3)`, equal to
        `cin_keras.data.images.crop(image, height, width)`.

    Example:

    >>> import tensorflow as tf
    >>> crop_in_graph(tf.fill((90, 160, 3), tf.constant(7, tf.uint8)), 4, 4).numpy().max()
    np.uint8(7)
    """
    import tensorflow as tf

    shape = tf.shape(image)
    saved_rows, saved_columns = shape[0] - height, shape[1] - width
    rows_first = (saved_rows > 0) & (saved_rows > 2 * saved_columns) & TALL_VERTICALLY_FIRST

    def transpose_if(condition, image):
        return tf.cond(condition, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)

    # Each product resizes the first axis.
    sizes = tf.where(rows_first, (height, width), (width, height))
    resized = _resize(transpose_if(~rows_first, image), sizes[0])
    resized = _resize(tf.transpose(resized, (1, 0, 2)), sizes[1])
    return tf.ensure_shape(transpose_if(rows_first, resized), (height, width, 3))


def _resize(image, size):
    """Shows the middle of the first axis, in `size` positions."""
    import tensorflow as tf

    shape = tf.shape(image)
    weights = _weights(shape[0], size)
    flat = tf.cast(tf.reshape(image, (shape[0], shape[1] * 3)), tf.int32)
    sums = tf.sparse.sparse_dense_matmul(weights, flat)
    rounded = (sums + 2 ** (PRECISION_BITS - 1)) // 2**PRECISION_BITS
    return tf.reshape(tf.cast(rounded, tf.uint8), (size, shape[1], 3))


def _weights(length, size):
    """Pillow's weights of `length` positions in each of `size`, both integer tensors.

    Returns:
        Sparse int32 tensor of shape `(size, length)`; each row sums to about 2²².
    """
    import tensorflow as tf

    extent = tf.cast(length, tf.float64)
    # As in `images.crop`; Pillow takes the box in single precision.
    box = extent / RESIZE_RATIO
    begin = 0.5 * (extent - box)
    begin, end = tf.cast(begin, tf.float32), tf.cast(begin + box, tf.float32)
    scale = tf.cast(end - begin, tf.float64) / tf.cast(size, tf.float64)
    support = tf.maximum(scale, 1.0)
    centres = tf.cast(begin, tf.float64) + (tf.cast(tf.range(size), tf.float64) + 0.5) * scale
    first = tf.maximum(tf.cast(centres - support + 0.5, tf.int32), 0)
    last = tf.minimum(tf.cast(centres + support + 0.5, tf.int32), length)
    taps = tf.ragged.range(first, last)
    rows, positions = taps.value_rowids(), taps.values
    distances = tf.cast(positions, tf.float64) - tf.gather(centres, rows) + 0.5
    triangle = tf.maximum(1.0 - tf.abs(distances * (1.0 / support)), 0.0)
    shares = triangle / tf.gather(tf.math.segment_sum(triangle, rows), rows)
    weights = tf.cast(shares * 2**PRECISION_BITS + 0.5, tf.int32)
    indices = tf.stack([rows, tf.cast(positions, tf.int64)], axis=1)
    return tf.SparseTensor(indices, weights, tf.cast(tf.stack([size, length]), tf.int64))
