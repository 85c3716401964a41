"""One channel before and after self-channel interaction, and the channels that complement it.

The picture of Gao et al., "Channel Interaction Networks for Fine-Grained Image Categorization",
AAAI 2020 (arXiv:2003.05235), that shows what the interaction adds to a channel.
"""

from typing import NamedTuple

import numpy as np

from cin_keras.checks import check_int
from cin_keras.explain.feature_maps import (
    backbone_maps,
    check_has_weights,
    interacted_map,
    to_array,
)
from cin_keras.explain.images import channels_last, check_image
from cin_keras.torch_modes import without_gradients


class ChannelMaps(NamedTuple):
    """A channel of one image, before and after the interaction; all maps are float32.

    Attributes:
        channel: Int, the channel `i`.
        before: `(height, width)`, `X_i`.
        after: `(height, width)`, `Z_i`.
        complementary: Ints `(count,)`, the channels `j` with the largest `W_ij`, largest first.
        weights: `(count,)`, these `W_ij`.
        complementary_maps: `(count, height, width)`, these `X_j`.
    """

    channel: int
    before: np.ndarray
    after: np.ndarray
    complementary: np.ndarray
    weights: np.ndarray
    complementary_maps: np.ndarray


def channel_maps(model, image, channel=None, count=3):
    """A channel's map before SCI, its most complementary channels, and its map after.

    Args:
        model: `cin_keras.CIN` with `interaction="sci"` or `"pos_sci"` (whose largest weights
            belong to the channels that are most alike).
        image: Array or tensor of shape `(height, width, 3)` or `(1, height, width, 3)`, RGB from
            0 to 255, any dtype.
        channel: Int, the channel. Defaults to `None`, the strongest: the one with the largest
            spatial mean of `X`.
        count: Int ≥ 1, how many complementary channels. Defaults to 3.

    Returns:
        `ChannelMaps`.

    Raises:
        TypeError: If the model is no `CIN` or the image no numbers.
        ValueError: If the model has another interaction, the image is not of its size, or there is
            no such channel or no such number of channels.

    Example:

    ```python
    maps = cin_keras.explain.channel_maps(model, image)
    maps.after - maps.before  # (height, width), what the interaction adds
    ```
    """
    x, z, weights = interaction_of(model, image, "channel_maps")
    count = check_int("count", count, least=1)
    if count > x.shape[2]:
        raise ValueError(f"`count` must be at most {x.shape[2]}, all channels. Received: {count}")
    channel = choose_channel(x, channel)
    chosen = np.argsort(-weights[channel], kind="stable")[:count]
    return ChannelMaps(
        channel,
        x[:, :, channel],
        z[:, :, channel],
        chosen,
        weights[channel, chosen],
        np.moveaxis(x[:, :, chosen], 2, 0),
    )


def interaction_of(model, image, what):
    """`X`, `Z` and `W` of one image.

    Args:
        model: `cin_keras.CIN`.
        image: As for `channel_maps`.
        what: Str, who asks, for the message.

    Returns:
        float32 arrays: `X` and `Z` of shape `(height, width, channels)`, `W` of shape
        `(channels, channels)`.
    """
    check_has_weights(model, what)
    image = check_image(model, image)
    with without_gradients():
        maps = backbone_maps(model, image)
        weights = to_array(model.interaction.interaction_weights(maps[0]))[0]
        x, z = (
            channels_last(model, to_array(map))[0] for map in (maps[0], interacted_map(model, maps))
        )
    return x, z, weights


def choose_channel(x, channel):
    """The channel asked for, checked, or the strongest of `X`, `(height, width, channels)`."""
    if channel is None:
        return int(np.argmax(x.mean(axis=(0, 1))))
    channel = check_int("channel", channel, least=0)
    if channel >= x.shape[2]:
        raise ValueError(f"`channel` must lie in 0..{x.shape[2] - 1}. Received: channel={channel}")
    return channel


def channel_figure(model, image, path, channel=None, count=3):
    """Draws `channel_maps` side by side over the image, each with its own colour scale.

    Args:
        model: As for `channel_maps`.
        image: As for `channel_maps`.
        path: Str or path, the PNG file to write; its folder is created.
        channel: As for `channel_maps`. Defaults to `None`.
        count: As for `channel_maps`. Defaults to 3.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        TypeError, ValueError: As for `channel_maps`.

    Example:

    ```python
    cin_keras.explain.channel_figure(model, image, "channel.png")
    ```
    """
    from cin_keras.explain.drawing import draw_image, draw_overlay, panels
    from cin_keras.files import save_figure

    maps = channel_maps(model, image, channel, count)
    image = channels_last(model, check_image(model, image))[0]
    figure, axes = panels(1, 3 + count)
    draw_image(axes[0, 0], image, "image")
    title = f"channel {maps.channel} before, $X_i$"
    draw_overlay(axes[0, 1], image, maps.before, title, parse_math=True)
    for place, (j, weight, map) in enumerate(
        zip(maps.complementary, maps.weights, maps.complementary_maps), start=2
    ):
        title = f"channel {j}, $W_{{ij}}$ = {weight:.2g}"
        draw_overlay(axes[0, place], image, map, title, parse_math=True)
    title = f"channel {maps.channel} after, $Z_i$"
    draw_overlay(axes[0, -1], image, maps.after, title, parse_math=True)
    return save_figure(figure, path)
