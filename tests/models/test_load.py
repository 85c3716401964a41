import io
import json
import os
import warnings
import zipfile

import keras
import numpy as np
import pytest

import cin_keras
from cin_keras.serving.model_card import check_class_names
from tests.models.networks import tiny_backbone, tiny_cin


def change(path, **members):
    """Writes the archive anew with other contents of some members; `None` leaves one out."""
    members = {name.replace("_", "."): content for name, content in members.items()}
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, old in content.items():
            new = members.get(name, old)
            if new is not None:
                file.writestr(name, new)


def assert_refused(path, match, error=ValueError):
    with pytest.raises(error, match=match) as caught:
        cin_keras.load_model(path)
    message = str(caught.value)
    assert "\n" not in message and path.name in message


@pytest.mark.every_backend
def test_a_model_comes_back(tmp_path):
    model = tiny_cin()
    model.compile(keras.optimizers.Adam(), loss=cin_keras.losses.SoftmaxCrossentropy())
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    for path in (tmp_path / "model.keras", str(tmp_path / "model.keras")):
        loaded = cin_keras.load_model(path)
        assert isinstance(loaded, cin_keras.CIN)
        assert isinstance(loaded.optimizer, keras.optimizers.Adam)
        for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = cin_keras.load_model(tmp_path / "model.keras", compile=False)
    assert isinstance(plain.optimizer, cin_keras.optimizers.LayerwiseSGD)


