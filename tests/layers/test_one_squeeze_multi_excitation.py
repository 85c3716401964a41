import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.layers import OneSqueezeMultiExcitation
from tests import reference
from tests.one_program import called

pytestmark = pytest.mark.every_backend
SHAPE = (2, 3, 4, 6)


def feature_map(shape=SHAPE):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def make(shape=SHAPE, **kwargs):
    layer = OneSqueezeMultiExcitation(**{"units": 5, "reduction": 2, **kwargs})
    layer.build(shape)
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(0.5 * rng.normal(size=weight.shape))
    return layer


def expected_of(layer, x):
    attentions = [
        [[ops.convert_to_numpy(w).astype("float64") for w in part.weights] for part in parts]
        for parts in zip(layer.reduce, layer.gate, layer.project, strict=True)
    ]
    return np.stack([reference.one_squeeze_multi_excitation(m, attentions) for m in x])


@pytest.mark.parametrize("attentions", [1, 3])
def test_agrees_with_the_loop_over_the_whole_gated_map(attentions):
    x, layer = feature_map(), make(attentions=attentions)
    assert layer.reduce[0].kernel.shape == (6, 3)
    found = ops.convert_to_numpy(called(layer, x))
    assert found.shape == (2, attentions, 5)
    reference.assert_close(found, expected_of(layer, x.astype("float64")))


def test_channels_first():
    x, layer = feature_map(), make()
    moved = np.moveaxis(x, -1, 1).copy()
    first = make(moved.shape, data_format="channels_first")
    reference.assert_close(ops.convert_to_numpy(called(first, moved)), expected_of(layer, x))


def test_the_sizes_of_the_paper():
    layer = OneSqueezeMultiExcitation()
    layer.build((None, None, None, 2048))
    gates = 2 * (2048 * 128 + 128 + 128 * 2048 + 2048)
    assert layer.count_params() == gates + 2 * (2048 * 1024 + 1024)


def test_half_precision_and_saving(tmp_path):
    half = called(make(dtype="mixed_bfloat16"), feature_map())
    assert keras.backend.standardize_dtype(half.dtype) == "bfloat16"
    inputs = keras.Input((None, None, 6))
    layer = OneSqueezeMultiExcitation(3, units=4, reduction=3)
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for x in (feature_map(), feature_map((1, 2, 5, 6))):
        reference.assert_close(model.predict(x, verbose=0), expected_of(layer, x))
        np.testing.assert_array_equal(model.predict(x, verbose=0), loaded.predict(x, verbose=0))


def test_mistakes_are_named():
    for name in ("attentions", "units", "reduction"):
        with pytest.raises(ValueError, match=f"{name}=0"):
            OneSqueezeMultiExcitation(**{name: 0})
    with pytest.raises(ValueError, match=r"takes a feature map .*\(2, 6\)"):
        OneSqueezeMultiExcitation()(np.zeros((2, 6), "float32"))
