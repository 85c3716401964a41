import threading
import time

import keras
import numpy as np
import pytest

from cin_keras.callbacks import NonFiniteLoss, StopOnNonFinite
from cin_keras.data import Samples, SetEpoch, image_dataset, pair_dataset
from tests.data.small_sets import encode
from tests.models.networks import pair_batch, tiny_cin, uncompiled
from tests.models.test_training_loop import counted_host_reads

pytestmark = pytest.mark.every_backend
BACKEND = keras.backend.backend()


def samples_with_a_bright_one(count=16, bright=5):
    images = [np.full((8, 8, 3), 255 if i == bright else 10, "uint8") for i in range(count)]
    paths = [f"folder/{i}.png" for i in range(count)]
    return Samples(paths, np.arange(count) % 2, ["a", "b"], encoded=[encode(x) for x in images])


@keras.saving.register_keras_serializable(package="tests")
class NaNIfBright(keras.layers.Layer):
    """Gives NaN for an image that is white."""

    def call(self, x):
        bright = keras.ops.max(x, axis=(1, 2, 3), keepdims=True) > 200
        return keras.ops.where(bright, np.nan, x)


def model_that_fails():
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 1)(NaNIfBright()(images))
    return uncompiled(tiny_cin(2, backbone=keras.Model(images, x)))


def step_with(data, index, epoch):
    return next(s for s in range(len(data)) if index in data.batches.indices(epoch, s))


def check(error, data, epoch, data_epoch):
    step = step_with(data, 5, data_epoch)
    assert (error.epoch, error.step) == (epoch, step)
    assert error.paths == data.batches.paths(data_epoch, step)
    assert "folder/5.png" in error.paths
    first, *lines = str(error).splitlines()
    assert f"not finite (nan) in epoch {epoch + 1}, step {step + 1}:" in first
    assert [line.strip(" '") for line in lines] == list(dict.fromkeys(error.paths))


class Ended(keras.callbacks.Callback):
    """Which epochs ended, and whether anything was validated."""

    def __init__(self):
        super().__init__()
        self.epochs, self.tests = [], 0

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(epoch)

    def on_test_begin(self, logs=None):
        self.tests += 1


@pytest.mark.parametrize("with_epoch", [True, False])
def test_the_step_and_its_images_are_named(with_epoch):
    samples = samples_with_a_bright_one()
    pairs = pair_dataset(samples, 8, 2, augment=None, seed=3)
    # In the epoch that is trained, the image is neither in the first nor in the last batch.
    epoch = next(e for e in range(1, 50) if 0 < step_with(pairs, 5, e) < len(pairs) - 1)
    ended = Ended()
    callbacks = [StopOnNonFinite(pairs), ended]
    if with_epoch:
        callbacks.append(SetEpoch(pairs))
    with pytest.raises(NonFiniteLoss) as caught:
        model_that_fails().fit(
            pairs,
            initial_epoch=epoch,
            epochs=epoch + 1,
            validation_data=image_dataset(samples, 8, 16),
            verbose=0,
            shuffle=False,
            callbacks=callbacks,
        )
    check(caught.value, pairs, epoch, epoch if with_epoch else pairs.epochs.epoch - 1)
    assert ended.epochs == []


def test_the_last_step_of_an_epoch_counts_too():
    samples = samples_with_a_bright_one()
    pairs = pair_dataset(samples, 8, 4, augment=None, seed=3)
    epoch = next(e for e in range(50) if step_with(pairs, 5, e) == len(pairs) - 1)
    ended = Ended()
    callbacks = [ended, SetEpoch(pairs), StopOnNonFinite(pairs)]
    with pytest.raises(NonFiniteLoss) as caught:
        model_that_fails().fit(
            pairs, initial_epoch=epoch, epochs=epoch + 1, verbose=0, callbacks=callbacks
        )
    check(caught.value, pairs, epoch, epoch)
    assert ended.epochs == []


