"""Trainings, an evaluation and a prediction whose numbers must not depend on the devices.

`python -m tests.distribution.training DEVICES FILE` runs them on so many virtual CPU devices (on
PyTorch by `tests.distribution.torchrun`, on JAX with XLA_FLAGS) and writes what came out as JSON.
"""

import json
import pathlib
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf

import cin_keras
from cin_keras.callbacks import (
    KeepBest,
    NonFiniteLoss,
    SaveHistory,
    SaveTrainingState,
    StopOnNonFinite,
)
from cin_keras.data import Samples, SetEpoch, image_dataset, pair_dataset
from cin_keras.distribution import distribute
from cin_keras.optimizers import LayerwiseAdamW
from tests.data.small_sets import encode
from tests.models.networks import normalized_backbone, pair_batch, tiny_backbone, tiny_cin

PAIRS = 12
TEST_IMAGES = 13


def run(devices):
    cases = {"plainly": train_and_evaluate, "with everything": train_weighted}
    if keras.backend.backend() == "torch":
        cases["unevenly"] = train_unevenly
    if keras.backend.backend() == "jax" and 1 == devices.processes < devices.count:
        del cases["with everything"]  # as over several processes, and compiling takes its time
    return {name: train(devices) for name, train in cases.items()}


def train_and_evaluate(devices):
    """The compiled defaults, clipping among them, with batch normalisation.

    Where there are several processes, training is interrupted and resumed, and what is evaluated
    was loaded from the chief's file.
    """
    pairs = training_pairs(devices)
    images = image_dataset(
        noise(TEST_IMAGES, seed=2), 8, devices.local_batch(PAIRS), shard=devices.shard
    )
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(devices.broadcast(folder))
        for epochs in [1, 2] if devices.processes > 1 else [2]:
            model = build(normalized_backbone)
            model.optimizer.learning_rate = 0.1
            history = SaveHistory(folder / "history.csv")
            keep_best = KeepBest(folder / "model.keras", monitor="epoch_number")
            state = SaveTrainingState(folder / "state.zip", callbacks=[history, keep_best])
            first_epoch = 0
            if devices.is_chief and state.filepath.exists():
                first_epoch = state.restore(model)
            model.fit(
                devices.training_data(pairs),
                validation_data=devices.evaluation_data(images),
                initial_epoch=devices.broadcast(first_epoch),
                epochs=epochs,
                verbose=0,
                shuffle=False,
                callbacks=[
                    SetEpoch(pairs),
                    StopOnNonFinite(pairs),
                    AddEpochNumber(),
                    *([state, history, keep_best] if devices.is_chief else []),
                ],
            )
        if devices.processes > 1:
            devices.barrier()
            model = cin_keras.load_model(folder / "model.keras")
            devices.barrier()
    data = devices.evaluation_data(images)
    return {
        "history": history.history,
        "evaluation": model.evaluate(data, return_dict=True, verbose=0),
        "weights": weights(model),
        "scores": devices.predict(model, images).tolist(),
    }


class AddEpochNumber(keras.callbacks.Callback):
    """Makes the last epoch the best."""

    def on_epoch_end(self, epoch, logs=None):
        logs["epoch_number"] = float(epoch)


def train_weighted(devices):
    """Sample weights, penalties, clipping, loss scaling, averaging and, if possible, accumulation."""
    model = build(tiny_backbone)
    model.classifier.kernel.regularizer = keras.regularizers.L2(0.1)
    optimizer = LayerwiseAdamW(
        0.01,
        rates={"classifier": 3.0},
        epsilon=1e-3,
        global_clipnorm=0.1,
        # Keras' JAX trainer cannot go on after a fit with averages.
        use_ema=keras.backend.backend() != "jax",
        # TensorFlow cannot accumulate on several devices.
        gradient_accumulation_steps=None if keras.backend.backend() == "tensorflow" else 2,
    )
    model.compile(
        keras.optimizers.LossScaleOptimizer(optimizer),
        loss=model.loss,
        weighted_metrics=["accuracy"],
    )
    pairs = training_pairs(devices)
    weighted = pairs.map(
        lambda images, labels: (
            images,
            labels,
            tuple(tf.cast(part * part + 1, "float32") for part in labels),
        )
    )
    history = model.fit(weighted, verbose=0, shuffle=False, callbacks=[SetEpoch(pairs)]).history
    trained = weights(model)
    return {
        "history": history,
        "weights": trained,
        "stopped": stop(model, weighted, pairs, devices),
    }


