"""What Keras and KerasCV have no public name for: the private names in use, all here.

Tried with Keras 3.15.0, 3.15.1 and KerasCV 0.9.0; `tests/test_keras_internals.py` fails where one
of them has changed. (Up to 3.14, a functional model trains no layer that it was given later, as ψ.)
"""

import contextlib
from unittest import mock


def all_layers(layer):
    """A layer and all that are inside it at any depth, once each: list of Keras layers.

    (`keras.Model.layers` ends at the first level, and layers that are no models have no such list.)
    """
    return layer._flatten_layers()


def replace_moments(layer, moments):
    """Lets a batch normalisation compute its moments otherwise than from what it sees.

    Args:
        layer: `keras.layers.BatchNormalization`; its config stays as it is.
        moments: Function from inputs and mask (or `None`) to mean and variance, `(channels,)`
            each.
    """
    layer._moments = moments


def leave_gradients_unsummed(optimizer):
    """Keeps a TensorFlow optimizer from summing gradients over replicas: they are summed already.

    Args:
        optimizer: `keras.optimizers.Optimizer` that applies them, not one that wraps another.
    """
    optimizer._all_reduce_sum_gradients = list


def variable_index(optimizer, variable):
    """Which of the variables that `optimizer.build` was given this is, from 0.

    Args:
        optimizer: Built `keras.optimizers.Optimizer`.
        variable: What its `update_step` is given: on several devices of TensorFlow that is no
            `keras.Variable`, but a part of one.
    """
    return optimizer._get_variable_index(variable)


class OwnDecayAndClipping:
    """Mixin for a Keras optimizer, before its class, whose `update_step` decays and clips itself.

    That is weight decay, and `clipnorm` of each gradient; the other ways of clipping are Keras'.
    """

    def _apply_weight_decay(self, variables):
        """Nothing here: Keras would decay all variables at the common rate."""

    def _clip_by_norm(self, values, axes=None):
        """Nothing here, either."""
        return values


def is_writing_hdf5():
    """Whether a configuration is asked for by Keras' writer of whole models in HDF5.

    (`keras.saving.save_model` calls it without `model.save`.)

    Returns:
        Bool.
    """
    from keras.src.backend.common import global_state

    return bool(global_state.get_global_attribute("use_legacy_config"))


def uses_weight_decay(optimizer, variable):
    """Whether a variable was not named to `optimizer.exclude_from_weight_decay`.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
        variable: `keras.Variable`.
    """
    return optimizer._use_weight_decay(variable)


def put_back_jax_state(model, state):
    """Gives a model the variables back that Keras' JAX trainer took out of it for an epoch.

    Args:
        model: Keras model, in the middle of `fit`, `evaluate` or `predict`.
        state: Dict of lists of JAX arrays: `trainable_variables`, `non_trainable_variables`,
            `optimizer_variables`, `metrics_variables`, or some of these.
    """
    model._jax_state = state
    model._jax_state_synced = False
    model.jax_state_sync()


@contextlib.contextmanager
def distribute_without_comparing():
    """Inside the block, a process on JAX puts a value on its own devices without asking others.

    Keras lets JAX compare the value over all processes first, so that one that makes, loads or
    restores a model alone would wait for the others for ever.
    """
    import jax
    import numpy as np
    from keras.src.backend.jax import distribution_lib

    def distribute_tensor(tensor, layout):
        sharding = getattr(layout, "backend_layout", layout)
        is_elsewhere = not sharding.is_fully_addressable
        if is_elsewhere and not isinstance(tensor, jax.core.Tracer):
            if not isinstance(tensor, jax.Array) or tensor.is_fully_addressable:
                value = np.asarray(tensor)
                return jax.make_array_from_callback(value.shape, sharding, value.__getitem__)
        return before(tensor, layout)

    before = distribution_lib.distribute_tensor
    with mock.patch.object(distribution_lib, "distribute_tensor", distribute_tensor):
        yield


@contextlib.contextmanager
def padding_in_graph():
    """Inside the block, `"same"` on PyTorch is computed by tensors from the size of the images.

    `torch.jit.trace` then keeps how the padding is computed; else it keeps the one padding that
    the traced image needed.
    """
    import torch
    from keras.src.backend.torch import nn

    def apply_same_padding(inputs, kernel_size, strides, data_format, operation, dilation_rate=1):
        if all(stride == 1 for stride in strides):  # the padding of any size
            return before(inputs, kernel_size, strides, data_format, operation, dilation_rate)
        pooling, dimensions = operation == "pooling", inputs.ndim - 2
        if pooling or isinstance(dilation_rate, int):
            dilation_rate = (1 if pooling else dilation_rate,) * dimensions
        padding = []
        sizes = inputs.shape[2:]
        for size, kernel, stride, rate in zip(sizes, kernel_size, strides, dilation_rate):
            reach = (kernel - 1) * rate
            # Outputs stand at multiples of the stride, and the last one still sees `reach` further.
            last = (size - 1) // stride * stride
            total = torch.clamp(torch.as_tensor(last + reach + 1 - size), min=0)
            padding = [total // 2, total - total // 2, *padding]
        mode = "replicate" if pooling else "constant"
        return torch.nn.functional.pad(inputs, padding, mode=mode), 0

    before = nn._apply_same_padding
    with mock.patch.object(nn, "_apply_same_padding", apply_same_padding):
        yield


def global_seed_generator(make):
    """Keras' generator for random operations without a seed.

    Args:
        make: Bool, whether to make it if none was used yet.

    Returns:
        `keras.random.SeedGenerator`, or `None`.
    """
    from keras.src.backend.common import global_state
    from keras.src.random import seed_generator

    if make:
        return seed_generator.global_seed_generator()
    return global_state.get_global_attribute("global_seed_generator")


def replace_random_numbers(layer, generator, factor):
    """Lets KerasCV's RandAugment, and all layers in it, draw random numbers from elsewhere.

    Args:
        layer: `keras_cv.layers.RandAugment`.
        generator: Object with the methods `uniform` and `normal` of a `tf.random.Generator`.
        factor: Function from a `keras_cv.core.FactorSampler`, which draws the strength of an
            operation, to one that takes its place.
    """
    import keras_cv

    for part in (layer, layer._random_choice, *layer.layers):
        part._random_generator = generator
        for name, value in list(vars(part).items()):
            if isinstance(value, keras_cv.core.FactorSampler):
                setattr(part, name, factor(value))