def model_of_single_images(**options):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(
        inputs, keras.layers.Dense(2)(keras.layers.Flatten()(NaNIfBright()(inputs)))
    )
    model.compile("sgd", loss="sparse_categorical_crossentropy", **options)
    return model


def test_single_images_and_steps_in_one_go():
    samples = samples_with_a_bright_one()
    images = image_dataset(samples, 8, 4)
    together = 1 if BACKEND == "torch" else 2
    model = model_of_single_images(steps_per_execution=together)
    with pytest.raises(NonFiniteLoss) as caught:
        model.fit(images, verbose=0, shuffle=False, callbacks=[StopOnNonFinite(images)])
    named = slice(4, 8) if together == 1 else slice(0, 8)
    assert caught.value.paths == list(samples.paths[named])
    assert ("step 2:" if together == 1 else "steps 1 to 2:") in str(caught.value)


@pytest.mark.parametrize("steps", [2, 4])
def test_no_images_are_named_where_an_epoch_is_no_whole_pass(steps):
    """Keras goes on with one pass over the epochs, in which nobody counts the steps."""
    images = image_dataset(samples_with_a_bright_one(18, bright=17), 8, 4)
    assert len(images) == 5
    model, callbacks = model_of_single_images(run_eagerly=True), [StopOnNonFinite(images)]
    with pytest.raises(NonFiniteLoss, match=r"step \d: [^\n]*images.$") as caught:
        model.fit(images, epochs=3, steps_per_epoch=steps, verbose=0, callbacks=callbacks)
    assert caught.value.paths == []


def test_without_a_data_set_the_step_is_named():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    x = np.ones((6, 2), "float32")
    x[4] = np.inf
    with pytest.raises(NonFiniteLoss, match=r"epoch 1, step 3: [^\n]*images.$") as caught:
        model.fit(
            x, x[:, :1] * 0, batch_size=2, shuffle=False, verbose=0, callbacks=[StopOnNonFinite()]
        )
    assert caught.value.paths == [] and caught.value.step == 2


@pytest.mark.parametrize("order", [[3, 2, 1, 0], [2, 3, 0, 1]])
def test_the_first_step_is_named_in_whatever_order_the_numbers_come(order):
    callback = StopOnNonFinite()
    callback.on_epoch_begin(0)
    losses = [1.0, float("nan"), float("nan"), float("nan")]
    raised = []

    def end(step):
        try:
            callback.on_train_batch_end(step, {"loss": losses[step]})
        except NonFiniteLoss as error:
            raised.append(error.step)

    threads = []
    for step in range(4):
        callback.on_train_batch_begin(step)
    for step in order:
        threads.append(threading.Thread(target=end, args=(step,)))
        threads[-1].start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert raised == [1]


def test_a_validation_loss_that_is_not_finite_stops():
    callback = StopOnNonFinite()
    callback.on_epoch_end(3, {"loss": 1.0, "val_loss": 2.0})
    callback.on_epoch_end(3, {"loss": 1.0})
    with pytest.raises(NonFiniteLoss, match="validation loss of epoch 4 is not finite .inf"):
        callback.on_epoch_end(3, {"loss": 1.0, "val_loss": float("inf")})


def test_a_derived_data_set_is_refused():
    images = image_dataset(samples_with_a_bright_one(), 8, 4)
    with pytest.raises(TypeError, match="as pair_dataset or image_dataset returned it.*Received"):
        StopOnNonFinite(images.take(1))


@pytest.mark.skipif(
    BACKEND == "tensorflow", reason="on TensorFlow, Keras' own callbacks read the logs every batch"
)
def test_training_waits_for_no_batch():
    images, labels = pair_batch(pairs=24)
    model = tiny_cin()
    model.fit(images, labels, batch_size=4, verbose=0)
    counts = []
    for batches in (2, 6):
        part = [tuple(side[: 4 * batches] for side in pair) for pair in (images, labels)]
        with counted_host_reads() as reads:
            model.fit(*part, batch_size=4, verbose=0, callbacks=[StopOnNonFinite()])
        counts.append(len(reads))
    assert counts[0] == counts[1], counts
