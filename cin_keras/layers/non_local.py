"""The non-local block: every position looks at all others that resemble it.

Wang et al., "Non-local Neural Networks", CVPR 2018, in the embedded Gaussian form. Where
self-channel interaction relates channels that complement one another, this relates positions that
are alike.
"""

import keras
from keras import ops

from cin_keras.checks import check_int
from cin_keras.layers.feature_map import FeatureMapLayer, check_feature_map
from cin_keras.layers.numerics import float32_matmul


@keras.saving.register_keras_serializable(package="cin_keras")
class NonLocalBlock(FeatureMapLayer):
    """`z = y W_z + x`, `y = softmax_rows(θ(x) φ(x)ᵀ) g(x)`, over the positions of an image.

    `θ`, `φ` and `g` map every position's `channels` numbers linearly to `inner_channels`, `W_z`
    maps back. The logits and the softmax are computed in float32 whatever the compute dtype. Wang
    et al., CVPR 2018 (arXiv:1711.07971), equations 1, 4 and 6.

    Args:
        inner_channels: Int ≥ 1, or `None` for half the channels, as in the paper. Defaults to
            `None`.
        data_format: `"channels_last"`, `"channels_first"` or `None` for
            `keras.config.image_data_format()`. Defaults to `None`.
        output_initializer: Initializer of `W_z`, of shape `(inner_channels, channels)`. With zeros
            the block starts as the identity, the paper's way into a pretrained network. Defaults
            to `"zeros"`.
        **kwargs: `name`, `dtype`, `trainable` as for every Keras layer.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` for
        channels_first. Batch, height and width may be unknown when the model is built.

    Output shape:
        That of the input, in the compute dtype.

    Raises:
        ValueError: For arguments out of range, an input that is not 4-D, or an unknown number of
            channels.

    Example:

    >>> features = keras.random.normal((2, 7, 7, 16))
    >>> block = cin_keras.layers.NonLocalBlock()
    >>> tuple(block(features).shape)
    (2, 7, 7, 16)
    >>> tuple(block.attention(features).shape)
    (2, 49, 49)
    """

    def __init__(self, inner_channels=None, data_format=None, output_initializer="zeros", **kwargs):
        super().__init__(data_format, **kwargs)
        self.inner_channels = check_int("inner_channels", inner_channels, least=1, or_none=True)
        self.output_initializer = keras.initializers.get(output_initializer)

    def build(self, input_shape):
        super().build(input_shape)
        inner = self.inner_channels or max(self.channels // 2, 1)
        self.theta = self.linear(inner, "theta", self.channels)
        # A bias of φ adds the same to every logit of a row: the softmax would not see it.
        # Its name is not that of the interaction's convolution, whose rate is another.
        self.phi = self.linear(inner, "phi_embedding", self.channels, use_bias=False)
        self.g = self.linear(inner, "g", self.channels)
        self.w_z = self.linear(
            self.channels, "w_z", inner, kernel_initializer=self.output_initializer
        )

    def call(self, inputs):
        x = self.positions_by_channels(inputs)
        weights = self._attention(x)
        y = ops.matmul(ops.cast(weights, self.compute_dtype), self.g(x))
        z = self.w_z(y)
        if self.data_format == "channels_first":
            z = ops.transpose(z, (0, 2, 1))
        return ops.reshape(z, ops.shape(inputs)) + ops.cast(inputs, self.compute_dtype)

    def attention(self, inputs):
        """How much each position takes from every position.

        Args:
            inputs: Feature map as for the layer's call.

        Returns:
            float32 of shape `(batch, positions, positions)`, positions row by row; rows sum to 1.
        """
        inputs = ops.convert_to_tensor(inputs)
        if not self.built:
            self.build(inputs.shape)
        check_feature_map(self, inputs.shape)
        return self._attention(self.positions_by_channels(inputs))

    def _attention(self, x):
        theta, phi = (ops.cast(embed(x), "float32") for embed in (self.theta, self.phi))
        return ops.softmax(float32_matmul(theta, ops.transpose(phi, (0, 2, 1))), axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "inner_channels": self.inner_channels,
            "output_initializer": keras.initializers.serialize(self.output_initializer),
        }
