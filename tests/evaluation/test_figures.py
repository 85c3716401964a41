import io
import itertools
import os
import pathlib
import warnings

import numpy as np
import pytest
from PIL import Image

from cin_keras.data.samples import Samples
from cin_keras.evaluation import figures

pytestmark = pytest.mark.one_backend

HAZARDS = ["costs $5 or $7_a^b", "$\\frac{", "Citroën Größe Ωμέγα", "Бронированный", "x" * 300]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, in order."""
    saved = []
    save = figures.save_figure
    monkeypatch.setattr(
        figures, "save_figure", lambda figure, path: (saved.append(figure), save(figure, path))[1]
    )
    return saved


def texts(figure):
    """All that is written in a figure."""
    return [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_fontsize"))]


def opened(path, smallest, largest):
    """The PNG at `path`, decoded, after a check of its width and height."""
    assert isinstance(path, pathlib.Path)
    image = Image.open(path)
    assert image.format == "PNG"
    image.load()
    assert all(smallest <= length <= largest for length in image.size), image.size
    return np.asarray(image.convert("RGB")).astype(int)


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def labels_and_predictions(classes, count, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, count)
    return true, np.where(rng.random(count) < 0.5, true, rng.integers(0, classes, count))


def solid(colour, size=(40, 30)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def samples_of(labels, names, colours=None, size=(40, 30)):
    colours = colours or ["teal"] * len(labels)
    encoded = [solid(colour, size) for colour in colours]
    return Samples([f"{i}.png" for i in range(len(labels))], labels, names, encoded=encoded)


# Learning curves


def test_learning_curves_shows_what_was_recorded(tmp_path, drawn):
    history = {
        "loss": [3.0, 2.0, 1.5],
        "classification_loss": [2.5, 1.7, 1.3],
        "contrastive_loss": [0.5, 0.3, 0.2],
        "val_loss": [2.8, 2.1, 2.2],
        "accuracy": [0.2, 0.5, 0.7],
        "val_accuracy": [0.25, 0.625, 0.6],
        "learning_rate": [0.1, 0.1, 0.01],
    }
    path = figures.learning_curves(history, str(tmp_path / "deep" / "er" / "curves.png"))
    assert path == tmp_path / "deep" / "er" / "curves.png"
    opened(path, 500, 2500)
    assert os.listdir(path.parent) == ["curves.png"]
    loss_axes, accuracy_axes = drawn[0].axes
    assert sorted(lines(loss_axes)) == [
        "training, classification",
        "training, contrastive",
        "training, total",
        "validation",
    ]
    for label, key in (
        ("training, total", "loss"),
        ("training, classification", "classification_loss"),
        ("training, contrastive", "contrastive_loss"),
        ("validation", "val_loss"),
    ):
        line = lines(loss_axes)[label]
        assert line.get_xdata().tolist() == [1, 2, 3]
        assert line.get_ydata().tolist() == history[key]
    assert np.allclose(lines(accuracy_axes)["training"].get_ydata(), [20, 50, 70])
    assert np.allclose(lines(accuracy_axes)["validation"].get_ydata(), [25, 62.5, 60])
    best = lines(accuracy_axes)["best validation: 62.50% (epoch 2)"]
    assert (best.get_xdata(), best.get_ydata()) == ([2], [62.5])
    colours = [line.get_color() for line in loss_axes.lines]
    assert len(set(colours)) == 4


def test_a_single_epoch_is_visible(tmp_path):
    path = figures.learning_curves({"val_loss": [1.0]}, tmp_path / "a.png")
    red, green, blue = opened(path, 500, 2500).transpose(2, 0, 1)
    legend_starts = int(red.shape[0] * 0.8)
    orange = ((red > 200) & (green < 110) & (blue < 50))[:legend_starts]
    assert orange.sum() > 20


@pytest.mark.parametrize("epochs", [1, 4, 300])
def test_nan_leaves_a_gap_and_is_never_the_best(tmp_path, drawn, epochs):
    accuracy = [float("nan")] + [0.5] * (epochs - 1)
    history = {"val_accuracy": accuracy, "loss": [float("nan")] * epochs}
    opened(figures.learning_curves(history, tmp_path / "a.png"), 500, 2500)
    best = [label for label in lines(drawn[0].axes[1]) if label.startswith("best")]
    assert best == ([] if epochs == 1 else ["best validation: 50.00% (epoch 2)"])


def test_a_panel_without_curves_says_so(tmp_path, drawn):
    figures.learning_curves({"loss": [1.0, 0.5]}, tmp_path / "a.png")
    assert texts(drawn[0]).count("not recorded") == 1
    assert not drawn[0].axes[1].lines


@pytest.mark.parametrize(
    "history", [{}, {"loss": []}, {"learning_rate": [0.1]}], ids=["none", "no epoch", "other"]
)
def test_an_empty_history_is_refused(tmp_path, history):
    with pytest.raises(ValueError, match="at least one epoch.*Received keys"):
        figures.learning_curves(history, tmp_path / "a.png")
    assert not os.listdir(tmp_path)


def test_histories_of_different_lengths_are_refused(tmp_path):
    history = {"loss": [1.0, 0.5], "val_loss": [1.0]}
    with pytest.raises(ValueError, match="'loss': 2, 'val_loss': 1"):
        figures.learning_curves(history, tmp_path / "a.png")


# Confusion matrix


def test_confusion_counts_against_a_loop():
    true, predicted = labels_and_predictions(7, 200)
    expected = np.zeros((9, 9), int)
    for t, p in zip(true, predicted, strict=True):
        expected[t, p] += 1
    counts = figures.confusion_counts(true.astype("int32"), predicted.tolist(), 9)
    assert (counts == expected).all()


def test_confusion_counts_of_narrow_integers_do_not_overflow():
    counts = figures.confusion_counts(np.array([195], "uint8"), np.array([194], "uint8"), 196)
    assert np.argwhere(counts).tolist() == [[195, 194]]


def test_row_shares_sum_to_one_and_are_nan_without_samples():
    shares = figures.row_shares(np.array([[3, 1], [0, 0]]))
    assert shares[0].tolist() == [0.75, 0.25]
    assert np.isnan(shares[1]).all()


def test_most_confused_pairs_against_a_loop():
    counts = figures.confusion_counts(*labels_and_predictions(12, 300), 14)
    pairs = []
    for true in range(14):
        for predicted in range(14):
            if true != predicted and counts[true, predicted]:
                count = counts[true, predicted]
                pairs.append((-count, -count / sum(counts[true]), true, predicted))
    expected = [(t, p, -count, -share) for count, share, t, p in sorted(pairs)]
    assert len({count for _, _, count, _ in expected}) > 2
    assert figures.most_confused_pairs(counts, 1000) == expected
    assert figures.most_confused_pairs(counts, 5) == expected[:5]
    assert figures.most_confused_pairs(np.eye(3, dtype=int), 5) == []


@pytest.mark.parametrize("classes", [1, 2, 12, 30])
def test_few_classes_are_named_and_counted(tmp_path, drawn, classes):
    names = (HAZARDS + [f"Mercedes-Benz SL-Class Coupe {year}" for year in range(30)])[:classes]
    true, predicted = labels_and_predictions(classes, 200)
    opened(figures.confusion_matrix(true, predicted, names, tmp_path / "a.png"), 300, 4000)
    axes = drawn[0].axes[0]
    expected = [figures.shorten(name, 40) for name in names]
    for axis in (axes.xaxis, axes.yaxis):
        labels = axis.get_ticklabels()
        assert [label.get_text() for label in labels] == expected
        assert not any(label.get_parse_math() for label in labels)
    counts = figures.confusion_counts(true, predicted, classes)
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(c, r): str(counts[r, c]) for r, c in np.ndindex(counts.shape)}
    assert np.allclose(axes.images[0].get_array(), figures.row_shares(counts))
    right = (true == predicted).mean()
    assert axes.get_title(loc="left").startswith(f"{right:.2%} of 200 images right")


def test_labels_of_named_classes_do_not_overlap(tmp_path, drawn):
    names = [f"Chevrolet Silverado 1500 Hybrid Crew Cab {year}" for year in range(1990, 2020)]
    figures.confusion_matrix(range(30), range(30), names, tmp_path / "a.png")
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
    assert "3\n8%" in written and "1\n2%" in written
    assert f"{names[0]} (0)\n→ {names[1]} (1)" in written
    assert written.index("3\n8%") < written.index("1\n2%")
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


# Worst mistakes


def test_order_of_mistakes_against_a_loop():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 60)
    probabilities = rng.dirichlet(np.ones(5), 60)
    predicted = probabilities.argmax(axis=1)
    leads = {
        i: probabilities[i, predicted[i]] - probabilities[i, labels[i]]
        for i in range(60)
        if predicted[i] != labels[i]
    }
    expected = sorted(leads, key=leads.get, reverse=True)
    assert figures.order_of_mistakes(labels, predicted, probabilities).tolist() == expected


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
    frames = [patch.get_window_extent() for patch in drawn[0].findobj(figures.Rectangle)]
    for text in drawn[0].texts[2:]:
        assert "…" in text.get_text() and text.get_text().endswith("%")
        box = text.get_window_extent()
        assert any(
            f.x0 < box.x0 and box.x1 < f.x1 and f.y0 < box.y0 and box.y1 < f.y1 for f in frames
        )


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


# What all share


@pytest.mark.parametrize(
    "name, width, expected",
    [
        ("Audi S4", 7, "Audi S4"),
        ("Audi S4 Sedan 2007", 11, "Audi…2007"),
        (" two\n lines ", 20, "two lines"),
        ("abcdefghij", 6, "abc…ij"),
    ],
)
def test_shorten(name, width, expected):
    assert figures.shorten(name, width) == expected


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = figures.learning_curves({"loss": [1.0]}, tmp_path / "a.png")
    before = path.read_bytes()

    def fail(self, target, **options):
        pathlib.Path(target).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figures.Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        figures.learning_curves({"loss": [2.0]}, path)
    assert os.listdir(tmp_path) == ["a.png"] and path.read_bytes() == before


def test_no_global_state_of_matplotlib_is_touched(tmp_path):
    import matplotlib
    from matplotlib import _pylab_helpers

    before = dict(matplotlib.rcParams)
    figures.learning_curves({"loss": [1.0]}, tmp_path / "a.png")
    figures.confusion_matrix([0, 1], [0, 0], ["a", "b"], tmp_path / "b.png")
    assert dict(matplotlib.rcParams) == before
    assert not _pylab_helpers.Gcf.figs