def test_files_that_are_no_model(tmp_path):
    assert_refused(tmp_path / "missing.keras", "There is no file", FileNotFoundError)
    folder = tmp_path / "folder.keras"
    folder.mkdir()
    assert_refused(folder, "is a folder")

    tiny_cin().save(tmp_path / "model.keras")
    whole = (tmp_path / "model.keras").read_bytes()
    path = tmp_path / "file.keras"
    for content, match in [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "is text, a web page perhaps"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is text"),
        (b"\x80\x04\x95\x00", "is no model"),
        (whole[: len(whole) // 2], "is cut off"),
        (whole[:-30], "is cut off"),
    ]:
        path.write_bytes(content)
        assert_refused(path, match)

    tiny_cin().save_weights(tmp_path / "model.weights.h5")
    assert_refused(tmp_path / "model.weights.h5", "HDF5 file.*load_weights")
    (tmp_path / "renamed.zip").write_bytes(whole)
    assert_refused(tmp_path / "renamed.zip", "must end in '.keras'")


def test_archives_that_hold_something_else(tmp_path):
    path = tmp_path / "file.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("photograph.jpg", b"123")
    assert_refused(path, "an archive that holds no Keras model")

    tiny_backbone().save(path)
    assert_refused(
        path, "of the class Functional, neither a CIN nor an NTS: use keras.saving.load_model"
    )
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    assert_refused(path, "of the class Sequential")
    for config in ("[1, 2]", "null", '{"class_name": "CIN"}'):
        change(path, config_json=config)
        assert_refused(path, "of the class (None|CIN), neither a CIN")


@pytest.mark.every_backend
def test_damage_inside_the_archive(tmp_path):
    path = tmp_path / "file.keras"
    tiny_cin().save(path)
    whole = path.read_bytes()
    for place in (whole.index(b'"registered_name"'), whole.index(b"\x89HDF") + 2000):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert_refused(path, "is damaged: copy or download")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        with zipfile.ZipFile(io.BytesIO(whole)) as file:
            for name in file.namelist():
                packed.writestr(name, file.read(name))
    deflated = bytearray(path.read_bytes())
    begin = 30 + len(zipfile.ZipFile(path).namelist()[0])  # of the first member's content
    deflated[begin : begin + 20] = b"\xff" * 20
    path.write_bytes(deflated)
    assert_refused(path, "is damaged: copy or download")
    path.write_bytes(whole)
    change(path, config_json="{")
    assert_refused(path, "its description cannot be read")
    path.write_bytes(whole)
    change(path, model_weights_h5=b"\x89HDF and nothing more")
    assert_refused(path, "cannot be loaded: ")
    path.write_bytes(whole)
    with zipfile.ZipFile(path) as file:
        config = json.loads(file.read("config.json"))
    config["config"]["embedding_dim"] += 1
    change(path, config_json=json.dumps(config))
    assert_refused(path, "cannot be loaded: ")


def cin_with_a_lambda(path, marker):
    """Saves a CIN whose backbone holds a lambda that would make the folder `marker`."""
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 1)(images)
    # Called with the folder, so that loading is not needed to see that it works.
    function = eval(f"lambda x: (__import__('os').makedirs({str(marker)!r}, exist_ok=True), x)[1]")
    tiny_cin(backbone=keras.Model(images, keras.layers.Lambda(function)(x))).save(path)
    assert marker.exists()
    os.rmdir(marker)


@pytest.mark.parametrize("unsafe", [False, True])
def test_code_in_the_file_does_not_run(tmp_path, unsafe):
    path, marker = tmp_path / "model.keras", tmp_path / "attacked"
    cin_with_a_lambda(path, marker)
    try:
        if unsafe:
            keras.config.enable_unsafe_deserialization()
        assert_refused(path, r"holds Python code \(a lambda\) and is not loaded")
    finally:
        keras.utils.clear_session()  # safe again
    assert not marker.exists()


def test_the_code_would_run_without_the_checks(tmp_path):
    path, marker = tmp_path / "model.keras", tmp_path / "attacked"
    cin_with_a_lambda(path, marker)
    keras.saving.load_model(path, safe_mode=False)
    assert marker.exists()


def test_code_as_it_was_written_of_old_does_not_run(tmp_path):
    path, marker = tmp_path / "model.keras", tmp_path / "attacked"
    cin_with_a_lambda(path, marker)
    with zipfile.ZipFile(path) as file:
        config = json.loads(file.read("config.json"))

    def age(part):
        if isinstance(part, list):
            return [age(x) for x in part]
        if not isinstance(part, dict):
            return part
        part = {name: age(x) for name, x in part.items()}
        function = part.get("function")
        if isinstance(function, dict) and function["class_name"] == "__lambda__":
            code = function["config"]
            part["function"] = [code["code"], code["defaults"], code["closure"]]
            part["function_type"] = "lambda"
        return part

    change(path, config_json=json.dumps(age(config)))
    assert_refused(path, "holds Python code")
    assert not marker.exists()


@pytest.mark.every_backend
def test_a_function_of_the_own_program_is_found(tmp_path):
    images = keras.Input((8, 8, 3))
    features = keras.layers.Conv2D(4, 1, activation=twice)(images)
    tiny_cin(backbone=keras.Model(images, features)).save(tmp_path / "model.keras")
    assert_refused(tmp_path / "model.keras", "cannot be loaded: .*twice")
    loaded = cin_keras.load_model(tmp_path / "model.keras", {"twice": twice})
    assert loaded.backbone.layers[-1].activation is twice


def twice(x):
    return 2 * x


# === Files that unfold ===


def padded(path, pad, **more):
    """A saved CIN whose description `pad` has changed, in a compressed archive."""
    tiny_cin().save(path)
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    config = json.loads(members["config.json"])
    members["config.json"] = (pad(config) or json.dumps(config)).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in {**members, **more}.items():
            file.writestr(name, content)


def put(place, value):
    return lambda config: config[place].update(value)


@pytest.mark.parametrize(
    ("pad", "match"),
    [
        (lambda config: json.dumps(config) + " " * 2**23, "config.json has .* bytes, and the most"),
        (put("config", {"settings": {"a": "x" * 2**23}}), "config.json has .* bytes, and the most"),
        (put("config", {"settings": {"a": [[]] * 100_000}}), "more than 100,000 parts"),
        (put("build_config", {"a": [{}] * 100_000}), "more than 100,000 parts"),
        (put("config", {"settings": {"a": [1] * 10_001}}), "more than 10,000 values.*Received: 10,001"),
        (put("config", {"num_classes": 10**9}), "num_classes=1,000,000,000, for which it has no"),
        (put("config", {"embedding_dim": 10**9}), "embedding_dim=1,000,000,000, for which it has"),
    ],
)
def test_a_description_that_is_too_large_is_refused(tmp_path, pad, match):
    path = tmp_path / "model.keras"
    padded(path, pad)
    assert path.stat().st_size < 100_000
    assert_refused(path, match)


def test_an_archive_that_unfolds_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    padded(path, lambda config: None, **{"assets/zeros": bytes(2**25)})
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda file: pytest.fail("was unpacked"))
    assert_refused(path, "bytes unfold to .*, and the most that is unpacked is 20 times as much")
    padded(path, lambda config: None, **{"metadata.json": " " * 2**24})
    assert_refused(path, "metadata.json has 16,777,216 bytes")


def test_very_many_class_names_are_checked_quickly(tmp_path):
    """By counting: to look for each among all the others would take minutes."""
    with pytest.raises(ValueError, match="must differ from each other. Received: '199999' twice"):
        check_class_names([*map(str, range(200_000)), "199999"], 200_001)


def test_compression_and_a_file_without_metadata_do_no_harm(tmp_path):
    path = tmp_path / "model.keras"
    padded(path, lambda config: None)
    assert isinstance(cin_keras.load_model(path), cin_keras.CIN)
    change(path, metadata_json=None)
    assert isinstance(cin_keras.load_model(path), cin_keras.CIN)


def test_a_model_that_was_not_trained_loads_without_a_word(tmp_path, recwarn):
    tiny_cin().save(tmp_path / "model.keras")
    cin_keras.load_model(tmp_path / "model.keras")
    assert not [warning for warning in recwarn if "optimizer" in str(warning.message)]
