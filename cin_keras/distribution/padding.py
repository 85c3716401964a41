"""Batches that divide by the number of devices, for data sets that do not."""

import math


def batch_size(dataset):
    """Images in a full batch of a `tf.data.Dataset` of images and labels.

    Raises:
        ValueError: If neither the data set nor its static shape says so.
    """
    import tensorflow as tf

    if hasattr(dataset, "batches"):
        return dataset.batches.batch_size
    size = tf.nest.flatten(dataset.element_spec)[0].shape[0]
    if size is None:
        raise ValueError(
            "On several devices, a data set must say how many images a batch holds: use "
            "image_dataset, or batch(size, drop_remainder=True). "
            f"Received: dataset={dataset!r}"
        )
    return size


def count_images(dataset):
    """How many images a pass over a `tf.data.Dataset` holds.

    Where the data set does not know (`on_error="skip"`), it is read once.
    """
    import tensorflow as tf

    if hasattr(dataset, "batches") and not dataset.batches.reader.shortens:
        return len(dataset.epochs)
    size = tf.nest.flatten(dataset.element_spec)[0].shape[0]
    batches = int(dataset.cardinality())
    if size is not None and batches >= 0:
        return size * batches
    return sum(len(tf.nest.flatten(batch)[0]) for batch in dataset)


def pad_batches(dataset, devices):
    """Fills the batches up so that devices can share them, and lets every image count once.

    Rows of zeros with weight zero fill a batch up. Keras divides a loss by the number of rows,
    filling included, so the other rows weigh `rows / images`, the same throughout: then loss and
    weighted metrics of an evaluation are the means over the images.

    Args:
        dataset: `tf.data.Dataset` of batches `(images, labels)` or `(images, labels, weights)`.
        devices: Int, by which every batch is to divide.

    Returns:
        `tf.data.Dataset` of batches `(images, labels, weights)`, all of one size, and the number
        of images in a pass.
    """
    import tensorflow as tf

    size = math.ceil(batch_size(dataset) / devices) * devices
    images = count_images(dataset)
    rows = math.ceil(images / batch_size(dataset)) * size
    weight = rows / max(images, 1)

    def pad(tensor):
        missing = size - tf.shape(tensor)[0]
        padded = tf.pad(tensor, [[0, missing]] + [[0, 0]] * (tensor.shape.rank - 1))
        return tf.ensure_shape(padded, [size, *tensor.shape[1:]])

    def fill(images, labels, weights=None):
        if weights is None:
            weights = tf.ones(tf.shape(images)[:1])
        return pad(images), pad(labels), pad(tf.cast(weights, tf.float32) * weight)

    padded = dataset.map(fill).apply(tf.data.experimental.assert_cardinality(rows // size))
    return padded.prefetch(tf.data.AUTOTUNE), images
