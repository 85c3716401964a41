"""Pictures of a training run and of a model's mistakes, written as PNG files."""

import contextlib

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from cin_keras.data import UnreadableImage
from cin_keras.files import save_figure

# Colours of Okabe and Ito, which stay apart for colour-blind readers; the line styles and markers
# differ too.
LOSS_STYLES = {
    "loss": ("training, total", "#0072B2", "-", "o"),
    "classification_loss": ("training, classification", "#009E73", "--", "s"),
    "contrastive_loss": ("training, contrastive", "#CC79A7", ":", "D"),
    "val_loss": ("validation", "#D55E00", "-", "^"),
}
ACCURACY_STYLES = {
    "accuracy": ("training", "#0072B2", "-", "o"),
    "val_accuracy": ("validation", "#D55E00", "-", "^"),
}
MOST_CLASSES_WITH_NAMES = 30
COLOURS = colormaps["magma_r"].with_extremes(bad="0.85")


def learning_curves(history, path):
    """Draws the losses and the accuracies of a training run, epoch by epoch.

    Args:
        history: Dict from str to a list with one number an epoch, as `History.history` of
            `keras.Model.fit`. Drawn are `loss`, `classification_loss`, `contrastive_loss` and
            `val_loss` (any numbers), `accuracy` and `val_accuracy` (0 to 1); any of them may be
            missing, other keys are left out, and NaN leaves a gap.
        path: Str or path, the PNG file to write; its folder is created.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        ValueError: If `history` has none of these keys or no epoch, or the lists differ in
            length.

    Example:

    >>> import tempfile
    >>> history = {"loss": [5.3, 3.1, 1.2], "val_accuracy": [0.1, 0.6, 0.8]}
    >>> learning_curves(history, tempfile.mkdtemp() + "/curves.png").name
    'curves.png'
    """
    curves, epochs = checked_curves(history)
    figure = Figure(figsize=(11, 4.8), dpi=150, layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    draw_losses(loss_axes, curves, epochs)
    draw_accuracies(accuracy_axes, curves, epochs)
    return save_figure(figure, path)


def checked_curves(history):
    """The numbers of `learning_curves`, key → array, and how many epochs they cover."""
    curves = {
        key: np.asarray(history[key], "float64")
        for key in (*LOSS_STYLES, *ACCURACY_STYLES)
        if key in history
    }
    lengths = {key: len(values) for key, values in curves.items()}
    if not any(lengths.values()):
        raise ValueError(
            f"`history` must hold at least one epoch of {', '.join(LOSS_STYLES)}, "
            f"{' or '.join(ACCURACY_STYLES)}. Received keys: {list(history)}"
        )
    if len(set(lengths.values())) > 1:
        raise ValueError(
            "The lists in `history` must have one value an epoch (NaN where there is none). "
            f"Received lengths: {lengths}"
        )
    return curves, max(lengths.values())


def draw_losses(axes, curves, epochs):
    """Draws the losses among `curves`, with a title and, beneath, the legend."""
    draw_curves(axes, curves, LOSS_STYLES, epochs)
    axes.set_title("Loss")
    draw_legend(axes)


def draw_accuracies(axes, curves, epochs):
    """Draws the accuracies among `curves` in %, the best on validation images encircled."""
    percent = {key: 100 * values for key, values in curves.items()}
    draw_curves(axes, percent, ACCURACY_STYLES, epochs)
    axes.set_title("Accuracy in %")
    validation = percent.get("val_accuracy", np.array([]))
    if np.isfinite(validation).any():
        best = int(np.nanargmax(validation))
        axes.plot(
            best + 1,
            validation[best],
            linestyle="none",
            marker="o",
            markersize=13,
            markerfacecolor="none",
            markeredgecolor="black",
            markeredgewidth=1.5,
            label=f"best validation: {validation[best]:.2f}% (epoch {best + 1})",
        )
    draw_legend(axes)


def draw_legend(axes):
    """A legend beneath the panel, where no curve can run through it."""
    if axes.lines:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False)


