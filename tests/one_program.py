"""What JAX would compile an operation at a time, as one program: that takes a fraction of the time."""

import keras


def one_program(function):
    """`function` from tensors to tensors, which JAX compiles as a whole; elsewhere as it is."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


def called(layer, inputs, **options):
    """`layer(inputs, **options)`, by one program on JAX, which a layer that makes no state allows.

    Args:
        layer: Keras layer or model; one that is not built yet takes all there is of shapes.
        inputs: Array or tensor, or tuple of them.
        **options: Arguments of the call that are no tensors.
    """
    if keras.backend.backend() == "jax" and not layer.built:
        shapes = [x.shape for x in inputs] if isinstance(inputs, tuple) else inputs.shape
        layer.build(shapes)
    return one_program(lambda x: layer(x, **options))(inputs)
