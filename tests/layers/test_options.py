"""Every option of every layer under every dtype policy, inside a functional model."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.layers import (
    BilinearPooling,
    ContrastiveChannelInteraction,
    NonLocalBlock,
    ResidualConvolution,
    SelfChannelInteraction,
)
from tests.one_program import called

pytestmark = pytest.mark.every_backend(all_cases=True)
POLICIES = ["mixed_bfloat16", "float16", "mixed_float16", "bfloat16", "float64"]
SELF = SelfChannelInteraction
OPTIONS = {
    "sci": lambda **kw: SELF(**kw),
    "learnable scale": lambda **kw: SELF(learnable_scale=True, **kw),
    "learnable, pooled": lambda **kw: SELF(learnable_scale=True, pooling="avg", **kw),
    "learnable, blocks": lambda **kw: SELF(learnable_scale=True, block_rows=3, **kw),
    "positive": lambda **kw: SELF(positive=True, kernel_size=(1, 2), pooling="avg", **kw),
    "cosine": lambda **kw: SELF(similarity="cosine", block_rows=2, pooling="avg", **kw),
    "correlation": lambda **kw: SELF(similarity="correlation", learnable_scale=True, **kw),
    "penalties": lambda **kw: SELF(kernel_regularizer="l2", bias_regularizer="l1", **kw),
    "phi": lambda **kw: ResidualConvolution(kernel_size=2, **kw),
    "phi, pooled": lambda **kw: ResidualConvolution(pooling="avg", **kw),
    "channels first": lambda **kw: SELF(data_format="channels_first", pooling="avg", **kw),
    "non-local": lambda **kw: NonLocalBlock(output_initializer="glorot_uniform", **kw),
    "non-local, inner": lambda **kw: NonLocalBlock(1, data_format="channels_first", **kw),
    "bilinear": lambda **kw: BilinearPooling(**kw),
    "bilinear, projected": lambda **kw: BilinearPooling(2, **kw),
    "cci": lambda **kw: Pair(SELF(**kw), **kw),
    "cci, pooled": lambda **kw: Pair(SELF(learnable_scale=True, **kw), pooling="avg", **kw),
    "cci, flatten": lambda **kw: Pair(SELF(**kw), descriptor="flatten", pooling="avg", **kw),
    "cci, blocks": lambda **kw: Pair(
        SELF(block_rows=2, learnable_scale=True, similarity="cosine", **kw), **kw
    ),
}
CASES = [(name, policy) for name in OPTIONS for policy in POLICIES]
if keras.backend.backend() != "tensorflow":  # of each option one; JAX has no float64 unless told
    POLICIES = POLICIES[:2] if keras.backend.backend() == "jax" else POLICIES
    CASES = [(name, POLICIES[number % len(POLICIES)]) for number, name in enumerate(OPTIONS)]


class Pair(keras.layers.Layer):
    """The contrast of a map with the same map turned round."""

    def __init__(self, interaction, dtype, **kwargs):
        super().__init__(dtype=dtype)
        self.contrast = ContrastiveChannelInteraction(interaction, dtype=dtype, **kwargs)

    def call(self, inputs):
        return self.contrast((inputs, ops.flip(inputs, axis=1)))[0]


def outputs_and_model(make, policy):
    inputs = keras.Input((2, 3, 4))
    layer = make(dtype=policy)
    model = keras.Model(inputs, layer(inputs))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(0.3 * rng.normal(size=weight.shape))
    features = rng.normal(size=(3, 2, 3, 4)).astype("float32")
    return called(model, features), model, layer


@functools.cache
def outputs_in_float32(name):
    return ops.convert_to_numpy(outputs_and_model(OPTIONS[name], "float32")[0])


@pytest.mark.parametrize(("name", "policy"), CASES)
def test_every_option_under_every_policy(name, policy):
    outputs, model, layer = outputs_and_model(OPTIONS[name], policy)
    expected = outputs_in_float32(name)
    dtype = keras.backend.standardize_dtype(outputs.dtype)
    assert dtype == layer.compute_dtype == model.output.dtype
    found = ops.convert_to_numpy(ops.cast(outputs, "float32"))
    size = np.abs(expected).max()
    tolerance = {"float16": 0.02, "bfloat16": 0.12, "float64": 1e-5}[dtype]
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * size)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_learned_scale_is_trained_in_full_precision(policy, untraced):
    inputs = keras.Input((2, 3, 4))
    layer = SELF(scale=0.1, learnable_scale=True, block_rows=3, pooling="avg", dtype=policy)
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    before = float(layer.log_scale)
    x = np.random.default_rng(0).normal(size=(3, 2, 3, 4)).astype("float32")
    model.fit(x, np.ones((3, 4)), verbose=0)
    assert layer.log_scale.dtype == "float32" and float(layer.log_scale) != before
    assert ops.convert_to_numpy(layer.interaction_weights(x)).dtype == np.float32


@pytest.mark.every_backend
@pytest.mark.parametrize("name", OPTIONS)
def test_a_batch_of_no_images(name):
    layer = OPTIONS[name](dtype="float32")
    some, none = (called(layer, np.zeros((count, 2, 3, 4), "float32")) for count in (2, 0))
    assert tuple(none.shape) == (0, *some.shape[1:])


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: SELF(positive="no"), "positive='no'"),
        (lambda: SELF(positive=1), "positive=1"),
        (lambda: SELF(learnable_scale="no"), "learnable_scale='no'"),
        (lambda: SELF(kernel_size=True), "kernel_size=True"),
        (lambda: SELF(kernel_size=(3, 0)), r"kernel_size=\(3, 0\)"),
        (lambda: SELF(kernel_size="3"), "kernel_size='3'"),
        (lambda: SELF(scale=True), "scale=True"),
        (lambda: SELF(scale=float("nan")), "scale=nan"),
        (lambda: SELF(block_rows=True), "block_rows=True"),
        (lambda: SELF(pooling=True), "pooling=True"),
        (lambda: SELF(data_format="last"), "data_format='last'"),
        (lambda: NonLocalBlock(inner_channels=2.0), "inner_channels=2.0"),
        (lambda: BilinearPooling(projection_dim=True), "projection_dim=True"),
    ],
)
def test_wrong_arguments_are_named(make, named):
    with pytest.raises(ValueError, match=f"Received: {named}"):
        make()


def test_numbers_of_numpy_are_numbers():
    layer = SELF(
        scale=np.float32(0.5),
        positive=np.True_,
        kernel_size=(np.int64(3), np.int32(1)),
        block_rows=np.int64(2),
    )
    config = layer.get_config()
    assert config["kernel_size"] == (3, 1) and config["positive"] is True
    assert type(config["scale"]) is float and type(config["block_rows"]) is int
    assert SELF(kernel_size=np.int64(3)).kernel_size == (3, 3)
    assert BilinearPooling(np.int64(3)).projection_dim == 3
