import json

import keras
import pytest

import cin_keras
from cin_keras.serving.model_card import card
from tests.models.networks import tiny_cin

SETTINGS = {
    "epochs": 20,
    "rate": 0.1,
    "schedule": {"class_name": "cosine", "config": {"steps": [1, 2], "floor": None}},
    "augment": True,
}
NAMES = ["Laysan Albatross", "Möwe", "雀"]


def free_cin(**kwargs):
    backbone = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
    return cin_keras.CIN(
        3, backbone=backbone, input_shape=(None, None, 3), embedding_dim=2, **kwargs
    )


@pytest.fixture(scope="module")
def model():
    return tiny_cin()


@pytest.mark.every_backend
def test_names_size_and_settings_travel_in_the_file(tmp_path):
    model = free_cin(
        class_names=tuple(NAMES),
        image_size=96,
        settings=SETTINGS,
        temperature=1.25,
        hierarchy={"kind": ("x",) * len(NAMES)},
    )
    model.settings["note"] = ["added later"]
    model.save(tmp_path / "model.keras")
    copies = [cin_keras.load_model(tmp_path / "model.keras")]
    copies.append(keras.saving.load_model(tmp_path / "model.keras"))
    copies.append(cin_keras.CIN.from_config(model.get_config()))
    for copy in (model, *copies):
        assert copy.class_names == NAMES
        assert copy.image_size == (96, 96)
        assert copy.settings == {**SETTINGS, "note": ["added later"]}
        assert json.loads(card(copy))["class_names"] == NAMES
        assert copy.hierarchy == json.loads(card(copy))["hierarchy"] == {"kind": ["x"] * len(NAMES)}
        assert copy.temperature == json.loads(card(copy))["temperature"] == 1.25


def test_they_can_be_set_later_and_need_not_be(tmp_path):
    model = tiny_cin()
    assert (model.class_names, model.image_size, model.settings) == (None, (8, 8), {})
    assert free_cin().image_size is None
    model.class_names, model.image_size, model.settings = NAMES, 8, {"a": (1, 2)}
    model.save(tmp_path / "model.keras")
    loaded = cin_keras.load_model(tmp_path / "model.keras")
    assert (loaded.class_names, loaded.image_size) == (NAMES, (8, 8))
    assert loaded.settings == {"a": [1, 2]}
    model.class_names = model.settings = None
    assert (model.class_names, model.settings) == (None, {})


def test_a_file_without_them_loads():
    config = tiny_cin().get_config()
    for key in ("class_names", "image_size", "settings", "temperature", "hierarchy"):
        del config[key]
    model = cin_keras.CIN.from_config(config)
    assert (model.class_names, model.image_size, model.settings) == (None, (8, 8), {})
    assert model.temperature == 1 and model.hierarchy is None


@pytest.mark.parametrize(
    "name, value, match",
    [
        ("class_names", ["a", "b"], "one name for each of the 3 classes. Received: 2 names"),
        ("class_names", ["a", "b", "a"], "differ from each other. Received: 'a' twice"),
        ("class_names", ["a", "b", 3.5], "must be names"),
        ("class_names", ["a", "b", None], "must be names"),
        ("class_names", {"a", "b", "c"}, "must be a list, which has an order"),
        ("class_names", ["a", "b", ""], "none of them empty"),
        ("class_names", "abc", r"must be a list. Received: class_names='abc'; for one, \['abc'\]"),
        ("image_size", 0, "positive int"),
        ("image_size", (8, 8, 3), "positive int"),
        ("image_size", 8.0, "positive int"),
        ("image_size", 16, r"network's input, \(8, 8\), or be left out. Received: image_size=16"),
        ("settings", [1], "must be a dict or None"),
        ("temperature", 0, "`temperature` must be a number above 0"),
        ("hierarchy", {"kind": ["x"]}, "each of the 3 classes. Received: 1"),
        ("settings", {"a": {2: 1}}, r"keys of `settings\['a'\]` must be str. Received: the key 2"),
        (
            "settings",
            {"a": [0.0, float("nan")]},
            r"`settings\['a'\]\[1\]` must be .* Received: nan",
        ),
        ("settings", {"a": {1, 2}}, "that JSON can hold"),
    ],
)
def test_what_does_not_fit_is_refused(model, name, value, match):
    with pytest.raises(ValueError, match=match) as constructed:
        tiny_cin(**{name: value})
    with pytest.raises(ValueError, match=match) as assigned:
        setattr(model, name, value)
    for error in (constructed, assigned):
        assert "\n" not in str(error.value)


def test_settings_that_were_spoilt_later_are_not_saved(tmp_path):
    model = tiny_cin(settings={"a": 1})
    model.settings["a"] = object()
    with pytest.raises(ValueError, match=r"`settings\['a'\]` must be something that JSON can"):
        model.save(tmp_path / "model.keras")
