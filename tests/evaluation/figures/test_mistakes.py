import io
import os

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from cin_keras.data.samples import Samples
from cin_keras.evaluation import figures
from cin_keras.evaluation.figures import mistakes
from tests.evaluation.figures.drawings import opened, texts


def solid(colour, size=(40, 30)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def samples_of(labels, names, colours=None, size=(40, 30)):
    colours = colours or ["teal"] * len(labels)
    encoded = [solid(colour, size) for colour in colours]
    return Samples([f"{i}.png" for i in range(len(labels))], labels, names, encoded=encoded)


def test_worst_mistakes_pairs_the_images_in_order(tmp_path, drawn):
    names = ["cat", "dog", "$ox$ $"]
    samples = samples_of([0, 1, 0, 2], names, ["red", "lime", "blue", "white"])
    reference = samples_of([1, 0, 1], names, ["gold", "navy", "pink"])
    probabilities = [[0.3, 0.6, 0.1], [0, 1, 0], [0.1, 0.0, 0.9], [0.55, 0, 0.45]]
    path = figures.worst_mistakes(
        samples, np.argmax(probabilities, 1), probabilities, reference, tmp_path / "x" / "a.png"
    )
    opened(path, 300, 3000)
    shown = [
        axes.images[0].get_array()[0, 0].tolist() if axes.images else None for axes in drawn[0].axes
    ]
    # blue was taken for "$ox$ $", of which the reference has none; of dogs it has gold first
    red, blue, white, gold, navy = (
        [255, 0, 0],
        [0, 0, 255],
        [255, 255, 255],
        [255, 215, 0],
        [0, 0, 128],
    )
    assert shown == [blue, None, red, gold, white, navy]
    assert texts(drawn[0]).count("no photograph\nof this class") == 1
    captions = [text for text in drawn[0].texts if text.get_text().startswith(("true", "taken"))]
    assert [caption.get_text() for caption in captions] == [
        "true: cat, 10.0%",
        "taken for: $ox$ $, 90.0%",
        "true: cat, 30.0%",
        "taken for: dog, 60.0%",
        "true: $ox$ $, 45.0%",
        "taken for: cat, 55.0%",
    ]
    assert not any(caption.get_parse_math() for caption in captions)
    assert "Worst mistakes: 3 of 3 (4 images)" in texts(drawn[0])


@pytest.mark.parametrize("count, pairs", [(1, 1), (4, 4), (12, 5)])
def test_count_limits_the_pairs(tmp_path, drawn, count, pairs):
    samples = samples_of([0] * 5, ["a", "b"])
    probabilities = np.tile([0.25, 0.75], (5, 1))
    path = figures.worst_mistakes(
        samples, [1] * 5, probabilities, samples, tmp_path / "a.png", count=count
    )
    opened(path, 300, 4000)
    assert len(drawn[0].axes) == 2 * pairs
    assert f"Worst mistakes: {pairs} of 5 (5 images)" in texts(drawn[0])


@pytest.mark.parametrize("name", ["W" * 200, "x" * 300, "Größe " * 30])
def test_long_captions_stay_inside_their_frame(tmp_path, drawn, name):
    samples = samples_of([0, 1, 0], [name, "$ " + name])
    probabilities = [[0, 1], [1, 0], [0.4, 0.6]]
    figures.worst_mistakes(samples, [1, 0, 1], probabilities, samples, tmp_path / "a.png")
    frames = [patch.get_window_extent() for patch in drawn[0].findobj(Rectangle)]
    for text in drawn[0].texts[2:]:
        assert "…" in text.get_text() and text.get_text().endswith("%")
        box = text.get_window_extent()
        assert any(
            f.x0 < box.x0 and box.x1 < f.x1 and f.y0 < box.y0 and box.y1 < f.y1 for f in frames
        )


def test_a_caption_is_as_long_as_its_font_allows(monkeypatch):
    """What Matplotlib's own font lacks is drawn in another, which is wider."""
    monkeypatch.setattr(mistakes, "suit_font", lambda text: text.set_fontsize(18))
    text = Figure(dpi=50).text(0, 0, "")
    mistakes.fit_caption(text, "{}, {:.1f}%", "x" * 60, 12.5, 4)
    assert text.get_fontsize() == 18 and "…" in text.get_text()
    assert 150 < text.get_window_extent().width <= 200


@pytest.mark.parametrize("size", [(300, 20), (20, 300), (3000, 1500)])
def test_images_keep_their_aspect_ratio(tmp_path, drawn, size):
    samples = samples_of([0, 1], ["a", "b"], size=size)
    figures.worst_mistakes(samples, [1, 1], [[0, 1], [0, 1]], samples, tmp_path / "a.png")
    drawn[0].draw_without_rendering()
    for axes in drawn[0].axes:
        box = axes.images[0].get_window_extent()
        assert box.width / box.height == pytest.approx(size[0] / size[1], rel=0.05)


def test_no_mistakes_are_said_plainly(tmp_path, drawn):
    samples = samples_of([0, 1], ["a", "b"])
    path = figures.worst_mistakes(samples, [0, 1], np.eye(2), samples, tmp_path / "a.png")
    opened(path, 100, 2000)
    assert "No mistakes: right on 2 images." in texts(drawn[0])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"count": 0}, "`count` must be at least 1.*count=0"),
        ({"predicted_labels": [1]}, "for each of 2 samples. Received: 1 labels"),
        ({"predicted_labels": [1, 2]}, r"in 0\.\.1 \(2 classes\).*2 at index 1"),
        ({"probabilities": np.zeros((2, 3))}, r"\(2, 2\). Received: shape=\(2, 3\)"),
        ({"probabilities": [[-4.0, 7.5], [0, 1]]}, "not logits.*from -4 to 7.5"),
        ({"probabilities": [[np.nan, 1], [0, 1]]}, "must lie in .0, 1.*nan"),
        ({"reference": samples_of([0], ["b", "a"])}, "classes of `samples`, in the same order"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, change, message):
    samples = samples_of([0, 1], ["a", "b"])
    arguments = {
        "samples": samples,
        "predicted_labels": [1, 0],
        "probabilities": np.full((2, 2), 0.5),
        "reference": samples,
        "path": tmp_path / "a.png",
    }
    with pytest.raises(ValueError, match=message):
        figures.worst_mistakes(**{**arguments, **change})
    assert not os.listdir(tmp_path)
