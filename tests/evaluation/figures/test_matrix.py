import itertools
import os

import numpy as np
import pytest

from cin_keras.evaluation import figures
from cin_keras.evaluation.confusions import confusion_counts
from cin_keras.evaluation.figures.matrix import row_shares
from cin_keras.text import shorten
from tests.evaluation.figures.drawings import HAZARDS, labels_and_predictions, opened, texts


def test_row_shares_sum_to_one_and_are_nan_without_samples():
    shares = row_shares(np.array([[3, 1], [0, 0]]))
    assert shares[0].tolist() == [0.75, 0.25]
    assert np.isnan(shares[1]).all()


@pytest.mark.parametrize("classes", [1, 2, 12, 30])
def test_few_classes_are_named_and_counted(tmp_path, drawn, classes):
    names = (HAZARDS + [f"Mercedes-Benz SL-Class Coupe {year}" for year in range(30)])[:classes]
    true, predicted = labels_and_predictions(classes, 200)
    opened(figures.confusion_matrix(true, predicted, names, tmp_path / "a.png"), 300, 4000)
    axes = drawn[0].axes[0]
    expected = [shorten(name, 40) for name in names]
    for axis in (axes.xaxis, axes.yaxis):
        labels = axis.get_ticklabels()
        assert [label.get_text() for label in labels] == expected
        assert not any(label.get_parse_math() for label in labels)
    counts = confusion_counts(true, predicted, classes)
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(c, r): str(counts[r, c]) for r, c in np.ndindex(counts.shape)}
    assert np.allclose(axes.images[0].get_array(), row_shares(counts))
    right = (true == predicted).mean()
    assert axes.get_title(loc="left").startswith(f"{right:.2%} of 200 images right")


def test_labels_of_named_classes_do_not_overlap(tmp_path, drawn, undrawn):
    names = [f"Chevrolet Silverado 1500 Hybrid Crew Cab {year}" for year in range(1990, 2020)]
    figures.confusion_matrix(range(30), range(30), names, tmp_path / "a.png")
    drawn[0].draw_without_rendering()
    axes = drawn[0].axes[0]
    heights = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(upper.y0 >= lower.y1 for upper, lower in itertools.pairwise(heights))
    size = axes.get_xticklabels()[0].get_fontsize() / 72 * drawn[0].dpi
    spacing = axes.get_window_extent().width / 30
    assert spacing / np.sqrt(2) > size  # lines at 45 degrees


@pytest.mark.parametrize("classes", [2, 40])
def test_classes_without_samples_stay_grey(tmp_path, drawn, classes):
    true = [1] * 5
    names = [str(label) for label in range(classes)]
    path = figures.confusion_matrix(true, true, names, tmp_path / "a.png")
    image = opened(path, 300, 3000)
    grey = (abs(image - 217) <= 1).all(axis=-1).mean()
    assert grey > 0.15
    axes = drawn[0].axes[0]
    assert axes.images[0].get_array().mask.sum() == classes * (classes - 1)
    noun = "class" if classes == 2 else "classes"
    assert f"grey: {classes - 1} {noun} without an image" in axes.get_title(loc="left")
    assert all(text.get_position()[1] == 1 for text in axes.texts)  # in row 1 only


def test_many_classes_show_every_mistake_and_name_the_worst(tmp_path, drawn):
    names = (HAZARDS + [f"Ford F-450 Super Duty Crew Cab {number}" for number in range(200)])[:196]
    true = np.repeat(np.arange(196), 40)
    clean = figures.confusion_matrix(true, true, names, tmp_path / "clean.png")
    predicted = true.copy()
    predicted[:3] = 1  # three of "costs $5 ..." taken for "$\frac{"
    predicted[195 * 40] = 20
    path = figures.confusion_matrix(true, predicted, names, tmp_path / "a.png")
    axes, list_axes = drawn[1].axes[0], drawn[1].axes[1]
    assert axes.images[0].get_interpolation() == "nearest"
    ticks = axes.get_yticks()
    assert 10 <= ticks[1] - ticks[0] <= 20 and ticks[-1] <= 195
    written = [text.get_text() for text in list_axes.texts]
    assert written[2:] == [
        "3 of 40\n0 of 40",
        f"{names[0]} (0)\n↔ {names[1]} (1)",
        "1 of 40\n0 of 40",
        f"{names[195]} (195)\n↔ {names[20]} (20)",
    ]
    assert "None: every image was recognised." in texts(drawn[0])
    # One image of 40 far from the diagonal: its cell differs clearly from the ground.
    before, after = opened(clean, 1000, 4000), opened(path, 1000, 4000)
    matrix = axes.get_window_extent()
    cell = matrix.width / 196
    assert before.shape[0] == after.shape[0] and cell > 5
    half = int(matrix.width / 2)
    changed = abs(after[-half:, :half] - before[-half:, :half]).sum(axis=-1)
    assert 0.7 * cell**2 < (changed > 60).sum() < 1.4 * cell**2


def test_the_list_ends_with_the_twentieth_pair(tmp_path, drawn):
    true = np.arange(100)
    figures.confusion_matrix(true, true[::-1], [f"name {i}" for i in true], tmp_path / "a.png")
    list_axes = drawn[0].axes[1]
    pairs = [text for text in list_axes.texts if text.get_text().startswith("name")]
    assert len(pairs) == 20
    boxes = [text.get_window_extent() for text in pairs]
    assert all(upper.y0 > lower.y1 for upper, lower in itertools.pairwise(boxes))
    matrix = drawn[0].axes[0].get_window_extent()
    assert boxes[-1].y0 >= matrix.y0


def test_nothing_drawn_is_cut_off(tmp_path, drawn):
    path = figures.confusion_matrix([0, 1, 1], [0, 1, 0], HAZARDS[:2], tmp_path / "a.png")
    image = opened(path, 300, 3000)
    for edge in (image[:5], image[-5:], image[:, :5], image[:, -5:]):
        assert (edge == 255).all()


@pytest.mark.parametrize(
    "true, predicted, message",
    [
        ([], [], r"`true_labels`.*at least one.*shape=\(0,\)"),
        ([0, 1], [0], "`predicted_labels` must hold one label for each of 2 samples.*1 labels"),
        ([0, 2], [0, 1], r"`true_labels` must lie in 0\.\.1 \(2 classes\).*2 at index 1"),
        ([0, 1], [0, -1], r"`predicted_labels` must lie in 0\.\.1.*-1 at index 1"),
        ([0, 1], [[0.1, 0.9], [0.8, 0.2]], r"`predicted_labels`.*dtype=float64, shape=\(2, 2\)"),
        ([0.0, 1.0], [0, 1], "`true_labels`.*dtype=float64"),
    ],
)
def test_wrong_labels_are_refused(tmp_path, true, predicted, message):
    with pytest.raises(ValueError, match=message):
        figures.confusion_matrix(true, predicted, ["a", "b"], tmp_path / "a.png")
    assert not os.listdir(tmp_path)
