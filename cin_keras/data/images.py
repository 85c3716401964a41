"""The pipeline of single images."""

import numpy as np

from cin_keras.checks import check_bool, check_int
from cin_keras.data.pipeline import EpochCounter, check_shard, read_in_batches
from cin_keras.data.samples import check_samples
from cin_keras.data.skipping import replacements


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
    max_pixels=None,
    cache=None,
    shard=None,
):
    """A `tf.data` pipeline of single images, for `evaluate`, `predict` and plain classifiers.

    Args:
        samples: `Samples`, or what `cin_keras.data.with_cache` made of them for `image_size`.
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
        max_pixels: Int ≥ 1; larger images count as ones that cannot be decoded; or `None` for the
            limit of the samples. Defaults to `None`.
        cache: `None`, `"memory"`, or a folder on disk, to decode every image only once and keep
            it at 8/7 of `image_size`, from which crops are taken at whole pixels; see
            `cin_keras.data.with_cache`. Defaults to `None`.
        shard: `None`, or `(index, count)`, the part of one of `count` hosts, `index` from 0:
            every `count`-th image of the epoch, with the same crop. Without `shuffle`
            (evaluation) the shards together hold every image once, and their sizes differ by at
            most one. With `shuffle` (training) all have equally many images, hence batches; the
            last ones that do not go round (fewer than `count`) are dropped. Defaults to `None`,
            all images.

    Returns:
        `tf.data.Dataset` of known length (unknown with `on_error="skip"` and without `shuffle`),
        batches `(images, labels)`: uint8 of shape `(batch, height, width, 3)`, RGB from 0 to 255,
        and int32 of shape `(batch,)`. Its attribute `skipped` is a `SkippedImages`. As many threads
        read it as there are cores.

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
    check_samples(samples)
    shuffle = check_bool("shuffle", shuffle)
    seed = check_int("seed", seed, least=0)

    def order(epoch):
        if not shuffle:
            return np.arange(len(samples))
        return np.random.default_rng([seed, epoch]).permutation(len(samples))

    shard_index, shards = check_shard(shard)
    if len(samples) < shards:
        raise ValueError(
            f"{shards} shards need at least one image each. "
            f"Received: shard={shard}, {len(samples)} images"
        )
    positions = np.arange(shard_index, len(samples), shards)
    if shuffle:
        positions = positions[: len(samples) // shards]

    def stand_ins(epoch, position, index):
        return replacements(samples.labels, seed, epoch, position, index)

    return read_in_batches(
        samples,
        EpochCounter(order, positions, start_epoch),
        check_int("batch_size", batch_size, least=1),
        image_size=image_size,
        augment=augment,
        seed=seed,
        on_error=on_error,
        max_pixels=max_pixels,
        cache=cache,
        shard=shard,
        stand_ins=stand_ins if shuffle else None,
    )
