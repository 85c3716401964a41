"""The photographs that a model got most wrong, beside what it took them for."""

import contextlib

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cin_keras.checks import check_labels
from cin_keras.data import UnreadableImage
from cin_keras.data.decoding import MAX_PIXELS
from cin_keras.evaluation.accuracy import checked_probabilities
from cin_keras.evaluation.confusions import order_of_mistakes
from cin_keras.files import save_figure
from cin_keras.fonts import no_warnings_of_glyphs, suit_font
from cin_keras.text import plural, shorten


def worst_mistakes(
    samples,
    predicted_labels,
    probabilities,
    reference,
    path,
    count=12,
    *,
    max_pixels=MAX_PIXELS,
):
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
        max_pixels: Int ≥ 1; larger images count as ones that cannot be decoded. Defaults to
            178,956,970.

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
    predicted_labels = check_labels(
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
                samples.read(index, max_pixels),
                first_readable(reference, members, max_pixels)[1],
                [(samples.class_names[label], probabilities[index, label]) for label in labels],
            )
        )
    return save_figure(pair_sheet(pairs, title), path)


def first_readable(samples, indices, max_pixels):
    """The first of these `samples` that can be decoded.

    Returns:
        `(index, image)`, an int and a `PIL.Image.Image`; both are `None` if none can.
    """
    for index in indices:
        with contextlib.suppress(UnreadableImage):
            return int(index), samples.read(index, max_pixels)
    return None, None


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
        suit_font(text)
        with no_warnings_of_glyphs():
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
