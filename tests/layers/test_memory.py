"""That blocks of rows never add up to a whole matrix, and that pairs may come one by one.

One pair, 3 of 11 rows at a time, 2 positions: of all tensors of a training step only blocks of `W`
have 3 · 11 elements, and only whole ones 11 · 11.
"""

import types

import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.layers import (
    ContrastiveChannelInteraction,
    SelfChannelInteraction,
    memory,
    symmetric_softmax,
)
from tests.gradients import gradients

pytestmark = pytest.mark.every_backend

CHANNELS, ROWS = 11, 3
BLOCK, WHOLE = ROWS * CHANNELS, CHANNELS * CHANNELS


def pair_loss(block_rows):
    """A built contrastive interaction and a scalar function of two feature maps."""
    interaction = SelfChannelInteraction(pooling="avg", block_rows=block_rows)
    contrast = ContrastiveChannelInteraction(interaction, pooling="avg")
    contrast.build([(1, 2, 1, CHANNELS)] * 2)

    def loss(x_a, x_b):
        outputs = contrast((x_a, x_b), return_self_interaction=True)
        return sum(ops.sum(ops.square(z)) for pair in outputs for z in pair)

    return loss


def feature_pair():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(1, 2, 1, CHANNELS)).astype("float32") for _ in range(2)]


def sizes_in_torch(loss):
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes, saved = set(), set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            results = result if isinstance(result, (tuple, list)) else [result]
            sizes.update(x.numel() for x in results if isinstance(x, torch.Tensor))
            return result

    def pack(x):
        saved.add(x.numel())
        return x

    pair = [torch.tensor(x, requires_grad=True) for x in feature_pair()]
    with Watch(), torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        value = loss(*pair)
        kept = set(saved)
        torch.autograd.grad(value, pair)
    return sizes, kept


def sizes_in_jax(loss):
    import jax

    sizes, kept = set(), set()

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            for variable in equation.outvars:
                sizes.add(int(np.prod(variable.aval.shape)))
                if equation.primitive.name == "scan":
                    # What a loop hands on is stacked along a new first axis.
                    kept.update(
                        int(np.prod(v.aval.shape[1:])) for v in equation.outvars if v.aval.ndim > 2
                    )
            for parameter in jax.tree.leaves(
                equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
            ):
                if hasattr(parameter, "eqns") or hasattr(parameter, "jaxpr"):
                    walk(getattr(parameter, "jaxpr", parameter))

    walk(jax.make_jaxpr(jax.grad(loss, (0, 1)))(*feature_pair()).jaxpr)
    return sizes, kept


def sizes_in_tensorflow(loss):
    import tensorflow as tf

    @tf.function
    def step(x_a, x_b):
        with tf.GradientTape() as tape:
            tape.watch([x_a, x_b])
            value = loss(x_a, x_b)
        return tape.gradient(value, [x_a, x_b])

    sizes, kept = set(), set()

    def walk(graph):
        for operation in graph.get_operations():
            for output in operation.outputs:
                if output.shape.is_fully_defined():
                    sizes.add(output.shape.num_elements())
            if operation.type in ("TensorListPushBack", "TensorListSetItem"):
                kept.add(operation.inputs[-1].shape.num_elements())
            if operation.type in ("While", "StatelessWhile"):
                for attribute in ("body", "cond"):
                    name = operation.get_attr(attribute).name
                    walk(graph._get_function(name).graph)

    pair = [tf.constant(x) for x in feature_pair()]
    walk(step.get_concrete_function(*pair).graph)
    return sizes, kept


def sizes(loss):
    """Numbers of elements of all tensors of a step, and of those kept for the backward pass."""
    backend = {"tensorflow": sizes_in_tensorflow, "jax": sizes_in_jax, "torch": sizes_in_torch}
    return backend[keras.backend.backend()](loss)


