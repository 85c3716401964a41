import warnings

import keras
import numpy as np
import pytest

import cin_keras
from cin_keras.models import classifier, load
from tests.models.networks import pair_batch, tiny_cin

pytestmark = pytest.mark.every_backend


def quantize(model, mode="int8"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers that have nothing to quantize
        model.quantize(mode)
    return model


def scores(model, images):
    """Without `predict`, which compiles first."""
    return keras.ops.convert_to_numpy(model(images))


def dense_backbone():
    """With a Dense layer, which is quantized, too."""
    images = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    return keras.Model(images, keras.layers.Dense(4, activation="relu")(x), name="dense")


@pytest.mark.parametrize("form", [{}, {"backbone": "dense"}, {"contrast": "embedding"}])
def test_a_quantized_model_comes_back(tmp_path, form):
    form = {**form, "randomize": "contrast" not in form}
    if "backbone" in form:
        form["backbone"] = dense_backbone()
    model = quantize(tiny_cin(**form))
    images = pair_batch()[0][0]
    model.save(tmp_path / "model.keras")
    loaded = cin_keras.load_model(tmp_path / "model.keras")
    for found in (loaded, keras.saving.load_model(tmp_path / "model.keras")):
        for a, b in zip(found.weights, model.weights, strict=True):
            assert a.path == b.path and a.dtype == b.dtype
            np.testing.assert_array_equal(
                keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
            )
        expected = scores(model, images)
        np.testing.assert_allclose(scores(found, images), expected, rtol=1e-5)
    assert loaded.classifier.quantization_mode == "int8"
    loaded.save(tmp_path / "again.keras")
    cin_keras.load_model(tmp_path / "again.keras")

    model.save_weights(tmp_path / "model.weights.h5")
    other = cin_keras.CIN.from_config(model.get_config())
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(scores(other, images), expected, rtol=1e-5)


def test_what_could_not_be_loaded_is_not_saved(tmp_path, monkeypatch):
    model = tiny_cin()
    for name in ("model.h5", "model.hdf5", "model.H5"):
        with pytest.raises(ValueError, match="not saved as HDF5.*ψ.*'.keras'.*model.weights.h5"):
            model.save(tmp_path / name)
    with pytest.raises(ValueError, match="not saved as HDF5.*ψ.*keras.saving.save_model"):
        keras.saving.save_model(model, tmp_path / "model.h5")
    (tmp_path / "model.h5").unlink()  # which Keras has opened before it asks
    with pytest.raises(ValueError, match=r"after model.quantize\('int8'\) alone.*'int4'"):
        quantize(tiny_cin(), "int4").save(tmp_path / "model.keras")
    grouped = tiny_cin(hierarchy={"make": ["A", "A", "B"]}, class_names=["a", "b", "c"])
    grouped.hierarchy["make"].append("C")
    with pytest.raises(ValueError, match=r"`hierarchy\['make'\]` must hold one group for each of the 3"):
        grouped.save(tmp_path / "model.keras")
    del grouped.hierarchy["make"][-1]
    grouped.class_names[0] = "b"
    with pytest.raises(ValueError, match="`class_names` must differ from each other"):
        grouped.save(tmp_path / "model.keras")
    monkeypatch.setattr("cin_keras.models.save.MAX_CONFIG", 1000)
    with pytest.raises(ValueError, match="must not have more than 1,000 bytes.*Received: "):
        model.save(tmp_path / "model.keras")
    assert not list(tmp_path.iterdir()) and load.MAX_CONFIG == 2**23


@pytest.mark.parametrize("nested", [False, True])
def test_a_layer_of_python_code_is_said_when_saving(tmp_path, nested):
    images = keras.Input((8, 8, 3))
    scale = keras.layers.Lambda(lambda x: x / 255, name="scale")
    scale = keras.Sequential([scale]) if nested else scale
    maps = keras.layers.Conv2D(4, 3)(scale(images))
    model = cin_keras.CIN(3, backbone=keras.Model(images, maps), input_shape=(8, 8, 3))
    with pytest.warns(UserWarning, match="layer 'scale' holds Python code, a lambda, which cin_keras"):
        model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="Python code"):
        cin_keras.load_model(tmp_path / "model.keras")


def test_a_layer_of_a_callable_object_is_no_lambda(tmp_path):
    images = keras.Input((8, 8, 3))
    scaled = keras.layers.Lambda(keras.layers.Rescaling(1 / 255))(images)
    maps = keras.layers.Conv2D(4, 3)(scaled)
    model = cin_keras.CIN(3, backbone=keras.Model(images, maps), input_shape=(8, 8, 3))
    model.save(tmp_path / "model.keras")
    loaded, images = cin_keras.load_model(tmp_path / "model.keras"), pair_batch()[0][0]
    np.testing.assert_allclose(scores(loaded, images), scores(model, images), rtol=1e-5)


def test_weights_without_the_contrast_are_refused(tmp_path, monkeypatch):
    """A file of old has the layers from images to scores alone, and Keras does not say so."""
    plain = tiny_cin(contrast=None, randomize=False)
    monkeypatch.setattr(classifier, "is_writing_hdf5", lambda: False)
    keras.saving.save_model(plain, tmp_path / "plain.h5")
    with pytest.raises(
        ValueError, match="nothing that only training runs: give a '.keras'.*plain.h5"
    ):
        tiny_cin().load_weights(tmp_path / "plain.h5")
    plain.load_weights(tmp_path / "plain.h5")
    for name in ("model.weights.h5", "model.keras"):
        model = tiny_cin()
        (model.save_weights if "weights" in name else model.save)(tmp_path / name)
        other = tiny_cin()
        for weight in other.weights:
            weight.assign(keras.ops.zeros(weight.shape))
        other.load_weights(tmp_path / name)
        for a, b in zip(other.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["cin.weights.h5", "cin.keras"])
def test_weights_of_another_head_are_never_left_out_in_silence(tmp_path, name):
    """Keras says what a file lacks; of what it has too much, nothing."""

    def put(model):
        (model.save_weights if "weights" in name else model.save)(tmp_path / name)

    put(tiny_cin())
    with pytest.warns(UserWarning, match="of another head: its .*embedding.*contrast=None"):
        tiny_cin(contrast=None, randomize=False).load_weights(tmp_path / name)
    with pytest.warns(UserWarning, match="self_channel_interaction found no place.*=None"):
        tiny_cin(interaction=None, contrast=None, randomize=False).load_weights(tmp_path / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny_cin().load_weights(tmp_path / name)
    put(tiny_cin(contrast=None, randomize=False))
    with pytest.raises(ValueError, match="could not be loaded"):
        tiny_cin().load_weights(tmp_path / name)
