"""How a `CIN` trains that nobody has compiled."""

import contextlib
import math

import keras
import numpy as np
import pytest

import cin_keras
from cin_keras.callbacks import SaveTrainingState
from cin_keras.models import default_recipe
from cin_keras.optimizers import LayerwiseSGD
from cin_keras.training import options
from tests.models.networks import normalized_backbone, pair_batch, tiny_cin, uncompiled

pytestmark = pytest.mark.every_backend


class Rates(keras.callbacks.Callback):
    """The learning rate of every batch, and between epochs."""

    def __init__(self):
        super().__init__()
        self.used, self.kept = [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.used.append(round(float(self.model.optimizer.learning_rate), 6))

    def on_epoch_end(self, epoch, logs=None):
        self.kept.append(round(float(self.model.optimizer.learning_rate), 6))


def test_a_new_model_has_the_strong_recipe_and_a_loaded_one_too(tmp_path):
    model = tiny_cin(backbone=normalized_backbone(), contrast=None, randomize=False)
    model.save(tmp_path / "model.keras")
    for each in (model, cin_keras.load_model(tmp_path / "model.keras")):
        optimizer = each.optimizer
        assert isinstance(optimizer, LayerwiseSGD) and optimizer.momentum == 0.9
        assert optimizer.weight_decay == 0.005 and each.loss.label_smoothing == 0.1
        optimizer.build(each.trainable_variables)
        decaying = {
            variable.path
            for variable, decays in zip(each.trainable_variables, optimizer.decays, strict=True)
            if decays
        }
        kept = {variable.path for variable in each.trainable_variables} - decaying
        assert {path.rsplit("/", 1)[1] for path in decaying} == {"kernel"}
        assert {path.rsplit("/", 1)[1] for path in kept} == {"bias", "gamma", "beta"}
    assert default_recipe.LABEL_SMOOTHING == options.LABEL_SMOOTHING
    assert default_recipe.WEIGHT_DECAY == options.WEIGHT_DECAY


def test_a_rate_that_somebody_sets_stays():
    class Own(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.002

    model, rates = uncompiled(tiny_cin(contrast=None, randomize=False)), Rates()
    model.fit(*pair_batch(), epochs=3, callbacks=[Own(), rates], verbose=0)
    assert rates.used == rates.kept == [0.002] * 3
    assert float(model.optimizer.learning_rate) == pytest.approx(0.002)


def test_a_rate_that_is_halved_at_half_time_stays_so():
    """Half of the rate is what the cosine has there, too."""

    class Halve(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                self.model.optimizer.learning_rate = 0.005

    model, rates = uncompiled(tiny_cin(contrast=None, randomize=False)), Rates()
    model.fit(*pair_batch(), epochs=4, callbacks=[Halve(), rates], verbose=0)
    expected = [0.01, 0.01 * np.cos(np.pi / 8) ** 2, 0.0025, 0.005 * np.sin(np.pi / 8) ** 2]
    np.testing.assert_allclose(rates.used, expected, atol=1e-6)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.005)


def test_a_run_that_is_restored_within_an_epoch_has_its_rates(tmp_path):
    """The rate that `BackupAndRestore` has saved there has fallen already."""
    batch, seen = pair_batch(pairs=8), []

    class Stop(Rates):
        def on_train_batch_end(self, batch, logs=None):
            if len(self.used) == 6:
                raise KeyboardInterrupt

    for callback in (Stop(), Rates()):
        keras.utils.set_random_seed(0)
        model = uncompiled(tiny_cin(contrast=None, randomize=False))
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1)
        with contextlib.suppress(KeyboardInterrupt):
            model.fit(*batch, 2, epochs=4, callbacks=[backup, callback], verbose=0, shuffle=False)
        seen.append(callback.used)
    falling = [round(0.005 * (1 + math.cos(math.pi * epoch / 4)), 6) for epoch in range(4)]
    assert set(seen[0]) == set(falling[:2]) and set(seen[1]) == set(falling[1:])


def test_a_state_of_the_beginning_of_an_epoch_holds_the_rate_from_before_it_fell(tmp_path):
    model, rates = uncompiled(tiny_cin(contrast=None, randomize=False)), Rates()
    state = SaveTrainingState(tmp_path / "state.zip")

    class Stop(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            raise KeyboardInterrupt

    fit = {"epochs": 4, "initial_epoch": 3, "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        model.fit(*pair_batch(), callbacks=[state, Stop()], **fit)
    assert state.restore(model) == 3
    model.fit(*pair_batch(), callbacks=[state, rates], **fit)
    assert rates.used == [round(0.005 * (1 + math.cos(math.pi * 3 / 4)), 6)]


def test_the_rate_falls_over_the_epochs_of_a_fit():
    model, rates = uncompiled(tiny_cin(contrast=None, randomize=False)), Rates()
    batch = pair_batch()
    model.fit(*batch, epochs=3, initial_epoch=1, callbacks=rates, verbose=0)
    assert rates.used == [0.0075, 0.0025], "of three epochs the last two"
    assert rates.kept == [0.01, 0.01], "which is what a saved state holds"
    model.optimizer.learning_rate = 0.02
    callbacks = keras.callbacks.CallbackList([rates], model=model)
    model.fit(*batch, epochs=2, callbacks=callbacks, verbose=0)
    assert rates.used[2:] == [0.02, 0.01]
    model.fit(*batch, epochs=2, callbacks=callbacks, verbose=0)
    assert rates.used[4:] == [0.02, 0.01], "the same list serves again"
    assert rates in callbacks.callbacks
    assert float(model.optimizer.learning_rate) == pytest.approx(0.02)


def test_a_fit_that_breaks_off_leaves_the_rate():
    model = uncompiled(tiny_cin(contrast=None, randomize=False))

    class Broken(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if float(self.model.optimizer.learning_rate) < 0.01:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(*pair_batch(), epochs=2, callbacks=[Broken()], verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


def test_what_somebody_compiles_stays_as_it_is():
    model, rates = tiny_cin(contrast=None, randomize=False), Rates()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(LayerwiseSGD(0.1), loss=loss)
    uncompiled(model).fit(*pair_batch(), epochs=2, callbacks=[rates], verbose=0)
    assert rates.used == [0.1, 0.1] and model.loss is loss


def test_an_optimizer_of_several_has_its_own_rates():
    model = tiny_cin(contrast=None, randomize=False)
    optimizer = keras.optimizers.SGD(0.1)
    model.compile(keras.optimizers.MultiOptimizer(lambda variable: optimizer), model.loss)
    uncompiled(model).fit(*pair_batch(), verbose=0)


def test_smoothing_is_of_all_images_of_a_pair():
    model = tiny_cin(contrast=None, randomize=False)
    images, labels = pair_batch()
    logits = np.concatenate([model.predict(part, verbose=0) for part in images])
    shares = 0.9 * np.eye(3)[np.concatenate(labels)] + 0.1 / 3
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = -(shares * np.log(powers / powers.sum(axis=1, keepdims=True))).sum(axis=1).mean()
    loss = uncompiled(model).train_on_batch(images, labels, return_dict=True)["loss"]
    assert float(loss) == pytest.approx(expected, rel=1e-4)
