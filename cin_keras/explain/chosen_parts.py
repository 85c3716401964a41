"""Where an NTS looked: the parts of an image that its Navigator chose, and their scores."""

from typing import NamedTuple

import keras
import numpy as np

from cin_keras.explain.feature_maps import in_batches, join, to_array
from cin_keras.explain.images import channels_last, check_image, check_images
from cin_keras.models import NTS
from cin_keras.torch_modes import without_gradients


class ChosenParts(NamedTuple):
    """The parts of a batch of images, the best of each image first.

    Attributes:
        boxes: float32 `(batch, parts, 4)`: top, left, bottom and right in pixels of the images, which
            they may exceed.
        scores: float32 `(batch, parts)`, the Navigator's, trained for a difference of 1 between a
            part and a worse one.
        centres: float32 `(batch, parts, 2)`, row and column of every part's middle.
    """

    boxes: np.ndarray
    scores: np.ndarray
    centres: np.ndarray


def chosen_parts(model, images):
    """The parts that an NTS chooses of images, as many as it is trained with.

    Args:
        model: `cin_keras.NTS`; its prediction sees the first `model.concatenated` parts.
        images: Array or tensor `(batch, height, width, 3)` or `(height, width, 3)`, RGB from 0 to
            255, of the size that the model takes.

    Returns:
        `ChosenParts`.

    Raises:
        TypeError: If the model is no NTS.
        ValueError: For images of another shape or range.

    Example:

    ```python
    found = cin_keras.explain.chosen_parts(model, images)
    found.boxes[0, 0], found.scores[0, 0]
    ```
    """
    if not isinstance(model, NTS):
        raise TypeError(
            "`model` must be a cin_keras.NTS, which chooses parts. "
            f"Received: {type(model).__name__}"
        )
    images = check_images(model, images)
    network = keras.Model(model.input, model.choice.output)
    with without_gradients():
        boxes, scores = join(
            tuple(to_array(x) for x in network(batch, training=False))
            for (batch,) in in_batches(images)
        )
    return ChosenParts(boxes, scores, (boxes[..., :2] + boxes[..., 2:]) / 2)


def parts_figure(model, image, path):
    """Draws the parts that an NTS chose with their scores, and what its prediction saw of them.

    Args:
        model: `cin_keras.NTS`.
        image: As for `chosen_parts`, one image.
        path: Str or path, the PNG file to write; its folder is created.

    Returns:
        The `pathlib.Path` of the file: the image with all boxes, the best of which is number 1 (those
        that the prediction sees in orange), and beside it what the prediction sees.

    Raises:
        TypeError, ValueError: As for `chosen_parts`.

    Example:

    ```python
    cin_keras.explain.parts_figure(model, image, "parts.png")
    ```
    """
    from matplotlib.patches import Rectangle

    from cin_keras.explain.drawing import caption, draw_image, panels
    from cin_keras.files import save_figure

    batch = check_image(model, image)
    found = chosen_parts(model, batch)
    with without_gradients():
        seen = to_array(model.crops((batch, found.boxes[:, : model.concatenated])))
    batch, seen = channels_last(model, batch), channels_last(model, seen)
    figure, axes = panels(1, 1 + model.concatenated)
    draw_image(axes[0, 0], batch[0], caption("parts, the best first"))
    height, width = batch.shape[1:3]
    axes[0, 0].set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    for number, (top, left, bottom, right) in enumerate(found.boxes[0], 1):
        colour = "tab:orange" if number <= model.concatenated else "white"
        box = Rectangle(
            (left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=colour
        )
        axes[0, 0].add_patch(box)
        words = f"{number}: {found.scores[0, number - 1]:.2f}"
        axes[0, 0].text(max(left, 0), max(top, 0), words, color=colour, va="top", fontsize=7)
    for number, (panel, part) in enumerate(zip(axes[0, 1:], seen)):
        title = f"part {number + 1}, score {found.scores[0, number]:.2f}"
        draw_image(panel, np.clip(part, 0, 255), title)
    return save_figure(figure, path)
