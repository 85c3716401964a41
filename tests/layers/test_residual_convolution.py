import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.layers import ResidualConvolution
from tests import reference
from tests.gradients import gradients
from tests.one_program import called

pytestmark = pytest.mark.every_backend


def make(**kwargs):
    return ResidualConvolution(
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.2, seed=1),
        bias_initializer=keras.initializers.RandomNormal(stddev=0.5, seed=2),
        **kwargs,
    )


def feature_map(shape=(2, 4, 5, 6)):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("kernel_size", [1, 3, (3, 5), 2])
@pytest.mark.parametrize("size", [(4, 6), (1, 1)])
def test_both_forms_agree_with_the_loop(size, kernel_size):
    x = feature_map((2, *size, 4))
    long, pooled = make(kernel_size=kernel_size), make(kernel_size=kernel_size, pooling="avg")
    z = ops.convert_to_numpy(called(long, x))
    kernel, bias = (ops.convert_to_numpy(w) for w in (long.phi.kernel, long.phi.bias))
    expected = np.stack([reference.convolve(m.astype("float64"), kernel, bias) + m for m in x])
    reference.assert_close(z, expected)
    pooled.build(x.shape)
    pooled.set_weights(long.get_weights())
    reference.assert_close(ops.convert_to_numpy(called(pooled, x)), expected.mean(axis=(1, 2)))


def test_the_pooled_form_has_the_gradients_of_the_long_one():
    x = feature_map()
    long, pooled = make(), make(pooling="avg")
    for layer in (long, pooled):
        layer.build(x.shape)
    pooled.set_weights(long.get_weights())
    factors = np.random.default_rng(3).normal(size=(2, 6)).astype("float32")

    def loss(layer):
        def scalar(x):
            z = layer(x)
            z = ops.mean(z, axis=(1, 2)) if len(z.shape) == 4 else z
            return ops.sum(ops.multiply(z, factors))

        return scalar

    expected, found = (gradients(loss(layer), [x], layer) for layer in (long, pooled))
    assert len(found) == 3, "by the input, φ's kernel and φ's bias"
    for gradient, of_pooled in zip(expected, found, strict=True):
        reference.assert_close(of_pooled, gradient)


@pytest.mark.parametrize("pooling", [None, "avg"])
def test_sizes_may_be_unknown_and_saving_keeps_all(tmp_path, pooling):
    inputs = keras.Input((None, None, 6))
    outputs = make(pooling=pooling, dtype="mixed_bfloat16")(inputs)
    assert outputs.shape == ((None, 6) if pooling else (None, None, None, 6))
    assert outputs.dtype == "bfloat16"
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].phi.compute_dtype == "bfloat16"
    for x in (feature_map(), feature_map((3, 2, 7, 6))):
        np.testing.assert_array_equal(model.predict(x, verbose=0), loaded.predict(x, verbose=0))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="pooling='max'"):
        ResidualConvolution(pooling="max")
    with pytest.raises(ValueError, match=r"ResidualConvolution takes a feature map .*\(2, 6\)"):
        make()(np.zeros((2, 6), "float32"))
