"""The Navigator: how much every anchor of an image promises to tell."""

import keras
from keras import ops

from cin_keras.layers.roles import give_role
from cin_keras.models.parts.anchors import RATIOS, SCALES

CHANNELS = 128  # of every level, the paper's


@keras.saving.register_keras_serializable(package="cin_keras")
class Navigator(keras.layers.Layer):
    """Scores of all anchors: three 3×3 convolutions, each level's scores by a 1×1 convolution.

    The convolutions have 128 channels; the first keeps the size of the map, the others halve it, as
    the levels of `part_anchors` do. Yang et al., ECCV 2018, with padding as Keras has it.

    Args:
        **kwargs: `name`, `dtype`, `trainable` as for every Keras layer.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` for channels_first
        as Keras' image data format.

    Output shape:
        `(batch, boxes)`, float32, in the order of `part_anchors`.

    Example:

    >>> tuple(Navigator()(np.ones((2, 14, 14, 8), "float32")).shape)
    (2, 1614)
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.channels_first = keras.config.image_data_format() == "channels_first"
        self.levels, self.scores = [], []
        for level, scales in enumerate(SCALES):
            boxes = len(scales) * len(RATIOS)
            self.levels.append(
                keras.layers.Conv2D(
                    CHANNELS,
                    3,
                    strides=1 if level == 0 else 2,
                    padding="same",
                    activation="relu",
                    dtype=self.dtype_policy,
                    name=f"level_{level + 1}",
                )
            )
            self.scores.append(
                keras.layers.Conv2D(boxes, 1, dtype=self.dtype_policy, name=f"scores_{level + 1}")
            )

    def build(self, input_shape):
        for level, score in zip(self.levels, self.scores):
            level.build(input_shape)
            input_shape = level.compute_output_shape(input_shape)
            score.build(input_shape)
            give_role(level, "navigator")
            give_role(score, "navigator")

    def call(self, features):
        found = []
        for level, score in zip(self.levels, self.scores):
            features = level(features)
            scores = ops.cast(score(features), "float32")
            if self.channels_first:
                scores = ops.transpose(scores, (0, 2, 3, 1))
            size = scores.shape[1] * scores.shape[2] * scores.shape[3]
            found.append(ops.reshape(scores, (-1, size)))
        return ops.concatenate(found, axis=1)
