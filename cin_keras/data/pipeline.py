"""What `image_dataset` and `pair_dataset` share: which image comes when, cropped, batched."""

import keras
import numpy as np

from cin_keras.checks import check_choice, check_int, check_size
from cin_keras.data.cache import with_cache
from cin_keras.data.cropping import crop, crop_resized, size_that_will_do
from cin_keras.data.rand_augment import rand_augment
from cin_keras.data.samples import Samples
from cin_keras.data.skipping import Reader
from cin_keras.threads import available_cores

# A call from TensorFlow to Python takes a good part of the time that a small photograph takes.
IMAGES_PER_CALL = 8
LEFT_OUT = -1  # the label of an image that is left out, on its way through the pipeline


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
        self.order = order
        self.positions = positions
        self.epoch = check_int("start_epoch", start_epoch, least=0)

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


class SetEpoch(keras.callbacks.Callback):
    """Ties the order of a `pair_dataset` or `image_dataset` to the number of the epoch in `fit`.

    With it, epoch 7 sees the same images in the same order in a run that is resumed at epoch 7 as
    in one that was never interrupted, whatever else has read from the data set. With
    `steps_per_epoch`, epochs and order are not tied: Keras goes on with one pass over them.

    Args:
        dataset: What `pair_dataset` or `image_dataset` returned (a data set derived from it has
            lost the counter).

    Raises:
        TypeError: If the data set has no epoch counter.

    Example:

    ```python
    pairs = cin_keras.data.pair_dataset(samples)
    model.fit(pairs, epochs=10, callbacks=[cin_keras.data.SetEpoch(pairs)])
    ```
    """

    def __init__(self, dataset):
        super().__init__()
        if not isinstance(getattr(dataset, "epochs", None), EpochCounter):
            raise TypeError(
                "SetEpoch needs the data set as pair_dataset or image_dataset returned it. "
                f"Received: dataset={dataset!r}"
            )
        self.epochs = dataset.epochs

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.epoch = epoch


class Batches:
    """The images of every batch of a `pair_dataset` or `image_dataset`, by its number.

    They follow from the seed and the number of the epoch; nothing is carried through the pipeline
    for it.

    Args:
        reader: The pipeline's `Reader`.
        epochs: Its `EpochCounter`.
        batch_size: Int ≥ 1, images in a batch (twice the pairs).
        shard: The pipeline's `shard`. Defaults to `None`.

    Example:

    >>> samples = cin_keras.data.drawn_cars(images_per_class=2, image_size=64)
    >>> pairs = cin_keras.data.pair_dataset(samples, image_size=64, pairs_per_batch=2)
    >>> len(pairs.batches.paths(epoch=0, step=3))
    4
    """

    def __init__(self, reader, epochs, batch_size, shard=None):
        self.reader = reader
        self.epochs = epochs
        self.batch_size = batch_size
        self.shard = shard

    def indices(self, epoch, step):
        """The samples that batch `step` (int from 0) of pass `epoch` (int from 0) has shown.

        Returns:
            List of int, in the order of the batch; of a pair batch all first images come first.
            With `on_error="skip"`, those that stood in for images that cannot be decoded.
        """
        begin = step * self.batch_size
        if self.reader.shortens:
            return self.all_indices(epoch)[begin : begin + self.batch_size]
        places = self.epochs.places(epoch)[begin : begin + self.batch_size].tolist()
        return [self.reader.shown(*place) for place in places]

    def all_indices(self, epoch):
        """As `indices`, those of the whole pass."""
        shown = [self.reader.shown(*place) for place in self.epochs.places(epoch).tolist()]
        return [index for index in shown if index is not None]

    def paths(self, epoch, step):
        """As `indices`, the paths of the samples, a list of str."""
        return [str(self.reader.samples.paths[i]) for i in self.indices(epoch, step)]


