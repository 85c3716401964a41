"""Which classes are taken for which others: the confusion matrix."""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from cin_keras.evaluation.confusions import confusion_counts, most_confused_pairs
from cin_keras.files import save_figure
from cin_keras.text import plural, shorten

MOST_CLASSES_WITH_NAMES = 30
MOST_PAIRS = 20
COLOURS = colormaps["magma_r"].with_extremes(bad="0.85")


def confusion_matrix(true_labels, predicted_labels, class_names, path):
    """Draws which classes are taken for which others.

    Every row is a true class and shows how its images are shared out over the predicted classes;
    the row of a class without an image stays grey. Up to 30 classes are named at the axes, and
    the cells hold numbers of images. With more, the axes count the classes from 0, and a list
    beside the matrix names the 20 pairs most often taken for each other (`most_confused_pairs`).

    Args:
        true_labels: Integers of shape `(samples,)`, from 0 to `len(class_names) - 1`.
        predicted_labels: Integers of the same shape and range.
        class_names: Sequence of str, one a class, in the order of the labels.
        path: Str or path, the PNG file to write; its folder is created.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        ValueError: If there is no sample, the numbers of labels differ, or a label is no class.

    Example:

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/confusion.png"
    >>> confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], ["cat", "dog"], path).name
    'confusion.png'
    """
    counts = confusion_counts(true_labels, predicted_labels, len(class_names))
    class_names = [" ".join(str(name).split()) for name in class_names]
    if len(class_names) <= MOST_CLASSES_WITH_NAMES:
        figure, axes = named_matrix(counts, class_names)
    else:
        figure, axes = numbered_matrix(counts, class_names)
    title = f"{counts.trace() / counts.sum():.2%} of {plural(counts.sum(), 'image')} right"
    missing = int((counts.sum(axis=1) == 0).sum())
    if missing:
        title += f"\ngrey: {plural(missing, 'class', 'classes')} without an image"
    axes.set_title(title, loc="left", fontsize=11)
    return save_figure(figure, path)


def named_matrix(counts, class_names):
    """The figure and axes of a matrix with class names at the axes and counts in the cells."""
    names = [shorten(name, 40) for name in class_names]
    cell = float(np.clip(7 / len(names), 0.42, 1.2))
    figure, axes = square(max(cell * len(names), 2.4))
    shares = row_shares(counts)
    draw_matrix(axes, shares, Normalize(0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1])
    digits = len(str(counts.max()))
    size = min(11, 0.8 * 72 * cell / (0.64 * digits))
    for row, column in np.argwhere(np.isfinite(shares)):
        count = counts[row, column]
        red, green, blue, _ = COLOURS(float(shares[row, column]))
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        colour = "0.6" if count == 0 else "white" if dark else "black"
        axes.text(column, row, str(count), ha="center", va="center", fontsize=size, color=colour)
    ticks = range(len(names))
    axes.set_yticks(ticks, names, fontsize=9, parse_math=False)
    axes.set_xticks(ticks, names, fontsize=9, parse_math=False)
    if max(map(len, names)) * 0.125 > cell:
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.set_ylabel("true class")
    axes.set_xlabel("predicted class")
    return figure, axes


def numbered_matrix(counts, class_names):
    """The figure and axes of a matrix of many classes beside its most confused pairs."""
    side = float(np.clip(0.05 * len(class_names), 8.5, 24))
    figure, axes = square(side)
    # The square root spreads the small shares, or a few images off the diagonal would not show.
    draw_matrix(axes, row_shares(counts), PowerNorm(0.5, 0, 1), [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1])
    step = 10 * -(-len(class_names) // 200)
    axes.set_xticks(range(0, len(class_names), step))
    axes.set_yticks(range(0, len(class_names), step))
    axes.set_ylabel("true class (number, from 0)")
    axes.set_xlabel("predicted class (number, from 0)")
    list_height = min(1, 10 / side)
    list_axes = figure.add_axes(((side + 1.4) / side, 1 - list_height, 4 / side, list_height))
    draw_pairs(list_axes, most_confused_pairs(counts, MOST_PAIRS), counts, class_names)
    return figure, axes


def square(side):
    """A figure that its axes fill, `side` inches wide; what lies outside them, `save` adds."""
    figure = Figure(figsize=(side, side), dpi=150)
    return figure, figure.add_axes((0, 0, 1, 1))


def draw_matrix(axes, shares, norm, ticks):
    """Draws row shares (classes, classes) with a colour bar that has `ticks`."""
    image = axes.imshow(
        np.ma.masked_invalid(shares), cmap=COLOURS, norm=norm, interpolation="nearest"
    )
    side = axes.figure.get_figwidth()
    bar_axes = axes.inset_axes([1 + 0.15 / side, 0, 0.2 / side, 1])
    bar = axes.figure.colorbar(image, cax=bar_axes, ticks=ticks)
    bar_axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    bar.set_label("share of the true class")


def draw_pairs(axes, pairs, counts, class_names):
    """Lists `ConfusedPair`s by name, each class on a line, with how often it was the other."""
    axes.set_axis_off()
    axes.set_ylim(MOST_PAIRS + 0.5, -0.5)
    axes.set_title("Most confused pairs of classes", loc="left", fontsize=11)
    if not pairs:
        axes.text(0, 0, "None: every image was recognised.", va="center")
        return
    style = {"va": "center", "fontsize": 9}
    axes.text(0.2, 0, "taken for\nthe other", ha="right", color="0.4", **style)
    axes.text(0.25, 0, "class (number)\n↔ class (number)", color="0.4", **style)
    totals = counts.sum(axis=1)
    for line, pair in enumerate(pairs, start=1):
        there = f"{pair.count} of {totals[pair.true]}"
        back = f"{pair.reverse} of {totals[pair.taken_for]}"
        axes.text(0.2, line, f"{there}\n{back}", ha="right", **style)
        labels = (pair.true, pair.taken_for)
        names = [f"{shorten(class_names[label], 44)} ({label})" for label in labels]
        axes.text(0.25, line, f"{names[0]}\n↔ {names[1]}", parse_math=False, **style)


def row_shares(counts):
    """Each row divided by its sum; NaN in rows that are zero."""
    totals = counts.sum(axis=1, keepdims=True)
    return np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)
