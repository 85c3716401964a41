"""Batches that divide by the number of devices, for data sets that do not."""

import math
from typing import NamedTuple


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

    Raises:
        ValueError: If a pass has no end.
    """
    import tensorflow as tf

    if hasattr(dataset, "batches") and not dataset.batches.reader.shortens:
        return len(dataset.epochs)
    size = tf.nest.flatten(dataset.element_spec)[0].shape[0]
    batches = int(dataset.cardinality())
    if batches == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "On several devices, a data set to evaluate or predict on must end: leave out repeat(). "
            f"Received: dataset={dataset!r}"
        )
    if size is not None and batches >= 0:
        return size * batches
    return sum(len(tf.nest.flatten(batch)[0]) for batch in dataset)


class Padded(NamedTuple):
    """What `pad_batches` made of a data set.

    Attributes:
        dataset: `tf.data.Dataset` of batches `(images, labels, weights)`, all of one size.
        images: Int, how many images of this process are in a pass.
        steps: Int, how many batches.
    """

    dataset: object
    images: int
    steps: int


def pad_batches(dataset, devices, exchange=lambda value: [value]):
    """Fills the batches up so that devices can share them, and lets every image count once.

    Rows of zeros with weight zero fill a batch up, and whole batches of them the pass of a process
    that has fewer. Keras divides a loss by the number of rows, filling included, so the other rows
    weigh `rows / images` of all processes, the same throughout: then loss and weighted metrics of
    an evaluation are the means over the images.

    Args:
        dataset: `tf.data.Dataset` of batches `(images, labels)` or `(images, labels, weights)`.
        devices: Int, those of this process, by which every batch is to divide.
        exchange: Function from a value to a list of every process's. Defaults to one process's.

    Returns:
        `Padded`.
    """
    import tensorflow as tf

    size = math.ceil(batch_size(dataset) / devices) * devices
    own = count_images(dataset)
    counts = exchange(own)
    steps = math.ceil(max(counts) / batch_size(dataset))
    weight = steps * size * len(counts) / max(sum(counts), 1)

    def pad(tensor):
        missing = size - tf.shape(tensor)[0]
        padded = tf.pad(tensor, [[0, missing]] + [[0, 0]] * (tensor.shape.rank - 1))
        return tf.ensure_shape(padded, [size, *tensor.shape[1:]])

    def fill(images, labels, weights=None):
        if weights is None:
            weights = tf.ones(tf.shape(images)[:1])
        return pad(images), pad(labels), pad(tf.cast(weights, tf.float32) * weight)

    padded = dataset.map(fill)
    missing = steps - math.ceil(own / batch_size(dataset))
    if missing:
        nothing = [tf.zeros(spec.shape, spec.dtype) for spec in padded.element_spec]
        padded = padded.concatenate(tf.data.Dataset.from_tensors(tuple(nothing)).repeat(missing))
    padded = padded.apply(tf.data.experimental.assert_cardinality(steps))
    return Padded(padded.prefetch(tf.data.AUTOTUNE), own, steps)
