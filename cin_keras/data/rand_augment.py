"""KerasCV's RandAugment with random numbers that follow from seed, epoch and position alone.

Not `keras.layers.RandAugment` of Keras 3.15: at the same strength it turns images by up to 108
degrees and leaves them two bits a colour, which hides what tells fine-grained classes apart, and it
is several times slower.
"""

import numpy as np

from cin_keras.keras_internals import replace_random_numbers


def rand_augment(seed):
    """Cubuk et al., CVPR Workshops 2020, as KerasCV has it, repeatable.

    KerasCV's layers draw from generators that count on: an epoch that is repeated would be
    another. Here the numbers of every image follow from its place.

    Args:
        seed: Int ≥ 0.

    Returns:
        Function for a graph of `tf.data`, from uint8 images `(images, height, width, 3)` and
        their places, int64 `(images, 3)` (epoch, position, index), to uint8 images.

    Example:

    ```python
    augment = rand_augment(seed=0)
    dataset = dataset.map(lambda images, places: augment(images, places))
    ```
    """
    import keras_cv
    import tensorflow as tf

    from cin_keras.models.backbones import dtype_policy_scope

    # Not the policy of the network: in float16 the sums of pixels overflow.
    with dtype_policy_scope("float32"):
        # Geometry only by a little: the parts that tell classes apart must stay in the picture.
        layer = keras_cv.layers.RandAugment(
            value_range=(0, 255), augmentations_per_image=2, magnitude=0.3, seed=0
        )
    draws = Draws()
    replace_random_numbers(layer, draws, draws.factor)
    # A stream of its own (4) beside those of the order, the pairs, the crops and the stand-ins.
    stream = np.random.SeedSequence([seed, 4]).generate_state(2).view("int32")

    def augment_one(inputs):
        image, place = inputs
        draws.seed = tf.constant(stream)
        for number in (place[0], place[1]):
            draws.seed = tf.random.experimental.stateless_fold_in(draws.seed, number)
        draws.count = 0
        augmented = layer(tf.cast(image, tf.float32), training=True)
        return tf.cast(tf.round(tf.clip_by_value(augmented, 0, 255)), tf.uint8)

    def augment(images, places):
        one = tf.TensorSpec(images.shape[1:], tf.uint8)  # which a batch of no image does not show
        augmented = tf.map_fn(augment_one, (images, places), fn_output_signature=one)
        return tf.ensure_shape(augmented, images.shape)

    return augment


class Draws:
    """In place of the `tf.random.Generator` of KerasCV's layers: numbers that follow from a seed.

    Every drawing in the graph is numbered while the graph is built.

    Attributes:
        seed: int32 tensor of shape `(2,)`.
        count: Int, drawings so far.
    """

    seed = None
    count = 0

    def _next_seed(self):
        import tensorflow as tf

        self.count += 1
        return tf.random.experimental.stateless_fold_in(self.seed, self.count)

    def uniform(self, shape, minval=0, maxval=1, dtype="float32"):
        """As `tf.random.Generator.uniform`."""
        import tensorflow as tf

        return tf.random.stateless_uniform(shape, self._next_seed(), minval, maxval, dtype)

    def normal(self, shape, mean=0.0, stddev=1.0, dtype="float32"):
        """As `tf.random.Generator.normal`."""
        import tensorflow as tf

        return tf.random.stateless_normal(shape, self._next_seed(), mean, stddev, dtype)

    def factor(self, sampler):
        """What draws as KerasCV's `sampler` does, from here."""
        import keras_cv
        import tensorflow as tf

        class Factor(keras_cv.core.FactorSampler):
            def __call__(factor, shape=(), dtype="float32"):
                if isinstance(sampler, keras_cv.core.UniformFactorSampler):
                    return self.uniform(shape, sampler.lower, sampler.upper, dtype)
                numbers = self.normal(shape, sampler.mean, sampler.stddev, dtype)
                return tf.clip_by_value(numbers, sampler.min_value, sampler.max_value)

        constant = isinstance(sampler, keras_cv.core.ConstantFactorSampler)
        return sampler if constant else Factor()
