import functools
import json

import keras
import numpy as np
import pytest

from cin_keras.data import SetEpoch, image_dataset, pair_dataset
from cin_keras.distribution import Devices, distribute
from cin_keras.distribution.devices import current_replicas
from cin_keras.distribution.hosts import HostReplicas
from cin_keras.distribution.replicas import MirroredReplicas, Replicas
from cin_keras.models import Whitening
from tests.data.test_batches import coloured_samples
from tests.models.networks import pair_batch, tiny_cin

TWO = ["cpu:0", "cpu:1"]


@pytest.mark.every_backend
def test_one_device_changes_nothing():
    devices = Devices(["one"])
    images = image_dataset(coloured_samples(5), 8, 2)
    assert devices.training_data(images) is devices.evaluation_data(images) is images
    assert (devices.count, devices.processes, devices.is_chief, devices.shard) == (1, 1, True, None)
    assert devices.local_batch(7) == 7
    assert devices.broadcast("x") == "x"
    devices.barrier()


def test_processes_share_the_global_batch():
    devices = Devices(TWO, rank=1, processes=2)
    assert devices.local_batch(6) == 3
    assert (devices.shard, devices.is_chief) == ((1, 2), False)
    assert Devices(TWO).local_batch(6) == 6


@pytest.mark.parametrize("batch", [1, 3])
def test_a_batch_must_divide_by_the_devices(batch):
    message = rf"must divide by the number of devices, 2 \(cpu:0, cpu:1\). Received: {batch}"
    with pytest.raises(ValueError, match=message):
        Devices(TWO).local_batch(batch)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Devices("GPU:0"), "names='GPU:0'"),
        (lambda: Devices(TWO, rank=1), "rank=1"),
        (lambda: Devices(TWO, processes=True), "processes=True"),
        (lambda: Devices(TWO).local_batch(0), "global_batch=0"),
        (lambda: Devices(TWO).local_batch(True), "global_batch=True"),
        (lambda: Devices(TWO).local_batch("8"), "global_batch='8'"),
    ],
)
def test_wrong_arguments_are_named(make, named):
    with pytest.raises(ValueError, match=f"Received: {named}"):
        make()


def test_a_process_refuses_the_images_of_all():
    devices = Devices(TWO, rank=1, processes=2)
    for dataset in (
        image_dataset(coloured_samples(6), 8, 2),
        image_dataset(coloured_samples(6), 8, 2, shard=(0, 2)),
    ):
        for take in (devices.training_data, devices.evaluation_data):
            with pytest.raises(ValueError, match="pass shard=devices.shard.*Received: shard="):
                take(dataset)


def test_training_drops_an_incomplete_batch():
    images = image_dataset(coloured_samples(7), 8, 2, shuffle=True)
    cut = Devices(TWO).training_data(images)
    assert [len(labels) for _, labels in cut] == [2, 2, 2]
    assert cut.batches is images.batches
    assert SetEpoch(cut).epochs is images.epochs
    full = pair_dataset(coloured_samples(8), 8, 2)
    assert Devices(TWO).training_data(full) is full
    with pytest.raises(ValueError, match="7 images make no batch of 8; lower the batch size"):
        Devices(TWO).training_data(image_dataset(coloured_samples(7), 8, 8))
    short = image_dataset(coloured_samples(7, broken=[1]), 8, 2, on_error="skip")
    with pytest.raises(ValueError, match="of known length: pass shuffle=True.*Received: a data set of"):
        Devices(TWO).training_data(short)


@pytest.mark.every_backend
def test_a_model_belongs_to_the_devices_it_was_made_for():
    model = tiny_cin()
    model.replicas = Replicas()
    x, y = pair_batch()
    with pytest.raises(ValueError, match="create, compile and fit it inside one and the same"):
        model.train_on_batch(x, y)


@pytest.mark.every_backend
def test_metrics_that_would_count_the_filling_are_refused(monkeypatch):
    model = tiny_cin()
    model.compile("sgd", loss=model.loss, metrics=["accuracy"])
    model.run_eagerly = True
    with pytest.raises(
        ValueError, match=r"use compile\(weighted_metrics=...\). Received: metrics="
    ):
        Replicas(pads=True).prepare_evaluation(model)
    Replicas().prepare_evaluation(model)
    model.replicas = Replicas(pads=True)
    monkeypatch.setattr("cin_keras.models.classifier.check_current", lambda replicas: None)
    images, labels = pair_batch()
    epochs = []
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    with pytest.raises(ValueError, match=r"use compile\(weighted_metrics=...\)"):
        data = images[0], labels[0]
        model.fit(images, labels, validation_data=data, callbacks=[callback], verbose=0)
    assert epochs == []
    model.compile("sgd", loss=model.loss, weighted_metrics=["accuracy"])
    Replicas(pads=True).prepare_evaluation(model)


@pytest.mark.every_backend
def test_a_loss_that_is_not_serializable_evaluates_on_one_device():
    model = tiny_cin(contrast=None, randomize=False)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss=functools.partial(loss))
    images, labels = pair_batch()
    found = model.evaluate(images[0], labels[0], verbose=0)
    expected = loss(labels[0], model(images[0]))
    assert found[0] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.every_backend
def test_what_replicas_cannot_do_is_refused():
    model = tiny_cin()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    model.compile("sgd", loss=loss)
    with pytest.raises(ValueError, match="a loss must be the mean.*Received: reduction='sum'"):
        MirroredReplicas().prepare_training(model)
    model.compile(keras.optimizers.SGD(gradient_accumulation_steps=2), loss="mse")
    with pytest.raises(ValueError, match="cannot accumulate gradients.*steps=2"):
        MirroredReplicas().prepare_training(model)


@pytest.mark.every_backend
def test_one_local_device_is_not_distributed():
    if keras.backend.backend() == "jax" and len(keras.distribution.list_devices()) > 1:
        pytest.skip("several devices here")
    with distribute() as devices:
        assert devices.count == 1
        assert devices.replicas is current_replicas()
        model = tiny_cin()
        assert np.isfinite(model.train_on_batch(*pair_batch())).all()


def test_tensorflow_has_no_several_hosts(monkeypatch):
    workers = {"cluster": {"worker": ["a:1", "b:1"]}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(workers))
    with pytest.raises(ValueError, match="Over several hosts, use JAX.*Received: TF_CONFIG with 2"):
        with distribute():
            pass


@pytest.mark.every_backend
def test_a_process_has_models_of_its_own():
    model = tiny_cin()
    model.whitening, model.temperature = Whitening.fit(np.eye(4)), 2.0
    devices = Devices(["one"])
    assert devices.own_copy(model) is model
    devices.replicas = HostReplicas(2)
    copy = devices.own_copy(model)
    assert copy is not model and copy.temperature == 2
    np.testing.assert_array_equal(copy.whitening.kernel, model.whitening.kernel)
    x, _ = pair_batch()
    np.testing.assert_array_equal(copy.predict(x[0]), model.predict(x[0], verbose=0))


def test_the_chief_comes_first(monkeypatch):
    calls = []
    for rank in range(2):
        devices = Devices(TWO, rank=rank, processes=2)
        monkeypatch.setattr(devices, "barrier", lambda: calls.append("barrier"))
        with devices.chief_first():
            calls.append(rank)
    assert calls == [0, "barrier", "barrier", 1]