def test_no_whole_matrix_exists_in_forward_or_backward():
    seen, kept = sizes(pair_loss(ROWS))
    assert BLOCK in seen, "the watch sees the blocks"
    assert WHOLE not in seen
    assert BLOCK not in kept, "a block outlives its turn"


def test_the_watch_sees_a_whole_matrix():
    seen, _ = sizes(pair_loss(None))
    assert WHOLE in seen


on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="PyTorch loops in Python, XLA fuses"
)


def step_of_a_pair(dtype="float32", **options):
    """The sum of what CCI and SCI give of three pairs, as a function, and the layer."""
    interaction = SelfChannelInteraction(scale=0.1, pooling="avg", learnable_scale=True, dtype=dtype)
    layer = ContrastiveChannelInteraction(interaction, pooling="avg", dtype=dtype, **options)
    x = [np.random.default_rng(i).normal(size=(3, 4, 4, 6)).astype("float32") for i in range(2)]
    layer(x)

    def total(x_a, x_b):
        pair = [ops.cast(x, layer.compute_dtype) for x in (x_a, x_b)]
        contrasted, plain = layer(pair, return_self_interaction=True)
        return sum(ops.sum(z * z) for z in (*contrasted, *plain))

    return total, x, layer


@on_tensorflow
@pytest.mark.parametrize("descriptor", ["average", "flatten"])
@pytest.mark.parametrize("psi", ["glorot_uniform", "zeros"])
@pytest.mark.parametrize(("pairs", "dtype"), [(3, "float32"), (0, "float32"), (3, "mixed_bfloat16")])
def test_pair_after_pair_gives_what_all_at_once_give(monkeypatch, descriptor, psi, pairs, dtype):
    keras.utils.set_random_seed(0)
    function, x, layer = step_of_a_pair(dtype, descriptor=descriptor, kernel_initializer=psi)
    x = [part[:pairs] for part in x]
    expected = gradients(function, x, layer, compiled=not pairs)  # in which nothing is looped over
    monkeypatch.setattr(memory, "FEWEST_CHANNELS", 6)
    monkeypatch.setattr(symmetric_softmax, "STRIPS", 3)
    # Whole matrices in half precision are rounded before they are multiplied.
    tolerance = (1e-4, 1e-6) if dtype == "float32" else (0.05, 0.05)
    for found, wanted in zip(gradients(function, x, layer), expected, strict=True):
        np.testing.assert_allclose(found, wanted, *tolerance)


@on_tensorflow
def test_pairs_are_looped_over_where_matrices_are_large_and_on_cpus_alone(monkeypatch):
    import tensorflow as tf

    function, x, layer = step_of_a_pair()

    def loops(function, inputs):
        graph = tf.function(lambda *inputs: function(*inputs)).get_concrete_function(*inputs).graph
        return sum("While" in operation.type for operation in graph.get_operations())

    assert loops(function, x) == 0
    monkeypatch.setattr(memory, "FEWEST_CHANNELS", 6)
    assert loops(function, x) == 1
    assert loops(layer.interaction, x[:1]) == 0, "serving takes no loops"
    unknown = [tf.TensorSpec((None, None, 4, 6))] * 2
    assert loops(function, unknown) in (0, 1), "sizes need not be known"
    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda: [types.SimpleNamespace(device_type="GPU")]
    )
    assert loops(function, x) == 0


@on_tensorflow
def test_of_a_number_of_pairs_that_is_not_known_there_may_be_none(monkeypatch):
    import tensorflow as tf

    function, x, _ = step_of_a_pair()
    expected = float(function(*x))
    monkeypatch.setattr(memory, "FEWEST_CHANNELS", 6)
    graph = tf.function(function, input_signature=[tf.TensorSpec((None, 4, 4, 6))] * 2)
    np.testing.assert_allclose(float(graph(*x)), expected, rtol=1e-5)
    assert float(graph(*(part[:0] for part in x))) == 0
