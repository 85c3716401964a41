"""Self-channel interaction (SCI): every channel looks at all others of its own image.

Gao et al., "Channel Interaction Networks for Fine-Grained Image Categorization", AAAI 2020,
section 3.2. Beyond the paper: the scale of the logits, other kernel sizes of φ, the pooled form,
which gives the spatial mean of Z without a convolution over positions, and blocks of rows, which
bound the memory.

Symbols, here and in the code: `c` channels, `l` positions, `X` one image's feature map as a
`c × l` matrix, `W` the interaction weights, `Y = W X`, `Z = φ(Y) + X`.
"""

import keras
from keras import ops

from cin_keras.checks import check_int, check_number
from cin_keras.layers.image_by_image import image_by_image
from cin_keras.layers.matmul import float32_matmul
from cin_keras.layers.row_blocks import in_row_blocks
from cin_keras.layers.softmax import softmax_rows


@keras.saving.register_keras_serializable(package="cin_keras")
class SelfChannelInteraction(keras.layers.Layer):
    """Adds to every channel what the channels that complement it see.

    `W = softmax_rows(-scale · X Xᵀ)`, `Y = W X`, `Z = φ(Y) + X`, with `φ` a convolution with bias
    and "same" padding, `c → c`. The logits and the softmax are computed in float32 whatever the
    compute dtype. Gao et al., AAAI 2020 (arXiv:2003.05235), equations 1 to 3.

    Args:
        scale: Float > 0, multiplies the logits. The paper has 1; dividing by the number of
            positions (`scale=1 / (height * width)`) is what the public PyTorch code does.
            Defaults to 1.0.
        positive: Bool. `True` turns the sign: `W = softmax_rows(+scale · X Xᵀ)`, the paper's
            ablation Pos-SCI, in which a channel looks at those that resemble it. Defaults to
            `False`.
        pooling: `None` returns `Z`; `"avg"` returns the spatial mean of `Z`, computed without
            ever forming `Y` or `Z`. Defaults to `None`.
        kernel_size: Int or two ints, height and width of φ's kernel. Defaults to 3.
        block_rows: Int ≥ 1, how many rows of `W` exist at a time, or `None` for all. Blocks of rows
            are computed anew in the backward pass, so that no whole `W` is ever held: less memory,
            more arithmetic, the same numbers. Defaults to `None`.
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
        With `return_interaction_weights=True` in the call: that and `W`.

    Raises:
        ValueError: For arguments out of range, an input that is not 4-D, or an unknown number of
            channels.

    Example:

    >>> features = keras.random.normal((2, 7, 7, 16))
    >>> interaction = cin_keras.layers.SelfChannelInteraction(scale=1 / 49)
    >>> tuple(interaction(features).shape)
    (2, 7, 7, 16)
    >>> tuple(interaction.interaction_weights(features).shape)
    (2, 16, 16)
    """

    def __init__(
        self,
        scale=1.0,
        positive=False,
        pooling=None,
        kernel_size=3,
        block_rows=None,
        data_format=None,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        **kwargs,
    ):
        # W stays float32 under mixed precision, so this layer casts by hand.
        super().__init__(autocast=False, **kwargs)
        self.scale = check_number("scale", scale, above=0)
        self.positive = positive
        self.pooling = check_pooling(pooling)
        self.block_rows = block_rows
        if block_rows is not None:
            self.block_rows = check_int("block_rows", block_rows, least=1)
        self.data_format = data_format or keras.config.image_data_format()
        self.channel_axis = {"channels_last": 3, "channels_first": 1}.get(self.data_format)
        if self.channel_axis is None:
            raise ValueError(
                "`data_format` must be 'channels_last', 'channels_first' or None. "
                f"Received: data_format={data_format!r}"
            )
        sizes = (kernel_size,) * 2 if isinstance(kernel_size, int) else tuple(kernel_size)
        if len(sizes) != 2 or not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(
                "`kernel_size` must be a positive int or two of them. "
                f"Received: kernel_size={kernel_size}"
            )
        self.kernel_size = sizes
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)

    def build(self, input_shape):
        check_feature_map(self, input_shape)
        channels = input_shape[self.channel_axis]
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={self.channel_axis: channels})
        self.phi = keras.layers.Conv2D(
            channels,
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
        self.channels = channels

    def call(self, inputs, return_interaction_weights=False):
        x = self.positions_by_channels(inputs)
        values = self.values(inputs, self.pooling)
        residual = self.residual(inputs, values, self.pooling)
        if return_interaction_weights:
            weights = self.interaction_weights(inputs)
            return self.restore(apply_rows(weights, values), residual, self.pooling), weights
        return self.restore(self.mix_values(x, values), residual, self.pooling)

    def interaction_weights(self, inputs):
        """`W = softmax_rows(∓scale · X Xᵀ)`, one matrix an image.

        Args:
            inputs: Feature map as for the layer's call.

        Returns:
            float32 of shape `(batch, channels, channels)`, non-negative; row `i` sums to 1 and
            says how much channel `i` takes from every channel.
        """
        if isinstance(inputs, keras.KerasTensor):
            return self(inputs, return_interaction_weights=True)[1]
        inputs = ops.convert_to_tensor(inputs)
        check_feature_map(self, inputs.shape)
        x = self.positions_by_channels(inputs)
        return self.weight_rows(x, x)

    def weight_rows(self, rows, x):
        """Some rows of `W`.

        Args:
            rows: The channels whose rows are wanted, `(batch, positions, rows)`.
            x: All channels, `(batch, positions, channels)`.

        Returns:
            float32 of shape `(batch, rows, channels)`.
        """
        factor = self.scale if self.positive else -self.scale
        # The factor goes to the small operand: one pass less over the c × c logits.
        rows = ops.cast(rows, "float32") * factor
        logits = float32_matmul(ops.transpose(rows, (0, 2, 1)), ops.cast(x, "float32"))
        return softmax_rows(logits)

    def values(self, inputs, pooling=None):
        """What `W` is multiplied with: `X`, or as much of it as the spatial mean of `Z` needs.

        Args:
            inputs: Feature map as for the layer's call.
            pooling: `None` or `"avg"`. Defaults to `None`.

        Returns:
            `X` in the compute dtype, `(batch, channels, positions)`, or with `"avg"` the
            `tap_means(X)`, float32 of shape `(batch, channels, taps)`.
        """
        if check_pooling(pooling) == "avg":
            return self.tap_means(inputs)
        x = self.positions_by_channels(inputs)
        return ops.cast(ops.transpose(x, (0, 2, 1)), self.compute_dtype)

    def mix_values(self, x, values):
        """`W values`, in blocks of rows if the layer has any.

        Args:
            x: `Xᵀ`, `(batch, positions, channels)`.
            values: `(batch, channels, columns)`.

        Returns:
            Tensor of the shape and dtype of `values`.
        """
        if self.block_rows is None:
            return image_by_image(self._mix_rows, x, x, values)[0]
        return in_row_blocks(self._mix_rows, (x,), (x, values), self.block_rows)[0]

    def _mix_rows(self, rows, x, values):
        return (apply_rows(self.weight_rows(rows, x), values),)

    def residual(self, inputs, values, pooling=None):
        """`X`, or its spatial mean, which is a column of `values = self.values(...)`."""
        residual = values[:, :, self.centre_tap] if check_pooling(pooling) == "avg" else inputs
        return ops.cast(residual, self.compute_dtype)

    def restore(self, mixed, residual, pooling=None):
        """`Z = φ(Y) + X`, or its spatial mean.

        Args:
            mixed: `W values` for any `W`, of the shape of `values`.
            residual: `self.residual(...)`.
            pooling: `None` or `"avg"`. Defaults to `None`.

        Returns:
            As the layer's call, in the compute dtype.
        """
        if check_pooling(pooling) == "avg":
            return self._pooled_phi(mixed) + residual
        return self.phi(self._to_map(mixed, residual)) + residual

    def mix(self, weights, inputs):
        """`Y = W X`, of the shape and dtype of `inputs`."""
        x = ops.transpose(self.positions_by_channels(inputs), (0, 2, 1))
        return self._to_map(apply_rows(weights, x), inputs)

    def _to_map(self, x, inputs):
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
        height, width = self._spatial_size(inputs)
        rows = _tap_reaches(height, self.kernel_size[0])
        columns = _tap_reaches(width, self.kernel_size[1])
        reached = rows[:, None, :, None] * columns[None, :, None, :]
        reached = ops.reshape(reached, (-1, height * width))
        x = ops.cast(self.positions_by_channels(inputs), "float32")
        means = ops.matmul(reached, x) / ops.cast(height * width, "float32")
        return ops.transpose(means, (0, 2, 1))

    def _pooled_phi(self, tap_means):
        """Spatial mean of φ(Y) from the tap means of Y: a product with the kernel, no more."""
        taps = self.kernel_size[0] * self.kernel_size[1]
        flat = ops.reshape(ops.transpose(tap_means, (0, 2, 1)), (-1, taps * self.channels))
        kernel = ops.reshape(self.phi.kernel, (taps * self.channels, self.channels))
        dtype = self.compute_dtype
        product = ops.matmul(ops.cast(flat, dtype), ops.cast(kernel, dtype))
        return product + ops.cast(self.phi.bias, dtype)

    @property
    def centre_tap(self):
        """Number of the tap with offset (0, 0)."""
        height, width = self.kernel_size
        return (height - 1) // 2 * width + (width - 1) // 2

    def _spatial_size(self, inputs):
        shape = ops.shape(inputs)
        return shape[1:3] if self.data_format == "channels_last" else shape[2:4]

    def positions_by_channels(self, inputs):
        """`Xᵀ`: the feature map as `(batch, positions, channels)`."""
        height, width = self._spatial_size(inputs)
        channels = inputs.shape[self.channel_axis]
        if self.data_format == "channels_last":
            return ops.reshape(inputs, (-1, height * width, channels))
        x = ops.reshape(inputs, (-1, channels, height * width))
        return ops.transpose(x, (0, 2, 1))

    def compute_output_shape(self, input_shape):
        check_feature_map(self, input_shape)
        if self.pooling == "avg":
            return (input_shape[0], input_shape[self.channel_axis])
        return tuple(input_shape)

    def compute_output_spec(self, inputs, return_interaction_weights=False):
        shape = self.compute_output_shape(inputs.shape)
        outputs = keras.KerasTensor(shape, self.compute_dtype)
        if not return_interaction_weights:
            return outputs
        channels = inputs.shape[self.channel_axis]
        return outputs, keras.KerasTensor((shape[0], channels, channels), "float32")

    def get_config(self):
        return {
            **super().get_config(),
            "scale": self.scale,
            "positive": self.positive,
            "pooling": self.pooling,
            "kernel_size": self.kernel_size,
            "block_rows": self.block_rows,
            "data_format": self.data_format,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }


def apply_rows(weights, values):
    """`weights values` in the dtype of `values`: `(batch, rows, columns)`."""
    return ops.matmul(ops.cast(weights, values.dtype), values)


def check_pooling(pooling):
    """Returns `pooling` if it is `None` or `"avg"`, else raises ValueError."""
    if pooling not in (None, "avg"):
        raise ValueError(f"`pooling` must be None or 'avg'. Received: pooling={pooling!r}")
    return pooling


def check_feature_map(layer, shape):
    """Raises ValueError unless `shape` is 4-D with a known number of channels."""
    axes = ["batch", "height", "width"]
    axes.insert(layer.channel_axis, "channels")
    expected = f"({', '.join(axes)})"
    name = type(layer).__name__
    if len(shape) != 4:
        raise ValueError(
            f"{name} takes a feature map of shape {expected}. Received: shape={tuple(shape)}"
        )
    if shape[layer.channel_axis] is None:
        raise ValueError(
            f"{name} needs to know the number of channels, axis {layer.channel_axis} of {expected}."
            f" Received: shape={tuple(shape)}"
        )


def _tap_reaches(size, kernel_size):
    """1.0 where a tap reads that row (or column), `(kernel_size, size)`, "same" padding."""
    offsets = ops.arange(kernel_size) - (kernel_size - 1) // 2
    reading_output = ops.arange(size)[None, :] - offsets[:, None]
    inside = ops.logical_and(reading_output >= 0, reading_output < size)
    return ops.cast(inside, "float32")
