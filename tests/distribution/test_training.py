"""Three virtual CPU devices against one, on the same global batches.

An odd number, by which neither the test images nor the last batch divide. On JAX, two processes of
two devices each, too, which stand for hosts.
"""

import json
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from cin_keras.distribution import Devices
from tests import processes
from tests.distribution import hosts, training

pytestmark = pytest.mark.every_backend
DEVICES = 3
HOST_DEVICES = 4  # of two processes
ROOT = pathlib.Path(__file__).parents[2]


def start(count, file, process=None):
    """The trainings on `count` virtual devices, in a process or processes of their own.

    With `process`, 0 or 1, that one of two processes on JAX.
    """
    module = "tests.distribution.training"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    if keras.backend.backend() == "torch":
        module = "tests.distribution.torchrun"
    if keras.backend.backend() == "jax":
        own = count if process is None else count // 2
        flags = os.environ.get("XLA_FLAGS", "")
        environment["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={own}"
    if process is not None:
        environment |= hosts.environment(file.parent, process)
    return processes.Started("-m", module, count, file, cwd=ROOT, env=environment, daemon=False)


def test_several_devices_are_as_one(tmp_path, untraced):
    """One test, so that no process of pytest's waits for what another computes.

    What trains here, on one device, is not traced, unlike what trains on several.
    """
    results = train_on_one_and_on_several(tmp_path)
    check_that_numbers_are_the_same(results)
    check_where_a_run_stops(results)
    for count in min(results), max(results):
        check_that_an_evaluation_counts_every_image_once(results[count]["plainly"])


def train_on_one_and_on_several(folder):
    """What came out, by the number of devices."""
    running = [start(DEVICES, folder / f"{DEVICES}.json")]
    if keras.backend.backend() == "jax":
        running += [start(HOST_DEVICES, folder / f"{HOST_DEVICES}.json", i) for i in range(2)]
    try:
        on_one = training.run(Devices(["one"]))
        if keras.backend.backend() == "tensorflow":
            on_one["in a strategy"] = training.train_in_a_strategy(tf.distribute.get_strategy())
        for process in running:
            output = "".join(process.communicate(timeout=900))
            assert process.returncode == 0, output
    finally:
        for process in running:
            process.terminate()
    several = {int(file.stem): json.loads(file.read_text()) for file in folder.glob("*.json")}
    return {1: json.loads(json.dumps(on_one)), **several}


def flat(value, path=""):
    """`{path: array}` of nested dicts."""
    if not isinstance(value, dict):
        return {path: np.array(value)}
    return {k: v for name in value for k, v in flat(value[name], f"{path} {name}").items()}


def check_that_numbers_are_the_same(results):
    assert results.keys() - {1}
    for count in results.keys() - {1}:
        one = flat({case: results[1][case] for case in results[count]})
        several = flat(results[count])
        assert one.keys() == several.keys()
        for name in one:
            assert np.isfinite(one[name]).all(), name
            # Scores alone may grow (2.9 on PyTorch), and the rounding of several devices with them.
            size = np.abs(one[name]).max() if name.endswith("scores") else 1
            np.testing.assert_allclose(
                several[name], one[name], rtol=0, atol=1e-5 * max(1, size), err_msg=name
            )


def check_where_a_run_stops(results):
    """At the images of the step of every device."""
    cases = "plainly", "with everything"
    whole = {count: found for count, found in results.items() if found.keys() >= set(cases)}
    assert len(whole) == 2
    one, several = (found["with everything"]["stopped"] for found in whole.values())
    assert one["step"] == 0 and len(one["images"]) == 2 * training.PAIRS
    assert one == several


def check_that_an_evaluation_counts_every_image_once(found):
    scores = np.array(found["scores"], "float64")
    labels = training.noise(training.TEST_IMAGES, seed=2).labels
    assert len(scores) == training.TEST_IMAGES
    right = scores.argmax(axis=1) == labels
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    rows, smoothing = np.arange(len(labels)), 0.1  # of the default loss
    losses = -(1 - smoothing) * np.log(shares[rows, labels])
    losses -= smoothing * np.log(shares).mean(axis=1)
    assert found["evaluation"]["accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    assert found["evaluation"]["loss"] == pytest.approx(losses.mean(), abs=1e-5)
    assert found["history"]["val_loss"][-1] == pytest.approx(losses.mean(), abs=1e-5)
    assert found["evaluation"].keys() == {"accuracy", "loss"}
