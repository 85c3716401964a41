"""Mixing photographs of a batch with each other: MixUp and CutMix, on single images and on pairs.

Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018 (arXiv:1710.09412); Yun et al.,
"CutMix", ICCV 2019 (arXiv:1905.04899). The layers are Keras' own.
"""

import keras

from cin_keras.checks import check_choice, check_int, short
from cin_keras.data.pipeline import as_ordered

MIXINGS = ("mixup", "cutmix")


def mixed(dataset, mixing, num_classes, seed=0):
    """A data set whose images are each mixed with another of the batch, and the labels likewise.

    Labels become shares of the classes. Of a pair batch, the first image of each pair is mixed
    with the first image of another pair, and the second with the second of that other pair, in the
    same proportions (and in the same place for CutMix): so a mixed pair is two pairs laid over each
    other. The contrastive loss of `CIN` goes by the pair that has the larger share. What is mixed
    with what follows from the images of the batch and the seed alone, so an epoch remains what the
    seed and its number make it.

    Args:
        dataset: `tf.data.Dataset` of batches as from `pair_dataset` or `image_dataset`, with class
            numbers as labels.
        mixing: `"mixup"` (`keras.layers.MixUp`: blends two images) or `"cutmix"`
            (`keras.layers.CutMix`: puts a part of one in the other).
        num_classes: Int ≥ 2.
        seed: Int ≥ 0. Defaults to 0.

    Returns:
        `tf.data.Dataset` of the same structure: float32 images from 0 to 255, and labels of shape
        `(batch, num_classes)` with rows that sum to 1. Attributes that `SetEpoch` and other
        callbacks need are kept.

    Raises:
        ValueError: For arguments out of range.

    Example:

    >>> samples = cin_keras.data.drawn_cars(images_per_class=2, image_size=32)
    >>> images = cin_keras.data.image_dataset(samples, image_size=32, batch_size=4)
    >>> _, labels = next(iter(mixed(images, "mixup", samples.num_classes)))
    >>> labels.shape
    TensorShape([4, 12])
    """
    import tensorflow as tf

    check_choice("mixing", mixing, MIXINGS)
    spec = getattr(dataset, "element_spec", None)
    labels = tf.nest.flatten(spec[1]) if isinstance(spec, tuple) and len(spec) == 2 else []
    if not labels or not all(part.dtype.is_integer and part.shape.rank == 1 for part in labels):
        raise ValueError(
            "`dataset` must be a tf.data.Dataset of batches (images, labels), with class numbers as "
            f"labels. Received: {short(dataset if spec is None else spec)}"
        )
    num_classes = check_int("num_classes", num_classes, least=2)
    seed = check_int("seed", seed, least=0)
    layer = _seeded(keras.layers.MixUp if mixing == "mixup" else keras.layers.CutMix, seed)

    def mix(images, labels):
        paired = isinstance(images, tuple)
        images = tf.cast(tf.concat(images, axis=-1) if paired else images, "float32")
        # As channels of one image, both of a pair meet the same.
        parts = labels if paired else (labels,)
        for part in parts:
            part = tf.cast(part, "int64")
            tf.debugging.assert_less(
                part, tf.constant(num_classes, "int64"), "`num_classes` is too few"
            )
            tf.debugging.assert_non_negative(part, "labels are class numbers from 0")
        shares = tf.concat([tf.one_hot(part, num_classes) for part in parts], axis=-1)
        found = layer({"images": images, "labels": shares}, training=True)
        images, shares = found["images"], found["labels"]
        if paired:
            return tuple(tf.split(images, 2, axis=-1)), tuple(tf.split(shares, 2, axis=-1))
        return images, shares

    changed = dataset.map(mix, num_parallel_calls=tf.data.AUTOTUNE).prefetch(1)
    return as_ordered(changed, dataset)


def _seeded(kind, seed):
    """A layer of Keras' that draws its random numbers from the batch it is given."""

    class Seeded(kind):
        def get_random_transformation(self, data, training=True, seed=None):
            return super().get_random_transformation(data, training, _OfBatch(data["images"]))

    class _OfBatch(keras.random.SeedGenerator):
        """Seeds that follow from the pixels of a batch."""

        def __init__(self, images):
            import tensorflow as tf

            self._sum = tf.reduce_sum(tf.cast(images, "int64"))
            self._count = 0

        def next(self, ordered=True):
            import tensorflow as tf

            self._count += 1
            return tf.stack([tf.cast(self._sum % (2**31 - 1), "int32"), seed % 2**20 + self._count])

    return Seeded(data_format="channels_last", dtype="float32")
