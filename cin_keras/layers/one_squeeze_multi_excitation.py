"""One squeeze, multiple excitations (OSME): several views of one feature map.

Sun et al., "Multi-Attention Multi-Class Constraint for Fine-grained Image Recognition", ECCV 2018.
The layer before `cin_keras.losses.MultiAttentionMultiClassLoss`.
"""

import keras
from keras import ops

from cin_keras.checks import check_int
from cin_keras.layers.feature_map import FeatureMapLayer, check_feature_map


@keras.saving.register_keras_serializable(package="cin_keras")
class OneSqueezeMultiExcitation(FeatureMapLayer):
    """`f_p = W_p (m_p ⊙ x̄) + b_p`, with gates `m_p = sigmoid(W²_p relu(W¹_p x̄))`.

    `x̄` is the spatial mean of the map, the one squeeze; each of the `attentions` excites channels
    of its own. Sun et al., ECCV 2018 (arXiv:1806.05372), section 3.1, in which `W_p` sees every
    position of the gated map: at 448 pixels, after a ResNet-50, that is a layer of 822 million
    weights for two attentions. Here it sees the gated map's spatial mean, `m_p ⊙ x̄`, 4 million,
    and images may be of any size.

    Args:
        attentions: Int ≥ 1, how many. Defaults to 2, the paper's.
        units: Int ≥ 1, numbers of the features of each. Defaults to 1024, the paper's.
        reduction: Int ≥ 1, by which the channels are divided between the two layers of a gate.
            Defaults to 16, the paper's.
        data_format: `"channels_last"`, `"channels_first"` or `None` for
            `keras.config.image_data_format()`. Defaults to `None`.
        **kwargs: `name`, `dtype`, `trainable` as for every Keras layer.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` for
        channels_first. Batch, height and width may be unknown when the model is built.

    Output shape:
        `(batch, attentions, units)` in the compute dtype. The paper's classifier sees the sum
        over the attentions.

    Raises:
        ValueError: For arguments out of range, an input that is not 4-D, or an unknown number of
            channels.

    Example:

    >>> features = keras.random.normal((2, 7, 7, 16))
    >>> attended = cin_keras.layers.OneSqueezeMultiExcitation(units=8)(features)
    >>> tuple(attended.shape)
    (2, 2, 8)
    >>> loss = cin_keras.losses.MultiAttentionMultiClassLoss()
    >>> bool(loss(np.array([0, 0]), attended) >= 0)
    True
    """

    def __init__(self, attentions=2, units=1024, reduction=16, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.attentions = check_int("attentions", attentions, least=1)
        self.units = check_int("units", units, least=1)
        self.reduction = check_int("reduction", reduction, least=1)

    def build(self, input_shape):
        super().build(input_shape)
        reduced = max(self.channels // self.reduction, 1)

        def one_an_attention(units, name, inputs, activation=None):
            return [
                self.linear(units, f"{name}_{number}", inputs, activation=activation)
                for number in range(self.attentions)
            ]

        self.reduce = one_an_attention(reduced, "reduce", self.channels, "relu")
        self.gate = one_an_attention(self.channels, "gate", reduced, "sigmoid")
        self.project = one_an_attention(self.units, "project", self.channels)

    def call(self, inputs):
        x = ops.mean(self.positions_by_channels(inputs), axis=1)
        attended = [
            project(gate(reduce(x)) * x)
            for reduce, gate, project in zip(self.reduce, self.gate, self.project)
        ]
        return ops.stack(attended, axis=1)

    def compute_output_shape(self, input_shape):
        check_feature_map(self, input_shape)
        return (input_shape[0], self.attentions, self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "attentions": self.attentions,
            "units": self.units,
            "reduction": self.reduction,
        }
