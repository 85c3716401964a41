"""One training, evaluation and prediction on as many devices as there are; what came out, as JSON.

Run as `python -m tests.distribution.training DEVICES FILE`, on PyTorch under torchrun. With one
device nothing is distributed.
"""

import contextlib
import json
import os
import sys

DEVICES, FILE = int(sys.argv[1]), sys.argv[2]
if os.environ.get("KERAS_BACKEND") == "jax":
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"

import keras  # noqa: E402
import numpy as np  # noqa: E402

from cin_keras.callbacks import StopOnNonFinite  # noqa: E402
from cin_keras.data import Samples, SetEpoch, image_dataset, pair_dataset  # noqa: E402
from cin_keras.distribution import Devices, distribute  # noqa: E402
from tests.data.small_sets import encode  # noqa: E402
from tests.models.networks import normalized_backbone, tiny_cin  # noqa: E402

PAIRS = 4


def main():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * DEVICES
        )
    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(1)
    one = contextlib.nullcontext(Devices(["one"]))
    with one if DEVICES == 1 else distribute() as devices:
        assert devices.count == DEVICES, devices
        results = run(devices)
    if devices.is_chief:
        with open(FILE, "w") as file:
            json.dump(results, file)


def run(devices):
    """Numbers that must not depend on the number of devices."""
    keras.utils.set_random_seed(1)
    train, test = noise(26, seed=1), noise(13, seed=2)
    batch = devices.local_batch(PAIRS)
    pairs = pair_dataset(train, 8, batch, shard=devices.shard, split_batches=True)
    images = image_dataset(test, 8, batch, shard=devices.shard)
    model = tiny_cin(backbone=normalized_backbone())
    history = model.fit(
        devices.training_data(pairs),
        validation_data=devices.evaluation_data(images),
        epochs=2,
        verbose=0,
        callbacks=[SetEpoch(pairs), StopOnNonFinite(pairs)],
    ).history
    return {
        "history": history,
        "evaluation": model.evaluate(devices.evaluation_data(images), return_dict=True, verbose=0),
        "weights": [keras.ops.convert_to_numpy(w).ravel().tolist() for w in model.weights],
        "scores": devices.predict(model, images).tolist(),
        "labels": test.labels.tolist(),
    }


def noise(count, seed):
    """Samples of three classes."""
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (8, 8, 3)) for _ in range(count)]
    labels = rng.integers(0, 3, count)
    paths = [f"{i}.png" for i in range(count)]
    return Samples(paths, labels, ["a", "b", "c"], encoded=[encode(image) for image in images])


if __name__ == "__main__":
    main()
