"""What the figures of this package share: panels with an image, a map and its scale."""

import textwrap
import unicodedata

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from cin_keras.explain.overlay import overlay, value_limits

COLOUR_MAP = colormaps["viridis"].with_extremes(bad="white")
SHARPEST = 480  # pixels: small images are enlarged to this, so that maps over them are smooth


def panels(rows, columns):
    """A figure of equal panels.

    Returns:
        `(figure, axes)`, axes as an array of shape `(rows, columns)`.
    """
    figure = Figure(figsize=(2.3 * columns, 2.95 * rows), dpi=150, layout="constrained")
    figure.get_layout_engine().set(wspace=0.03, hspace=0.06)
    return figure, figure.subplots(rows, columns, squeeze=False)


def caption(text):
    """A text of any length on a few lines, with half as many of the characters that are wide."""
    text = unicodedata.normalize("NFC", str(text))
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    columns = 30 * len(text) // max(len(text) + wide, 1)
    return "\n".join(textwrap.wrap(text, max(columns, 15), max_lines=4, placeholder=" …"))


def draw_image(axes, image, title):
    """Shows an image, `(height, width, 3)`, from 0 to 255, alone."""
    axes.imshow(np.asarray(image, "float32") / 255)
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.set_axis_off()
    # As much room below as a scale takes, so that images stand level in a row.
    draw_scale(axes, (0, 1)).ax.set_visible(False)


def draw_overlay(axes, image, map, title, limits=None, parse_math=False):
    """Shows an image with a map over it and the scale of its colours below.

    Args:
        axes: matplotlib `Axes`.
        image: `(height, width, 3)`, RGB from 0 to 255.
        map: `(map_height, map_width)`.
        title: Str.
        limits: As for `overlay`. Defaults to `None`.
        parse_math: Bool, whether dollar signs in the title mean mathematics. Defaults to `False`.
    """
    times = max(1, round(SHARPEST / max(image.shape[:2])))
    # In grey, as the image's own colours would mix with those of the map.
    grey = np.asarray(image, "float32") @ np.array([0.299, 0.587, 0.114], "float32")
    grey = np.repeat(np.repeat(grey, times, axis=0), times, axis=1)
    limits = value_limits(map) if limits is None else limits
    axes.imshow(overlay(np.stack([grey] * 3, axis=-1), map, limits, opacity=0.6))
    axes.set_title(title, fontsize=9, parse_math=parse_math)
    axes.set_axis_off()
    draw_scale(axes, limits)


def draw_scale(axes, limits):
    """The scale of a panel's colours, from the first to the last, below it."""
    low, high = limits
    # A map that is the same everywhere has no scale but its one value.
    scale = ScalarMappable(Normalize(low, high if high > low else low + 1), COLOUR_MAP)
    bar = axes.figure.colorbar(scale, ax=axes, location="bottom", shrink=0.9, aspect=22, pad=0.02)
    ends = (low, high) if high > low else (low,)
    bar.set_ticks(ends, labels=[f"{value:.2g}" for value in ends])
    bar.ax.tick_params(labelsize=8, length=2)
    return bar
