import os
import pathlib

import numpy as np
import pytest
from matplotlib.figure import Figure

from cin_keras.evaluation import figures
from tests.evaluation.figures.drawings import opened, texts


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


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


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = figures.learning_curves({"loss": [1.0]}, tmp_path / "a.png")
    before = path.read_bytes()

    def fail(self, target, **options):
        pathlib.Path(target).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
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
