"""A model whose channels come first, as some make them on GPUs, is used as any other."""

import json

import keras
import numpy as np
import pytest

import cin_keras
from cin_keras.cli import main
from cin_keras.cli.demo.answers import Answers
from tests.cli.conftest import COLOURS, colour_probabilities


@pytest.fixture
def model(tmp_path):
    keras.config.set_image_data_format("channels_first")
    try:
        images = keras.Input((3, 8, 8))
        backbone = keras.Model(images, keras.layers.Rescaling(1 / 255)(images), name="colour")
        model = cin_keras.CIN(
            3,
            backbone,
            input_shape=(3, 8, 8),
            interaction=None,
            contrast=None,
            class_names=list(COLOURS),
        )
    finally:
        keras.config.set_image_data_format("channels_last")
    model.classifier.set_weights([5 * np.eye(3), np.zeros(3)])
    model.save(tmp_path / "model.keras")
    return str(tmp_path / "model.keras")


def test_photographs_are_classified_evaluated_and_explained(model, photographs, tmp_path, capsys):
    cin_keras.load_model(model).export(tmp_path / "served", verbose=False)
    assert main(["predict", str(tmp_path / "served"), str(photographs), "--json"]) == 0
    assert main(["predict", model, str(photographs), "--json"]) == 0
    for line in capsys.readouterr().out.splitlines():
        found = json.loads(line)
        name = next(name for name in COLOURS if f"/{name}/" in found["path"])
        assert found["class"] == name
        assert found["probability"] == pytest.approx(max(colour_probabilities(COLOURS[name])), abs=1e-5)
    assert main(["evaluate", model, str(photographs), "--output", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["accuracy"] == 1
    assert "8×8 pixels" in (tmp_path / "out" / "report.html").read_text("utf-8")
    assert main(["explain", model, str(photographs), "--output", str(tmp_path / "why")]) == 0
    assert len(list((tmp_path / "why").glob("*-decision.png"))) == 3


def test_a_gallery_of_photographs_knows_them(model, photographs, tmp_path, capsys):
    gallery = str(tmp_path / "gallery.npz")
    assert main(["index", model, str(photographs), "--output", gallery]) == 0
    capsys.readouterr()
    assert main(["predict", model, str(photographs), "--gallery", gallery, "--json"]) == 0
    for line in capsys.readouterr().out.splitlines():
        found = json.loads(line)
        assert f"/{found['class']}/" in found["path"]
    answer = Answers(model, gallery)(str(photographs / "blau" / "1 ü.png"))
    assert "blau" in answer.sentence and answer.decision is not None


def test_the_demo_shows_what_decided(model, photographs):
    answers = Answers(model)
    answer = answers(str(photographs / "rot" / "1 ü.png"))
    assert "rot" in answer.sentence and answer.decision is not None


def test_a_report_shows_where_the_mistakes_differ(model, photographs, tmp_path):
    wrong = cin_keras.load_model(model)
    wrong.classifier.set_weights([-5 * np.eye(3), np.zeros(3)])
    wrong.save(tmp_path / "wrong.keras")
    out = tmp_path / "out"
    assert main(["evaluate", str(tmp_path / "wrong.keras"), str(photographs), "--output", str(out)]) == 0
    assert "where in it the two classes differ" in (out / "report.html").read_text("utf-8")
