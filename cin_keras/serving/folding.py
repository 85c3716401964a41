"""φ and the classifier as one product, for files that answer with nothing but scores.

Behind the spatial mean both are linear: with the tap means `t` of `W X` (`9 c` numbers for a 3×3
kernel), the mean `m` of `X`, φ's kernel `K` and bias `k`, and the classifier's `C` and `b`,

    scores = (t K + k + m) C + b = t (K C) + m C + (k C + b)

exactly. `K C` has `9 c × classes` numbers where `K` has `9 c × c`: 200 classes on a ResNet-50 take
15 MB instead of 151. The spatial mean of `Z`, which is the embedding, is never formed.
"""

import keras
from keras import ops

from cin_keras.layers import ResidualConvolution


def folded_inference(model):
    """The graph from images to outputs, with φ folded into the classifier where that is smaller.

    Args:
        model: `CIN` or `NTS`.

    Returns:
        `keras.Model` of the same outputs. Weights are copies where something was folded; else the
        graph is the model's own.

    Example:

    >>> from cin_keras.models.small_backbone import small_backbone
    >>> model = cin_keras.CIN(3, small_backbone(32), None, (32, 32, 3))
    >>> head = folded_inference(model).get_layer("folded_classifier")
    >>> head.count_params() < model.interaction.count_params() / 9
    True
    """
    interaction, classifier = model.interaction, model.classifier
    folds = (
        isinstance(interaction, ResidualConvolution)
        and interaction.pooling == "avg"
        and model.num_classes < interaction.channels
        and classifier.kernel.shape[0] == interaction.channels  # NTS's sees several vectors
        and not getattr(interaction, "learnable_scale", False)  # a weight of its own
        and interaction.phi.quantization_mode is None
        and classifier.quantization_mode is None
    )
    if not folds:
        return keras.Model(model.input, model.output, name=model.name)
    scores = FoldedClassifier(interaction, classifier)(interaction.input)
    return keras.Model(model.input, scores, name=model.name)


class FoldedClassifier(keras.layers.Layer):
    """From a feature map to scores: the interaction, φ, the spatial mean and the classifier.

    Args:
        interaction: Built `cin_keras.layers.ResidualConvolution`, or one derived from it, with
            `pooling="avg"`.
        classifier: Built `keras.layers.Dense` on the spatial mean.

    Input shape:
        As for the interaction.

    Output shape:
        `(batch, classes)`, float32.
    """

    def __init__(self, interaction, classifier):
        super().__init__(name="folded_classifier", autocast=False)
        # In functions, where Keras does not look for layers whose weights to keep.
        self._values = lambda inputs: interaction.values(inputs, "avg")
        self._mixed = interaction.mixed
        self._centre, self._activation = interaction.centre_tap, classifier.activation
        phi, scores = interaction.phi, classifier.kernel
        flat = ops.reshape(phi.kernel, (-1, interaction.channels))
        self.taps = self._copy("taps", ops.matmul(flat, scores))
        self.mean = self._copy("mean", scores)
        bias = ops.matmul(ops.cast(phi.bias, "float32")[None], scores)[0] + classifier.bias
        self.bias = self._copy("bias", bias)
        self.built = True

    def _copy(self, name, value):
        weight = self.add_weight(
            shape=value.shape, initializer="zeros", trainable=False, dtype="float32", name=name
        )
        weight.assign(ops.convert_to_numpy(value))  # JAX would share the array, and donate it
        return weight

    def call(self, inputs):
        values = self._values(inputs)
        mixed = ops.cast(self._mixed(inputs, values), "float32")
        flat = ops.reshape(ops.transpose(mixed, (0, 2, 1)), (-1, self.taps.shape[0]))
        mean = ops.cast(values[:, :, self._centre], "float32")
        return self._activation(
            ops.matmul(flat, self.taps) + ops.matmul(mean, self.mean) + self.bias
        )

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.bias.shape[0])