def draw_curves(axes, curves, styles, epochs):
    """Draws those of `curves` (key → values, one an epoch) that `styles` lists."""
    for key, (label, colour, line, marker) in styles.items():
        if key in curves:
            axes.plot(
                np.arange(1, epochs + 1),
                curves[key],
                label=label,
                color=colour,
                linestyle=line,
                marker=marker,
                markersize=5 if epochs <= 30 else 2.5,
                linewidth=1.6,
            )
    if not axes.lines:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color="0.4")
        axes.set_yticks([])
    axes.set_xlabel("epoch")
    axes.set_xlim(0.5, epochs + 0.5)
    axes.xaxis.set_major_locator(
        MaxNLocator(nbins=12, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def confusion_matrix(true_labels, predicted_labels, class_names, path):
    """Draws which classes are taken for which others.

    Every row is a true class and shows how its images are shared out over the predicted classes;
    the row of a class without an image stays grey. Up to 30 classes are named at the axes, and
    the cells hold numbers of images. With more, the axes count the classes from 0, and a list
    beside the matrix names the 20 most confused pairs.

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
    draw_pairs(list_axes, most_confused_pairs(counts, 20), class_names)
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


def draw_pairs(axes, pairs, class_names):
    """Lists pairs (true, predicted, count, share) by name, a pair on two lines."""
    axes.set_axis_off()
    axes.set_ylim(20.5, -0.5)
    axes.set_title("Most confused pairs of classes", loc="left", fontsize=11)
    if not pairs:
        axes.text(0, 0, "None: every image was recognised.", va="center")
        return
    style = {"va": "center", "fontsize": 9}
    axes.text(0.11, 0, "images\nshare", ha="right", color="0.4", **style)
    axes.text(0.16, 0, "true (number)\n→ predicted (number)", color="0.4", **style)
    for line, (true, predicted, count, share) in enumerate(pairs, start=1):
        axes.text(0.11, line, f"{count}\n{share:.0%}", ha="right", **style)
        names = [f"{shorten(class_names[label], 44)} ({label})" for label in (true, predicted)]
        axes.text(0.16, line, f"{names[0]}\n→ {names[1]}", parse_math=False, **style)


def confusion_counts(true_labels, predicted_labels, num_classes):
    """Number of images by true and predicted class, shape (true classes, predicted classes)."""
    true_labels = checked_labels("true_labels", true_labels, num_classes)
    predicted_labels = checked_labels(
        "predicted_labels", predicted_labels, num_classes, len(true_labels)
    )
    cells = true_labels * num_classes + predicted_labels
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def row_shares(counts):
    """Each row divided by its sum; NaN in rows that are zero."""
    totals = counts.sum(axis=1, keepdims=True)
    return np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)


def most_confused_pairs(counts, limit):
    """The `limit` largest cells off the diagonal as (true, predicted, count, share of the true
    class); of equal counts the larger share comes first, then the lower class."""
    pairs = [
        (
            int(true),
            int(predicted),
            int(counts[true, predicted]),
            float(counts[true, predicted] / counts[true].sum()),
        )
        for true, predicted in np.argwhere(counts)
        if true != predicted
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], -pair[3], pair[:2]))[:limit]


def worst_mistakes(samples, predicted_labels, probabilities, reference, path, count=12):
    """Draws the images a model got most wrong, each beside the class it was taken for.

    The mistakes come in the order of the probability of the predicted class minus that of the
    true class, largest first. The second photograph of each pair is the first one that
    `reference` has of the predicted class.

    Args:
        samples: `cin_keras.data.Samples`, the images that were classified.
        predicted_labels: Integers of shape `(samples,)`, from 0 to `samples.num_classes - 1`.
        probabilities: Floats of shape `(samples, classes)`, each in [0, 1].
        reference: `cin_keras.data.Samples` of the same classes, usually the training set.
        path: Str or path, the PNG file to write; its folder is created.
        count: Int, at least 1, the most mistakes to draw. Defaults to 12.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        ValueError: If shapes or ranges are not as above, the classes of `reference` differ, or a
            mistake that is to be drawn cannot be decoded (one of `reference` gives way to the
            next of its class).

    Example:

    >>> import io, tempfile
    >>> from PIL import Image
    >>> from cin_keras.data import Samples
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (64, 48), "teal").save(file, "PNG")
    >>> images = [file.getvalue()] * 2
    >>> samples = Samples(["a", "b"], [0, 1], ["cat", "dog"], encoded=images)
    >>> path = tempfile.mkdtemp() + "/mistakes.png"
    >>> worst_mistakes(samples, [1, 1], [[0.1, 0.9], [0.2, 0.8]], samples, path).name
    'mistakes.png'
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1. Received: count={count}")
    if reference.class_names != samples.class_names:
        raise ValueError(
            "`reference` must have the classes of `samples`, in the same order. "
            f"Received: reference={reference!r}, samples={samples!r}"
        )
    predicted_labels = checked_labels(
        "predicted_labels", predicted_labels, samples.num_classes, len(samples)
    )
    probabilities = checked_probabilities(probabilities, samples)
    mistakes = order_of_mistakes(samples.labels, predicted_labels, probabilities)
    if not mistakes.size:
        figure = Figure(figsize=(6, 1.6), dpi=150)
        axes = figure.add_axes((0, 0, 1, 1), xticks=[], yticks=[])
        text = f"No mistakes: right on {plural(len(samples), 'image')}."
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=12)
        return save_figure(figure, path)
    title = (
        f"Worst mistakes: {min(count, mistakes.size)} of {mistakes.size} "
        f"({plural(len(samples), 'image')})"
    )
    pairs = []
    for index in mistakes[:count]:
        labels = (samples.labels[index], predicted_labels[index])
        members = np.flatnonzero(reference.labels == labels[1])
        pairs.append(
            (
                samples.read(index),
                first_readable(reference, members),
                [(samples.class_names[label], probabilities[index, label]) for label in labels],
            )
        )
    return save_figure(pair_sheet(pairs, title), path)


