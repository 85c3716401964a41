"""Grad-CAM, the usual explanation, to compare with on the same model.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", ICCV 2017 (arXiv:1610.02391).
"""

import keras
import numpy as np
from keras import ops

from cin_keras.explain.class_contrast import check_classes, check_they_differ
from cin_keras.explain.feature_maps import (
    backbone_maps,
    check_model,
    head,
    in_batches,
    join,
    to_array,
)
from cin_keras.explain.images import channels_last, check_images
from cin_keras.torch_modes import with_gradients, without_gradients


def grad_cam(model, images, classes=None, others=None):
    """Grad-CAM at the backbone's feature map `X`.

    `α_k = mean_l ∂y/∂X_k(l)`, `M(l) = max(0, Σ_k α_k X_k(l))`, equations 1 and 2 of the paper; `y`
    is the logit of a class, or with `others` the difference of two. Without an interaction, the
    difference gives the positive part of `class_contrast_map` divided by the number of positions.

    Args:
        model: `cin_keras.CIN`.
        images: As for `class_contrast_map`.
        classes: Int, or ints of shape `(batch,)`. Defaults to `None`, the predicted class.
        others: Int, or ints of shape `(batch,)`: the class whose logit is taken from that of
            `classes`. Defaults to `None`, none.

    Returns:
        float32 array of shape `(batch, height, width)`, height and width of the feature map, not
        negative.

    Raises:
        TypeError, ValueError: As for `class_contrast_map`.

    Example:

    ```python
    of_class = cin_keras.explain.grad_cam(model, images)
    _, classes, others, _ = cin_keras.explain.class_contrast(model, images)
    of_difference = cin_keras.explain.grad_cam(model, images, classes, others)
    ```
    """
    check_model(model)
    images = check_images(model, images)
    classes = check_classes("classes", classes, len(images), model.num_classes)
    others = check_classes("others", others, len(images), model.num_classes)
    check_they_differ(classes, others)
    with with_gradients():
        found = [_grad_cam(model, *batch) for batch in in_batches(images, classes, others)]
    maps, classes = join(found)
    check_they_differ(classes, others)
    return maps


def _grad_cam(model, images, classes, others):
    with without_gradients():
        first, *second = backbone_maps(model, images)
        if classes is None:
            classes = np.argmax(to_array(head(model, (first, *second))), axis=1)
    sign = np.eye(model.num_classes, dtype="float32")[classes]
    if others is not None:
        sign = sign - np.eye(model.num_classes, dtype="float32")[others]

    sign = ops.convert_to_tensor(sign)

    def score(x):
        return ops.sum(head(model, (x, *second)) * sign)

    x = ops.cast(first, "float32")
    slopes = channels_last(model, to_array(gradient(score, x)))
    x = channels_last(model, to_array(x))
    alpha = slopes.mean(axis=(1, 2))
    return np.maximum(np.einsum("nhwc,nc->nhw", x, alpha), 0), classes


def gradient(function, x):
    """The gradient of a scalar function of one tensor, by the backend's own differentiation.

    Args:
        function: From a tensor to a scalar tensor.
        x: Float tensor.

    Returns:
        Tensor of the shape of `x`.

    Example:

    >>> x = ops.convert_to_tensor([1.0, 2.0])
    >>> ops.convert_to_numpy(gradient(lambda x: ops.sum(x * x), x)).tolist()
    [2.0, 4.0]
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function)(x)
    if keras.backend.backend() == "torch":
        import torch

        x = x.detach().requires_grad_(True)
        return torch.autograd.grad(function(x), x)[0]
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x)
