"""Small models and images that the tests of the explanations share."""

import keras
import numpy as np

import cin_keras

SIZE = 8


def convolution(name="tiny", channels=6):
    """A convolution that halves the size, with ReLU: maps of 4×4."""
    images = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.Conv2D(channels, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(images, x, name=name)


def explained_cin(interaction="sci", contrast=None, num_classes=4, backbone=None, **kwargs):
    """A CIN in which every weight has a say, those that start at zero included."""
    keras.utils.set_random_seed(3)
    model = cin_keras.CIN(
        num_classes,
        backbone=backbone or convolution(),
        input_shape=(SIZE, SIZE, 3),
        interaction=interaction,
        contrast=contrast,
        embedding_dim=5,
        **kwargs,
    )
    rng = np.random.default_rng(4)
    for weight in model.weights:
        value = rng.normal(0, 0.3, weight.shape)
        weight.assign(abs(value) if weight.path.endswith("variance") else value)
    return model


def images_of(count=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3)).astype("uint8")
