"""Statistics pooling: of every channel the mean and how much it varies over an image."""

import keras
from keras import ops

from cin_keras.layers.feature_map import FeatureMapLayer, check_feature_map
from cin_keras.layers.numerics import root


@keras.saving.register_keras_serializable(package="cin_keras")
class MeanAndDeviation(FeatureMapLayer):
    """The mean of every channel over the positions, and beside it the standard deviation.

    The deviations are the roots of the diagonal of what `CovariancePooling` sees: the cheapest
    statistics that the mean does not hold. Snyder et al., "Deep Neural Network Embeddings for
    Text-Independent Speaker Verification", Interspeech 2017, there over time. Computed in float32
    whatever the compute dtype.

    Args:
        data_format: `"channels_last"`, `"channels_first"` or `None` for
            `keras.config.image_data_format()`. Defaults to `None`.
        **kwargs: `name`, `dtype`, `trainable` as for every Keras layer.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` for
        channels_first. Batch, height and width may be unknown when the model is built.

    Output shape:
        `(batch, 2 * channels)` in the compute dtype: the means, then the deviations, which divide
        by the number of positions and are zero where all positions are alike.

    Raises:
        ValueError: For arguments out of range, an input that is not 4-D, or an unknown number of
            channels.

    Example:

    >>> features = keras.random.normal((2, 7, 7, 16))
    >>> tuple(cin_keras.layers.MeanAndDeviation()(features).shape)
    (2, 32)
    """

    def __init__(self, data_format=None, **kwargs):
        # The squares stay float32 under mixed precision, so this layer casts by hand.
        super().__init__(data_format, autocast=False, **kwargs)

    def call(self, inputs):
        x = ops.cast(self.positions_by_channels(inputs), "float32")
        mean = ops.mean(x, axis=1)
        variance = ops.mean(ops.square(x - mean[:, None, :]), axis=1)
        # What rounding leaves of a constant channel is no variation.
        deviation = root(variance, variance > 1e-10 * ops.square(mean))
        return ops.cast(ops.concatenate([mean, deviation], axis=-1), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        check_feature_map(self, input_shape)
        return (input_shape[0], 2 * input_shape[self.channel_axis])
