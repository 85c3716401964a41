"""Self-channel interaction (SCI): every channel looks at all others of its own image.

Gao et al., "Channel Interaction Networks for Fine-Grained Image Categorization", AAAI 2020,
section 3.2. Beyond the paper: the scale of the logits, which may be learned, other similarities
of channels than the dot product, other kernel sizes of φ, the pooled form, which gives the spatial
mean of Z without a convolution over positions, and blocks of rows, which bound the memory.

Symbols, here and in the code: `c` channels, `l` positions, `X` one image's feature map as a
`c × l` matrix, `W` the interaction weights, `Y = W X`, `Z = φ(Y) + X`.
"""

import math

import keras
from keras import ops

from cin_keras.checks import check_bool, check_choice, check_int, check_number
from cin_keras.layers.feature_map import check_feature_map
from cin_keras.layers.memory import image_by_image, in_row_blocks, large_on_a_cpu
from cin_keras.layers.numerics import float32_matmul, softmax_rows, thin_matmul
from cin_keras.layers.residual_convolution import ResidualConvolution
from cin_keras.layers.symmetric_softmax import common_logits, mix_symmetric

SIMILARITIES = ("dot", "cosine", "correlation")


@keras.saving.register_keras_serializable(package="cin_keras")
class SelfChannelInteraction(ResidualConvolution):
    """Adds to every channel what the channels that complement it see.

    `W = softmax_rows(-scale · S)`, `Y = W X`, `Z = φ(Y) + X`, with `S` the similarity of the
    channels, in the paper `S = X Xᵀ`, and `φ` a convolution with bias and "same" padding,
    `c → c`. The logits and the softmax are computed in float32 whatever the compute dtype. Gao et
    al., AAAI 2020 (arXiv:2003.05235), equations 1 to 3.

    Args:
        scale: Float > 0, multiplies the logits. The paper has 1; dividing by the number of
            positions (`scale=1 / (height * width)`) is what the public PyTorch code does.
            Cosines and correlations lie in [-1, 1] and want more, 10 say. Defaults to 1.0.
        positive: Bool. `True` turns the sign: `W = softmax_rows(+scale · S)`, the paper's
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
        similarity: `S`, how alike two channels' maps `x_i` and `x_j` are: `"dot"`, `x_i · x_j`, the
            paper's; `"cosine"`, the cosine of the angle between them; `"correlation"`, the same
            after each channel's spatial mean is taken away (Pearson's). With `"dot"` the most
            complementary channels are the silent ones; a channel that never varies has a
            correlation of 0 with all. Channels a thousand times shorter than the image's usual
            ones fade towards 0. Defaults to `"dot"`.
        learnable_scale: Bool. `True` makes the scale a weight, one number that starts at `scale`;
            its logarithm is what is trained, so that it stays positive. Defaults to `False`.
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
        *,
        similarity="dot",
        learnable_scale=False,
        **kwargs,
    ):
        super().__init__(
            pooling=pooling,
            kernel_size=kernel_size,
            data_format=data_format,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            **kwargs,
        )
        self.scale = check_number("scale", scale, above=0)
        self.positive = check_bool("positive", positive)
        self.block_rows = check_int("block_rows", block_rows, least=1, or_none=True)
        self.similarity = check_choice("similarity", similarity, SIMILARITIES)
        self.learnable_scale = check_bool("learnable_scale", learnable_scale)

    def build(self, input_shape):
        super().build(input_shape)
        if self.learnable_scale:
            self.log_scale = self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(math.log(self.scale)),
                dtype="float32",
                # Whatever the compute dtype: it multiplies the logits.
                autocast=False,
                name="log_scale",
            )

    def call(self, inputs, return_interaction_weights=False):
        if not return_interaction_weights:
            return super().call(inputs)
        values = self.values(inputs, self.pooling)
        residual = self.residual(inputs, values, self.pooling)
        weights = self.interaction_weights(inputs)
        return self.restore(apply_rows(weights, values), residual, self.pooling), weights

    def mixed(self, inputs, values, in_predict=False):
        """`W values`, to which φ is applied; `in_predict` as for `mix_values`."""
        return self.mix_values(self.compared(inputs), values, in_predict)

    def interaction_weights(self, inputs):
        """`W = softmax_rows(∓scale · S)`, one matrix an image.

        Args:
            inputs: Feature map as for the layer's call.

        Returns:
            float32 of shape `(batch, channels, channels)`, non-negative; row `i` sums to 1 and
            says how much channel `i` takes from every channel.
        """
        if isinstance(inputs, keras.KerasTensor):
            return self(inputs, return_interaction_weights=True)[1]
        inputs = ops.convert_to_tensor(inputs)
        if not self.built:
            self.build(inputs.shape)
        check_feature_map(self, inputs.shape)
        x = self.compared(inputs)
        return self.weight_rows(x, x)

    def compared(self, inputs):
        """The `x` of the logits `∓xᵀ x`.

        Args:
            inputs: Feature map as for the layer's call.

        Returns:
            The channels' maps, of length 1 for cosines and correlations, times the root of the scale;
            `(batch, positions, channels)`, float32, or the dtype of the inputs where that loses
            nothing, for the paper's `-X Xᵀ`.
        """
        x = self.positions_by_channels(inputs)
        # `weight_rows` takes the negative, of which uint8 has none.
        has_sign = keras.backend.is_float_dtype(x.dtype)
        if has_sign and self.similarity == "dot" and self.scale == 1 and not self.learnable_scale:
            return x
        x = ops.cast(x, "float32")
        if self.similarity != "dot":
            # A thousandth of the usual length: neither what rounding leaves of a constant channel
            # nor the gradient into a silent one may be blown up. (The gradient of ops.normalize is
            # NaN for a zero vector on JAX and PyTorch.)
            least = ops.mean(_squared_length(x), axis=-1, keepdims=True) * 1e-6 + 1e-12
            if self.similarity == "correlation":
                x = x - ops.mean(x, axis=1, keepdims=True)
            x = x * ops.rsqrt(ops.maximum(_squared_length(x), least))
        return x * (ops.exp(self.log_scale / 2) if self.learnable_scale else math.sqrt(self.scale))

    def weight_rows(self, rows, x):
        """Some rows of `W`.

        Args:
            rows: The channels whose rows are wanted, `(batch, positions, rows)`, as `compared` gives
                them.
            x: All channels, `(batch, positions, channels)`, as `compared` gives them.

        Returns:
            float32 of shape `(batch, rows, channels)`.
        """
        # The sign goes to the small operand: one pass less over the c × c logits.
        rows = ops.transpose(rows if self.positive else -rows, (0, 2, 1))
        return softmax_rows(float32_matmul(rows, x))

    def mix_values(self, x, values, in_predict=False):
        """`W values`, in blocks of rows if the layer has any.

        Args:
            x: As from `compared`.
            values: `(batch, channels, columns)`.
            in_predict: Bool, whether it is for a prediction on this machine, which needs no
                gradient: large matrices may be made in a loop over the images, and half of them
                where a CPU computes. Defaults to `False`.

        Returns:
            Tensor of the shape and dtype of `values`.
        """
        if self.block_rows is not None:
            return in_row_blocks(self._mix_rows, (x,), (x, values), self.block_rows)[0]
        if in_predict and self.is_made_by_halves(x):
            common = common_logits(x)
            return image_by_image(self._mix_by_halves, x, common, values, in_a_loop=True)[0]
        return image_by_image(self._mix_whole, x, values, in_a_loop=in_predict)[0]

    def is_made_by_halves(self, x):
        """Whether half of `exp(-xᵀ x)` is enough to mix with `W`, and takes less time."""
        # With the other sign a channel's own logit is nearly always too large to exponentiate.
        return not self.positive and large_on_a_cpu(x)

    def _mix_rows(self, rows, x, values):
        return (apply_rows(self.weight_rows(rows, x), values),)

    def _mix_whole(self, x, values):
        return self._mix_rows(x, x, values)

    def _mix_by_halves(self, x, common, values):
        return (mix_symmetric(x, common, values, lambda: self._mix_whole(x, values)[0]),)

    def mix(self, weights, inputs):
        """`Y = W X`, of the shape and dtype of `inputs`."""
        x = ops.transpose(self.positions_by_channels(inputs), (0, 2, 1))
        return self.to_map(apply_rows(weights, x), inputs)

    def compute_output_spec(self, inputs, return_interaction_weights=False):
        outputs = super().compute_output_spec(inputs)
        if not return_interaction_weights:
            return outputs
        channels = inputs.shape[self.channel_axis]
        return outputs, keras.KerasTensor((inputs.shape[0], channels, channels), "float32")

    def get_config(self):
        return {
            **super().get_config(),
            "scale": self.scale,
            "positive": self.positive,
            "block_rows": self.block_rows,
            "similarity": self.similarity,
            "learnable_scale": self.learnable_scale,
        }


def _squared_length(x):
    """`‖x_i‖²` of every channel, `(batch, 1, channels)`."""
    return ops.sum(ops.square(x), axis=1, keepdims=True)


def apply_rows(weights, values):
    """`weights values` in the dtype of `values`: `(batch, rows, columns)`."""
    return thin_matmul(ops.cast(weights, values.dtype), values)
