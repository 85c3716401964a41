"""The crop of evaluation by an operation of TensorFlow, for a graph that serves without Python.

`images.crop` has Pillow resize a box of the image with a bilinear filter that is widened where it
shrinks (antialiased); TensorFlow has the same filter. Pillow rounds to 8 bits between the axes and
TensorFlow once, so a pixel differs by at most one grey level, and by 0.15 on average.
"""

from cin_keras.data.cropping import RESIZE_RATIO


def crop_in_graph(image, height, width, sideways=False):
    """The centre of an image, as evaluation shows it.

    Args:
        image: uint8 tensor of shape `(rows, columns, 3)`.
        height: Int, in pixels.
        width: Int, in pixels.
        sideways: Bool or tensor of shape `()`, whether the image is to be turned by a quarter
            afterwards: then the crop has the other shape. Defaults to `False`.

    Returns:
        uint8 tensor of shape `(height, width, 3)` or `(width, height, 3)`, within one grey level of
        `cin_keras.data.cropping.crop(image, height, width)`.

    Example:

    >>> import tensorflow as tf
    >>> crop_in_graph(tf.fill((90, 160, 3), tf.constant(7, tf.uint8)), 4, 4).numpy().max()
    np.uint8(7)
    """
    import tensorflow as tf

    size = tf.where(sideways, (width, height), (height, width))
    extent = RESIZE_RATIO * tf.cast(size, tf.float32)
    resized = tf.raw_ops.ScaleAndTranslate(
        images=image[tf.newaxis],
        size=size,
        scale=extent / tf.cast(tf.shape(image)[:2], tf.float32),
        translation=(tf.cast(size, tf.float32) - extent) / 2,
        kernel_type="triangle",
        antialias=True,
    )
    return tf.saturate_cast(tf.round(resized[0]), tf.uint8)
