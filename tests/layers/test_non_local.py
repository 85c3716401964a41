import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.layers import NonLocalBlock
from tests import reference
from tests.one_program import called

pytestmark = pytest.mark.every_backend


def feature_map(shape=(2, 3, 4, 6)):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def make(shape=(2, 3, 4, 6), **kwargs):
    block = NonLocalBlock(**kwargs)
    block.build(shape)
    rng = np.random.default_rng(1)
    for weight in block.weights:
        weight.assign(0.5 * rng.normal(size=weight.shape))
    return block


def expected_of(block, x):
    maps = [
        [ops.convert_to_numpy(w).astype("float64") for w in layer.weights]
        for layer in (block.theta, block.phi, block.g, block.w_z)
    ]
    maps[1].append(np.zeros(1))
    return np.stack([reference.non_local(m.astype("float64"), *maps) for m in x])


@pytest.mark.parametrize("inner_channels", [None, 1, 5])
def test_agrees_with_the_loop(inner_channels):
    x, block = feature_map(), make(inner_channels=inner_channels)
    assert block.theta.kernel.shape == (6, inner_channels or 3)
    reference.assert_close(ops.convert_to_numpy(called(block, x)), expected_of(block, x))
    attention = ops.convert_to_numpy(block.attention(x))
    assert attention.shape == (2, 12, 12)
    np.testing.assert_allclose(attention.sum(axis=-1), 1.0, rtol=1e-5)


def test_channels_first():
    x, block = feature_map(), make()
    moved = np.moveaxis(x, -1, 1).copy()
    first = make(moved.shape, data_format="channels_first")
    first.set_weights(block.get_weights())
    expected = np.moveaxis(ops.convert_to_numpy(called(block, x)), -1, 1)
    reference.assert_close(ops.convert_to_numpy(called(first, moved)), expected)
    attention = ops.convert_to_numpy(first.attention(moved))
    reference.assert_close(attention, ops.convert_to_numpy(block.attention(x)))


def test_starts_as_the_identity():
    x = feature_map()
    np.testing.assert_array_equal(ops.convert_to_numpy(NonLocalBlock()(x)), x)


def test_permuted_positions_permute_the_output():
    x, block = feature_map(), make()
    turned = x[:, ::-1, ::-1].copy()
    expected = ops.convert_to_numpy(called(block, x))[:, ::-1, ::-1]
    reference.assert_close(ops.convert_to_numpy(called(block, turned)), expected)


def test_half_precision_keeps_the_weights_in_float32():
    x, block = feature_map(), make(dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(block(x).dtype) == "bfloat16"
    attention = block.attention(x)
    assert keras.backend.standardize_dtype(attention.dtype) == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(attention).sum(axis=-1), 1.0, rtol=1e-5)


def test_sizes_may_be_unknown_and_saving_keeps_all(tmp_path):
    inputs = keras.Input((None, None, 6))
    block = NonLocalBlock(inner_channels=4, output_initializer="random_normal")
    model = keras.Model(inputs, block(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for x in (feature_map(), feature_map((1, 2, 5, 6))):
        reference.assert_close(model.predict(x, verbose=0), expected_of(block, x))
        np.testing.assert_array_equal(model.predict(x, verbose=0), loaded.predict(x, verbose=0))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="inner_channels=0"):
        NonLocalBlock(inner_channels=0)
    with pytest.raises(ValueError, match="data_format='last'"):
        NonLocalBlock(data_format="last")
    with pytest.raises(ValueError, match=r"NonLocalBlock takes a feature map .*\(2, 6\)"):
        NonLocalBlock()(np.zeros((2, 6), "float32"))


def test_whole_numbers_are_taken_as_floats():
    x = np.random.default_rng(0).integers(0, 9, (2, 3, 3, 4))
    layer = NonLocalBlock()
    whole, floats = (ops.convert_to_numpy(layer(x.astype(kind))) for kind in ("int32", "float32"))
    np.testing.assert_allclose(whole, floats, rtol=1e-6)
