import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.layers import CompactGeneralizedNonLocal
from tests import reference
from tests.one_program import called

pytestmark = pytest.mark.every_backend
SHAPE = (2, 3, 4, 8)


def feature_map(shape=SHAPE):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def make(shape=SHAPE, **kwargs):
    block = CompactGeneralizedNonLocal(**{"groups": 2, **kwargs})
    block.build(shape)
    rng = np.random.default_rng(1)
    for weight in block.weights:
        weight.assign(0.5 * rng.normal(size=weight.shape))
    return block


def expected_of(block, x):
    linear = [block.theta.kernel, block.phi.kernel, block.g.kernel, block.w_z]
    linear += [block.normalization.gamma, block.normalization.beta]
    weights = [ops.convert_to_numpy(weight).astype("float64") for weight in linear]
    maps = [reference.compact_generalized_non_local(m.astype("float64"), *weights) for m in x]
    return np.stack(maps)


@pytest.mark.parametrize(("inner_channels", "groups"), [(None, 2), (4, 4), (6, 1)])
def test_agrees_with_the_loop(inner_channels, groups):
    x, block = feature_map(), make(inner_channels=inner_channels, groups=groups)
    assert block.theta.kernel.shape == (8, inner_channels or 4)
    reference.assert_close(ops.convert_to_numpy(called(block, x)), expected_of(block, x))


def test_channels_first():
    x, block = feature_map(), make()
    moved = np.moveaxis(x, -1, 1).copy()
    first = make(moved.shape, data_format="channels_first")
    first.set_weights(block.get_weights())
    expected = np.moveaxis(expected_of(block, x), -1, 1)
    reference.assert_close(ops.convert_to_numpy(called(first, moved)), expected)


def test_starts_as_the_identity_and_with_small_weights():
    x, block = feature_map((2, 3, 4, 16)), CompactGeneralizedNonLocal()
    np.testing.assert_array_equal(ops.convert_to_numpy(called(block, x)), x)
    kernels = [ops.convert_to_numpy(layer.kernel) for layer in (block.theta, block.phi, block.g)]
    assert all(0.005 < kernel.std() < 0.02 for kernel in kernels)
    assert not np.array_equal(kernels[0], kernels[1])


def test_half_precision_keeps_sums_and_weights_in_float32():
    """Float16 ends at 65,504, which the unscaled attention exceeds here."""
    x, block = 20 * feature_map(), make(dtype="mixed_float16")
    assert block.w_z.dtype == "float32"
    y = block(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    reference.assert_close(ops.convert_to_numpy(y), expected_of(block, x), relative=5e-3)


def test_sizes_may_be_unknown_and_saving_keeps_all(tmp_path):
    inputs = keras.Input((None, None, 8))
    block = CompactGeneralizedNonLocal(4, groups=4, kernel_initializer="random_normal")
    model = keras.Model(inputs, block(inputs))
    for weight in block.weights:
        weight.assign(weight + 0.1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for x in (feature_map(), feature_map((1, 2, 5, 8))):
        reference.assert_close(model.predict(x, verbose=0), expected_of(block, x))
        np.testing.assert_array_equal(model.predict(x, verbose=0), loaded.predict(x, verbose=0))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="inner_channels=0"):
        CompactGeneralizedNonLocal(inner_channels=0)
    with pytest.raises(ValueError, match="groups=0"):
        CompactGeneralizedNonLocal(groups=0)
    with pytest.raises(ValueError, match="divide .*, 6 and 3. Received: groups=2"):
        CompactGeneralizedNonLocal(groups=2)(np.zeros((2, 3, 4, 6), "float32"))
    with pytest.raises(ValueError, match="data_format='last'"):
        CompactGeneralizedNonLocal(data_format="last")
    with pytest.raises(ValueError, match=r"takes a feature map .*\(2, 6\)"):
        CompactGeneralizedNonLocal()(np.zeros((2, 6), "float32"))


def test_whole_numbers_are_taken_as_floats():
    x = np.random.default_rng(0).integers(0, 9, (2, 3, 3, 4))
    layer = CompactGeneralizedNonLocal(groups=2)
    whole, floats = (ops.convert_to_numpy(layer(x.astype(kind))) for kind in ("int32", "float32"))
    np.testing.assert_allclose(whole, floats, rtol=1e-6)
