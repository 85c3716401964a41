"""Which part of an image decided between two classes, from the model's own linear head.

The classifier is linear and sees the spatial mean of `Z`. So the difference of two logits is the
mean of a map: `logit_a − logit_b = mean_l M(l) + b_a − b_b`, with `M(l) = (w_a − w_b) · Z(l)`. For
one class that is the class activation map (Zhou et al., "Learning Deep Features for Discriminative
Localization", CVPR 2016, arXiv:1512.04150); fine-grained recognition asks for the difference.
"""

from typing import NamedTuple

import numpy as np
from keras import ops

from cin_keras.checks import check_labels
from cin_keras.explain.feature_maps import (
    check_has_map,
    classifier_weights,
    in_batches,
    join,
)
from cin_keras.explain.images import channels_last, check_images
from cin_keras.explain.pooled_features import shared_features
from cin_keras.torch_modes import without_gradients


class ClassContrast(NamedTuple):
    """What decided between two classes, image by image.

    Attributes:
        maps: float32 `(batch, height, width)` at the feature map's resolution: evidence for the
            class where positive, for the other one where negative.
        classes: int `(batch,)`, the classes.
        others: int `(batch,)`, those they are set against.
        logits: float32 `(batch, classes)`.
    """

    maps: np.ndarray
    classes: np.ndarray
    others: np.ndarray
    logits: np.ndarray


def class_contrast_map(model, images, classes=None, others=None):
    """The part of each image that decided between two classes.

    `M(l) = (w_a − w_b) · Z(l)`, with `w` the classifier's weights, in one pass through the model.
    The spatial mean of `M`, plus `b_a − b_b`, is the difference of the two logits, to the
    rounding of the model's compute dtype; so no part of the decision is left out, and none is
    shown that had no share in it. With `"bilinear"`, `"covariance"` and `"mean_and_deviation"`,
    `M` shares out `(w_a − w_b) · v` exactly, too: entry `v_ij = Σ_l f_i(l) f_j(l) / (√|Φ_ij| ‖…‖)`
    of bilinear pooling, say, is a sum over positions once root and length are what they are for
    this image; where products of both signs nearly cancel, its values may be far larger than their
    mean.

    Args:
        model: `cin_keras.CIN`, with any interaction, of the pooled or the long form.
        images: Array or tensor of any dtype, RGB from 0 to 255, of shape
            `(batch, height, width, 3)`, or `(height, width, 3)`, which counts as a batch of one.
        classes: Int, or ints of shape `(batch,)`: the class `a`. Defaults to `None`, the
            predicted class of each image.
        others: Int, or ints of shape `(batch,)`: the class `b`. Defaults to `None`, the class
            with the highest score beside `classes`: for predicted ones the runner-up.

    Returns:
        float32 array of shape `(batch, height, width)`, height and width of the feature map;
        positive where the image speaks for `classes`, negative where for `others`.

    Raises:
        TypeError: If the model is no `CIN`, or images are no numbers.
        ValueError: If images are not as above or not of the model's size, a class does not exist,
            or an image would be explained by a class against itself.

    Example:

    ```python
    model = cin_keras.load_model("model.keras")
    maps = cin_keras.explain.class_contrast_map(model, images)  # (batch, height, width)
    picture = cin_keras.explain.overlay(images[0], maps[0])
    ```
    """
    return class_contrast(model, images, classes, others).maps


def class_contrast(model, images, classes=None, others=None):
    """As `class_contrast_map`, with the classes that were set against each other.

    Args:
        model: As for `class_contrast_map`.
        images: As for `class_contrast_map`.
        classes: As for `class_contrast_map`. Defaults to `None`.
        others: As for `class_contrast_map`. Defaults to `None`.

    Returns:
        `ClassContrast`.

    Raises:
        TypeError, ValueError: As for `class_contrast_map`.
    """
    check_has_map(model, "class_contrast_map")
    images = check_images(model, images)
    classes = check_classes("classes", classes, len(images), model.num_classes)
    others = check_classes("others", others, len(images), model.num_classes)
    check_they_differ(classes, others)
    with without_gradients():
        found = [_contrast(model, *batch) for batch in in_batches(images, classes, others)]
    contrast = ClassContrast(*join(found))
    check_they_differ(contrast.classes, contrast.others)
    return contrast


