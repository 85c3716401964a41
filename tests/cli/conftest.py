import keras
import numpy as np
import pytest
from PIL import Image

import cin_keras
from tests.models.networks import tiny_cin

COLOURS = {"rot": (250, 20, 30), "grün": (20, 240, 40), "blau": (10, 30, 200)}


def colour_model(size=8, **kwargs):
    """Takes an image for red, green or blue by its mean colour; logits are 5 × colour / 255."""
    images = keras.Input((size, size, 3))
    scaled = keras.layers.Rescaling(1 / 255)(images)
    backbone = keras.Model(images, keras.layers.AveragePooling2D(4)(scaled), name="mean_colour")
    options = {"class_names": list(COLOURS), "interaction": None, "contrast": None}
    model = cin_keras.CIN(3, backbone, input_shape=(size, size, 3), **{**options, **kwargs})
    model.classifier.set_weights([5 * np.eye(3), np.zeros(3)])
    return model


def colour_probabilities(colour):
    """What `colour_model` should find."""
    powers = [np.exp(5 * part / 255) for part in colour]
    return [power / sum(powers) for power in powers]


def write_photograph(path, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (11, 9), tuple(colour)).save(path)
    return str(path)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder of model files, made once."""
    folder = tmp_path_factory.mktemp("models")
    colour_model(settings={"epochs": 3, "versions": {"python": "3.x"}}).save(folder / "c.keras")
    colour_model(class_names=None).save(folder / "unnamed.keras")
    names = ["one", "two", "three"]
    tiny_cin(class_names=names, settings={"epochs": 7}).save(folder / "cin.keras")
    return folder


@pytest.fixture
def photographs(tmp_path):
    """One photograph of each colour, one folder a class."""
    for name, colour in COLOURS.items():
        write_photograph(tmp_path / "photos" / name / "1 ü.png", colour)
    return tmp_path / "photos"
