import importlib.resources
import re
import xml.etree.ElementTree as ElementTree

import pytest

from cin_keras.evaluation.report.curves import learning_curves_svg

STYLE = importlib.resources.files("cin_keras.evaluation.report").joinpath("page.css").read_text()
SVG = "{http://www.w3.org/2000/svg}"


def test_two_drawings_fit_into_one_page():
    history = {"loss": [3.0, 2.0, 1.5], "val_loss": [3, 2, 2], "val_accuracy": [0.1, 0.75, 0.5]}
    panels = learning_curves_svg(history)
    roots = [ElementTree.fromstring(panel) for panel in panels]
    ids = [element.get("id") for root in roots for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for name, panel, root in zip(("loss", "accuracy"), panels, roots):
        assert root.get("role") == "img" and name in root.get("aria-label")
        for reference in re.findall(r'url\(#(.*?)\)|xlink:href="#(.*?)"', panel):
            assert "".join(reference) in ids
        # Every colour is one of the page's, so that it is legible in the dark, too.
        assert not re.search(r"#[0-9a-f]{6}\b", panel, re.IGNORECASE)
        assert set(re.findall(r"var\((--\w+)\)", panel)) <= set(re.findall(r"--\w+", STYLE))
    texts = ["".join(text.itertext()) for root in roots for text in root.iter(f"{SVG}text")]
    assert {"Loss", "Accuracy in %", "training, total", "validation"} <= set(texts)
    assert "best validation: 75.00% (epoch 2)" in texts


def test_what_was_not_recorded_is_said():
    _, accuracies = learning_curves_svg({"loss": [3.0, 2.0]})
    assert "not recorded" in accuracies and not re.search(r"#[0-9a-f]{6}\b", accuracies)


def test_an_empty_history_is_refused():
    with pytest.raises(ValueError, match="at least one epoch"):
        learning_curves_svg({"loss": []})