def read_in_batches(
    samples,
    epochs,
    batch_size,
    *,
    image_size,
    augment,
    seed,
    on_error,
    max_pixels,
    cache,
    shard,
    stand_ins=None,
):
    """The images of `epochs` (`EpochCounter`), decoded, cropped and augmented, in batches.

    Args are those of `image_dataset`; `stand_ins` is `replacements` of `Reader`.

    Returns:
        `tf.data.Dataset` of images and labels, of unknown length if images may be left out, with
        `epochs`, `batches` (`Batches`) and `skipped` (`SkippedImages`) as attributes.
    """
    import tensorflow as tf

    height, width = check_size("image_size", image_size)
    check_choice("augment", augment, (None, "crop", "randaugment"))
    source = with_cache(samples, cache, (height, width), max_pixels)
    reader = Reader(source, on_error, max_pixels, stand_ins, size_that_will_do(height, width))
    cut = crop if isinstance(source, Samples) else crop_resized
    load = _loader(reader, cut, height, width, augment, seed)
    together = min(batch_size, IMAGES_PER_CALL)
    images = places_in_order(epochs, together).map(load, num_parallel_calls=tf.data.AUTOTUNE)
    if reader.shortens:
        images = images.unbatch().filter(lambda image, label: label != LEFT_OUT)
        batches = images.batch(batch_size)
    else:
        # Where nothing is left over, the static shape may say how large a batch is.
        batches = images.rebatch(batch_size, drop_remainder=len(epochs) % batch_size == 0)
        length = tf.data.experimental.assert_cardinality(-(-len(epochs) // batch_size))
        batches = batches.apply(length)
    batches = batches.prefetch(tf.data.AUTOTUNE).with_options(untuned())
    batches.epochs = epochs
    batches.batches = Batches(reader, epochs, batch_size, shard)
    batches.skipped = reader.skipped
    return batches


def untuned():
    """As many calls at a time as there are cores, without TensorFlow's search for their number.

    Whoever deletes an iterator waits for the thread that searches, and now and then that sleeps on: as
    long as it has run, up to a minute.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    options.autotune.initial_parallelism = available_cores()
    return options


def as_ordered(dataset, other):
    """`dataset`, made of the batches of `other`, with the attributes that tell their images."""
    for name in ("epochs", "batches", "skipped"):
        if hasattr(other, name):
            setattr(dataset, name, getattr(other, name))
    return dataset


def _loader(reader, crop, height, width, augment, seed):
    """A function for a graph of `tf.data`: places, int64 `(images, 3)`, to images and labels."""
    import tensorflow as tf

    def read(places):
        images = np.empty((len(places), height, width, 3), np.uint8)
        labels = np.full(len(places), LEFT_OUT, np.int32)
        for i, (epoch, position, index) in enumerate(places.tolist()):
            found = reader(epoch, position, index)
            if found is not None:
                image, index = found
                # A stream of its own (2) beside those of the order and of the pairs.
                rng = np.random.default_rng([seed, epoch, position, 2]) if augment else None
                images[i] = crop(image, height, width, rng)
                labels[i] = reader.samples.labels[index]
        return images, labels

    change = rand_augment(seed) if augment == "randaugment" else lambda images, places: images

    def load(places):
        images, labels = tf.numpy_function(read, [places], (tf.uint8, tf.int32), stateful=False)
        images = tf.ensure_shape(images, (None, height, width, 3))
        return change(images, places), tf.ensure_shape(labels, (None,))

    return load


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


def check_shard(shard):
    """Returns `(index, count)`, `(0, 1)` for `None`; ValueError unless `0 <= index < count`."""
    if shard is None:
        return 0, 1
    try:
        index, count = shard
        return check_int("index", index, least=0, most=check_int("count", count, 1) - 1), count
    except (TypeError, ValueError):
        raise ValueError(
            "`shard` must be None or (index, count), two ints, index from 0 to count - 1. "
            f"Received: shard={shard!r}"
        ) from None
