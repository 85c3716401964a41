import signal

import keras
import numpy as np
import pytest

from cin_keras.callbacks import InterruptBetweenBatches, KeepBest


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
    with pytest.raises(ValueError, match="'val_accuracy'.*validation_data.*loss"):
        KeepBest(tmp_path / "best.keras").on_epoch_end(0, {"loss": 1.0})


def test_an_interrupt_waits_for_the_end_of_the_batch():
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), InterruptBetweenBatches() as interrupt:
            interrupt.on_train_batch_end(0)
            signal.raise_signal(signal.SIGINT)
            reached = True
            interrupt.on_train_batch_end(1)
            reached = False
        assert reached
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with pytest.raises(KeyboardInterrupt), InterruptBetweenBatches():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
