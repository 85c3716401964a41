"""What a model makes of an image on its way to the classifier, as maps.

Symbols, here and in the other modules: `c` channels, `l` positions, `X` the backbone's feature map
of an image, `W` the interaction weights, `Z` the map after the interaction, whose spatial mean the
linear classifier sees.
"""

import numpy as np
from keras import ops

from cin_keras.layers import ResidualConvolution
from cin_keras.models import CIN, NTS
from cin_keras.models.interactions import pool_interacted


def check_model(model):
    """Raises TypeError unless `model` is a `cin_keras.CIN`."""
    if isinstance(model, NTS):
        raise TypeError(
            "`model` must be a cin_keras.CIN: of an NTS, cin_keras.explain.parts_figure shows the "
            "parts that it looks at. Received: NTS"
        )
    if not isinstance(model, CIN):
        raise TypeError(
            "`model` must be a cin_keras.CIN, such as cin_keras.load_model gives. "
            f"Received: {type(model).__name__}"
        )


def check_has_weights(model, what):
    """Raises ValueError unless the model has interaction weights `W` to show."""
    check_model(model)
    if model.interaction_name not in ("sci", "pos_sci"):
        raise ValueError(
            f"{what} shows the interaction weights of interaction='sci' or 'pos_sci'. "
            f"Received: a model with interaction={model.interaction_name!r}"
        )


def check_has_map(model, what):
    """Raises ValueError unless the model has a map after its interaction to share features out."""
    check_model(model)
    if model.interaction_name == "osme":
        raise ValueError(
            f"{what} needs a map after the interaction, and 'osme' leaves none; use grad_cam. "
            "Received: a model with interaction='osme'"
        )


def backbone_maps(model, images):
    """`X` of a batch of images.

    Args:
        model: `cin_keras.CIN`.
        images: Array as from `check_images`.

    Returns:
        Tuple of tensors, each `(batch, height, width, channels)` in the model's data format: the
        backbone's map and, of a model with a second backbone, that one's.
    """
    images = ops.convert_to_tensor(images, "float32")
    backbones = [model.backbone, model.second_backbone]
    return tuple(backbone(images, training=False) for backbone in backbones if backbone)


def interacted_map(model, maps):
    """`Z`, for every interaction but those that pool (`pooled_features`), which have none.

    Args:
        model: `cin_keras.CIN`, of the pooled form or not.
        maps: As from `backbone_maps`.

    Returns:
        Tensor of the shape of the backbone's map.
    """
    layer = model.interaction
    if layer is None:
        return maps[0]
    return layer.long_form(maps[0]) if isinstance(layer, ResidualConvolution) else layer(maps[0])


def head(model, maps):
    """The logits of maps, by the model's own interaction and classifier.

    Args:
        model: `cin_keras.CIN`.
        maps: As from `backbone_maps`.

    Returns:
        float32 tensor `(batch, classes)`, logits also where the model's output is a softmax.
    """
    z = maps[0]
    if model.interaction is not None:
        z = model.interaction(maps if len(maps) == 2 else maps[0])
    pooled = pool_interacted(z, model.pooling)
    kernel, bias = map(ops.convert_to_tensor, classifier_weights(model))
    return ops.matmul(ops.cast(pooled, "float32"), kernel) + bias


def to_array(x):
    """A tensor as a float32 array."""
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def classifier_weights(model):
    """The linear classifier's kernel `(features, classes)` and bias `(classes,)`, as arrays."""
    kernel, bias = to_array(model.classifier.kernel), to_array(model.classifier.bias)
    if model.classifier.quantization_mode == "int8":
        kernel = kernel / to_array(model.classifier.kernel_scale)
    return kernel, bias


def in_batches(images, *others, size=16):
    """A large batch as several small ones, `(images, *others)` each; `None` stays `None`."""
    for i in range(0, len(images), size):
        yield tuple(None if x is None else x[i : i + size] for x in (images, *others))


def join(batches):
    """A list of tuples of arrays as one tuple of arrays, joined along the first axis."""
    return tuple(np.concatenate(parts) for parts in zip(*batches))
