import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image

from cin_keras.data import Samples
from cin_keras.evaluation import write_results
from cin_keras.evaluation.figures import matrix
from tests.evaluation.report.pages import Page, encoded_images, foreign_model


@pytest.fixture
def mistaken():
    """Forty classes of three photographs, and what a model took them for, mostly wrong."""
    rng = np.random.default_rng(0)
    labels, names = np.repeat(np.arange(40), 3), [f"class {k}" for k in range(40)]
    test = Samples([f"{i}.png" for i in range(120)], labels, names, encoded=encoded_images(120, 1))
    probabilities = rng.dirichlet(np.ones(40), 120)
    # In one direction (3 images), in both (2 + 1), and in one direction (2).
    for image, taken_for in {0: 9, 1: 9, 2: 9, 15: 6, 16: 6, 18: 5, 30: 31, 31: 31}.items():
        probabilities[image] = np.eye(40)[taken_for]
    return test, probabilities


def test_all_that_is_written(tmp_path, mistaken):
    test, probabilities = mistaken
    metrics = write_results(tmp_path, foreign_model(32), test, probabilities, {"part": "all"})
    names = ["confusion_matrix.png", "metrics.json", "report.html", "worst_mistakes.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert metrics["levels"] == {}
    right = np.mean([row.argmax() == label for row, label in zip(probabilities, test.labels)])
    assert metrics["accuracy"] == pytest.approx(right) and metrics["part"] == "all"
    assert f"{right:.1%}" in (tmp_path / "report.html").read_text("utf-8")
    for name in ("confusion_matrix.png", "worst_mistakes.png"):
        assert min(Image.open(tmp_path / name).size) > 300


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("data", [".", "./", "../pets", "x/.."])
def test_a_folder_has_its_name_however_it_was_typed(tmp_path, monkeypatch, mistaken, data):
    (tmp_path / "pets" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "pets")
    metrics = write_results(tmp_path, foreign_model(32), *mistaken, {"data": data})
    assert "<h1>Report: pets</h1>" in (tmp_path / "report.html").read_text("utf-8")
    assert json.loads((tmp_path / "metrics.json").read_text())["data"] == metrics["data"]


def test_figure_and_report_name_the_same_pairs(tmp_path, mistaken, monkeypatch, undrawn):
    drawn, save = [], matrix.save_figure
    monkeypatch.setattr(
        matrix, "save_figure", lambda figure, path: (drawn.append(figure), save(figure, path))
    )
    write_results(tmp_path, foreign_model(32), *mistaken, {})
    texts = [text.get_text() for text in drawn[0].axes[1].texts]
    figure = [re.findall(r"class \d+", text) for text in texts if "↔ class " in text]
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    report = [re.findall(r"class \d+", heading) for heading in page.inside["h3"]]
    figure = [pair for pair in figure if pair]
    assert report == figure[:8] and len(figure) == 20
    for wanted in (["class 0", "class 9"], ["class 5", "class 6"]):
        assert wanted in report[:2] or wanted[::-1] in report[:2]
    assert all(set(a) != set(b) for a, b in itertools.combinations(figure, 2))
