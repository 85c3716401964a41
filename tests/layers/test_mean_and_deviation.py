import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.layers import MeanAndDeviation
from tests import reference
from tests.gradients import gradients

pytestmark = pytest.mark.every_backend


def feature_map(channels=5, seed=0):
    return np.random.default_rng(seed).normal(1.0, size=(2, 3, 4, channels)).astype("float32")


def expected_of(maps):
    return np.stack([reference.mean_and_deviation(x) for x in maps.astype("float64")])


def numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def test_agrees_with_the_loop():
    x = feature_map()
    reference.assert_close(numpy(MeanAndDeviation()(x)), expected_of(x))
    far = x + 1000.0
    reference.assert_close(numpy(MeanAndDeviation()(far))[:, 5:], expected_of(far)[:, 5:])


def test_channels_first():
    x = feature_map()
    outputs = MeanAndDeviation(data_format="channels_first")(np.moveaxis(x, -1, 1).copy())
    reference.assert_close(numpy(outputs), expected_of(x))


def test_gradients_agree_with_central_differences_and_are_finite_for_constant_channels():
    x = feature_map(3)
    factors = np.random.default_rng(2).normal(size=(2, 6))
    layer = MeanAndDeviation()
    layer.build(x.shape)

    def scalar(x):
        return ops.sum(ops.multiply(layer(x), factors.astype("float32")))

    expected = reference.gradient(
        lambda p: np.sum(expected_of(p["x"]) * factors), {"x": x.astype("float64")}
    )["x"]
    reference.assert_close(gradients(scalar, [x], layer)[0], expected, relative=1e-3)
    x[0] = 0.0
    x[1, :, :, 0] = 0.1
    outputs = numpy(layer(x))
    np.testing.assert_array_equal(outputs[0], 0.0)
    assert outputs[1, 3] == 0.0 and outputs[1, 4] > 0.0
    found = gradients(scalar, [x], layer)[0]
    assert np.isfinite(found).all()
    # Of a constant channel only the mean has a gradient, the same at every position.
    np.testing.assert_allclose(found[1, :, :, 0], factors[1, 0] / 12, rtol=1e-5)


def test_one_position_has_no_deviation():
    x = feature_map()[:, :1, :1]
    outputs = numpy(MeanAndDeviation()(x))
    np.testing.assert_array_equal(outputs, np.concatenate([x[:, 0, 0], 0 * x[:, 0, 0]], axis=1))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_computes_the_squares_in_float32(policy):
    half = policy.removeprefix("mixed_")
    x = ops.cast(1000.0 * feature_map(), half)
    outputs = MeanAndDeviation(dtype=policy)(x)
    assert keras.backend.standardize_dtype(outputs.dtype) == half
    reference.assert_close(numpy(outputs), expected_of(numpy(x)), relative=0.01)


def test_sizes_may_be_unknown_and_saving_keeps_all(tmp_path):
    inputs = keras.Input((5, None, None))
    outputs = MeanAndDeviation(data_format="channels_first")(inputs)
    assert outputs.shape == (None, 10)
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = np.moveaxis(feature_map(), -1, 1).copy()
    np.testing.assert_array_equal(model.predict(x, verbose=0), loaded.predict(x, verbose=0))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="data_format='last'"):
        MeanAndDeviation(data_format="last")
    with pytest.raises(ValueError, match=r"MeanAndDeviation takes a feature map .*\(2, 5\)"):
        MeanAndDeviation()(np.zeros((2, 5), "float32"))
    with pytest.raises(ValueError, match="number of channels"):
        MeanAndDeviation()(keras.Input((4, 4, None)))
