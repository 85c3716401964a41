import errno
import io
import json
import sys
import zipfile

import keras
import pytest

import cin_keras
from cin_keras import cli
from cin_keras.cli import main


@pytest.mark.every_backend
def test_what_a_file_holds(models, capsys):
    assert main(["info", str(models / "cin.keras"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    model = cin_keras.load_model(models / "cin.keras")
    assert found["class_names"] == ["one", "two", "three"] and found["num_classes"] == 3
    assert found["image_size"] == [8, 8] and found["settings"] == {"epochs": 7}
    assert (found["interaction"], found["contrast"]) == ("sci", "cci")
    assert found["backbone"] == "tiny" and found["feature_channels"] == 4
    inference = keras.Model(model.input, model.output).count_params()
    assert found["parameters"] == inference
    # ψ: two descriptions of 4 channels, and a bias; h: 4 × 5
    assert found["training_parameters"] == (2 * 4 + 1) + 4 * 5
    assert found["embedding"] == {"width": 4, "whitened": False}
    assert found["versions"]["keras"] == keras.__version__


def test_for_a_person(models, capsys):
    assert main(["info", str(models / "c.keras")]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "images 8 × 8 pixels",
        "parameters 12, and 0 for training only",
        "embeddings 3 numbers",
        "temperature 1, by which logits are divided",
        "settings epochs 3",
        f"versions python 3.x, keras {keras.__version__}",
        "classes 3",
        "1 grün",
    ):
        assert line in lines, line
    assert main(["info", str(models / "unnamed.keras")]) == 0
    assert "3, without names" in capsys.readouterr().out
    assert main(["info", "nothing.keras"]) == 2
    assert capsys.readouterr().err.startswith("error: There is no file 'nothing.keras'")


@pytest.mark.parametrize("metadata", [None, "", "[]", '{"keras_version": 3}'])
def test_a_file_without_what_keras_notes_down(models, tmp_path, capsys, metadata):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(models / "c.keras") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if name != "metadata.json":
                new.writestr(name, old.read(name))
            elif metadata is not None:
                new.writestr(name, metadata)
    assert main(["info", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["saved"] is None and found["versions"] == {"python": "3.x"}
    assert main(["info", str(path)]) == 0
    assert "saved" not in capsys.readouterr().out


def test_a_full_disk_behind_standard_output(models, monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    ended = []
    monkeypatch.setattr(cli, "stop", lambda *how: ended.append(how))
    monkeypatch.setattr(sys, "stdout", Full())
    cli.main(["info", str(models / "c.keras")])
    assert ended == [("error: What is printed cannot be written (No space left on device).", 1)]


def test_a_model_on_a_hub(models, monkeypatch, capsys):
    monkeypatch.setattr("cin_keras.models.load._download", lambda address: unpacked)
    unpacked = models / "unpacked"
    with zipfile.ZipFile(models / "c.keras") as file:
        file.extractall(unpacked)
    assert main(["info", "hf://me/m"]) == 0
    text = capsys.readouterr().out
    assert "hf://me/m, keras\n" in text and "settings     epochs 3" in text
    assert main(["info", "hf://me/m", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["megabytes"] is None


def test_a_hub_without_its_package(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert main(["info", "hf://me/m"]) == 2
    assert "error: To load 'hf://me/m', huggingface_hub must be installed" in capsys.readouterr().err
