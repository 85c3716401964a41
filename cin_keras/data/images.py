"""Decoding, cropping and augmenting images, and the pipeline of single images.

The crop is the field's: an image is resized to a square of 8/7 of the network's size (512 for
448), whatever its aspect; training takes a random crop of the network's size and flips half of
them, evaluation the centre.
"""

import numpy as np
from PIL import Image

from cin_keras.data.batches import Batches
from cin_keras.data.cache import with_cache
from cin_keras.data.decoding import MAX_PIXELS
from cin_keras.data.rand_augment import rand_augment
from cin_keras.data.skipping import Reader, replacements

RESIZE_RATIO = 512 / 448
# A call from TensorFlow to Python takes a good part of the time that a small photograph takes.
IMAGES_PER_CALL = 8
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
    cache=None,
    shard=None,
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
        cache: `None`, `"memory"`, or a folder on disk, to decode every image only once; see
            `cin_keras.data.with_cache`. The pixels are the same. Defaults to `None`.
        shard: `None`, or `(index, count)`, the part of one of `count` hosts, `index` from 0:
            every `count`-th image of the epoch, with the same crop. Without `shuffle`
            (evaluation) the shards together hold every image once, and their sizes differ by at
            most one. With `shuffle` (training) all have equally many images, hence batches; the
            last ones that do not go round (fewer than `count`) are dropped. Defaults to `None`,
            all images.

    Returns:
        `tf.data.Dataset` of known length (unknown with `on_error="skip"` and without `shuffle`),
        batches `(images, labels)`: uint8 of shape `(batch, height, width, 3)`, RGB from 0 to 255,
        and int32 of shape `(batch,)`. Its attribute `skipped` is a `SkippedImages`.

    Raises:
        ValueError: For arguments out of range, or fewer samples than shards. While iterating, an
            image that cannot be decoded stops the run with an error that names the file (with
            `"skip"`, if none is good).

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

    shard_index, shards = check_shard(shard)
    if len(samples) < shards:
        raise ValueError(
            f"{shards} shards need at least one image each. "
            f"Received: shard={shard}, {len(samples)} images"
        )
    positions = np.arange(shard_index, len(samples), shards)
    if shuffle:
        positions = positions[: len(samples) // shards]
    epochs = EpochCounter(order, positions, start_epoch)

    def stand_ins(epoch, position, index):
        return replacements(samples.labels, rng_seed, epoch, position, index)

    reader = Reader(
        with_cache(samples, cache), on_error, max_pixels, stand_ins if shuffle else None
    )
    dataset = read_in_batches(reader, epochs, image_size, augment, rng_seed, batch_size)
    dataset = finish(dataset, epochs)
    dataset.batches = Batches(reader, epochs, batch_size, shard)
    dataset.skipped = reader.skipped
    return dataset


class EpochCounter:
    """Gives a pipeline the order of the current epoch, and counts the epochs.

    Every pass over the data set takes the next epoch, also a pass that is broken off. The order
    of an epoch depends on the seed and its number alone, so whoever sets the number (`SetEpoch`,
    `start_epoch`) sets the order.

    Args:
        order: Function from the number of the epoch to the indices of samples, in order.
        positions: Integers of shape `(images,)`, the same for all epochs: which places of the
            order this pipeline takes, one after the other.
        start_epoch: Int ≥ 0, the number of the first epoch. Defaults to 0.

    Attributes:
        epoch: Int, the number that the next pass will take.
    """

    def __init__(self, order, positions, start_epoch=0):
        if not isinstance(start_epoch, (int, np.integer)) or start_epoch < 0:
            raise ValueError(
                f"`start_epoch` must be an int of at least 0. Received: start_epoch={start_epoch!r}"
            )
        self.order = order
        self.positions = positions
        self.epoch = start_epoch

    def __len__(self):
        """Images in a pass."""
        return len(self.positions)

    def __call__(self):
        """Takes the next epoch.

        Returns:
            int64 of shape `(images, 3)`: epoch, position in the epoch, and index of the sample.
        """
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self.places(epoch)

    def places(self, epoch):
        """The places of an epoch (int), as `__call__` returns them, without taking it."""
        indices = np.asarray(self.order(epoch))[self.positions]
        return np.stack([np.full_like(indices, epoch), self.positions, indices], axis=1)


def places_in_order(epochs, together):
    """The places that `epochs` counts: a `tf.data.Dataset` of int64 `(together, 3)`."""
    import tensorflow as tf

    # One call of Python a pass, which returns the whole epoch.
    places = tf.data.Dataset.range(1).flat_map(
        lambda _: tf.data.Dataset.from_tensor_slices(
            tf.ensure_shape(tf.numpy_function(epochs, [], tf.int64), (None, 3))
        )
    )
    return places.batch(together)


def read_in_batches(reader, epochs, image_size, augment, seed, batch_size):
    """The images of `epochs`, decoded by a `Reader` and cropped, with labels, in batches.

    A `tf.data.Dataset`, of unknown length if the reader may leave images out.
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

    def read_together(places):
        images = np.empty((len(places), height, width, 3), np.uint8)
        labels = np.empty(len(places), np.int32)
        for i, place in enumerate(places.tolist()):
            images[i], labels[i] = read(*place)
        return images, labels

    change = rand_augment(seed) if augment == "randaugment" else lambda images, places: images

    def load(places):
        images, labels = tf.numpy_function(
            read_together, [places], (tf.uint8, tf.int32), stateful=False
        )
        images = tf.ensure_shape(images, (None, height, width, 3))
        return change(images, places), tf.ensure_shape(labels, (None,))

    together = min(batch_size, IMAGES_PER_CALL)
    images = places_in_order(epochs, together).map(load, num_parallel_calls=tf.data.AUTOTUNE)
    if reader.shortens:
        images = images.unbatch().filter(lambda image, label: label != LEFT_OUT)
        return images.batch(batch_size)
    # Where nothing is left over, the static shape may say how large a batch is.
    batches = images.rebatch(batch_size, drop_remainder=len(epochs) % batch_size == 0)
    return batches.apply(tf.data.experimental.assert_cardinality(-(-len(epochs) // batch_size)))


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


def finish(dataset, epochs):
    """Prefetches, and attaches the epoch counter."""
    import tensorflow as tf

    dataset = dataset.prefetch(tf.data.AUTOTUNE)
    dataset.epochs = epochs
    return dataset


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


def check_shard(shard):
    """Returns `(index, count)`, `(0, 1)` for `None`; ValueError unless `0 <= index < count`."""
    if shard is None:
        return 0, 1
    pair = shard if isinstance(shard, (tuple, list)) and len(shard) == 2 else (None, None)
    if not all(isinstance(x, (int, np.integer)) for x in pair) or not 0 <= pair[0] < pair[1]:
        raise ValueError(
            "`shard` must be None or (index, count), two ints, index from 0 to count - 1. "
            f"Received: shard={shard!r}"
        )
    return int(pair[0]), int(pair[1])
