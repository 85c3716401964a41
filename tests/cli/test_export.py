import errno
import json
import os
import re

import keras
import numpy as np
import pytest

import cin_keras
from cin_keras.cli import main
from tests.callbacks.no_room import no_room_beyond
from tests.cli.conftest import COLOURS, colour_probabilities, write_photograph
from tests.models.networks import tiny_cin

ON_TORCH = keras.backend.backend() == "torch"
pytestmark = pytest.mark.usefixtures("decoder_once")


@pytest.mark.skipif(ON_TORCH, reason="Keras cannot write a SavedModel on PyTorch")
def test_a_saved_model(models, tmp_path, capsys):
    import tensorflow as tf

    path = tmp_path / "served" / "colours"
    assert main(["export", str(models / "c.keras"), str(path)]) == 0
    assert re.fullmatch(r".+/colours: savedmodel, \d+\.\d MB\n", capsys.readouterr().out)
    assert [entry.name for entry in path.parent.iterdir()] == ["colours"]
    served = tf.saved_model.load(str(path))
    logits = served.serve_uint8(np.full((1, 8, 8, 3), 51, "uint8"))
    np.testing.assert_allclose(logits, [[1, 1, 1]], rtol=1e-5)
    photograph = write_photograph(tmp_path / "1.png", (9, 200, 70))
    assert main(["predict", str(path), photograph, "no.png", "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["class"] == "grün" and list(lines[1]) == ["path", "error"]
    expected = colour_probabilities((9, 200, 70))[1]
    assert lines[0]["probability"] == pytest.approx(expected, abs=2e-6)
    assert main(["info", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["class_names"] == list(COLOURS) and found["settings"] == {"epochs": 3}
    assert main(["info", str(path)]) == 0
    assert "savedmodel" in capsys.readouterr().out
    assert main(["evaluate", str(path), str(tmp_path)]) == 2
    assert "is a folder: give the '.keras' file" in capsys.readouterr().err


@pytest.mark.skipif(ON_TORCH, reason="Keras cannot write a SavedModel on PyTorch")
def test_a_saved_model_whose_path_looks_like_a_pattern(models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photograph = write_photograph(tmp_path / "1.png", (9, 200, 70))
    assert main(["export", str(models / "c.keras"), "shop [2024]/served"]) == 0
    assert main(["predict", "shop [2024]/served", photograph]) == 0
    assert f"{photograph}: grün" in capsys.readouterr().out


@pytest.mark.every_backend
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this backend writes no ONNX")
def test_an_ending_in_capitals(models, tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "m.ONNX"
    assert main(["export", str(models / "c.keras"), str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: onnx, ")
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.ONNX"]
    onnx.checker.check_model(onnx.load(str(path)))


def test_the_model_itself_takes_capitals_too(tmp_path, monkeypatch):
    written = []

    def convert(network, filepath, format, **options):
        assert str(filepath).endswith(".tflite")
        written.append(filepath.write_bytes(b"converted"))

    monkeypatch.setattr("cin_keras.serving.export._convert", convert)
    monkeypatch.setattr("cin_keras.serving.export.write_litert_metadata", lambda *_: None)
    tiny_cin().export(tmp_path / "m.TFLITE", format="litert", verbose=False)
    assert written and [entry.name for entry in tmp_path.iterdir()] == ["m.TFLITE"]

    def fail(path, model):
        assert path.exists()
        raise RuntimeError("no metadata")

    monkeypatch.setattr("cin_keras.serving.export.write_litert_metadata", fail)
    with pytest.raises(RuntimeError, match="no metadata"):
        tiny_cin().export(tmp_path / "n.TFLITE", format="litert", verbose=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.TFLITE"], "nothing is left of it"


@pytest.mark.skipif(ON_TORCH, reason="Keras cannot write a SavedModel on PyTorch")
def test_a_saved_model_without_embeddings(models, tmp_path, capsys):
    import tensorflow as tf

    path = tmp_path / "served"
    assert main(["export", str(models / "c.keras"), str(path), "--no-embeddings"]) == 0
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    assert set(served.structured_outputs) == {"class_names", "probabilities"}
    assert main(["predict", str(path), write_photograph(tmp_path / "1.png", (9, 200, 70))]) == 0
    assert "grün" in capsys.readouterr().out
    assert main(["export", str(models / "c.keras"), str(tmp_path / "m.onnx"), "--no-embeddings"]) == 2
    assert "--no-embeddings is for a SavedModel; onnx has" in capsys.readouterr().err


@pytest.mark.skipif(ON_TORCH, reason="Keras cannot write a SavedModel on PyTorch")
def test_a_folder_may_have_an_ending_if_the_format_is_given(models, tmp_path):
    path = tmp_path / "served.v2"
    options = ["--format", "savedmodel", "--max-pixels", "1000"]
    assert main(["export", str(models / "c.keras"), str(path), *options]) == 0
    assert (path / "saved_model.pb").is_file()


@pytest.mark.skipif(ON_TORCH, reason="Keras can write neither on PyTorch")
def test_a_full_disk_is_said_to_be_full(models, tmp_path, monkeypatch):
    model, said, full = cin_keras.load_model(models / "c.keras"), [], "(No space left on device)"

    def no_space(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # It would end the process.
    monkeypatch.setattr("cin_keras.cli.stop", lambda *arguments: said.append(arguments))
    monkeypatch.setattr("cin_keras.cli.export.load_model", lambda *_, **options: model)
    with no_room_beyond(1000):
        main(["export", "c.keras", str(tmp_path / "m")])
    monkeypatch.setattr("keras.Model.export", no_space)
    main(["export", "c.keras", str(tmp_path / "m.tflite")])
    assert said == [
        (f"error: '{tmp_path / name}' cannot be written {why}. Make room, or make the folder writable.", 1)
        for name, why in [("m", "(File too large)"), ("m.tflite", full)]
    ]
    assert list(tmp_path.iterdir()) == []


def test_mistakes(models, tmp_path, capsys):
    there = tmp_path / "there"
    there.mkdir()
    model = str(models / "c.keras")
    assert main(["export", model, str(there)]) == 2
    assert f"error: {there} is there already" in capsys.readouterr().err
    assert main(["export", model, str(tmp_path / "m.onnx"), "--format", "litert"]) == 2
    assert "must end in .tflite. Received:" in capsys.readouterr().err
    for name in ("m.pb", "m.keras", "m.h5", "m.v2"):
        assert main(["export", model, str(tmp_path / name)]) == 2
        message = capsys.readouterr().err
        assert f"error: A name that ends in {name[1:]} does not say which format" in message
        assert "--format" in message and message.count("\n") == 1
    for name in (".onnx", ".TFLITE", "m."):
        assert main(["export", model, str(tmp_path / name)]) == 2
        assert "The name must be more than an ending" in capsys.readouterr().err
    assert main(["export", model, str(tmp_path / "m.tflite"), "--max-pixels", "9"]) == 2
    assert "--max-pixels is for a SavedModel" in capsys.readouterr().err
    if ON_TORCH:
        assert main(["export", model, str(tmp_path / "new")]) == 2
        assert "error: Keras cannot write a SavedModel" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["there"]


@pytest.mark.skipif(ON_TORCH, reason="Keras cannot write a SavedModel on PyTorch")
def test_the_size_of_a_network_that_takes_any(tmp_path, capsys):
    path, served = str(tmp_path / "any.keras"), tmp_path / "served"
    network = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3), keras.layers.Conv2D(4, 3)]
    )
    cin_keras.CIN(3, network, None, (None, None, 3)).save(path)
    assert main(["export", path, str(served), "--image-size", "4"]) == 2
    assert "--image-size must be at least 5" in capsys.readouterr().err
    assert main(["export", path, str(served), "--image-size", "9"]) == 0
    card = json.loads((served / "assets.extra" / "model_card.json").read_text())
    assert card["image_size"] == [9, 9]
    photograph = write_photograph(tmp_path / "1.png", (9, 200, 70))
    assert main(["predict", str(served), photograph]) == 0
