"""What every layer on a feature map needs: its axes, its matrix, and checks that name them."""

from keras import ops

from cin_keras.checks import check_choice


def check_pooling(pooling):
    """Returns `pooling` if it is `None` or `"avg"`, else raises ValueError."""
    return check_choice("pooling", pooling, (None, "avg"))


def check_data_format(data_format):
    """The axis of the channels, 3 for `"channels_last"`, 1 for `"channels_first"`, else raises."""
    check_choice("data_format", data_format, ("channels_last", "channels_first"))
    return 3 if data_format == "channels_last" else 1


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


def positions_by_channels(inputs, channel_axis):
    """`Xᵀ`: a feature map, channels on axis 3 or 1, as `(batch, positions, channels)`."""
    shape, channels = ops.shape(inputs), inputs.shape[channel_axis]
    if channel_axis == 3:
        return ops.reshape(inputs, (-1, shape[1] * shape[2], channels))
    x = ops.reshape(inputs, (-1, channels, shape[2] * shape[3]))
    return ops.transpose(x, (0, 2, 1))
