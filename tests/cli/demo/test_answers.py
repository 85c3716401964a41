import io
import os
import shutil

import numpy as np
import pytest
from PIL import Image

import cin_keras
from cin_keras.cli import main
from cin_keras.cli.demo.answers import Answers, read_picture
from cin_keras.data.hierarchy import levels_of
from cin_keras.models import load_model
from tests.cli.conftest import COLOURS, colour_model, colour_probabilities, write_photograph
from tests.explain.networks import explained_cin
from tests.models.networks import tiny_cin

YELLOW = (230, 240, 20)


@pytest.fixture
def place(models, photographs, tmp_path, monkeypatch):
    """A folder with a model in `model.keras`, photographs of three colours and their gallery."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(models / "c.keras", "model.keras")
    assert main(["index", "model.keras", "photos"]) == 0
    return tmp_path


def half_and_half(path, left, right):
    """A photograph of two colours, 70×40 pixels."""
    pixels = np.empty((40, 70, 3), "uint8")
    pixels[:, :35], pixels[:, 35:] = left, right
    Image.fromarray(pixels).save(path)
    return str(path)


def test_classes_with_calibrated_probabilities(place):
    model = load_model("model.keras", compile=False)
    model.temperature = 2.0
    model.save("calibrated.keras")
    colour = (240, 120, 30)
    path = write_photograph(place / "a.png", colour)
    first, calibrated = (Answers(f"{name}.keras", top=2)(path) for name in ("model", "calibrated"))
    expected = colour_probabilities(colour)
    assert list(first.probabilities) == ["rot", "grün"]
    np.testing.assert_allclose(list(first.probabilities.values()), expected[:2], atol=1e-5)
    assert first.sentence == f"rot, {100 * expected[0]:.1f} %"
    assert first.similar == []
    roots = np.sqrt(expected)
    np.testing.assert_allclose(calibrated.probabilities["rot"], roots[0] / roots.sum(), atol=1e-5)


def test_none_of_these(place):
    path = write_photograph(place / "a.png", (130, 125, 120))
    answer = Answers("model.keras", min_confidence=0.9)(path)
    assert answer.sentence.startswith("None of these: rot, the most probable, has 3")
    assert answer.sentence.endswith("%, less than 90.0 %.") and len(answer.probabilities) == 3

    gallery = cin_keras.Gallery.load("gallery.npz")
    gallery.threshold = 0.999
    gallery.save("gallery.npz")
    answer = Answers("model.keras", "gallery.npz")(path)
    grey = np.array([130, 125, 120]) / np.linalg.norm([130, 125, 120])
    similarity = max(grey @ np.array(c) / np.linalg.norm(c) for c in COLOURS.values())
    assert answer.sentence == (
        f"None of these: its similarity to what is known is {similarity:.3f}, and the gallery's "
        "threshold is 0.999."
    )
    assert Answers("model.keras", "gallery.npz")("photos/rot/1 ü.png").sentence.startswith("rot, ")


def test_a_finer_level_is_not_sure(place):
    hierarchy = {"kind": ["warm", "kalt", "kalt"]}
    colour_model(hierarchy=hierarchy).save("levels.keras")
    path = write_photograph(place / "a.png", (10, 130, 120))
    probabilities = colour_probabilities((10, 130, 120))
    cold = levels_of(np.array(probabilities), hierarchy)["kind"]["probability"]
    assert probabilities[1] < 0.8 < cold
    answer = Answers("levels.keras", min_confidence=0.8)(path)
    assert answer.sentence == (
        f"kind kalt, {100 * cold:.1f} % (which one is not sure: grün has "
        f"{100 * probabilities[1]:.1f} %)"
    )
    answer = Answers("levels.keras")(path)
    assert answer.sentence == f"grün, {100 * probabilities[1]:.1f} %; kind kalt, {100 * cold:.1f} %"


@pytest.mark.parametrize("gallery", [None, "gallery.npz"])
def test_the_map_lies_where_the_colour_does(gallery, place):
    path = half_and_half(place / "two.png", COLOURS["rot"], (60, 150, 60))
    answer = Answers("model.keras", gallery)(path)
    assert answer.legend == "Yellow speaks for rot, blue for grün."
    # In the proportions of the photograph, seven eighths of either side.
    assert answer.picture.shape == answer.decision.shape == (366, 640, 3)
    left, right = (
        answer.decision[:, rows].mean(axis=(0, 1)) for rows in (slice(160), slice(-160, None))
    )
    plain_left, plain_right = (
        answer.picture[:, rows].mean(axis=(0, 1)) for rows in (slice(160), slice(-160, None))
    )
    # Viridis: its yellow is (253, 231, 37), its blue (68, 1, 84).
    np.testing.assert_allclose(2 * left - plain_left, (253, 231, 37), atol=45)
    assert (2 * right - plain_right)[2] > 80


def test_new_classes_and_similar_photographs(place):
    write_photograph(place / "new" / "1.png", (240, 230, 10))
    main(["index", "--add", "model.keras", "new", "--class", "gelb"])
    path = write_photograph(place / "asked.png", YELLOW)
    answer = Answers("model.keras", "gallery.npz", similar=2)(path)
    assert answer.sentence.startswith("gelb, ") and next(iter(answer.probabilities)) == "gelb"
    assert answer.legend.startswith("Yellow speaks for gelb, blue for ")
    first, second = answer.similar
    assert (first.class_name, first.path) == ("gelb", os.path.join("new", "1.png"))
    assert first.similarity > 0.99 > second.similarity and first.problem is None
    np.testing.assert_array_equal(first.picture[5, 5], (240, 230, 10))
    assert str(first) == f"{first.similarity:.3f} gelb: {first.path}"
    # Gone meanwhile.
    os.remove(first.path)
    first = Answers("model.keras", "gallery.npz", similar=2)(path).similar[0]
    assert "1.png (there is no such file; " in str(first) and first.picture.std() == 0


def test_what_is_seen_is_what_the_command_line_sees(place, capsys):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (90, 50, 3)).astype("uint8")).save("noise.png")
    main(["predict", "model.keras", "noise.png", "--top", "3", "--csv"])
    rows = [line.split(",") for line in capsys.readouterr().out.splitlines()[1:]]
    found = Answers("model.keras")("noise.png").probabilities
    assert [(row[2], float(row[4])) for row in rows] == list(found.items())


def eps():
    file = io.BytesIO()
    Image.new("RGB", (5, 5)).save(file, "EPS")
    return file.getvalue()


@pytest.mark.parametrize(
    "content,reason",
    [
        (b"", "the file is empty"),
        (b"\xff\xd8\xff nothing", "cannot be read: "),
        (eps(), "cannot be read: "),
        (b"no photograph at all", "cannot be read: "),
    ],
)
def test_a_damaged_file_gives_a_sentence(content, reason, place):
    (place / "bad\n.jpg").write_bytes(content)
    answer = Answers("model.keras", "gallery.npz")(str(place / "bad\n.jpg"))
    assert answer.sentence.startswith("'bad\\n.jpg' cannot be read: ") and reason in answer.sentence
    assert answer.sentence.endswith(".") and answer.picture is answer.decision is None
    assert (
        answer.probabilities == {} and answer.similar == [] and "Traceback" not in answer.sentence
    )


def test_a_huge_photograph_gives_a_sentence(place):
    path = write_photograph(place / "a.png", YELLOW)
    answer = Answers("model.keras", max_pixels=50)(path)
    assert answer.sentence == (
        "'a.png' cannot be read: 11×9 pixels are more than --max-pixels=50, the limit that keeps "
        "a file from filling the memory."
    )


def test_a_broken_model_gives_a_sentence(place):
    model = colour_model()
    model.classifier.bias.assign([np.nan, 0, 0])
    model.save("broken.keras")
    answer = Answers("broken.keras")("photos/rot/1 ü.png")
    assert "The model's predictions are not finite" in answer.sentence


def test_networks_without_a_map(place):
    explained_cin("osme", num_classes=3).save("osme.keras")
    answer = Answers("osme.keras")("photos/rot/1 ü.png")
    assert answer.legend == "This kind of network has no map of what decided."
    assert answer.decision is None and answer.picture is not None and len(answer.probabilities) == 3


def test_a_gallery_of_another_model_is_refused(place):
    with pytest.raises(ValueError, match="'gallery.npz' was made with another model"):
        tiny_cin(class_names=["a", "b", "c"]).save("other.keras")
        Answers("other.keras", "gallery.npz")
    with pytest.raises(FileNotFoundError, match="no file 'gone.npz'"):
        Answers("model.keras", "gone.npz")


def test_small_photographs_are_as_large_as_the_map(tmp_path):
    path = write_photograph(tmp_path / "a.png", YELLOW)
    assert read_picture(path, 4, least=(6, 8)).shape == (6, 8, 3)
    assert read_picture(path, 22, whole=True).shape == (18, 22, 3)
