"""φ alone: a convolution beside the identity, and its spatial mean without a convolution.

`φ(X) + X` is what self-channel interaction leaves when its `W` is taken away: the control that
tells the effect of the interaction from that of φ's weights. The paper does not have it.

Symbols, here and in the code: `c` channels, `l` positions, `X` one image's feature map as a
`c × l` matrix, `φ` a convolution `c → c`.
"""

import keras
from keras import ops

from cin_keras.checks import check_size
from cin_keras.layers.feature_map import FeatureMapLayer, check_pooling
from cin_keras.layers.numerics import thin_matmul
from cin_keras.layers.roles import give_role


@keras.saving.register_keras_serializable(package="cin_keras")
class ResidualConvolution(FeatureMapLayer):
    """`Z = φ(X) + X`, with `φ` a convolution with bias and "same" padding, `c → c`.

    No activation follows φ. Before a spatial mean and a linear classifier, the layer adds no
    function that these two could not compute but for the map's edges: what it changes is the
    course of the training.

    Args:
        pooling: `None` returns `Z`; `"avg"` returns the spatial mean of `Z`, computed without
            ever forming `Z`. Defaults to `None`.
        kernel_size: Int or two ints, height and width of φ's kernel. Defaults to 3.
        data_format: `"channels_last"`, `"channels_first"` or `None` for
            `keras.config.image_data_format()`. Defaults to `None`.
        kernel_initializer: Initializer of φ's kernel, of shape
            `(kernel_height, kernel_width, channels, channels)`. With `"zeros"` the layer starts
            as the identity, the safe start inside a pretrained network. Defaults to
            `"glorot_uniform"`.
        bias_initializer: Initializer of φ's bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of φ's kernel. Defaults to `None`.
        bias_regularizer: Regularizer of φ's bias. Defaults to `None`.
        **kwargs: `name`, `dtype`, `trainable` as for every Keras layer.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` for
        channels_first. Batch, height and width may be unknown when the model is built.

    Output shape:
        That of the input, or `(batch, channels)` with `pooling="avg"`, in the compute dtype.

    Raises:
        ValueError: For arguments out of range, an input that is not 4-D, or an unknown number of
            channels.

    Example:

    >>> features = keras.random.normal((2, 7, 7, 16))
    >>> convolution = cin_keras.layers.ResidualConvolution(kernel_initializer="zeros")
    >>> z = convolution(features)
    >>> bool(np.allclose(*(keras.ops.convert_to_numpy(x) for x in (z, features))))
    True
    """

    def __init__(
        self,
        pooling=None,
        kernel_size=3,
        data_format=None,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        **kwargs,
    ):
        # Sums over positions stay float32 under mixed precision, so this layer casts by hand.
        super().__init__(data_format, autocast=False, **kwargs)
        self.pooling = check_pooling(pooling)
        self.kernel_size = check_size("kernel_size", kernel_size)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)

    def build(self, input_shape):
        super().build(input_shape)
        self.phi = keras.layers.Conv2D(
            self.channels,
            self.kernel_size,
            padding="same",
            data_format=self.data_format,
            kernel_initializer=self.kernel_initializer,
            bias_initializer=self.bias_initializer,
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            dtype=self.dtype_policy,
            name="phi",
        )
        self.phi.build(input_shape)
        give_role(self.phi, "phi")

    def call(self, inputs):
        return self._transform(inputs, self.pooling)

    def long_form(self, inputs):
        """`Z`, the whole map, also of a layer whose output is the spatial mean.

        Args:
            inputs: Feature map as for the layer's call.

        Returns:
            Tensor of the shape of `inputs`, in the compute dtype.
        """
        return self._transform(ops.convert_to_tensor(inputs), None)

    def _transform(self, inputs, pooling):
        values = self.values(inputs, pooling)
        residual = self.residual(inputs, values, pooling)
        return self.restore(self.mixed(inputs, values), residual, pooling)

    def mixed(self, inputs, values, in_predict=False):
        """What φ is applied to, given `values = self.values(inputs, ...)`: here, these."""
        return values

    def values(self, inputs, pooling=None):
        """What φ is applied to: `X`, or as much of it as the spatial mean of `Z` needs.

        Args:
            inputs: Feature map as for the layer's call.
            pooling: `None` or `"avg"`. Defaults to `None`.

        Returns:
            `X` in the compute dtype, `(batch, channels, positions)`, or with `"avg"` the
            `tap_means(X)`, float32 of shape `(batch, channels, taps)`.
        """
        if pooling == "avg":
            return self.tap_means(inputs)
        x = self.positions_by_channels(inputs)
        return ops.cast(ops.transpose(x, (0, 2, 1)), self.compute_dtype)

    def residual(self, inputs, values, pooling=None):
        """`X`, or its spatial mean, which is a column of `values = self.values(...)`."""
        residual = values[:, :, self.centre_tap] if pooling == "avg" else inputs
        return ops.cast(residual, self.compute_dtype)

    def restore(self, mixed, residual, pooling=None, train_phi=True):
        """`φ(mixed) + X`, or its spatial mean.

        Args:
            mixed: `self.values(...)`, or their product with any matrix that mixes channels.
            residual: `self.residual(...)`.
            pooling: `None` or `"avg"`. Defaults to `None`.
            train_phi: Bool, `False` keeps the gradient of what is returned out of φ. Defaults to
                `True`.

        Returns:
            As the layer's call, in the compute dtype.
        """
        kept = (lambda weight: weight) if train_phi else ops.stop_gradient
        if pooling == "avg":
            return self._pooled_phi(mixed, kept) + residual
        x = self.to_map(mixed, residual)
        if train_phi:
            return self.phi(x) + residual
        dtype = self.compute_dtype
        y = ops.conv(
            ops.cast(x, dtype),
            ops.cast(kept(self.phi.kernel), dtype),
            padding="same",
            data_format=self.data_format,
        )
        bias = ops.cast(kept(self.phi.bias), dtype)
        shape = (1, -1, 1, 1) if self.data_format == "channels_first" else (1, 1, 1, -1)
        return y + ops.reshape(bias, shape) + residual

    def to_map(self, x, inputs):
        """`(batch, channels, positions)` in the shape of `inputs`."""
        if self.data_format == "channels_last":
            x = ops.transpose(x, (0, 2, 1))
        return ops.reshape(x, ops.shape(inputs))

    def tap_means(self, inputs):
        """What each tap of φ's kernel sees of `X`, summed over the map and divided by `l`.

        The tap with offset `(a, b)` reads position `p + (a, b)` for the output at `p`, so it
        misses `|a|` rows and `|b|` columns at the map's edge, where it reads the padding. Mixing
        channels and summing positions commute: `tap_means(W X) = W tap_means(X)`.

        Args:
            inputs: Feature map as for the layer's call.

        Returns:
            float32 of shape `(batch, channels, taps)`, the taps row by row as in the kernel. The
            one with offset (0, 0) is the spatial mean of `X`.
        """
        axis = 1 if self.data_format == "channels_last" else 2
        height, width = ops.shape(inputs)[axis : axis + 2]
        rows = _tap_reaches(height, self.kernel_size[0])
        columns = _tap_reaches(width, self.kernel_size[1])
        reached = rows[:, None, :, None] * columns[None, :, None, :]
        reached = ops.reshape(reached, (-1, height * width))
        x = ops.cast(self.positions_by_channels(inputs), "float32")
        means = ops.matmul(reached, x) / ops.cast(height * width, "float32")
        return ops.transpose(means, (0, 2, 1))

    def _pooled_phi(self, tap_means, kept):
        """Spatial mean of φ(Y) from the tap means of Y: a product with the kernel, no more."""
        taps = self.kernel_size[0] * self.kernel_size[1]
        flat = ops.reshape(ops.transpose(tap_means, (0, 2, 1)), (-1, taps * self.channels))
        kernel = ops.reshape(kept(self.phi.kernel), (taps * self.channels, self.channels))
        dtype = self.compute_dtype
        product = thin_matmul(ops.cast(flat, dtype), ops.cast(kernel, dtype))
        return product + ops.cast(kept(self.phi.bias), dtype)

    @property
    def centre_tap(self):
        """Number of the tap with offset (0, 0)."""
        height, width = self.kernel_size
        return (height - 1) // 2 * width + (width - 1) // 2

    def compute_output_shape(self, input_shape):
        shape = super().compute_output_shape(input_shape)
        return (shape[0], shape[self.channel_axis]) if self.pooling == "avg" else shape

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "pooling": self.pooling,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }


def _tap_reaches(size, kernel_size):
    """1.0 where a tap reads that row (or column), `(kernel_size, size)`, "same" padding."""
    offsets = ops.arange(kernel_size) - (kernel_size - 1) // 2
    reading_output = ops.arange(size)[None, :] - offsets[:, None]
    inside = ops.logical_and(reading_output >= 0, reading_output < size)
    return ops.cast(inside, "float32")