def first_readable(samples, indices):
    """The first of these `samples` that can be decoded, as `PIL.Image.Image`, or `None`."""
    for index in indices:
        with contextlib.suppress(UnreadableImage):
            return samples.read(index)
    return None


def order_of_mistakes(labels, predicted_labels, probabilities):
    """Indices of the wrong predictions, the largest lead of the wrong class first."""
    wrong = np.flatnonzero(predicted_labels != labels)
    lead = probabilities[wrong, predicted_labels[wrong]] - probabilities[wrong, labels[wrong]]
    return wrong[np.argsort(-lead, kind="stable")]


def pair_sheet(pairs, title):
    """Figure of framed pairs: image, image or `None`, and (class name, probability) of both."""
    # All lengths are inches, counted from the upper left corner.
    photo_width, photo_height, gap, caption_height, head = 2.3, 1.65, 0.1, 0.48, 0.6
    frame_width, frame_height = 2 * photo_width + 3 * gap, photo_height + 2 * gap
    frame_height += caption_height
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    width = columns * (frame_width + 2 * gap) - 2 * gap
    height = rows * (frame_height + 2 * gap) - 2 * gap + head
    figure = Figure(figsize=(width, height), dpi=150)

    def box(left, top, box_width=0, box_height=0):
        bottom = 1 - (top + box_height) / height
        return left / width, bottom, box_width / width, box_height / height

    explanation = (
        "Left: the image. Right: the class it was taken for. In %: the model's probability."
    )
    figure.text(*box(0, 0.1)[:2], title, fontsize=13, va="center")
    figure.text(*box(0, 0.38)[:2], explanation, fontsize=9, va="center", color="0.35")
    for place, (*images, classes) in enumerate(pairs):
        row, column = divmod(place, columns)
        left, top = column * (frame_width + 2 * gap), head + row * (frame_height + 2 * gap)
        x, y, *size = box(left, top, frame_width, frame_height)
        figure.add_artist(Rectangle((x, y), *size, fill=False, edgecolor="0.7", linewidth=1))
        for side, image in enumerate(images):
            photo_left = left + gap + side * (photo_width + gap)
            axes = figure.add_axes(box(photo_left, top + gap, photo_width, photo_height))
            draw_photograph(axes, image)
        for line, (name, probability) in enumerate(classes):
            caption = figure.text(
                *box(left + gap, top + photo_height + 0.31 + 0.22 * line)[:2],
                "",
                fontsize=9,
                va="center",
                parse_math=False,
                color=("#00614A", "#A34000")[line],
            )
            template = ("true: {}, {:.1f}%", "taken for: {}, {:.1f}%")[line]
            fit_caption(caption, template, name, 100 * probability, frame_width - 2 * gap)
    return figure


