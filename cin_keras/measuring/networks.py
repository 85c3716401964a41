"""The network of a recipe that measures, as its command line names it."""

from cin_keras.measuring.rows import build_row
from cin_keras.models.small_backbone import small_backbone


def build_network(row, num_classes, backbone, weights, image_size, feature_layer, frozen_to=None):
    """The model of a row as the command line names it, the beginning of its backbone frozen.

    Args:
        row: Str, of `cin_keras.measuring.rows.ROWS`.
        num_classes: Int ≥ 2.
        backbone: Str, a name as for `CIN`, or `"small"`.
        weights: Str, `"imagenet"`, `"none"` or the path of a file.
        image_size: Int, pixels of a side.
        feature_layer: As for `CIN`.
        frozen_to: Str, the last layer of the backbone that is not trained, or `None` for none.
            Defaults to `None`.

    Returns:
        `CIN` or `NTS`, compiled.

    Raises:
        ValueError, FileNotFoundError: As `CIN`, and for an unknown layer.

    Example:

    >>> model = build_network("plain", 3, "small", "none", 32, None, "block_1")
    >>> sum(layer.trainable for layer in model.backbone.layers) < len(model.backbone.layers)
    True
    """
    model = build_row(
        row,
        num_classes,
        backbone=small_backbone(image_size) if backbone == "small" else backbone,
        weights=None if weights == "none" else weights,
        input_shape=(image_size, image_size, 3),
        feature_layer=feature_layer,
    )
    freeze_to(model.backbone, frozen_to)
    return model


def freeze_to(network, name):
    """Freezes the layers of a network from the first to the one of a name.

    Args:
        network: `keras.Model`.
        name: Str, or `None` for no layer.

    Raises:
        ValueError: If there is no such layer.

    Example:

    >>> from cin_keras.models.small_backbone import small_backbone
    >>> network = small_backbone(32)
    >>> freeze_to(network, network.layers[1].name)
    >>> [layer.trainable for layer in network.layers[:3]]
    [False, False, True]
    """
    names = [layer.name for layer in network.layers]
    if name is not None and name not in names:
        raise ValueError(f"no layer {name!r} in the backbone: {', '.join(names)}")
    for layer in network.layers[: names.index(name) + 1 if name is not None else 0]:
        layer.trainable = False
