import base64
import dataclasses
import io
import pathlib
import re
import tomllib
import types

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

import cin_keras
from cin_keras.evaluation import expected_calibration_error, write_report
from cin_keras.evaluation.report.page import seen_size
from tests.evaluation.report.pages import NAMES, Page, foreign_model, material, samples, tiny_model


def wilson(right, images):
    ends = binomtest(right, images).proportion_ci(0.95, method="wilson")
    return f"{100 * ends.low:.1f}% to {100 * ends.high:.1f}%"


def counted(inputs):
    """The confusion matrix, by a loop."""
    counts = np.zeros((len(NAMES), len(NAMES)), int)
    for label, row in zip(inputs["test"].labels, inputs["probabilities"]):
        counts[label, int(np.argmax(row))] += 1
    return counts


def test_accuracy_is_that_of_a_loop(report):
    _, page, inputs = report
    counts = counted(inputs)
    right, images = int(np.trace(counts)), int(counts.sum())
    five = sum(
        int(label in np.argsort(-row)[:5])
        for label, row in zip(inputs["test"].labels, inputs["probabilities"])
    )
    assert page.by_id["accuracy-value"] == f"{100 * right / images:.1f}%"
    assert page.by_id["accuracy-interval"] == wilson(right, images)
    text = page.by_id["accuracy"]
    assert f"{right} of {images} test images right" in text
    assert f"{100 * five / images:.1f}% had the true class in the first five" in text
    assert f"{100 * counts.sum(axis=1).max() / images:.1f}% would be right by always" in text


def test_confidence_is_that_of_a_loop(report):
    _, page, inputs = report
    confidence = [max(row) for row in inputs["probabilities"]]
    right = [
        int(np.argmax(row) == label)
        for row, label in zip(inputs["probabilities"], inputs["test"].labels)
    ]
    error = 0
    for i in range(15):
        own = [j for j, c in enumerate(confidence) if i / 15 <= c < (i + 1) / 15]
        error += abs(sum(confidence[j] - right[j] for j in own)) / len(right)
    assert page.by_id["ece"] == f"{100 * error:.1f}%"
    assert "temperature" not in page.by_id["confidence"].replace("before the temperature", "")
    rows = page.tables["Answers with --min-confidence"][1:]
    for at_least, share, accuracy in rows:
        own = [j for j, c in enumerate(confidence) if c >= float(at_least)]
        assert share == f"{100 * len(own) / len(right):.1f}%"
        if own:
            assert accuracy == f"{100 * sum(right[j] for j in own) / len(own):.1f}%"
        else:
            assert accuracy == "none"


def test_confidence_before_the_temperature(tmp_path):
    inputs = material(3, 20)
    model = tiny_model(3, temperature=2.0)
    page = Page(write_report(tmp_path / "r.html", model=model, **inputs).read_text("utf-8"))
    sharper = inputs["probabilities"] ** 2
    sharper /= sharper.sum(axis=1, keepdims=True)
    labels = inputs["test"].labels
    for name, probabilities in (("ece", inputs["probabilities"]), ("ece-before", sharper)):
        assert page.by_id[name] == f"{expected_calibration_error(labels, probabilities):.1%}"
    assert "the temperature of 2 that" in page.by_id["confidence"]
    assert "before the temperature" in page.by_id["confidence"]


def test_confused_pairs_are_those_of_a_loop(report):
    _, page, inputs = report
    counts = counted(inputs)
    expected = {}
    for a in range(len(NAMES)):
        for b in range(a):
            if counts[a, b] + counts[b, a]:
                expected[f"{min(NAMES[a], NAMES[b])}|{max(NAMES[a], NAMES[b])}"] = (
                    counts[a, b] + counts[b, a]
                )
    most = sorted(expected.values(), reverse=True)[:8]
    assert len(page.inside["article"]) == len(most) == 8
    for article, heading, total in zip(page.inside["article"], page.inside["h3"], most):
        true, taken_for = re.fullmatch("true class (.*)taken for (.*)", heading).groups()
        a, b = NAMES.index(true), NAMES.index(taken_for)
        assert counts[a, b] + counts[b, a] == total
        said = re.search(r"(\d+) of (\d+) on the left taken for the right", article).groups()
        assert tuple(map(int, said)) == (counts[a, b], counts[a].sum())
        back = re.search(r", (\d+) of (\d+) the other way round", article)
        assert (back is None) == (counts[b].sum() == 0)
        if back:
            assert tuple(map(int, back.groups())) == (counts[b, a], counts[b].sum())
        index = int(re.search(r"right(\d+)\.png", article)[1])
        row = inputs["probabilities"][index]
        assert inputs["test"].labels[index] == a and row.argmax() == b
        assert f"{100 * row[a]:.1f}% left, {100 * row[b]:.1f}% right" in article
    assert "speaks for the left" in page.by_id["pairs"]


