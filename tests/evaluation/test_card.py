import json
import pathlib

import numpy as np
import pytest

import cin_keras
from cin_keras.data import Samples, decode, image_dataset
from cin_keras.evaluation import wilson_interval
from cin_keras.evaluation.card import is_card, write_card
from tests.evaluation.report.pages import encoded_images, tiny_model
from tests.models.networks import tiny_backbone, tiny_cin

METRICS = {
    "accuracy": 0.75,
    "top_5_accuracy": 0.95,
    "images": 40,
    "per_class": [{"name": f"class {i}", "images": 5, "accuracy": i / 8} for i in range(8)],
    "levels": {"kind": {"groups": 2, "right": 36, "accuracy": 0.9}},
    "calibration": {"temperature": 1.5, "ece": 0.02, "ece_before": 0.11},
    "data": "/photos/pets",
    "duplicates": {"train": 3, "validation": None},
    "skipped": {"a.jpg": "the file is empty"},
    "remarks": ["The data lack <one> class."],
    "command": "cin-keras train pets",
    "settings": {"epochs": 3, "plain": False, "seed": 0, "label_smoothing": 0.0, "limit": None},
    "versions": {"keras": "3.15.1"},
}
NAMES = [f"class {i}" for i in range(6)] + ["A | B", "<script>*"]


def front_matter(text):
    head, body = text.removeprefix("---\n").split("\n---\n", 1)
    return {k: json.loads(v) for k, v in (line.split(": ", 1) for line in head.splitlines())}, body


def test_all_that_a_card_has(tmp_path):
    hierarchy = {"kind": ["x"] * 4 + ["y"] * 4}
    model = tiny_model(class_names=NAMES, temperature=1.5, hierarchy=hierarchy)
    path = write_card(tmp_path / "README.md", model, METRICS)
    about, body = front_matter(path.read_text("utf-8"))
    assert about["library_name"] == "keras" and about["pipeline_tag"] == "image-classification"
    (result,) = about["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "accuracy", "value": 0.75}]
    for value, right in (("75.0%", 30), ("95.0%", 38), ("90.0%", 36)):
        low, high = wilson_interval(right, 40)
        assert f"| {value} | {low:.1%} to {high:.1%} |" in body
    assert "(before the temperature of 1.5: 11.0%) | 2.0% |" in body
    assert "- A \\| B" in body and "- &lt;script>\\*" in body and "<script" not in body
    for words in (
        "The photographs of the data set pets.",
        "3 of them are among those of train",
        "1 file could not be read",
        "lack &lt;one> class",
        "Known least: class 0 (0%), class 1 (12%)",
        "2 groups of the level kind",
        "(photograph, 32, 32)",
        "divided by 1.5 before the softmax",
        "cin-keras train pets",
        "epochs: 3",
        "seed: 0",
        "label\\_smoothing: 0.0",
        "keras 3.15.1",
    ):
        assert words in body, words
    assert "plain" not in body and "limit" not in body
    wide = tiny_cin(backbone=tiny_backbone(size=None), size=None, image_size=(32, 64))
    assert "(photograph, 32, 64)" in write_card(tmp_path / "wide.md", wide, {}).read_text("utf-8")
    write_card(path, model, {**METRICS, "accuracy": 0.5})  # its own is written anew
    assert "50.0%" in path.read_text("utf-8")
    write_card(path, model, {**METRICS, "accuracy": 0.0})
    assert "not known" not in path.read_text("utf-8"), "that none was right is known"


def test_its_code_shows_the_model_what_evaluation_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("photograph.jpg").write_bytes(encoded_images(1, seed=0)[0])
    samples = Samples(["photograph.jpg"], [0], ["a"])
    for model in (tiny_model(3), tiny_cin(backbone=tiny_backbone(size=None), size=None)):
        seen = []
        monkeypatch.setattr(cin_keras, "load_model", lambda path, model=model: model)
        monkeypatch.setattr(model, "predict", seen.append)
        text = write_card("README.md", model).read_text("utf-8")
        exec(text.split("```python\n")[1].split("```")[0], {})
        if model.image_size:
            ((expected, _),) = image_dataset(samples, model.image_size, 1)
        else:
            expected = np.asarray(decode("photograph.jpg"))[None]
        np.testing.assert_array_equal(seen, [expected])


def test_a_path_that_is_no_text_costs_one_letter(tmp_path):
    metrics = {**METRICS, "command": "cin-keras train caf\udce9"}
    path = write_card(tmp_path / "README.md", tiny_model(class_names=NAMES), metrics)
    assert "cin-keras train caf?" in path.read_text("utf-8")


def test_what_is_not_known_is_not_said(tmp_path):
    about, body = front_matter(write_card(tmp_path / "c.md", tiny_model(3)).read_text("utf-8"))
    assert "metrics" not in about and "model-index" not in about
    assert "None are known" in body and "How good it is, is not known" in body
    assert "3, without names" in body and "Nobody has noted down which" in body


def test_somebody_elses_file_stays(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# My project")
    with pytest.raises(ValueError, match="no model card of cin_keras"):
        write_card(path, tiny_model(3))
    assert path.read_text() == "# My project" and not is_card(path)
