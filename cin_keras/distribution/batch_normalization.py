"""Batch normalisation over the global batch, whatever share of it a device sees."""

import functools

import keras
from keras import ops

from cin_keras.keras_internals import all_layers, replace_moments


def synchronize_batch_normalization(model, all_reduce_sum):
    """Lets every batch normalisation of a model use the moments of the global batch.

    Keras has that on TensorFlow alone and only for layers that were made so
    (`synchronized=True`), which a model file would then keep. Here the layers of any backbone
    are changed in place and their configs stay as they are. Layers that are frozen use their
    stored moments, as ever.

    Args:
        model: Keras model.
        all_reduce_sum: Function from a tensor to its sum over all devices, with a gradient.
    """
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            own = layer.name, layer.axis
            replace_moments(layer, functools.partial(_global_moments, *own, all_reduce_sum))


def _global_moments(name, axis, all_reduce_sum, inputs, mask):
    """Mean and variance, `(channels,)` each, over the global batch and all positions."""
    if mask is not None:
        raise ValueError(
            "On several devices, batch normalisation takes no mask. "
            f"Received: a mask in layer {name!r}"
        )
    axes = list(range(len(inputs.shape)))
    del axes[axis]
    count = ops.cast(ops.prod([ops.shape(inputs)[axis] for axis in axes]), inputs.dtype)
    sums = ops.concatenate([ops.sum(inputs, axes), ops.reshape(count, (1,))])
    sums = all_reduce_sum(sums)
    mean, count = sums[:-1] / sums[-1], sums[-1]
    shape = [1] * len(inputs.shape)
    shape[axis] = -1
    # Two passes: E[x²] − E[x]² would lose the digits that comparisons with one device need.
    distances = ops.square(inputs - ops.reshape(mean, shape))
    return mean, all_reduce_sum(ops.sum(distances, axes)) / count