def _contrast(model, images, classes, others):
    features, share_out = shared_features(model, images)
    kernel, bias = classifier_weights(model)
    logits = features @ kernel + bias
    if classes is None:
        classes = np.argmax(logits, axis=1)
    if others is None:
        rest = np.array(logits, "float64")
        rest[np.arange(len(rest)), classes] = -np.inf
        others = np.argmax(rest, axis=1)
    maps = share_out((kernel[:, classes] - kernel[:, others]).T)
    return maps.astype("float32"), classes, others, logits.astype("float32")


def check_they_differ(classes, others):
    """ValueError where a class is set against itself; ints `(images,)` of all, or `None` for unknown."""
    if classes is None or others is None:
        return
    same = np.flatnonzero(classes == others)
    if same.size:
        raise ValueError(
            "`classes` (the predicted ones, if left out) and `others` must differ for every image. "
            f"Received: class {classes[same[0]]} against itself for image {same[0]} "
            f"({same.size} such images)"
        )


def check_classes(name, classes, batch, num_classes):
    """Classes as ints of shape `(batch,)`, or `None`; raises for anything else."""
    if classes is None:
        return None
    array = np.asarray(ops.convert_to_numpy(classes) if ops.is_tensor(classes) else classes)
    if array.ndim == 0:
        array = np.full(batch, array)
    return check_labels(name, array, num_classes, batch)


def class_contrast_figure(
    model, images, path, classes=None, others=None, class_names=None, true_labels=None
):
    """Draws what decided: a row an image, evidence for the one class and for the other.

    Both maps of a row have one colour scale, from 0 to the largest evidence in the row.

    Args:
        model: As for `class_contrast_map`.
        images: As for `class_contrast_map`.
        path: Str or path, the PNG file to write; its folder is created.
        classes: As for `class_contrast_map`. Defaults to `None`.
        others: As for `class_contrast_map`. Defaults to `None`.
        class_names: Sequence of str, one a class. Defaults to `None`, the class numbers.
        true_labels: Ints of shape `(batch,)`, named beside the image. Defaults to `None`.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        TypeError, ValueError: As for `class_contrast_map`, or if the number of names is not that of
            the classes.

    Example:

    ```python
    cin_keras.explain.class_contrast_figure(model, images[:4], "contrast.png")
    ```
    """
    from cin_keras.explain.drawing import caption, draw_image, draw_overlay, panels
    from cin_keras.files import save_figure

    contrast = class_contrast(model, images, classes, others)
    images = channels_last(model, check_images(model, images))
    true_labels = check_classes("true_labels", true_labels, len(images), model.num_classes)
    if class_names is None:
        class_names = [f"class {label}" for label in range(model.num_classes)]
    if len(class_names) != model.num_classes:
        raise ValueError(
            f"`class_names` must hold one name for each of {model.num_classes} classes. "
            f"Received: {len(class_names)} names"
        )
    figure, axes = panels(len(images), 3)
    for row, image in enumerate(images):
        title = "image" if true_labels is None else f"true: {class_names[true_labels[row]]}"
        draw_image(axes[row, 0], image, caption(title))
        map = contrast.maps[row]
        limits = (0.0, float(np.abs(map).max()))
        for place, (label, evidence) in enumerate(
            ((contrast.classes[row], map), (contrast.others[row], -map)), start=1
        ):
            title = caption(f"for {class_names[label]}")
            title += f"\nlogit {contrast.logits[row, label]:.1f}"
            draw_overlay(axes[row, place], image, evidence, title, limits)
    return save_figure(figure, path)
