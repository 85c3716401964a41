"""Layers that are frozen, or trained again, after the model was compiled."""

import keras
import numpy as np
import pytest

import cin_keras
from tests.models.networks import tiny_cin

IMAGES = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")
LABELS = np.array([0, 1, 2, 0])


def fit(model):
    model.fit(IMAGES, LABELS, batch_size=2, verbose=0)


def kernel(model):
    (layer, *_) = [layer for layer in model.backbone.layers if layer.weights]
    return keras.ops.convert_to_numpy(layer.weights[0]).copy()


@pytest.mark.every_backend(on_jax=False)
def test_what_is_frozen_after_training_stays():
    model = tiny_cin(interaction=None, contrast=None, randomize=False, size=32)
    before = kernel(model)
    fit(model)
    trained = kernel(model)
    assert abs(trained - before).max() > 0
    model.backbone.trainable = False
    fit(model)
    np.testing.assert_array_equal(kernel(model), trained)


@pytest.mark.every_backend(on_jax=False)
@pytest.mark.parametrize("loaded", [False, True])
def test_what_is_trained_again_must_be_compiled_again(tmp_path, loaded):
    model = tiny_cin(interaction=None, contrast=None, randomize=False, size=32)
    model.backbone.trainable = False
    model.compile(keras.optimizers.SGD(0.1), cin_keras.losses.SoftmaxCrossentropy())
    fit(model)
    if loaded:
        model.save(tmp_path / "model.keras")
        model = cin_keras.load_model(tmp_path / "model.keras")
    before = kernel(model)
    model.backbone.trainable = True
    with pytest.raises(ValueError, match="trained again were frozen when the model was compiled"):
        fit(model)
    model.compile_from_config(model.get_compile_config())
    fit(model)
    assert abs(kernel(model) - before).max() > 0


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a function of TensorFlow that is traced")
def test_ctrl_c_in_the_first_step_leaves_the_next_fit_alone():
    class CtrlC(keras.losses.Loss):
        pressed = False

        def call(self, y_true, y_pred):
            if not self.pressed:
                self.pressed = True
                raise KeyboardInterrupt
            return cin_keras.losses.SoftmaxCrossentropy().call(y_true, y_pred)

    model = tiny_cin(interaction=None, contrast=None, randomize=False, size=32)
    model.compile("adam", CtrlC(), metrics=["accuracy"])
    with pytest.raises(KeyboardInterrupt):
        fit(model)
    fit(model)