def test_worst_classes_are_those_of_a_loop(report):
    _, page, inputs = report
    counts = counted(inputs)
    wrong = [label for label in range(len(NAMES)) if counts[label].sum() > counts[label, label]]
    head, *rows = page.tables[f"{len(wrong)} of {len(wrong)} classes with a mistake"]
    assert head[0] == "class" and len(rows) == len(wrong)
    last = 0
    for name, images, right, accuracy, interval, taken_for in rows:
        row = counts[NAMES.index(name)]
        assert (int(images), int(right)) == (row.sum(), row[NAMES.index(name)])
        assert accuracy == f"{100 * int(right) / int(images):.1f}%"
        assert interval == wilson(int(right), int(images))
        other, times = re.fullmatch(r"(.*) \((\d+)\)", taken_for).groups()
        assert row[NAMES.index(other)] == int(times)
        assert int(times) == max(np.delete(row, NAMES.index(name)))
        assert int(right) / int(images) >= last
        last = int(right) / int(images)


def test_what_was_trained_on_what_and_how_to_repeat_it(report):
    _, page, inputs = report
    assert page.tables["Images"] == [
        ["split", "images", "classes", "a class"],
        ["train", "32", "7", "4–5"],
        ["test", "60", "7", "8–9"],
    ]
    text = page.by_id["data"]
    assert "2 of the test images are among those of train, too" in text
    assert "among those of validation, too, was not found out" in text
    assert "bad & broken.png: the file is empty" in text and "1 image of test" in text
    assert "image of train" not in text
    assert "32×32 pixels" in text and "self channel interaction" in text and "75 s" in text
    assert page.by_id["command"] == inputs["metrics"]["command"]
    assert "limitnot set" in page.by_id["repeat"].replace("\n", "")
    assert "a < b" in page.by_id["repeat"] and "3.15.1" in page.by_id["repeat"]
    assert "60.0%, after epoch 2 of 2" in page.by_id["curves"]


def test_the_page_is_one_file_that_runs_nothing(report):
    path, page, _ = report
    assert path.stat().st_size < 3e6
    tags = {tag for tag, _, _ in page.attributes}
    assert tags.isdisjoint({"script", "link", "iframe", "object", "embed"}) and "script" not in (
        page.inside
    )
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "xlink:href", "srcset"):
            assert value.startswith(("data:image/jpeg;base64,", "#")), value[:80]
    assert "@import" not in path.read_text("utf-8")


def test_names_are_shown_as_they_are(report):
    path, page, _ = report
    assert any("<script>alert('x')</script>" in text for text in page.texts)
    assert "<script" not in path.read_text("utf-8")
    assert page.inside["title"] == ["Report: <photographs>"]


def test_pictures_have_words_and_sizes(report):
    _, page, _ = report
    assert len(page.images) == 8 * 4
    for attributes in page.images:
        assert attributes["alt"]
        file = io.BytesIO(base64.b64decode(attributes["src"].split(",")[1]))
        size = Image.open(file).size
        assert size == (int(attributes["width"]), int(attributes["height"])) == (320, 320)
    assert ("html", "lang", "en") in page.attributes
    scopes = [value for tag, name, value in page.attributes if (tag, name) == ("th", "scope")]
    assert len(scopes) == len(page.inside["th"]) and {"col", "row"} == set(scopes)


