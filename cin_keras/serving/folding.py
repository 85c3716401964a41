"""φ folded into what is linear behind it: the classifier, and the whitening of embeddings.

Behind the spatial mean all three are linear: with the tap means `t` of `W X` (`9 c` numbers for a 3×3
kernel), the mean `m` of `X`, φ's kernel `K` and bias `k`, and the classifier's `C` and `b`,

    scores = (t K + k + m) C + b = t (K C) + m C + (k C + b)

exactly, and likewise whitened embeddings. `K C` has `9 c × classes` numbers where `K` has `9 c × c`:
200 classes on a ResNet-50 take 15 MB instead of 151, with 512 numbers of an embedding 52. The
spatial mean of `Z` itself is never formed.
"""

import keras
from keras import ops

from cin_keras.layers import ResidualConvolution


def folded_inference(model, embeddings=False):
    """The graph from images to outputs, with φ folded into what follows where that is smaller.

    Args:
        model: `CIN` or `NTS`.
        embeddings: Bool, whether embeddings are wanted, too: what the classifier sees, whitened if
            the model has a `whitening`, before they are scaled to length 1. Without a whitening φ
            stays, as all of the mean is asked for. Defaults to `False`.

    Returns:
        `keras.Model` of the model's output, or of `[output, embeddings]`. Weights are copies where
        something was folded; else the graph is the model's own.

    Example:

    >>> from cin_keras.models.small_backbone import small_backbone
    >>> model = cin_keras.CIN(3, small_backbone(32), None, (32, 32, 3))
    >>> head = folded_inference(model).get_layer("folded_heads")
    >>> head.count_params() < model.interaction.count_params() / 9
    True
    """
    whitening = model.whitening if embeddings else None
    if folds(model, embeddings):
        interaction = model.interaction
        found = FoldedHeads(interaction, model.classifier, whitening)(interaction.input)
    else:
        seen = model.dropout.output
        seen = seen if whitening is None else _whitened(seen, whitening)
        found = [model.output, seen]
    return keras.Model(model.input, found if embeddings else found[0], name=model.name)


def folds(model, embeddings=False):
    """Whether φ can be folded into what follows it, and whether that is smaller.

    Args:
        model: `CIN` or `NTS`.
        embeddings: As for `folded_inference`. Defaults to `False`.

    Returns:
        Bool.
    """
    interaction, classifier = model.interaction, model.classifier
    whitening = model.whitening if embeddings else None
    outputs = model.num_classes + (0 if whitening is None else whitening.kernel.shape[1])
    return (
        isinstance(interaction, ResidualConvolution)
        and interaction.pooling == "avg"
        and outputs < interaction.channels
        and not (embeddings and whitening is None)
        and classifier.kernel.shape[0] == interaction.channels  # NTS's sees several vectors
        and not getattr(interaction, "learnable_scale", False)  # a weight of its own
        and interaction.phi.quantization_mode is None
        and classifier.quantization_mode is None
    )


def _whitened(vectors, whitening):
    """A whitening as a layer of the graph."""
    kernel, bias = _linear(whitening)
    layer = keras.layers.Dense(kernel.shape[1], name="whitening", dtype="float32")
    whitened = layer(vectors)
    layer.set_weights([kernel, bias])
    return whitened


def _linear(whitening):
    return whitening.kernel, -whitening.mean @ whitening.kernel


class FoldedHeads(keras.layers.Layer):
    """From a feature map to scores and embeddings: the interaction, φ, the mean and what follows.

    Args:
        interaction: Built `cin_keras.layers.ResidualConvolution`, or one derived from it, with
            `pooling="avg"`.
        classifier: Built `keras.layers.Dense` on the spatial mean.
        whitening: `cin_keras.models.Whitening` of the same, or `None`.
        in_predict: As for `SelfChannelInteraction.mix_values`. Defaults to `False`.

    Input shape:
        As for the interaction.

    Output shape:
        A list of `(batch, classes)` and, with a whitening, `(batch, dimensions)`, float32.
    """

    def __init__(self, interaction, classifier, whitening=None, in_predict=False):
        super().__init__(name="folded_heads", autocast=False)
        # In functions, where Keras does not look for layers whose weights to keep.
        self._values = lambda inputs: interaction.values(inputs, "avg")
        self._mixed = lambda *args: interaction.mixed(*args, in_predict=in_predict)
        self._centre, self._activation = interaction.centre_tap, classifier.activation
        self._parts = lambda: (interaction, classifier, whitening)
        folded = self._folded()
        for weight, value in zip(("taps", "mean", "bias"), folded):
            options = {"initializer": "zeros", "trainable": False, "dtype": "float32"}
            setattr(self, weight, self.add_weight(shape=value.shape, name=weight, **options))
        self._widths = [classifier.kernel.shape[1]]
        self._widths += [] if whitening is None else [whitening.kernel.shape[1]]
        self.built = True
        self._assign(folded)

    def fold(self):
        """Folds again, with the weights that the layers have now."""
        self._assign(self._folded())

    def _folded(self):
        interaction, classifier, whitening = self._parts()
        heads = [(classifier.kernel, classifier.bias)]
        heads += [] if whitening is None else [_linear(whitening)]
        kernel, bias = (ops.concatenate(parts, axis=-1) for parts in zip(*heads))
        flat = ops.reshape(interaction.phi.kernel, (-1, interaction.channels))
        phi_bias = ops.cast(interaction.phi.bias, "float32")[None]
        return ops.matmul(flat, kernel), kernel, ops.matmul(phi_bias, kernel)[0] + bias

    def _assign(self, values):
        for weight, value in zip((self.taps, self.mean, self.bias), values):
            weight.assign(ops.convert_to_numpy(value))  # JAX would share the array, and donate it

    def call(self, inputs):
        values = self._values(inputs)
        mixed = ops.cast(self._mixed(inputs, values), "float32")
        flat = ops.reshape(ops.transpose(mixed, (0, 2, 1)), (-1, self.taps.shape[0]))
        mean = ops.cast(values[:, :, self._centre], "float32")
        heads = ops.matmul(flat, self.taps) + ops.matmul(mean, self.mean) + self.bias
        classes = self._widths[0]
        scores = self._activation(heads[:, :classes])
        return [scores, heads[:, classes:]] if len(self._widths) > 1 else [scores]

    def compute_output_shape(self, input_shape):
        return [(input_shape[0], width) for width in self._widths]
