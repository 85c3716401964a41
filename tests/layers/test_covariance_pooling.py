import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.layers import CovariancePooling
from tests import reference
from tests.gradients import gradients
from tests.one_program import called

pytestmark = pytest.mark.every_backend


def feature_map(channels=5, seed=0):
    return np.random.default_rng(seed).normal(1.0, size=(2, 3, 4, channels)).astype("float32")


def expected_of(maps, iterations):
    return np.stack([reference.covariance_root(x, iterations) for x in maps.astype("float64")])


def numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_agrees_with_the_loop(iterations):
    x = feature_map()
    outputs = called(CovariancePooling(None, iterations), x)
    reference.assert_close(numpy(outputs), expected_of(x, iterations))


def test_many_iterations_reach_the_exact_root():
    x = feature_map(3)
    reference.assert_close(numpy(called(CovariancePooling(None, 20), x)), expected_of(x, None))


def test_neither_a_shift_nor_the_order_of_positions_matters():
    x, layer = feature_map(), CovariancePooling(None)
    expected = numpy(called(layer, x))
    reference.assert_close(numpy(called(layer, x + 3.0)), expected)
    reference.assert_close(numpy(called(layer, x[:, ::-1, ::-1].copy())), expected)


def test_a_factor_of_the_map_is_one_of_the_output():
    x, layer = feature_map(), CovariancePooling(None)
    for factor in (1e-6, 1e6):
        found = numpy(called(layer, np.float32(factor) * x)) / factor
        reference.assert_close(found, numpy(called(layer, x)))


def test_the_projection_is_normalised_and_rectified_first():
    x, layer = feature_map(6), CovariancePooling(3)
    layer.build(x.shape)
    rng = np.random.default_rng(1)
    shapes = [tuple(w.shape) for w in layer.weights]
    assert sorted(shapes) == [(3,)] * 4 + [(6, 3)]
    gamma, beta, mean = (rng.normal(size=3).astype("float32") for _ in range(3))
    variance = rng.uniform(0.5, 2.0, 3).astype("float32")
    layer.normalization.set_weights([gamma, beta, mean, variance])
    projected = x @ ops.convert_to_numpy(layer.projection.kernel)
    for training in (False, True):
        if training:
            mean, variance = projected.mean(axis=(0, 1, 2)), projected.var(axis=(0, 1, 2))
        normal = (projected - mean) / np.sqrt(variance + layer.normalization.epsilon)
        rectified = np.maximum(gamma * normal + beta, 0.0)
        found = numpy(layer(x, training=training))
        reference.assert_close(found, expected_of(rectified, 5), relative=1e-3)


def test_channels_first():
    x = feature_map()
    moved = np.moveaxis(x, -1, 1).copy()
    outputs = called(CovariancePooling(None, data_format="channels_first"), moved)
    reference.assert_close(numpy(outputs), expected_of(x, 5))


def test_gradients_agree_with_central_differences():
    x = feature_map(3)
    factors = np.random.default_rng(2).normal(size=(2, 6))
    layer = CovariancePooling(None)
    layer.build(x.shape)

    def scalar(x):
        return ops.sum(ops.multiply(layer(x), factors.astype("float32")))

    expected = reference.gradient(
        lambda p: np.sum(expected_of(p["x"], 5) * factors), {"x": x.astype("float64")}
    )["x"]
    reference.assert_close(
        gradients(scalar, [x], layer, compiled=False)[0], expected, relative=1e-3
    )


@pytest.mark.parametrize("projection_dim", [None, 2])
def test_positions_that_are_alike_give_zero_and_finite_gradients(projection_dim):
    x = feature_map()
    x[0] = 0.1 * np.arange(5)
    x[1, :, :, 0] = 0.3
    layer = CovariancePooling(projection_dim)
    layer.build(x.shape)
    np.testing.assert_array_equal(numpy(called(layer, x))[0], 0.0)
    zero = np.zeros_like(x)
    np.testing.assert_array_equal(numpy(called(layer, zero)), 0.0)
    for given in (x, zero, 1e-15 * feature_map()):
        for gradient in gradients(lambda x: ops.sum(layer(x)), [given], layer, compiled=False):
            assert np.isfinite(gradient).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_computes_the_root_in_float32(policy):
    half = policy.removeprefix("mixed_")
    x = ops.cast(1000.0 * feature_map(), half)
    outputs = CovariancePooling(None, dtype=policy)(x)
    assert keras.backend.standardize_dtype(outputs.dtype) == half
    exact = CovariancePooling(None, dtype="float32")(ops.cast(x, "float32"))
    np.testing.assert_array_equal(numpy(outputs), numpy(ops.cast(exact, half)))


@pytest.mark.parametrize("projection_dim", [None, 3])
def test_sizes_may_be_unknown_and_saving_keeps_all(tmp_path, projection_dim):
    inputs = keras.Input((None, None, 5))
    outputs = CovariancePooling(projection_dim, iterations=3)(inputs)
    assert outputs.shape == (None, 6 if projection_dim else 15)
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].iterations == 3
    x = feature_map()
    np.testing.assert_array_equal(*(ops.convert_to_numpy(one(x)) for one in (model, loaded)))


def test_trains_inside_a_network():
    keras.utils.set_random_seed(0)
    x, labels = feature_map(), np.array([0, 1])
    model = keras.Sequential(
        [CovariancePooling(4), keras.layers.Dense(2)],
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = model.fit(x, labels, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    kernel = model.layers[0].projection.kernel
    assert kernel.trainable and kernel.path.endswith("projection/kernel")


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="projection_dim=0"):
        CovariancePooling(0)
    with pytest.raises(ValueError, match="iterations=0"):
        CovariancePooling(iterations=0)
    with pytest.raises(ValueError, match="data_format='last'"):
        CovariancePooling(data_format="last")
    with pytest.raises(ValueError, match=r"CovariancePooling takes a feature map .*\(2, 5\)"):
        CovariancePooling()(np.zeros((2, 5), "float32"))
    with pytest.raises(ValueError, match="number of channels"):
        CovariancePooling()(keras.Input((4, 4, None)))
