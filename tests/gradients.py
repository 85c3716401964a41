"""Gradients of a scalar function on whichever backend runs."""

import keras
from keras import ops


def gradients(function, inputs, layer, compiled=True):
    """The derivative of `function(*inputs)` by its inputs and by the weights of `layer`.

    Args:
        function: From tensors to a scalar tensor.
        inputs: List of arrays.
        layer: A built Keras layer, whose trainable weights `function` uses.
        compiled: Bool, whether TensorFlow makes a graph of it, as JAX always does. Defaults to
            `True`.

    Returns:
        List of NumPy arrays, first the inputs', then the weights'.
    """
    inputs = [ops.convert_to_tensor(x) for x in inputs]
    variables = layer.trainable_variables
    if keras.backend.backend() == "tensorflow":
        results = _tensorflow(function, inputs, variables, compiled)
    else:
        by_backend = {"jax": _jax, "torch": _torch}[keras.backend.backend()]
        results = by_backend(function, inputs, variables)
    return [ops.convert_to_numpy(ops.cast(gradient, "float32")) for gradient in results]


def _tensorflow(function, inputs, variables, compiled):
    import tensorflow as tf

    def compute():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            result = function(*inputs)
        return tape.gradient(result, [*inputs, *(v.value for v in variables)])

    return tf.function(compute)() if compiled else compute()


def _jax(function, inputs, variables):
    import jax

    @jax.jit
    @jax.grad
    def compute(state):
        inputs, values = state
        with keras.StatelessScope(list(zip(variables, values))):
            return function(*inputs)

    by_inputs, by_weights = compute((inputs, [v.value for v in variables]))
    return [*by_inputs, *by_weights]


def _torch(function, inputs, variables):
    import torch

    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    return torch.autograd.grad(function(*inputs), [*inputs, *(v.value for v in variables)])
