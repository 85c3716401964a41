import keras
import numpy as np
import pytest

from cin_keras.callbacks import KeepBest

pytestmark = pytest.mark.every_backend


def small_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", loss="mse")
    return model


def run(callback, values):
    """Epochs in which the weight is the number of the epoch."""
    model = small_model()
    callback.set_model(model)
    for epoch, value in enumerate(values):
        model.layers[0].kernel.assign(np.full((2, 1), float(epoch)))
        callback.on_epoch_end(epoch, {"val_accuracy": value})


def test_the_best_epoch_is_in_the_file(tmp_path):
    callback = KeepBest(tmp_path / "best.keras")
    run(callback, [0.1, float("nan"), 0.5, 0.5, 0.3])
    assert (callback.best, callback.best_epoch) == (0.5, 2)
    loaded = keras.saving.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(loaded.get_weights()[0], 2.0)
    assert [path.name for path in tmp_path.iterdir()] == ["best.keras"]


def test_an_interrupted_save_leaves_the_model_before(tmp_path, monkeypatch):
    callback = KeepBest(tmp_path / "best.keras")
    run(callback, [0.1])

    def interrupted(path, *args, **kwargs):
        open(path, "wb").write(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(callback.model, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        callback.on_epoch_end(1, {"val_accuracy": 0.9})
    assert [path.name for path in tmp_path.iterdir()] == ["best.keras"]
    keras.saving.load_model(tmp_path / "best.keras")
    assert callback.best == 0.1


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match="best.h5"):
        KeepBest(tmp_path / "best.h5")
    with pytest.raises(ValueError, match="'val_accuracy'.*validation_data.*validation_freq=1.*loss"):
        KeepBest(tmp_path / "best.keras").on_epoch_end(0, {"loss": 1.0})


def test_a_loss_that_is_not_finite_is_never_the_best(tmp_path):
    callback = KeepBest(tmp_path / "best.keras")
    callback.set_model(small_model())
    for name in ("loss", "val_loss"):
        for loss in (float("nan"), float("inf")):
            callback.on_epoch_end(0, {"val_accuracy": 0.5, name: loss})
    assert callback.best is None and not list(tmp_path.iterdir())
    callback.on_epoch_end(0, {"val_accuracy": 0.5, "loss": 1.0, "val_loss": 1.0})
    assert callback.best == 0.5


def test_the_state_says_how_an_epoch_will_end(tmp_path):
    callback = KeepBest(tmp_path / "best.keras")
    run(callback, [0.1])
    assert callback.get_state() == {"best": 0.1, "best_epoch": 0}
    assert callback.get_state(1, {"val_accuracy": 0.3}) == {"best": 0.3, "best_epoch": 1}
    assert callback.get_state(1, {"val_accuracy": 0.1}) == {"best": 0.1, "best_epoch": 0}
    assert callback.best == 0.1


def test_a_resumed_run_writes_the_best_model_if_it_is_that_of_the_state(tmp_path):
    model = small_model()
    model.layers[0].kernel.assign(np.full((2, 1), 7.0))
    (tmp_path / "best.0a.partial.keras").write_text("half a file")
    callback = KeepBest(tmp_path / "best.keras")
    callback.set_state({"best": 0.5, "best_epoch": 3}, 3, model)
    assert [path.name for path in tmp_path.iterdir()] == ["best.keras"]
    loaded = keras.saving.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(loaded.get_weights()[0], 7.0)
    model.layers[0].kernel.assign(np.full((2, 1), 8.0))
    callback = KeepBest(tmp_path / "best.keras")
    callback.set_state({"best": 0.5, "best_epoch": 3}, 4, model)
    assert callback.best == 0.5
    loaded = keras.saving.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(loaded.get_weights()[0], 7.0)
    (tmp_path / "best.keras").unlink()
    with pytest.raises(FileNotFoundError, match="epoch 4, is not at .*best.keras.*put it back"):
        callback.set_state({"best": 0.5, "best_epoch": 3}, 4, model)
    callback.set_state({"best": None, "best_epoch": None}, None, model)
    assert callback.best is None