def test_an_evaluation_alone_has_a_page(tmp_path, model):
    inputs = material()
    path = write_report(
        str(tmp_path / "new" / "report.html"),
        model=foreign_model(32),
        test=inputs["test"],
        probabilities=inputs["probabilities"],
        metrics={"part": "the test part", "remarks": ["One class was <left> out."]},
    )
    page = Page(path.read_text("utf-8"))
    for text in ("partthe test part", "One class was <left> out.", "trained on were not at hand"):
        assert text in page.by_id["data"]
    assert "no contrast maps: the model is no cin_keras.CIN but a Sequential" in page.by_id["pairs"]
    assert len(page.images) == 8 * 2 and "speaks for the left" not in page.by_id["pairs"]
    assert "Test photograph" in page.by_id["pairs"]
    assert "without the history of the training" in page.by_id["curves"]
    assert "repeat" not in page.by_id and [row[0] for row in page.tables["Images"]][1:] == ["test"]
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_several_attentions_leave_no_maps(tmp_path):
    model = tiny_model(class_names=NAMES, interaction="osme")
    inputs = material()
    path = write_report(
        tmp_path / "r.html",
        model=model,
        test=inputs["test"],
        probabilities=inputs["probabilities"],
        metrics={},
    )
    page = Page(path.read_text("utf-8"))
    assert "no contrast maps: several attentions leave none." in page.by_id["pairs"]


def test_nothing_wrong_and_few_classes(tmp_path):
    test = samples(6, 0, num_classes=3)
    path = write_report(
        tmp_path / "report.html",
        model=tiny_model(3, interaction=None),
        test=test,
        probabilities=np.eye(3)[test.labels],
        metrics={},
    )
    page = Page(path.read_text("utf-8"))
    assert page.by_id["accuracy-value"] == "100.0%" and "first five" not in page.by_id["accuracy"]
    for name in ("pairs", "worst"):
        assert "every test image was recognised" in page.by_id[name]
    assert "none" in page.by_id["data"] and not page.images


def test_a_size_that_only_the_caller_knows(tmp_path):
    inputs = material()
    arguments = {
        "model": foreign_model(None),
        "test": inputs["test"],
        "probabilities": inputs["probabilities"],
        "metrics": {},
    }
    with pytest.raises(ValueError, match="`image_size` must say at which"):
        write_report(tmp_path / "report.html", **arguments)
    path = write_report(tmp_path / "report.html", image_size=(20, 40), **arguments)
    page = Page(path.read_text("utf-8"))
    assert "40×20 pixels" in page.by_id["data"]
    channels_first = types.SimpleNamespace(image_size=(20, 40), input_shape=(None, 3, 20, 40))
    assert seen_size(channels_first, None) == (20, 40)
    assert {(image["width"], image["height"]) for image in page.images} == {("320", "160")}


def test_other_classes_in_training_are_refused(tmp_path, model):
    inputs = material()
    inputs["train"] = samples(8, 0, num_classes=3)
    with pytest.raises(ValueError, match="`train` must have the classes of `test`"):
        write_report(tmp_path / "report.html", model=model, **inputs)
    assert not list(tmp_path.iterdir())


def test_the_template_is_installed_with_the_package():
    """Every file that is no Python is listed as package data."""
    package = pathlib.Path(cin_keras.__file__).parent
    project = tomllib.loads((package.parent / "pyproject.toml").read_text("utf-8"))
    listed = set()
    for name, patterns in project["tool"]["setuptools"]["package-data"].items():
        folder = package.parent.joinpath(*name.split("."))
        listed |= {path for pattern in patterns for path in folder.glob(pattern)}
    there = {
        path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert {path for path in there if path.suffix != ".py"} == listed
    assert {path.name for path in listed} >= {"page.html", "page.css"}


def test_accuracy_of_every_level(tmp_path):
    inputs = material(3, 20)
    hierarchy = {"kind": ["one", "two", "two"]}
    for name in ("test", "train"):
        inputs[name] = dataclasses.replace(inputs[name], hierarchy=hierarchy)
    path = write_report(tmp_path / "r.html", model=tiny_model(3), **inputs)
    (row,) = Page(path.read_text("utf-8")).tables[
        "Levels: groups of classes, by the sum of their probabilities"
    ][1:]
    first = inputs["probabilities"][:, 0] > 0.5
    right = int(np.sum(first == (inputs["test"].labels == 0)))
    assert row == ["kind", "2", str(right), f"{right / 20:.1%}", wilson(right, 20)]
