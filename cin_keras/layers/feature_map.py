"""What every layer on a feature map needs: its axes, its matrix, and checks that name them."""

from keras import ops


def check_pooling(pooling):
    """Returns `pooling` if it is `None` or `"avg"`, else raises ValueError."""
    if pooling not in (None, "avg"):
        raise ValueError(f"`pooling` must be None or 'avg'. Received: pooling={pooling!r}")
    return pooling


def check_data_format(data_format):
    """The axis of the channels, 3 for `"channels_last"`, 1 for `"channels_first"`, else raises."""
    axis = {"channels_last": 3, "channels_first": 1}.get(data_format)
    if axis is None:
        raise ValueError(
            "`data_format` must be 'channels_last', 'channels_first' or None. "
            f"Received: data_format={data_format!r}"
        )
    return axis


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
