"""Covariance pooling (iSQRT-COV): how channels vary together over the positions of an image.

Li et al., "Towards Faster Training of Global Covariance Pooling Networks by Iterative Matrix Square
Root Normalization", CVPR 2018. Where self-channel interaction uses products of channels to mix the
channels anew, here the matrix of these products, centred, is itself what a classifier sees.
"""

import keras
import numpy as np
from keras import ops

from cin_keras.checks import check_int
from cin_keras.layers.feature_map import FeatureMapLayer, check_feature_map
from cin_keras.layers.numerics import float32_matmul


@keras.saving.register_keras_serializable(package="cin_keras")
class CovariancePooling(FeatureMapLayer):
    """`√Σ`, the square root of the channels' covariance matrix, by Newton-Schulz iterations.

    A linear map to fewer channels (a 1×1 convolution without bias), batch normalisation and ReLU;
    `Σ = (1/l) Σ_l (x_l − x̄)(x_l − x̄)ᵀ` over the `l` positions of one image; `A = Σ / tr Σ`;
    from `Y = A`, `Z = I` as many times as asked: `T = ½ (3I − Z Y)`, `Y ← Y T`, `Z ← T Z`; the
    result `√(tr Σ) Y`, of which the upper triangle is kept, for it is symmetric. Li et al., CVPR
    2018 (arXiv:1712.01034), equations 1 to 7. The covariance and its root are computed in float32
    whatever the compute dtype.

    With `l` positions `Σ` has a rank of at most `l − 1`: where there are fewer positions than
    channels, a smaller `projection_dim` loses little.

    Args:
        projection_dim: Int ≥ 1, to how many channels the map is reduced first, or `None` to take
            the map as it is, without batch normalisation and ReLU. Defaults to 256, the paper's.
        iterations: Int ≥ 1, Newton-Schulz iterations. Few leave small eigenvalues smaller than
            their roots, which the paper finds as good as the exact root. Defaults to 5.
        data_format: `"channels_last"`, `"channels_first"` or `None` for
            `keras.config.image_data_format()`. Defaults to `None`.
        kernel_initializer: Initializer of the projection, of shape `(channels, projection_dim)`.
            Defaults to `"glorot_uniform"`.
        **kwargs: `name`, `dtype`, `trainable` as for every Keras layer.

    Call arguments:
        inputs: The feature map.
        training: Bool, whether the batch's own statistics normalise the projected channels, or
            `None` for what Keras is doing. Defaults to `None`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` for
        channels_first. Batch, height and width may be unknown when the model is built.

    Output shape:
        `(batch, d * (d + 1) / 2)` in the compute dtype, `d` the projected channels (32,896 numbers
        for 256): row by row the entries `(i, j)` with `i ≤ j`. Zero for an image whose positions
        are all alike, or differ by less than 1e-12.

    Raises:
        ValueError: For arguments out of range, an input that is not 4-D, or an unknown number of
            channels.

    Example:

    >>> features = keras.random.normal((2, 7, 7, 16))
    >>> tuple(cin_keras.layers.CovariancePooling(projection_dim=8)(features).shape)
    (2, 36)
    """

    def __init__(
        self,
        projection_dim=256,
        iterations=5,
        data_format=None,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        # The covariance stays float32 under mixed precision, so this layer casts by hand.
        super().__init__(data_format, autocast=False, **kwargs)
        self.projection_dim = check_int("projection_dim", projection_dim, least=1, or_none=True)
        self.iterations = check_int("iterations", iterations, least=1)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.projection = self.normalization = None
        if self.projection_dim is not None:
            self.projection = keras.layers.Dense(
                self.projection_dim,
                use_bias=False,
                kernel_initializer=self.kernel_initializer,
                dtype=self.dtype_policy,
                name="projection",
            )
            self.normalization = keras.layers.BatchNormalization(
                dtype=self.dtype_policy, name="normalization"
            )

    def build(self, input_shape):
        super().build(input_shape)
        if self.projection is not None:
            self.projection.build((None, None, self.channels))
            self.normalization.build((None, None, self.projection_dim))

    def call(self, inputs, training=None):
        x = self.positions_by_channels(inputs)
        if self.projection is not None:
            x = self.projection(ops.cast(x, self.compute_dtype))
            x = ops.relu(self.normalization(x, training=training))
        root = _root(*_covariance(ops.cast(x, "float32")), self.iterations)
        dim = x.shape[-1]
        rows, columns = np.triu_indices(dim)
        flat = ops.reshape(root, (-1, dim * dim))
        return ops.cast(ops.take(flat, rows * dim + columns, axis=1), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        check_feature_map(self, input_shape)
        dim = self.projection_dim or input_shape[self.channel_axis]
        return (input_shape[0], dim * (dim + 1) // 2)

    def get_config(self):
        return {
            **super().get_config(),
            "projection_dim": self.projection_dim,
            "iterations": self.iterations,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _covariance(x):
    """`(Σ / tr Σ, √(tr Σ))` of `(batch, positions, channels)`; zeros where positions are alike."""
    positions = ops.cast(ops.shape(x)[1], "float32")
    centred = x - ops.mean(x, axis=1, keepdims=True)
    variances = ops.mean(ops.square(centred), axis=1)
    trace = ops.sum(variances, axis=-1)[:, None, None]
    # What rounding leaves of positions that are alike is no variation; and the root has no finite
    # gradient at zero, which where() alone would pass on, nor rsqrt() below 1e-25.
    squares = ops.mean(ops.sum(ops.square(x), axis=-1), axis=1)[:, None, None]
    differs = trace > ops.maximum(1e-10 * squares, 1e-24)
    safe = ops.where(differs, trace, 1.0)
    # Divided before the product, so that no square of large features overflows.
    scaled = centred * ops.rsqrt(safe * positions)
    return (
        float32_matmul(ops.transpose(scaled, (0, 2, 1)), scaled),
        ops.where(differs, ops.sqrt(safe), 0.0),
    )


def _root(y, factor, iterations):
    """`factor` times the square root of matrices `y` of trace 1."""
    identity = ops.eye(y.shape[-1], dtype="float32")
    z = None
    for _ in range(iterations):
        # The first Z is the identity.
        t = 1.5 * identity - 0.5 * (y if z is None else float32_matmul(z, y))
        y = float32_matmul(y, t)
        z = t if z is None else float32_matmul(t, z)
    return factor * y
