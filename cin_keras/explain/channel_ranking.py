"""All channels of an image in the order in which one channel draws on them."""

from typing import NamedTuple

import numpy as np

from cin_keras.explain.channel_maps import choose_channel, interaction_of
from cin_keras.explain.images import channels_last, check_image


class ChannelRanking(NamedTuple):
    """All channels from high to low weight for one channel.

    Attributes:
        channel: Int, the channel `i` referred to.
        order: Ints `(channels,)`, every channel once, the largest `W_ij` first.
        weights: float32 `(channels,)`, `W_ij` in that order; they sum to 1.
        maps: float32 `(channels, height, width)`, `X_j` in that order.
    """

    channel: int
    order: np.ndarray
    weights: np.ndarray
    maps: np.ndarray


def channel_ranking(model, image, channel=None):
    """All channels from high to low weight for a referred channel.

    Args:
        model: `cin_keras.CIN` with `interaction="sci"` or `"pos_sci"`.
        image: As for `channel_maps`.
        channel: Int, the channel referred to. Defaults to `None`, the strongest: the one with the
            largest spatial mean of `X`.

    Returns:
        `ChannelRanking`; of channels with equal weights the lower number comes first.

    Raises:
        TypeError, ValueError: As for `channel_maps`.

    Example:

    ```python
    ranking = cin_keras.explain.channel_ranking(model, image, channel=5)
    ranking.order[:3]  # the channels that complement channel 5 most
    ```
    """
    x, _, weights = interaction_of(model, image, "channel_ranking")
    channel = choose_channel(x, channel)
    order = np.argsort(-weights[channel], kind="stable")
    return ChannelRanking(
        channel, order, weights[channel, order], np.moveaxis(x[:, :, order], 2, 0)
    )


def ranking_figure(model, image, path, channel=None):
    """Draws `channel_ranking`: the referred channel, all weights, and all maps in their order.

    Args:
        model: As for `channel_ranking`.
        image: As for `channel_ranking`.
        path: Str or path, the PNG file to write; its folder is created.
        channel: As for `channel_ranking`. Defaults to `None`.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        TypeError, ValueError: As for `channel_ranking`.

    Example:

    ```python
    cin_keras.explain.ranking_figure(model, image, "ranking.png", channel=5)
    ```
    """
    from matplotlib.figure import Figure

    from cin_keras.explain.drawing import COLOUR_MAP, draw_image, draw_overlay
    from cin_keras.files import save_figure

    ranking = channel_ranking(model, image, channel)
    image = channels_last(model, check_image(model, image))[0]
    own = ranking.maps[list(ranking.order).index(ranking.channel)]
    figure = Figure(figsize=(11, 6.4), dpi=150, layout="constrained")
    axes = figure.subplot_mosaic([["image", "maps"], ["own", "maps"], ["curve", "maps"]],
                                 width_ratios=(1, 2.6))  # fmt: skip
    draw_image(axes["image"], image, "image")
    title = f"channel {ranking.channel}, $X_i$"
    draw_overlay(axes["own"], image, own, title, parse_math=True)
    curve = axes["curve"]
    # Of weights that a softmax has made zero, a logarithm would show nothing.
    curve.semilogy(np.arange(1, len(ranking.order) + 1), np.maximum(ranking.weights, 1e-12))
    curve.set_xlabel("rank of channel $j$")
    curve.set_title(f"weight $W_{{ij}}$ for $i$ = {ranking.channel}", fontsize=10)
    curve.grid(color="0.9")
    curve.spines[["top", "right"]].set_visible(False)
    mosaic = axes["maps"]
    picture = mosaic.imshow(tiles(ranking.maps), cmap=COLOUR_MAP, interpolation="nearest")
    mosaic.set_axis_off()
    mosaic.set_title(
        f"maps $X_j$ of all {len(ranking.order)} channels, row by row from high to low weight",
        fontsize=10,
    )
    figure.colorbar(picture, ax=mosaic, shrink=0.6, label="activation")
    return save_figure(figure, path)


def tiles(maps):
    """Maps `(count, height, width)` in rows of one picture, with gaps of NaN between them.

    Example:

    >>> tiles(np.zeros((4, 2, 2))).shape
    (5, 5)
    """
    count, height, width = maps.shape
    columns = int(np.ceil(np.sqrt(count * height / width)))
    rows = -(-count // columns)
    picture = np.full((rows * (height + 1), columns * (width + 1)), np.nan, "float32")
    for place, map in enumerate(maps):
        row, column = divmod(place, columns)
        top, left = row * (height + 1), column * (width + 1)
        picture[top : top + height, left : left + width] = map
    return picture[:-1, :-1]
