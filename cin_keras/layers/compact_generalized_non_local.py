"""The compact generalized non-local block (CGNL): channels at positions look at all others.

Yue et al., "Compact Generalized Non-local Network", NeurIPS 2018. The non-local block relates
positions, self-channel interaction relates channels; this relates both at once, within groups of
channels, and with the dot product as its kernel that costs no matrix at all.
"""

import keras
from keras import ops

from cin_keras.checks import check_int
from cin_keras.layers.feature_map import FeatureMapLayer


@keras.saving.register_keras_serializable(package="cin_keras")
class CompactGeneralizedNonLocal(FeatureMapLayer):
    """`z = norm(y W_z) + x`; in every group of channels `y = a θ(x)`, `a = Σ φ(x) ⊙ g(x)`.

    `θ`, `φ` and `g` map every position's `channels` numbers linearly to `inner_channels`, which
    fall into `groups`; `a` is one number a group and image, the sum over the group's channels and
    all positions. `W_z` maps each group back to its share of the channels, and group
    normalisation, whose scale starts at zero, makes the block start as the identity. `a` and the
    normalisation are computed in float32 whatever the compute dtype. Yue et al., NeurIPS 2018
    (arXiv:1810.13125), with the dot product as kernel.

    Args:
        inner_channels: Int ≥ 1, or `None` for half the channels, as in the paper. Defaults to
            `None`.
        groups: Int ≥ 1 that divides the channels and the inner channels. Defaults to 8, the
            paper's.
        data_format: `"channels_last"`, `"channels_first"` or `None` for
            `keras.config.image_data_format()`. Defaults to `None`.
        kernel_initializer: Initializer of `θ`, `φ`, `g` and `W_z`. Defaults to `None`, the
            authors' normal distribution of standard deviation 0.01.
        **kwargs: `name`, `dtype`, `trainable` as for every Keras layer.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` for
        channels_first. Batch, height and width may be unknown when the model is built.

    Output shape:
        That of the input, in the compute dtype.

    Raises:
        ValueError: For arguments out of range, groups that do not divide the channels, an input
            that is not 4-D, or an unknown number of channels.

    Example:

    >>> features = keras.random.normal((2, 7, 7, 16))
    >>> tuple(cin_keras.layers.CompactGeneralizedNonLocal()(features).shape)
    (2, 7, 7, 16)
    """

    def __init__(
        self, inner_channels=None, groups=8, data_format=None, kernel_initializer=None, **kwargs
    ):
        super().__init__(data_format, **kwargs)
        self.inner_channels = check_int("inner_channels", inner_channels, least=1, or_none=True)
        self.groups = check_int("groups", groups, least=1)
        self.kernel_initializer = keras.initializers.get(
            kernel_initializer or keras.initializers.RandomNormal(stddev=0.01)
        )

    def build(self, input_shape):
        super().build(input_shape)
        inner = self.inner_channels or max(self.channels // 2, 1)
        if self.channels % self.groups or inner % self.groups:
            raise ValueError(
                "`groups` must divide the channels and the inner channels, "
                f"{self.channels} and {inner}. Received: groups={self.groups}"
            )

        def embedding(name):
            # A copy: an initializer gives the same numbers every time.
            kernel = self.kernel_initializer.clone()
            return self.linear(
                inner, name, self.channels, use_bias=False, kernel_initializer=kernel
            )

        # φ's name is not that of the interaction's convolution, whose rate is another.
        self.theta, self.phi, self.g = map(embedding, ("theta", "phi_embedding", "g"))
        self.w_z = self.add_weight(
            (self.groups, inner // self.groups, self.channels // self.groups),
            initializer=self.kernel_initializer.clone(),
            name="w_z",
        )
        self.normalization = keras.layers.GroupNormalization(
            self.groups,
            epsilon=1e-5,
            gamma_initializer="zeros",
            dtype="float32",
            name="normalization",
        )
        self.normalization.build((None, None, self.channels))

    def call(self, inputs):
        x = self.positions_by_channels(inputs)
        theta, phi, g = (self._in_groups(embed(x)) for embed in (self.theta, self.phi, self.g))
        attention = ops.sum(
            ops.cast(phi, "float32") * ops.cast(g, "float32"), axis=(1, 3), keepdims=True
        )
        z = ops.einsum("npgi,gio->npgo", theta, ops.cast(self.w_z, theta.dtype))
        # The attention is one number a group: it may as well follow the linear map, in float32.
        z = self.normalization(ops.reshape(attention * ops.cast(z, "float32"), ops.shape(x)))
        if self.data_format == "channels_first":
            z = ops.transpose(z, (0, 2, 1))
        z = ops.reshape(z, ops.shape(inputs))
        return ops.cast(z, self.compute_dtype) + ops.cast(inputs, self.compute_dtype)

    def _in_groups(self, x):
        """`(batch, positions, inner)` as `(batch, positions, groups, inner of a group)`."""
        return ops.reshape(x, (-1, ops.shape(x)[1], self.groups, x.shape[2] // self.groups))

    def get_config(self):
        return {
            **super().get_config(),
            "inner_channels": self.inner_channels,
            "groups": self.groups,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
