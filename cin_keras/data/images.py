"""Decoding, cropping and augmenting images, and the pipeline of single images.

The crop is the field's: an image is resized to a square of 8/7 of the network's size (512 for
448), whatever its aspect; training takes a random crop of the network's size and flips half of
them, evaluation the centre.
"""

import numpy as np
from PIL import Image

from cin_keras.data.decoding import MAX_PIXELS
from cin_keras.data.skipping import Reader, replacements

RESIZE_RATIO = 512 / 448
LEFT_OUT = -1  # the label of an image that is left out, on its way through the pipeline


def image_dataset(
    samples,
    image_size=448,
    batch_size=32,
    *,
    shuffle=False,
    augment=None,
    seed=0,
    start_epoch=0,
    on_error="raise",
    max_pixels=MAX_PIXELS,
):
    """A `tf.data` pipeline of single images, for `evaluate`, `predict` and plain classifiers.

    Args:
        samples: `Samples`.
        image_size: Int or `(height, width)`, in pixels. Defaults to 448.
        batch_size: Int ≥ 1; the last batch may be smaller. Defaults to 32.
        shuffle: Bool, a new order every epoch. Defaults to `False`.
        augment: `None` (centre crop), `"crop"` (random crop and flip) or `"randaugment"` (both,
            then KerasCV's RandAugment). Defaults to `None`.
        seed: Int, of order and crops. Defaults to 0.
        start_epoch: Int ≥ 0; see `SetEpoch`. Defaults to 0.
        on_error: `"raise"`, or `"skip"` to leave out images that cannot be decoded. Without
            `shuffle` (evaluation) they are missing, nothing is in their place, and batches are
            as full as ever: `predict` gives a row for each of `dataset.skipped.remaining()`
            (and Keras says that the input ran out, as for every data set of unknown length).
            With `shuffle` (training) another photograph of the same class stands in, drawn by
            seed, epoch and position (of another class, with that class's label, where the class
            has no good one), so that an epoch keeps its length. A bad file is read once and
            listed once; see `SkippedImages`. Defaults to `"raise"`.
        max_pixels: Int ≥ 1; larger images count as ones that cannot be decoded. Defaults to
            178,956,970.

    Returns:
        `tf.data.Dataset` of known length (unknown with `on_error="skip"` and without `shuffle`),
        batches `(images, labels)`: uint8 of shape `(batch, height, width, 3)`, RGB from 0 to 255,
        and int32 of shape `(batch,)`. Its attribute `skipped` is a `SkippedImages`.

    Raises:
        ValueError: For arguments out of range. While iterating, an image that cannot be decoded
            stops the run with an error that names the file (with `"skip"`, if none is good).

    Example:

    >>> samples = cin_keras.data.drawn_cars(images_per_class=2, image_size=64)
    >>> images, labels = next(iter(cin_keras.data.image_dataset(samples, 64, batch_size=8)))
    >>> images.shape
    TensorShape([8, 64, 64, 3])
    """
    check_positive(batch_size=batch_size)
    rng_seed = check_seed(seed)

    def order(epoch):
        if not shuffle:
            return np.arange(len(samples))
        return np.random.default_rng([rng_seed, epoch]).permutation(len(samples))

    epochs = EpochCounter(order, start_epoch)

    def stand_ins(epoch, position, index):
        return replacements(samples.labels, rng_seed, epoch, position, index)

    reader = Reader(samples, on_error, max_pixels, stand_ins if shuffle else None)
    dataset = read_in_order(reader, epochs, image_size, augment, rng_seed, len(samples))
    dataset = finish(dataset.batch(batch_size), epochs, augment, rng_seed)
    dataset.skipped = reader.skipped
    return dataset


