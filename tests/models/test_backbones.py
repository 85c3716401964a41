import keras
import numpy as np
import pytest
from keras import ops

import cin_keras
from cin_keras.models import backbones
from cin_keras.models.backbones import build_backbone
from tests.models.networks import (
    normalized_backbone,
    shorten_mobilenet,
    shorten_resnet,
    tiny_backbone,
)

# The others are long to build.
EVERY_BACKEND = pytest.mark.every_backend
# JAX takes long, too, and what Keras makes of a name and of a file is the same there.
TWO_BACKENDS = pytest.mark.every_backend(on_jax=False)


def images_of(size):
    return np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype("float32")


@pytest.mark.parametrize(
    ("name", "layer", "module"),
    [
        ("resnet50", "conv2_block1_out", keras.applications.resnet),
        pytest.param(
            "mobilenet", "conv_pw_2_relu", keras.applications.mobilenet, marks=TWO_BACKENDS
        ),
    ],
)
def test_a_named_backbone_brings_its_own_preprocessing(name, layer, module, monkeypatch):
    shorten_mobilenet(monkeypatch, 2)
    shorten_resnet(monkeypatch)
    inputs = keras.Input((32, 32, 3))
    model, features = build_backbone(name, inputs, feature_layer=layer)
    constructor = next(
        getattr(module, known) for known in dir(module) if known.lower() == name.lower()
    )
    bare = constructor(include_top=False, weights=None, input_shape=(32, 32, 3))
    bare = keras.Model(bare.input, bare.get_layer(layer).output)
    bare.set_weights(model.get_weights())
    images = images_of(32)
    expected = ops.convert_to_numpy(bare(module.preprocess_input(images.copy())))
    found = ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert features.shape == (None, *expected.shape[1:])


@pytest.mark.parametrize(
    ("name", "constructor", "module"),
    [
        ("vgg19", "VGG19", keras.applications.vgg19),
        ("densenet121", "DenseNet121", keras.applications.densenet),
        ("ResNet50V2", "ResNet50V2", keras.applications.resnet_v2),
        ("efficientnetv2-s", "EfficientNetV2S", keras.applications.efficientnet_v2),
    ],
)
def test_a_name_has_its_constructor_and_preprocessing(monkeypatch, name, constructor, module):
    """Without the networks themselves, which are long to build."""
    inputs, built = keras.Input((4, 4, 3)), []

    def construct(constructor, name, preprocessed, download):
        built.append(constructor)
        return keras.Model(inputs, keras.layers.Identity()(preprocessed))

    monkeypatch.setattr(backbones, "_construct", construct)
    model, _ = build_backbone(name, inputs)
    assert built == [getattr(keras.applications, constructor)]
    images = images_of(4)
    expected = module.preprocess_input(images.copy())
    np.testing.assert_allclose(ops.convert_to_numpy(model(images)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["convnext_tiny", "MobileNetV3Small"])
def test_spellings_and_backbones_that_preprocess_themselves(name, monkeypatch):
    from keras.src.applications import convnext  # a private name, for the speed of tests alone

    monkeypatch.setitem(convnext.MODEL_CONFIGS["tiny"], "depths", [1, 1, 1, 1])
    model, features = build_backbone(name, keras.Input((32, 32, 3)))
    output = ops.convert_to_numpy(model(images_of(32)))
    assert output.shape[1:] == features.shape[1:] and np.isfinite(output).all()


def test_the_names_of_the_documentation_are_known():
    names = {name.lower() for name in cin_keras.models.backbone_names()}
    assert {"resnet50", "resnet101", "resnet152", "vgg19", "mobilenet", "convnexttiny"} <= names


@TWO_BACKENDS
@pytest.mark.parametrize("cut", [False, True])
def test_weights_from_a_file_of_the_whole_or_the_cut_backbone(tmp_path, cut, monkeypatch):
    shorten_mobilenet(monkeypatch, 4)
    source = keras.applications.MobileNet(
        include_top=False, weights=None, input_shape=(32, 32, 3), alpha=1.0
    )
    tapped = keras.Model(source.input, source.get_layer("conv_pw_2_relu").output)
    (tapped if cut else source).save_weights(tmp_path / "file.weights.h5")
    model = cin_keras.CIN(
        3,
        "mobilenet",
        str(tmp_path / "file.weights.h5"),
        (32, 32, 3),
        feature_layer="conv_pw_2_relu",
    )
    for weight, expected in zip(model.backbone.weights, tapped.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), ops.convert_to_numpy(expected))


@TWO_BACKENDS
def test_a_weights_file_of_another_network_is_refused(tmp_path, monkeypatch):
    shorten_mobilenet(monkeypatch, 2)
    tiny_backbone().save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(ValueError, match="other.weights.h5.*does not fit backbone 'mobilenet'"):
        cin_keras.CIN(3, "mobilenet", tmp_path / "other.weights.h5", (32, 32, 3))
    (tmp_path / "text.weights.h5").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match="does not fit"):
        cin_keras.CIN(3, "mobilenet", tmp_path / "text.weights.h5", (32, 32, 3))
    with pytest.raises(FileNotFoundError, match="no_such_file"):
        cin_keras.CIN(3, "mobilenet", "no_such_file.weights.h5", (32, 32, 3))


