import keras
import numpy as np
import pytest

import cin_keras
from tests.models.networks import tiny_cin

pytestmark = [
    pytest.mark.every_backend,
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="another backend's way"),
]


@keras.saving.register_keras_serializable(package="tests")
class UpperHalf(keras.layers.Layer):
    """Of a map, by a number of rows that Python has computed."""

    def call(self, x):
        return x if x.shape[1] is None else x[:, : int(x.shape[1]) // 2]


def network(*layers, size=None, **kwargs):
    """A CIN, of any image size unless one is given, of layers that are not the same everywhere."""
    keras.utils.set_random_seed(1)
    images = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    for layer in layers:
        x = layer(x)
    backbone = keras.Model(images, x, name="backbone")
    return cin_keras.CIN(3, backbone, None, (size, size, 3), contrast=None, **kwargs)


def of_strides():
    """Whose padding depends on the size: of an odd one and an even one, on other sides."""
    return [
        keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
        keras.layers.DepthwiseConv2D(5, strides=3, padding="same"),
        keras.layers.MaxPooling2D(3, strides=2, padding="same"),
    ]


def answers(path, images):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = onnxruntime.InferenceSession(path)
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def assert_agrees(path, model, sizes, tolerance=1e-4):
    for count, height, width in sizes:
        shape = (count, height, width, 3)
        images = np.random.default_rng(height).uniform(0, 255, shape).astype("float32")
        expected = model.predict(images, verbose=0)
        np.testing.assert_allclose(answers(path, images), expected, rtol=0, atol=tolerance)


def test_images_of_any_size(tmp_path):
    model = network(*of_strides())
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    sizes = [(1, 224, 224), (2, 63, 64), (3, 64, 63), (1, 61, 95), (5, 30, 31)]
    assert_agrees(tmp_path / "model.onnx", model, sizes)


def test_images_of_one_size(tmp_path):
    model = network(*of_strides(), size=45)
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    assert_agrees(tmp_path / "model.onnx", model, [(1, 45, 45), (4, 45, 45)])


def test_padding_of_what_a_layer_before_has_left(tmp_path):
    """As in Xception, at one size, too."""
    convolution = keras.layers.Conv2D(4, 3, strides=2, activation="relu")
    separable = keras.layers.SeparableConv2D(4, 3, padding="same")
    pooling = keras.layers.MaxPooling2D(3, strides=2, padding="same")
    model = network(convolution, separable, pooling, size=47)
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    assert_agrees(tmp_path / "model.onnx", model, [(1, 47, 47), (4, 47, 47)])


def test_half_precision(tmp_path):
    """No runtime has bfloat16's convolution; the model computes in it as before, afterwards."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = network(*of_strides(), size=45)
    finally:
        keras.config.set_dtype_policy("float32")
    before = [layer.compute_dtype for layer in model.backbone.layers]
    assert set(before) == {"bfloat16"}
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    assert [layer.compute_dtype for layer in model.backbone.layers] == before
    assert_agrees(tmp_path / "model.onnx", model, [(2, 45, 45)], tolerance=3e-2)


def refuse(model, path, message):
    with pytest.raises(RuntimeError, match=message) as raised:
        model.export(path, format="onnx", verbose=False)
    assert "\n" not in str(raised.value)
    assert not list(path.parent.iterdir()), "no part of a file"


def test_a_size_that_python_computes_is_found_before_writing(tmp_path):
    model = network(UpperHalf(), keras.layers.Conv2D(4, 3, name="last"))
    message = "made at 224×224 pixels would be wrong at 257×241 .*input_signature=.*KERAS_BACKEND"
    refuse(model, tmp_path / "model.onnx", message)
    only = [keras.InputSpec(shape=(None, 40, 32, 3), name="images")]
    model.export(tmp_path / "one.onnx", format="onnx", verbose=False, input_signature=only)
    assert_agrees(tmp_path / "one.onnx", model, [(2, 40, 32)])


def test_images_that_the_network_does_not_take(tmp_path):
    model = network(keras.layers.Conv2D(4, 230, strides=9))
    refuse(model, tmp_path / "model.onnx", "at 224×224 pixels.*Set `model.image_size`")
    model.image_size = 240
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    assert_agrees(tmp_path / "model.onnx", model, [(1, 240, 240), (2, 250, 240)])


def test_what_pytorch_cannot_write(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise ValueError("Exception when calling A.call().\n\nno such operator\n\nArguments: 1")

    monkeypatch.setattr("torch.onnx.export", fail)
    message = "cannot write this network as ONNX: .*no such operator.*KERAS_BACKEND=tensorflow"
    refuse(tiny_cin(), tmp_path / "model.onnx", message)
