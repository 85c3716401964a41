"""Where contrastive channel interaction finds the difference between two images.

The contrastive loss sees the distance `d` of two embeddings, `ê = H z̄ / ‖H z̄‖` with `z̄` the spatial
mean of `Z'`. All of it is linear but for the length, so with `û = ê_A − ê_B` the squared distance is
a sum over the positions of both images: `d² = û · ê_A − û · ê_B = mean_l M_A(l) + mean_l M_B(l)`,
`M_A(l) = û · H Z'_A(l) / ‖H z̄_A‖`, `M_B(l) = −û · H Z'_B(l) / ‖H z̄_B‖`.
"""

from typing import NamedTuple

import numpy as np

from cin_keras.explain.feature_maps import (
    backbone_maps,
    check_model,
    in_batches,
    join,
    to_array,
)
from cin_keras.explain.images import channels_last, check_image, check_images
from cin_keras.torch_modes import without_gradients


class PairContrast(NamedTuple):
    """Where one image differs from several others; all arrays are float32.

    Attributes:
        maps: `(others, height, width)`, `M_A`: where the image differs from each of the others.
        other_maps: `(others, height, width)`, `M_B`: where each of the others differs from it.
        distances: `(others,)`, the distances of the embeddings, from 0 to 2. Their squares are the
            spatial means of `maps` plus those of `other_maps`.
    """

    maps: np.ndarray
    other_maps: np.ndarray
    distances: np.ndarray


def pair_contrast(model, image, others):
    """Where CCI finds the difference between an image and each of several others.

    Every position's share in the squared distance of the two embeddings that the model was
    trained on: positive where it drives the two images apart, negative where it draws them
    together.

    Args:
        model: `cin_keras.CIN` with `contrast="cci"`.
        image: Array or tensor of shape `(height, width, 3)` or `(1, height, width, 3)`, RGB from
            0 to 255, any dtype.
        others: As `image`, one or several: `(others, height, width, 3)`.

    Returns:
        `PairContrast`, at the feature map's resolution.

    Raises:
        TypeError: If the model is no `CIN` or the images no numbers.
        ValueError: If the model has no CCI, or images are not as above or not of its size.

    Example:

    ```python
    contrast = cin_keras.explain.pair_contrast(model, images[0], images[1:4])
    contrast.maps  # (3, height, width), over images[0]
    ```
    """
    check_model(model)
    if model.contrast is None:
        raise ValueError(
            "pair_contrast shows contrastive channel interaction, which this model was trained "
            "without; train with contrast='cci', or use class_contrast_map. "
            f"Received: a model with contrast={model.contrast_name!r}"
        )
    image = check_image(model, image)
    others = check_images(model, others, "others")
    if image.shape[1:] != others.shape[1:]:
        raise ValueError(
            "`image` and `others` must have one size. Received: shapes "
            f"{image.shape[1:]} and {others.shape[1:]}"
        )
    contrast = _long_form(model.contrast)
    with without_gradients():
        parts = [
            _contrast(model, contrast, np.repeat(image, len(batch), axis=0), batch)
            for (batch,) in in_batches(others, size=4)
        ]
    return PairContrast(*join(parts))


def _long_form(contrast):
    """A CCI of the same layers that returns whole maps; the model's own stays as it is."""
    whole = object.__new__(type(contrast))
    vars(whole).update(vars(contrast), pooling=None)
    return whole


def _contrast(model, contrast, images_a, images_b):
    features = [backbone_maps(model, images)[0] for images in (images_a, images_b)]
    z = [to_array(x) for x in contrast(features)]
    kernel = to_array(model.embedding.kernel)
    positions = [x[0].size // model.interaction.channels for x in z]
    if model.descriptor == "average":
        seen = [channels_last(model, x).mean(axis=(1, 2)) for x in z]
    else:
        seen = [x.reshape(len(x), -1) for x in z]
    embedded = [x @ kernel for x in seen]
    lengths = [np.sqrt(np.maximum(np.sum(e**2, axis=1), 1e-12)) for e in embedded]
    a, b = (e / length[:, None] for e, length in zip(embedded, lengths))
    difference = a - b
    maps = []
    for sign, x, length, count in zip((1, -1), z, lengths, positions):
        direction = sign * difference @ kernel.T / length[:, None]
        if model.descriptor == "average":
            direction = direction[:, None, None, :]
        else:
            direction = channels_last(model, direction.reshape(x.shape)) * count
        maps.append(np.sum(channels_last(model, x) * direction, axis=3))
    return *maps, np.sqrt(np.sum(difference**2, axis=1))


def pair_contrast_figure(model, image, others, path, names=None):
    """Draws `pair_contrast`: a column for each other image, with one colour scale a column.

    Args:
        model: As for `pair_contrast`.
        image: As for `pair_contrast`.
        others: As for `pair_contrast`.
        path: Str or path, the PNG file to write; its folder is created.
        names: Sequence of str, one for `image` and one for each of `others`. Defaults to `None`,
            no names.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        TypeError, ValueError: As for `pair_contrast`, or if the number of names does not fit.

    Example:

    ```python
    cin_keras.explain.pair_contrast_figure(model, images[0], images[1:4], "contrast.png")
    ```
    """
    from cin_keras.explain.drawing import caption, draw_image, draw_overlay, panels
    from cin_keras.files import save_figure

    contrast = pair_contrast(model, image, others)
    image = channels_last(model, check_image(model, image))[0]
    others = channels_last(model, check_images(model, others, "others"))
    if names is None:
        names = ["image", *(f"other image {i + 1}" for i in range(len(others)))]
    if len(names) != len(others) + 1:
        raise ValueError(
            f"`names` must hold one name for the image and one for each of {len(others)} others. "
            f"Received: {len(names)} names"
        )
    figure, axes = panels(2, len(others) + 1)
    draw_image(axes[0, 0], image, caption(names[0]))
    axes[1, 0].set_axis_off()
    for column, other in enumerate(others):
        distance = contrast.distances[column]
        highest = float(max(contrast.maps[column].max(), contrast.other_maps[column].max(), 0))
        for row, (picture, map, title) in enumerate(
            (
                (image, contrast.maps[column], f"against the one below\ndistance {distance:.2f}"),
                (other, contrast.other_maps[column], caption(names[column + 1])),
            )
        ):
            draw_overlay(axes[row, column + 1], picture, map, title, limits=(0, highest))
    return save_figure(figure, path)
