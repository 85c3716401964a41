"""What every layer on a feature map is: its axes, its matrix, and checks that name them."""

import keras
from keras import ops

from cin_keras.checks import check_choice


def check_pooling(pooling):
    """Returns `pooling` if it is `None` or `"avg"`, else raises ValueError."""
    return check_choice("pooling", pooling, (None, "avg"))


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


def check_fixed_size(shape):
    """Raises ValueError where `descriptor="flatten"` is to see features of an unknown size.

    Args:
        shape: Tuple, of one image's features.
    """
    if None in shape:
        raise ValueError(
            "`descriptor='flatten'` needs a fixed input size; use 'average' for any size. "
            f"Received: features of shape {tuple(shape)}"
        )


class FeatureMapLayer(keras.layers.Layer):
    """A layer on a feature map, whose channels stand where `data_format` says.

    Args:
        data_format: `"channels_last"`, `"channels_first"` or `None` for
            `keras.config.image_data_format()`. Defaults to `None`.
        **kwargs: Of every Keras layer.

    Attributes:
        data_format: Str.
        channel_axis: Int, 3 or 1.
        channels: Int, once the layer is built.
    """

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = data_format or keras.config.image_data_format()
        check_choice("data_format", self.data_format, ("channels_last", "channels_first"))
        self.channel_axis = 3 if self.data_format == "channels_last" else 1

    def build(self, input_shape):
        check_feature_map(self, input_shape)
        self.channels = input_shape[self.channel_axis]
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={self.channel_axis: self.channels})

    def linear(self, units, name, inputs, **kwargs):
        """A `Dense` of `units` on `inputs` channels, built, in this layer's dtypes."""
        layer = keras.layers.Dense(units, dtype=self.dtype_policy, name=name, **kwargs)
        layer.build((None, None, inputs))
        return layer

    def positions_by_channels(self, inputs):
        """`Xᵀ`: the feature map as `(batch, positions, channels)`."""
        shape, channels = ops.shape(inputs), inputs.shape[self.channel_axis]
        if self.channel_axis == 3:
            return ops.reshape(inputs, (-1, shape[1] * shape[2], channels))
        x = ops.reshape(inputs, (-1, channels, shape[2] * shape[3]))
        return ops.transpose(x, (0, 2, 1))

    def compute_output_shape(self, input_shape):
        check_feature_map(self, input_shape)
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format}