def test_without_a_network_the_error_says_what_to_do(monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("Name not known")

    monkeypatch.setattr("socket.getaddrinfo", no_network)
    with pytest.raises(
        ConnectionError, match="(?s)'mobilenet'.*URL fetch.*weights=None.*weights='"
    ):
        cin_keras.CIN(3, backbone="mobilenet", input_shape=(128, 128, 3))


@TWO_BACKENDS
def test_loading_and_configs_never_download(monkeypatch, tmp_path):
    shorten_mobilenet(monkeypatch, 2)
    model = cin_keras.CIN(3, "mobilenet", None, (32, 32, 3), feature_layer="conv_pw_2_relu")
    model.save(tmp_path / "model.keras")

    def no_network(*args, **kwargs):
        raise AssertionError("tried to download")

    monkeypatch.setattr("socket.getaddrinfo", no_network)
    copy = cin_keras.CIN.from_config({**model.get_config(), "weights": "imagenet"})
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(copy.weights) == len(loaded.weights) == len(model.weights)


@EVERY_BACKEND
def test_a_supplied_backbone_keeps_its_weights_and_gets_images_as_they_come():
    backbone = normalized_backbone()
    before = [ops.convert_to_numpy(w).copy() for w in backbone.weights]
    model = cin_keras.CIN(3, backbone=backbone, input_shape=(8, 8, 3))
    for weight, value in zip(backbone.weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), value)
    images = images_of(8)
    features = ops.convert_to_numpy(model.backbone(images))
    np.testing.assert_array_equal(features, ops.convert_to_numpy(backbone(images)))


@EVERY_BACKEND
def test_a_supplied_backbone_can_be_tapped():
    model = cin_keras.CIN(
        3, backbone=normalized_backbone(), input_shape=(8, 8, 3), feature_layer="relu"
    )
    assert model.interaction.channels == 4
    copy = cin_keras.CIN.from_config(model.get_config())
    assert copy.interaction.channels == 4


@EVERY_BACKEND
@pytest.mark.parametrize("built", [False, True])
def test_a_sequential_backbone_can_be_tapped(built):
    layers = [keras.layers.Conv2D(4, 1, name="tap"), keras.layers.Conv2D(6, 1)]
    backbone = keras.Sequential(([keras.Input((8, 8, 3))] if built else []) + layers)
    model = cin_keras.CIN(3, backbone=backbone, input_shape=(8, 8, 3), feature_layer="tap")
    assert model.interaction.channels == 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"backbone": "resnet5"}, ValueError, "backbone='resnet5'.*ResNet50"),
        ({"backbone": 5}, TypeError, "backbone=5 of type int"),
        ({"backbone": "mobilenet", "weights": 3}, TypeError, "weights=3 of type int"),
        ({"backbone": "mobilenet", "feature_layer": "x"}, ValueError, "feature_layer='x'.*conv_pw"),
        ({"backbone": tiny_backbone(size=16)}, ValueError, r"input_shape=\(16, 16, 3\)"),
        (
            {"backbone": keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()])},
            ValueError,
            r"one 4-D map.*\(None, 3072\)",
        ),
    ],
)
def test_wrong_backbones_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        cin_keras.CIN(3, **{"weights": None, "input_shape": (32, 32, 3), **arguments})


def a_backbone(*channels, name="mine"):
    """Of as many inputs as numbers of channels, of which the first gives the map."""
    inputs = [keras.Input((32, 32, count)) for count in channels]
    maps = keras.layers.Conv2D(4, 3)(inputs[0])
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], maps, name=name)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (a_backbone(3, name="classifier"), "name of the backbone must not .* called 'classifier'"),
        (a_backbone(3, name="self_channel_interaction"), "keras.Model.*name='backbone'"),
        (a_backbone(1), r"images of 3 channels, RGB.*'mine' for images of shape \(32, 32, 1\)"),
        (a_backbone(3, 3), "must have one input, images. Received: 'mine' with 2 inputs"),
    ],
)
def test_backbones_that_do_not_fit_in_are_named(backbone, message):
    with pytest.raises(ValueError, match=message):
        cin_keras.CIN(3, backbone, None, (32, 32, 3))


@EVERY_BACKEND
def test_a_kerascv_backbone():
    if keras.backend.backend() == "jax":
        pytest.skip("the same code as on the other backends, and minutes of compilation")
    import keras_cv

    backbone = keras_cv.models.DenseNetBackbone(
        stackwise_num_repeats=[1, 1],
        include_rescaling=True,
        input_shape=(32, 32, 3),
        growth_rate=4,
    )
    model = cin_keras.CIN(3, backbone=backbone, input_shape=(32, 32, 3))
    assert model.interaction.channels == backbone.output.shape[-1]
    images = images_of(32).astype("uint8")
    copy = cin_keras.CIN.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    found, expected = (ops.convert_to_numpy(network(images)) for network in (copy, model))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