def stop(model, weighted, pairs, devices):
    """Which images are named when the last pair of a batch costs more than any number."""
    own = PAIRS // devices.processes
    last = own - 1 if devices.rank == devices.processes - 1 else -1

    def spoil(images, labels, weights):
        # Of the types and shapes that there were: the step is not compiled anew.
        is_last = tf.range(tf.shape(weights[0])[0]) == last
        return images, labels, tuple(tf.where(is_last, np.float32("nan"), part) for part in weights)

    try:
        callbacks = [SetEpoch(pairs), StopOnNonFinite(pairs)]
        model.fit(weighted.map(spoil), verbose=0, shuffle=False, callbacks=callbacks)
    except NonFiniteLoss as error:
        return {"step": error.step, "images": sorted(int(path[:-4]) for path in error.paths)}


def train_unevenly(devices):
    """On five pairs, of which the first process has what the others leave, one each."""
    model = build(normalized_backbone)
    ends = 5 - devices.processes + 1 + np.arange(devices.processes)
    own = slice(0 if devices.is_chief else ends[devices.rank] - 1, ends[devices.rank])
    x, y = keras.tree.map_structure(lambda array: array[own], pair_batch(5))
    logs = [model.train_on_batch(x, y, return_dict=True) for _ in range(2)]
    return {"loss": [float(log["loss"]) for log in logs], "weights": weights(model)}


def train_in_a_strategy(strategy):
    """In a `tf.distribute` strategy of one's own, without `distribute()`."""
    with strategy.scope():
        model = build(tiny_backbone)
        model.compile("sgd", loss=model.loss, weighted_metrics=["accuracy"])
        x, y = pair_batch(2 * PAIRS)
        history = model.fit(x, y, PAIRS, epochs=2, verbose=0, shuffle=False).history
    return {"history": history, "weights": weights(model)}


def build(backbone):
    keras.utils.set_random_seed(1)
    return tiny_cin(backbone=backbone())


def training_pairs(devices):
    return pair_dataset(
        noise(50, seed=1),
        8,
        devices.local_batch(PAIRS),
        shard=devices.shard,
        split_batches=True,
    )


def noise(count, seed):
    """Samples of three classes."""
    rng = np.random.default_rng(seed)
    images = [encode(rng.integers(0, 256, (8, 8, 3))) for _ in range(count)]
    labels = rng.integers(0, 3, count)
    return Samples([f"{i}.png" for i in range(count)], labels, ["a", "b", "c"], encoded=images)


def weights(model):
    return {w.path: keras.ops.convert_to_numpy(w).ravel().tolist() for w in model.weights}


def main():
    count, file = int(sys.argv[1]), sys.argv[2]
    if keras.backend.backend() == "tensorflow":
        cpu = tf.config.list_physical_devices("CPU")[0]
        virtual = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(cpu, virtual)
    with distribute() as devices:
        if devices.count != count:
            sys.exit(f"{devices} instead of {count} devices")
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if keras.backend.backend() == "tensorflow" and replicas != count:
            sys.exit(f"{replicas} replicas on {count} devices")
        results = run(devices)
    if keras.backend.backend() == "tensorflow":
        # That of a second block, which must not be a second strategy: TensorFlow would confuse the
        # sums of the two.
        with distribute():
            strategy = tf.distribute.get_strategy()
        results["in a strategy"] = train_in_a_strategy(strategy)
    if devices.is_chief:
        with open(file, "w") as opened:
            json.dump(results, opened)


if __name__ == "__main__":
    main()
