"""Contrastive channel interaction (CCI): two images, and where their channels interact apart.

Gao et al., "Channel Interaction Networks for Fine-Grained Image Categorization", AAAI 2020,
section 3.3. Where the paper is silent, ψ acts on spatially averaged features.
"""

import math

import keras
from keras import ops

from cin_keras.checks import agree, check_bool, check_choice
from cin_keras.layers.feature_map import check_feature_map, check_fixed_size, check_pooling
from cin_keras.layers.interleave import interleave, separate
from cin_keras.layers.memory import image_by_image, in_row_blocks, loops_over_images
from cin_keras.layers.residual_convolution import ResidualConvolution
from cin_keras.layers.roles import give_role
from cin_keras.layers.self_channel_interaction import SelfChannelInteraction, apply_rows
from cin_keras.layers.symmetric_contrast import interact_symmetric
from cin_keras.layers.symmetric_softmax import common_logits


@keras.saving.register_keras_serializable(package="cin_keras")
class ContrastiveChannelInteraction(keras.layers.Layer):
    """Turns a pair of feature maps into features of what tells the two images apart.

    `η = ψ([Y_A, Y_B])`, `γ = ψ([Y_B, Y_A])`, `W_AB = |W_A − η W_B|`, `W_BA = |W_B − γ W_A|`,
    `Z'_A = φ(W_AB X_A) + X_A`, `Z'_B = φ(W_BA X_B) + X_B`. `W`, `Y = W X` and `φ` are those of
    the self-channel interaction; `ψ` is one fully connected layer to a scalar a pair. Gao et al.,
    AAAI 2020 (arXiv:2003.05235), equations 4 to 7. Used in training only.

    In a functional model that uses the interaction beside this layer, the sharing survives
    `model.save` and `keras.saving.load_model`; `keras.Model.from_config` alone makes copies.

    Args:
        interaction: The `SelfChannelInteraction` whose `W`, `φ` and `block_rows` are shared.
        pooling: `None` returns `Z'_A` and `Z'_B`; `"avg"` their spatial means, computed without
            ever forming them. Defaults to `None`.
        descriptor: What ψ sees of `Y`: `"average"`, its spatial mean (any input size), or
            `"flatten"`, every position (the input size must be known). Defaults to `"average"`.
        kernel_initializer: Initializer of ψ's kernel. With `"zeros"`, η = γ = 0 at first and the
            layer starts as the plain interaction. Defaults to `"glorot_uniform"`.
        normalize_rows: Bool, whether the rows of `|W_A − η W_B|` are divided by their sums, as those
            of `W` sum to 1: with η near 1 the difference is small, and φ sees less than of `W X`.
            Defaults to `False`, as in the paper.
        own_phi: Bool, whether `Z'` has a φ of its own, begun as the interaction's is, in place of
            the interaction's. Defaults to `False`, as in the paper.
        phi_gradient: Bool. `False` keeps the gradient of `Z'` out of the shared φ, which then
            learns from the classifier alone. Defaults to `True`, as in the paper.
        **kwargs: `name`, `dtype`, `trainable` as for every Keras layer.

    Call arguments:
        inputs: `(x_a, x_b)`, two feature maps of one shape, as the interaction takes them.
        return_self_interaction: Bool, whether to return `Z_A` and `Z_B`, the interaction's own
            outputs, too: cheaper than calling the interaction beside this layer. Defaults to
            `False`.

    Output shape:
        `(z'_a, z'_b)`, each of the shape of one input, or `(batch, channels)` with
        `pooling="avg"`, in the compute dtype. With `return_self_interaction=True`:
        `((z'_a, z'_b), (z_a, z_b))`.

    Raises:
        TypeError: If `interaction` is no `SelfChannelInteraction`.
        ValueError: For arguments out of range, an input that is not a pair of equal 4-D shapes,
            an unknown number of channels, `descriptor="flatten"` with an unknown size, or
            `phi_gradient=False` of a φ of its own, which would never learn.

    Example:

    >>> features_a = keras.random.normal((2, 7, 7, 16))
    >>> features_b = keras.random.normal((2, 7, 7, 16))
    >>> interaction = cin_keras.layers.SelfChannelInteraction(scale=1 / 49)
    >>> contrast = cin_keras.layers.ContrastiveChannelInteraction(interaction, pooling="avg")
    >>> z_a, z_b = contrast((features_a, features_b))
    >>> tuple(z_a.shape)
    (2, 16)
    """

    def __init__(
        self,
        interaction,
        pooling=None,
        descriptor="average",
        kernel_initializer="glorot_uniform",
        normalize_rows=False,
        own_phi=False,
        phi_gradient=True,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.normalize_rows = check_bool("normalize_rows", normalize_rows)
        self.own_phi = check_bool("own_phi", own_phi)
        self.phi_gradient = check_bool("phi_gradient", phi_gradient)
        if own_phi and not phi_gradient:
            raise ValueError(
                "`phi_gradient=False` is for the shared φ; one of its own would never learn. "
                "Received: own_phi=True with phi_gradient=False"
            )
        if not isinstance(interaction, SelfChannelInteraction):
            raise TypeError(
                "`interaction` must be a SelfChannelInteraction, whose weights are shared. "
                f"Received: interaction={interaction!r} of type {type(interaction).__name__}"
            )
        check_choice("descriptor", descriptor, ("average", "flatten"))
        self.interaction = interaction
        self.pooling = check_pooling(pooling)
        self.descriptor = descriptor
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.channel_axis = interaction.channel_axis
        self.psi = keras.layers.Dense(
            1, kernel_initializer=self.kernel_initializer, dtype="float32", name="psi"
        )
        self.contrastive_phi = None
        if own_phi:
            self.contrastive_phi = ResidualConvolution(
                kernel_size=interaction.kernel_size,
                data_format=interaction.data_format,
                kernel_initializer=interaction.kernel_initializer.clone(),
                bias_initializer=interaction.bias_initializer.clone(),
                kernel_regularizer=interaction.kernel_regularizer,
                bias_regularizer=interaction.bias_regularizer,
                dtype=interaction.dtype_policy,
                name="contrastive_phi",
            )

    def build(self, input_shape):
        shape = self._check_pair(input_shape)
        if not self.interaction.built:
            self.interaction.build(shape)
        if self.own_phi:
            self.contrastive_phi.build(shape)
        features = shape[self.channel_axis]
        if self.descriptor == "flatten":
            check_fixed_size(shape[1:])
            features = math.prod(shape[1:])
        self.psi.build((None, 2 * features))
        give_role(self.psi, "psi")

    def call(self, inputs, return_self_interaction=False):
        self._check_pair(_shapes(inputs))
        share = self.interaction
        values = [share.values(x, self.pooling) for x in inputs]
        # What ψ sees of an image, before W mixes it.
        seen = [share.values(x) for x in inputs] if self._psi_needs_the_map() else values
        images = [(share.compared(x), v, s) for x, v, s in zip(inputs, values, seen)]
        if share.block_rows is not None:
            interacted = self._interact_in_blocks(*images)
        elif self._is_made_by_halves(images[0]):
            interacted = image_by_image(self._interact_by_halves, *images[0], *images[1], in_a_loop=True)
        else:
            interacted = image_by_image(self._interact_whole, *images[0], *images[1], in_a_loop=True)
        contrasted, mixed = interacted[:2], interacted[2:]
        residuals = [share.residual(*x, self.pooling) for x in zip(inputs, values)]
        if return_self_interaction and not self.own_phi and self.phi_gradient:
            z = self._restore([*contrasted, *mixed], [*residuals, *residuals], share)
            return z[:2], z[2:]
        z_contrasted = self._restore(contrasted, residuals, self.restoring, self.phi_gradient)
        if not return_self_interaction:
            return z_contrasted
        return z_contrasted, self._restore(mixed, residuals, share)

    @property
    def restoring(self):
        """The layer whose φ makes `Z'`: the interaction, unless φ is not shared."""
        return self.contrastive_phi or self.interaction

    def _psi_needs_the_map(self):
        """Whether ψ sees every position while the output is pooled."""
        return self.pooling == "avg" and self.descriptor == "flatten"

    def _is_made_by_halves(self, image):
        """Whether TensorFlow makes half of the matrices, and their gradient, on this CPU."""
        paper = self.pooling == "avg" and self.descriptor == "average" and not self.normalize_rows
        return paper and loops_over_images(image) and self.interaction.is_made_by_halves(image[0])

    def _interact_by_halves(self, x_a, values_a, seen_a, x_b, values_b, seen_b):
        """As `_interact_whole`."""
        common = (common_logits(x_a) + common_logits(x_b)) / 2
        return interact_symmetric(
            x_a,
            x_b,
            common,
            values_a,
            values_b,
            self._compare,
            lambda: self._interact_whole(x_a, values_a, seen_a, x_b, values_b, seen_b),
        )

    def _interact_whole(self, x_a, values_a, seen_a, x_b, values_b, seen_b):
        """`W_AB values_A`, `W_BA values_B`, `W_A values_A`, `W_B values_B`."""
        weights_a = self.interaction.weight_rows(x_a, x_a)
        weights_b = self.interaction.weight_rows(x_b, x_b)
        mixed = y = apply_rows(weights_a, values_a), apply_rows(weights_b, values_b)
        if self._psi_needs_the_map():
            y = apply_rows(weights_a, seen_a), apply_rows(weights_b, seen_b)
        eta, gamma = self._compare(*y)
        return *self._contrast(weights_a, weights_b, values_a, values_b, eta, gamma), *mixed

    def _interact_in_blocks(self, image_a, image_b):
        """The same with `block_rows` rows of `W_A` and `W_B` at a time."""
        share = self.interaction
        (x_a, values_a, seen_a), (x_b, values_b, seen_b) = image_a, image_b
        mixed = share.mix_values(x_a, values_a), share.mix_values(x_b, values_b)
        y = mixed
        if self._psi_needs_the_map():
            y = share.mix_values(x_a, seen_a), share.mix_values(x_b, seen_b)
        whole = (x_a, x_b, values_a, values_b, *self._compare(*y))
        return *in_row_blocks(self._contrast_rows, (x_a, x_b), whole, share.block_rows), *mixed

    def _contrast_rows(self, rows_a, rows_b, x_a, x_b, values_a, values_b, eta, gamma):
        """`_contrast` for some rows of the two `W`."""
        weights_a = self.interaction.weight_rows(rows_a, x_a)
        weights_b = self.interaction.weight_rows(rows_b, x_b)
        return self._contrast(weights_a, weights_b, values_a, values_b, eta, gamma)

    def _contrast(self, weights_a, weights_b, values_a, values_b, eta, gamma):
        """`W_AB values_A` and `W_BA values_B`, for whole `W` or the same rows of both."""
        contrasted_a = apply_rows(self._differ(weights_a, eta * weights_b), values_a)
        contrasted_b = apply_rows(self._differ(weights_b, gamma * weights_a), values_b)
        return contrasted_a, contrasted_b

    def _differ(self, weights, other):
        difference = ops.abs(weights - other)
        if not self.normalize_rows:
            return difference
        # Of two images that are alike nothing is left, and stays nothing.
        return difference / ops.maximum(ops.sum(difference, axis=-1, keepdims=True), 1e-6)

    def _restore(self, mixed, residuals, restoring, train_phi=True):
        """`φ(mixed) + X` of each, in one product with φ's kernel."""
        z = restoring.restore(interleave(mixed), interleave(residuals), self.pooling, train_phi)
        return separate(ops.cast(z, self.compute_dtype), len(mixed))

    def _compare(self, y_a, y_b):
        """`η = ψ([Y_A, Y_B])` and `γ = ψ([Y_B, Y_A])`, each `(pairs, 1, 1)`."""
        y_a, y_b = self._describe(y_a), self._describe(y_b)
        eta = self.psi(ops.concatenate([y_a, y_b], axis=-1))
        gamma = self.psi(ops.concatenate([y_b, y_a], axis=-1))
        return eta[:, :, None], gamma[:, :, None]

    def _describe(self, y):
        """The float32 vector that ψ sees of `Y`, given as `W seen`."""
        if self.descriptor == "flatten":
            y = ops.transpose(ops.cast(y, "float32"), (0, 2, 1))
            return ops.reshape(y, (-1, y.shape[1] * y.shape[2]))
        if self.pooling == "avg":
            return y[:, :, self.interaction.centre_tap]
        return ops.mean(ops.cast(y, "float32"), axis=2)

    def _check_pair(self, shapes):
        if len(shapes) != 2 or not all(isinstance(shape, (tuple, list)) for shape in shapes):
            raise ValueError(
                "ContrastiveChannelInteraction takes a pair of feature maps, (x_a, x_b). "
                f"Received: shapes={shapes}"
            )
        for shape in shapes:
            check_feature_map(self, shape)
        if not agree(*shapes):
            raise ValueError(
                "The two feature maps of a pair must have one shape. Received: "
                f"x_a.shape={tuple(shapes[0])}, x_b.shape={tuple(shapes[1])}"
            )
        return tuple(shapes[0])

    def compute_output_shape(self, input_shape):
        shape = self._check_pair(input_shape)
        if self.pooling == "avg":
            shape = (shape[0], shape[self.channel_axis])
        return shape, shape

    def compute_output_spec(self, inputs, return_self_interaction=False):
        shape, _ = self.compute_output_shape(_shapes(inputs))
        pairs = [
            tuple(keras.KerasTensor(shape, self.compute_dtype) for _ in range(2)) for _ in range(2)
        ]
        return tuple(pairs) if return_self_interaction else pairs[0]

    def get_config(self):
        return {
            **super().get_config(),
            "interaction": keras.saving.serialize_keras_object(self.interaction),
            "pooling": self.pooling,
            "descriptor": self.descriptor,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "normalize_rows": self.normalize_rows,
            "own_phi": self.own_phi,
            "phi_gradient": self.phi_gradient,
        }

    @classmethod
    def from_config(cls, config):
        interaction = keras.saving.deserialize_keras_object(config["interaction"])
        return cls(**{**config, "interaction": interaction})


def _shapes(inputs):
    """The shapes of a pair; one tensor's own shape, for the error message."""
    if isinstance(inputs, (tuple, list)):
        return [tuple(x.shape) for x in inputs]
    return tuple(inputs.shape)
