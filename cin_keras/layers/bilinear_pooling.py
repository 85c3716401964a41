"""Bilinear pooling (B-CNN): products of all pairs of channels, summed over positions.

Lin et al., "Bilinear CNN Models for Fine-grained Visual Recognition", ICCV 2015. Beyond the paper:
an optional projection to fewer channels before the product, without which two maps of 2048
channels give four million numbers an image.
"""

import keras
from keras import ops

from cin_keras.checks import check_int
from cin_keras.layers.feature_map import FeatureMapLayer, check_feature_map
from cin_keras.layers.numerics import float32_matmul, root, unit_length


@keras.saving.register_keras_serializable(package="cin_keras")
class BilinearPooling(FeatureMapLayer):
    """`Φ = Σ_l f_A(l)ᵀ f_B(l)`, then `sign(Φ) √|Φ|`, then the division by its Euclidean length.

    `f_A(l)` and `f_B(l)` are the channels that two backbones see at position `l`, or one backbone
    twice. The products, the root and the length are computed in float32 whatever the compute
    dtype. Lin et al., ICCV 2015 (arXiv:1504.07889), section 3.

    Args:
        projection_dim: Int ≥ 1, to how many channels each map is projected first, by a linear map
            of its own without bias, or `None` for no projection. With a projection, one input
            makes both maps. Defaults to `None`.
        data_format: `"channels_last"`, `"channels_first"` or `None` for
            `keras.config.image_data_format()`. Defaults to `None`.
        kernel_initializer: Initializer of the projections, of shape `(channels, projection_dim)`.
            Defaults to `"glorot_uniform"`.
        **kwargs: `name`, `dtype`, `trainable` as for every Keras layer.

    Input shape:
        One map `(batch, height, width, channels)`, or a tuple or list of two with equal batch,
        height and width; channels may differ. For channels_first
        `(batch, channels, height, width)`.

    Output shape:
        `(batch, channels_a * channels_b)`, after a projection `(batch, projection_dim ** 2)`, in
        the compute dtype; entry `i * channels_b + j` belongs to channel `i` of the first and `j`
        of the second map. Length 1, but for an image whose products are all zero.

    Raises:
        ValueError: For arguments out of range, inputs that are not one or two 4-D maps of one
            height and width, or an unknown number of channels.

    Example:

    >>> features = keras.random.normal((2, 7, 7, 16))
    >>> tuple(cin_keras.layers.BilinearPooling(projection_dim=8)(features).shape)
    (2, 64)
    >>> other = keras.random.normal((2, 7, 7, 4))
    >>> tuple(cin_keras.layers.BilinearPooling()((features, other)).shape)
    (2, 64)
    """

    def __init__(
        self, projection_dim=None, data_format=None, kernel_initializer="glorot_uniform", **kwargs
    ):
        # The products stay float32 under mixed precision, so this layer casts by hand.
        super().__init__(data_format, autocast=False, **kwargs)
        self.projection_dim = check_int("projection_dim", projection_dim, least=1, or_none=True)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        shapes = self._check_maps(input_shape)
        self.projections = []
        if self.projection_dim is None:
            return
        for name, shape in zip(("projection_a", "projection_b"), shapes):
            projection = self.linear(
                self.projection_dim,
                name,
                shape[self.channel_axis],
                use_bias=False,
                # A copy: an initializer gives the same numbers every time.
                kernel_initializer=self.kernel_initializer.clone(),
            )
            self.projections.append(projection)

    def call(self, inputs):
        pair = inputs if isinstance(inputs, (tuple, list)) else (inputs, inputs)
        self._check_maps([tuple(x.shape) for x in pair])
        a, b = (ops.cast(x, "float32") for x in self.projected(pair))
        products = float32_matmul(ops.transpose(a, (0, 2, 1)), b)
        products = ops.reshape(products, (-1, a.shape[2] * b.shape[2]))
        size = ops.abs(products)
        signed_root = ops.sign(products) * root(size, size > 0)
        return ops.cast(unit_length(signed_root), self.compute_dtype)

    def projected(self, pair):
        """Two maps as `(batch, positions, channels)`, projected if they are to be."""
        pair = [self.positions_by_channels(x) for x in pair]
        if self.projections:
            pair = [
                project(ops.cast(x, self.compute_dtype))
                for project, x in zip(self.projections, pair)
            ]
        return pair

    def _check_maps(self, shapes):
        """The shapes of the two maps, given those of one or two."""
        if not isinstance(shapes[0], (tuple, list)):
            shapes = [shapes, shapes]
        if len(shapes) != 2:
            raise ValueError(
                f"BilinearPooling takes one feature map or two. Received: {len(shapes)} inputs"
            )
        for shape in shapes:
            check_feature_map(self, shape)
        for axis, (a, b) in enumerate(zip(*shapes)):
            if axis != self.channel_axis and None not in (a, b) and a != b:
                raise ValueError(
                    "The two feature maps must agree in batch, height and width. Received: "
                    f"shapes {tuple(shapes[0])} and {tuple(shapes[1])}"
                )
        return shapes

    def compute_output_shape(self, input_shape):
        a, b = self._check_maps(input_shape)
        dims = [self.projection_dim or shape[self.channel_axis] for shape in (a, b)]
        return (a[0], dims[0] * dims[1])

    def compute_output_spec(self, inputs):
        pair = inputs if isinstance(inputs, (tuple, list)) else (inputs, inputs)
        shape = self.compute_output_shape([tuple(x.shape) for x in pair])
        return keras.KerasTensor(shape, self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "projection_dim": self.projection_dim,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
