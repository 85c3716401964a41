import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.layers import BilinearPooling
from tests import reference
from tests.gradients import gradients
from tests.one_program import called

pytestmark = pytest.mark.every_backend


def feature_map(channels=5, seed=0):
    return np.random.default_rng(seed).normal(size=(2, 3, 4, channels)).astype("float32")


def expected_of(a, b):
    return np.stack(
        [
            reference.bilinear_pooling(*maps)
            for maps in zip(a.astype("float64"), b.astype("float64"), strict=True)
        ]
    )


def test_one_map_and_two_agree_with_the_loop():
    a, b = feature_map(5), feature_map(3, seed=1)
    one = ops.convert_to_numpy(called(BilinearPooling(), a))
    reference.assert_close(one, expected_of(a, a))
    two = ops.convert_to_numpy(called(BilinearPooling(), (a, b)))
    assert two.shape == (2, 15)
    reference.assert_close(two, expected_of(a, b))
    np.testing.assert_allclose(np.linalg.norm(two, axis=1), 1.0, rtol=1e-5)


def test_the_projections_are_two_and_come_first():
    a, b = feature_map(5), feature_map(3, seed=1)
    for inputs, second in ((a, a), ((a, b), b)):
        layer = BilinearPooling(projection_dim=2)
        outputs = ops.convert_to_numpy(called(layer, inputs))
        kernel_a, kernel_b = (ops.convert_to_numpy(p.kernel) for p in layer.projections)
        assert len(layer.weights) == 2
        reference.assert_close(outputs, expected_of(a @ kernel_a, second @ kernel_b))
    same_shape = BilinearPooling(projection_dim=2)
    same_shape.build(a.shape)
    first, second = (ops.convert_to_numpy(p.kernel) for p in same_shape.projections)
    assert np.abs(first - second).max() > 0.01


def test_the_order_of_positions_does_not_matter():
    a = feature_map()
    turned = a[:, ::-1, ::-1].copy()
    layer = BilinearPooling()
    outputs = (ops.convert_to_numpy(called(layer, x)) for x in (turned, a))
    reference.assert_close(*outputs)


def test_channels_first():
    a, b = feature_map(5), feature_map(3, seed=1)
    moved = [np.moveaxis(x, -1, 1).copy() for x in (a, b)]
    first = BilinearPooling(data_format="channels_first")(moved)
    reference.assert_close(ops.convert_to_numpy(first), expected_of(a, b))


def test_gradients_agree_with_central_differences_and_are_finite_at_zero():
    a = feature_map(3)
    factors = np.random.default_rng(2).normal(size=(2, 9))
    layer = BilinearPooling()
    layer.build(a.shape)

    def scalar(x):
        return ops.sum(ops.multiply(layer(x), factors.astype("float32")))

    found = gradients(scalar, [a], layer)[0]
    expected = reference.gradient(
        lambda p: np.sum(expected_of(p["x"], p["x"]) * factors), {"x": a.astype("float64")}
    )["x"]
    reference.assert_close(found, expected, relative=1e-3)
    a[0] = 0.0
    a[1, :, :, 0] = 0.0
    assert np.isfinite(gradients(scalar, [a], layer)[0]).all()
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(a))[0], 0.0)


def test_half_precision_computes_the_products_in_float32():
    a = 200.0 * np.abs(feature_map())
    layer = BilinearPooling(dtype="mixed_float16")
    outputs = layer(a)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float16"
    reference.assert_close(
        ops.convert_to_numpy(ops.cast(outputs, "float32")), expected_of(a, a), relative=0.01
    )


@pytest.mark.parametrize("projection_dim", [None, 2])
def test_sizes_may_be_unknown_and_saving_keeps_all(tmp_path, projection_dim):
    inputs = keras.Input((None, None, 5)), keras.Input((None, None, 3))
    outputs = BilinearPooling(projection_dim)(inputs)
    assert outputs.shape == (None, 4 if projection_dim else 15)
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    pair = [feature_map(5), feature_map(3, seed=1)]
    np.testing.assert_array_equal(model.predict(pair, verbose=0), loaded.predict(pair, verbose=0))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="projection_dim=0"):
        BilinearPooling(projection_dim=0)
    with pytest.raises(ValueError, match="3 inputs"):
        BilinearPooling()([feature_map()] * 3)
    with pytest.raises(ValueError, match=r"agree in .*height and width.*\(2, 3, 4, 5\)"):
        BilinearPooling()((feature_map(), np.zeros((2, 4, 4, 5), "float32")))
    with pytest.raises(ValueError, match=r"BilinearPooling takes a feature map .*\(2, 5\)"):
        BilinearPooling()(np.zeros((2, 5), "float32"))