class EpochCounter:
    """Gives a pipeline the order of the current epoch, and counts the epochs.

    Every pass over the data set takes the next epoch, also a pass that is broken off. The order
    of an epoch depends on the seed and its number alone, so whoever sets the number (`SetEpoch`,
    `start_epoch`) sets the order.

    Args:
        order: Function from the number of the epoch to the indices of samples, in order.
        start_epoch: Int ≥ 0, the number of the first epoch. Defaults to 0.

    Attributes:
        epoch: Int, the number that the next pass will take.
    """

    def __init__(self, order, start_epoch=0):
        if not isinstance(start_epoch, (int, np.integer)) or start_epoch < 0:
            raise ValueError(
                f"`start_epoch` must be an int of at least 0. Received: start_epoch={start_epoch!r}"
            )
        self.order = order
        self.epoch = start_epoch

    def __call__(self):
        """Yields `(epoch, position, index)` of every image of one epoch."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        for position, index in enumerate(self.order(epoch)):
            yield epoch, position, index


def read_in_order(reader, epochs, image_size, augment, seed, count):
    """The images of `epochs`, decoded by a `Reader` and cropped, with labels: a `tf.data.Dataset`.

    Its length is `count`, or unknown if the reader may leave images out.
    """
    import tensorflow as tf

    height, width = check_image_size(image_size)
    if augment not in (None, "crop", "randaugment"):
        raise ValueError(
            f"`augment` must be None, 'crop' or 'randaugment'. Received: augment={augment!r}"
        )

    def read(epoch, position, index):
        found = reader(epoch, position, index)
        if found is None:
            return np.zeros((height, width, 3), "uint8"), np.int32(LEFT_OUT)
        image, index = found
        # A stream of its own (2) beside those of the order and of the pairs.
        rng = np.random.default_rng([seed, epoch, position, 2]) if augment else None
        return crop(image, height, width, rng), reader.samples.labels[index]

    def load(place):
        image, label = tf.numpy_function(
            lambda place: read(*place.tolist()), [place], (tf.uint8, tf.int32), stateful=False
        )
        return tf.ensure_shape(image, (height, width, 3)), tf.ensure_shape(label, ())

    places = tf.data.Dataset.from_generator(
        epochs, output_signature=tf.TensorSpec((3,), tf.int64)
    ).apply(tf.data.experimental.assert_cardinality(count))
    images = places.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    return images.filter(lambda image, label: label != LEFT_OUT) if reader.shortens else images


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
    # The part of the image that the crop shows, in the image's own pixels.
    box_width, box_height = image.width / RESIZE_RATIO, image.height / RESIZE_RATIO
    left = offsets[0] * (image.width - box_width)
    top = offsets[1] * (image.height - box_height)
    cropped = image.resize(
        (width, height),
        Image.Resampling.BILINEAR,
        box=(left, top, left + box_width, top + box_height),
    )
    array = np.asarray(cropped, "uint8")
    return np.ascontiguousarray(array[:, ::-1]) if flip else array


def finish(dataset, epochs, augment, seed):
    """Augments batches where asked, prefetches, and attaches the epoch counter."""
    import tensorflow as tf

    if augment == "randaugment":
        dataset = dataset.map(_rand_augment(seed), num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.prefetch(tf.data.AUTOTUNE)
    dataset.epochs = epochs
    return dataset


def _rand_augment(seed):
    import keras_cv
    import tensorflow as tf

    # Geometry only by a little: the parts that tell classes apart must stay in the picture.
    layer = keras_cv.layers.RandAugment(
        value_range=(0, 255), augmentations_per_image=2, magnitude=0.3, seed=seed
    )

    def augment(images, labels):
        augmented = layer(tf.cast(images, tf.float32), training=True)
        return tf.cast(tf.round(tf.clip_by_value(augmented, 0, 255)), tf.uint8), labels

    return augment


def check_image_size(image_size):
    """Returns `(height, width)`; ValueError unless given one positive int or two."""
    sizes = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size,) * 2
    if len(sizes) != 2 or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(
            "`image_size` must be a positive int or (height, width). "
            f"Received: image_size={image_size!r}"
        )
    return sizes


def check_positive(**arguments):
    """Raises ValueError for an argument that is no int of at least 1."""
    for name, value in arguments.items():
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"`{name}` must be an int of at least 1. Received: {name}={value!r}")


def check_seed(seed):
    """Returns `seed`; ValueError unless it is an int of at least 0."""
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"`seed` must be an int of at least 0. Received: seed={seed!r}")
    return int(seed)
