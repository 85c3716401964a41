"""A training run in processes that are killed at random moments and resumed, and one that is not.

python -m tests.callbacks.killed_training FOLDER SEED KILLS

TensorFlow is imported once and starts only in the processes forked from this one. Results lie in
FOLDER/whole and FOLDER/killed-0, -1, …; a line is printed for each process that was killed.
"""

import os
import pathlib
import random
import signal
import sys
import time
import traceback

import keras
import numpy as np
import tensorflow as tf

import cin_keras
from cin_keras.callbacks import KeepBest, SaveHistory, SaveTrainingState, StopOnNonFinite
from tests.models.networks import normalized_backbone, tiny_cin

EPOCHS = 6
SIZE = 12


class Report(keras.callbacks.Callback):
    """Tells the parent process of every epoch, once its first step (and compilation) is done."""

    def __init__(self, pipe):
        super().__init__()
        self.pipe = pipe

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 1:
            os.write(self.pipe, b".")


def train(folder, samples, pipe):
    """One process's part of the run, which is resumed if there is a state."""
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(1)
    pairs = cin_keras.data.pair_dataset(samples, SIZE, pairs_per_batch=6)
    model = tiny_cin(
        samples.num_classes, normalized_backbone(SIZE), size=SIZE, dropout=0.3, randomize=False
    )
    rate = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=EPOCHS * len(pairs))
    model.compile(
        cin_keras.optimizers.LayerwiseSGD(rate, momentum=0.9, clipnorm=1.0),
        loss=cin_keras.losses.SoftmaxCrossentropy(),
        metrics=["accuracy"],
    )
    # Neither traced, which every process would do anew, nor validated.
    model.run_eagerly = True
    keep_best = KeepBest(folder / "model.keras", monitor="accuracy")
    history = SaveHistory(folder / "history.csv")
    state = SaveTrainingState(folder / "state.zip", {"seed": 1}, [keep_best, history])
    initial_epoch = state.restore(model) if state.filepath.exists() else 0
    model.fit(
        pairs,
        epochs=EPOCHS,
        initial_epoch=initial_epoch,
        shuffle=False,
        verbose=0,
        callbacks=[
            cin_keras.data.SetEpoch(pairs),
            StopOnNonFinite(pairs),
            state,
            keep_best,
            history,
            Report(pipe),
        ],
    )
    numbers = [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]
    np.savez(folder / "end.npz", *numbers)


def start(folder, samples):
    """Forks a process that trains; its number, and the end of a pipe on which it reports."""
    sys.stdout.flush()
    reads, writes = os.pipe()
    process = os.fork()
    if process:
        os.close(writes)
        return process, reads
    os.close(reads)
    try:
        train(folder, samples, writes)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def whole_run(folder, samples):
    """Trains without a kill; the seconds of the first epoch, and of the others."""
    folder.mkdir()
    process, pipe = start(folder, samples)
    times = []
    while os.read(pipe, 1):
        times.append(time.monotonic())
    assert os.waitpid(process, 0)[1] == 0
    os.close(pipe)
    return times[1] - times[0], time.monotonic() - times[1]


def killed_run(folder, samples, rng, kills, longest_wait):
    """Trains in processes that are killed, then to the end; how many were killed."""
    folder.mkdir()
    killed = 0
    for i in range(kills):
        process, pipe = start(folder, samples)
        # The first dies anywhere, perhaps before its first step; the others while they train.
        if i:
            os.read(pipe, 1)
        wait = rng.uniform(0, longest_wait)
        time.sleep(wait)
        os.kill(process, signal.SIGKILL)
        status = os.waitpid(process, 0)[1]
        epochs = int(bool(i))
        while os.read(pipe, 1):
            epochs += 1
        os.close(pipe)
        if not os.WIFSIGNALED(status):
            assert status == 0
            print(f"{folder.name}: at its end before it could be killed")
            return killed
        killed += 1
        files = sorted(path.name for path in folder.iterdir())
        print(f"{folder.name}: killed after {wait:.3f} s, {epochs} epochs begun, {files}")
    process, _ = start(folder, samples)
    assert os.waitpid(process, 0)[1] == 0
    return killed


def main(folder, seed, kills):
    folder = pathlib.Path(folder)
    samples = cin_keras.data.drawn_cars(images_per_class=2, image_size=32)
    begun = time.monotonic()
    first, others = whole_run(folder / "whole", samples)
    print(f"seed {seed}; without a kill: first epoch {first:.2f} s, the others {others:.2f} s")
    # Long enough that a process can get through an epoch, and the run ends after all the kills.
    longest_wait = first + 1.5 * others / int(kills)
    rng = random.Random(int(seed))
    killed = run = 0
    while killed < int(kills):
        killed += killed_run(
            folder / f"killed-{run}", samples, rng, int(kills) - killed, longest_wait
        )
        run += 1
    print(f"{killed} processes killed, {time.monotonic() - begun:.1f} s in all")


if __name__ == "__main__":
    main(*sys.argv[1:])