def fit_caption(text, template, name, percent, width):
    """Sets `text` to `template` with `name` as long as `width` inches allow."""
    for length in range(60, 4, -2):
        text.set_text(template.format(shorten(name, length), percent))
        if text.get_window_extent().width <= width * text.figure.dpi:
            break


def draw_photograph(axes, image):
    """Shows a `PIL.Image.Image` whole and undistorted, or says that there is none."""
    axes.set_axis_off()
    if image is None:
        axes.add_patch(Rectangle((0, 0), 1, 1, facecolor="0.93", transform=axes.transAxes))
        axes.text(
            0.5,
            0.5,
            "no photograph\nof this class",
            ha="center",
            va="center",
            color="0.35",
            transform=axes.transAxes,
        )
    else:
        image.thumbnail((700, 700))
        axes.imshow(np.asarray(image))


def checked_labels(argument, labels, num_classes, num_samples=None):
    """`labels` as an array of int64; ValueError if they are not one class number a sample."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or not labels.size or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"`{argument}` must be one integer a sample, shape (samples,), and at least one. "
            f"Received: dtype={labels.dtype}, shape={labels.shape}"
        )
    if num_samples is not None and len(labels) != num_samples:
        raise ValueError(
            f"`{argument}` must hold one label for each of {num_samples} samples. "
            f"Received: {len(labels)} labels"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
        raise ValueError(
            f"`{argument}` must lie in 0..{num_classes - 1} ({num_classes} classes). Received: "
            f"{labels[wrong[0]]} at index {wrong[0]} ({wrong.size} such labels)"
        )
    return labels.astype("int64")


def checked_probabilities(probabilities, samples):
    """`probabilities` as an array of float64; ValueError unless one in [0, 1] for each class."""
    probabilities = np.asarray(probabilities, "float64")
    expected = (len(samples), samples.num_classes)
    if probabilities.shape != expected:
        raise ValueError(
            f"`probabilities` must have shape (samples, classes) = {expected}. "
            f"Received: shape={probabilities.shape}"
        )
    # Half-precision models may end a little above 1.
    if not ((probabilities >= 0) & (probabilities <= 1.01)).all():
        raise ValueError(
            "`probabilities` must lie in [0, 1] (softmax, not logits). Received: values from "
            f"{probabilities.min():.4g} to {probabilities.max():.4g}"
        )
    return probabilities


def shorten(name, width):
    """`name` on one line of at most `width` characters; an ellipsis stands for its middle."""
    # The middle, as names such as "Audi S4 Sedan 2007" often differ at the end only.
    name = " ".join(str(name).split())
    if len(name) <= width:
        return name
    tail = (width - 1) // 2
    return name[: width - 1 - tail].rstrip() + "…" + name[-tail:].lstrip()


def plural(number, one, many=None):
    """`number` with its noun: "1 image", "2 images"."""
    return f"{number} {one if number == 1 else many or one + 's'}"
