"""The devices of a run, and how a recipe talks to them."""

import contextlib
import contextvars
import functools
import json
import os

import keras
import numpy as np

from cin_keras.checks import check_int, check_list
from cin_keras.data.pipeline import as_ordered
from cin_keras.distribution.hosts import HostReplicas, joined_processes
from cin_keras.distribution.padding import batch_size, count_images, pad_batches
from cin_keras.distribution.processes import ProcessReplicas, device_name, process_group
from cin_keras.distribution.replicas import MirroredReplicas, Replicas
from cin_keras.keras_internals import distribute_without_comparing

_CURRENT = contextvars.ContextVar("cin_keras.distribution", default=None)
_ONE_DEVICE = Replicas()


class Devices:
    """The devices that a run is distributed over: what `distribute()` gives, or one device.

    Args:
        names: List of str, one a device.
        rank: Int from 0, the number of this process. Defaults to 0.
        processes: Int ≥ 1: 1 where one process drives all devices (TensorFlow, JAX on one host),
            one a host on JAX, one a device on PyTorch. Defaults to 1.
        replicas: `cin_keras.distribution.replicas.Replicas`, what models do differently. Defaults
            to `None`, nothing.

    Attributes:
        names: List of str, such as `["GPU:0", "GPU:1"]`.
        count: Int, how many devices.
        rank: Int from 0, the number of this process.
        processes: Int, how many processes.
        is_chief: Bool, whether this process is the one that writes files and shows the bar.
        shard: For `pair_dataset` and `image_dataset`: `None`, or `(rank, processes)`.
        replicas: As given, or the `cin_keras.distribution.replicas.Replicas` of one device.

    Example:

    >>> devices = Devices(["GPU:0", "GPU:1"], rank=1, processes=2)
    >>> devices.local_batch(16), devices.shard, devices.is_chief
    (8, (1, 2), False)
    """

    def __init__(self, names, rank=0, processes=1, replicas=None):
        self.names = list(check_list("names", names))
        self.count = len(self.names)
        self.processes = check_int("processes", processes, least=1)
        self.rank = check_int("rank", rank, least=0, most=self.processes - 1)
        self.is_chief = rank == 0
        self.shard = (rank, processes) if processes > 1 else None
        self.replicas = replicas or _ONE_DEVICE

    def __repr__(self):
        process = f", process {self.rank} of {self.processes}" if self.processes > 1 else ""
        return f"Devices({', '.join(self.names)}{process})"

    def local_batch(self, global_batch):
        """The batch size of this process's data sets, whose batches together are the global one.

        Args:
            global_batch: Int, pairs or images that all devices see in one step.

        Returns:
            Int: `global_batch`, divided by the number of processes.

        Raises:
            ValueError: If the devices cannot share the batch evenly.
        """
        global_batch = check_int("global_batch", global_batch, least=1)
        if global_batch % self.count:
            raise ValueError(
                f"`global_batch` must divide by the number of devices, {self.count} "
                f"({', '.join(self.names)}). Received: {global_batch}"
            )
        return global_batch // self.processes

    def training_data(self, dataset):
        """A data set for `fit` without a last batch that the devices could not share.

        Args:
            dataset: What `pair_dataset` or `image_dataset` returned.

        Returns:
            The data set itself on one device, or if its batches are all full; else without the
            last batch, with the attributes that `SetEpoch` and `StopOnNonFinite` need.

        Raises:
            ValueError: If there is no full batch, the data set does not know its length, or has
                another's batches than this process's share.
        """
        if self.count == 1:
            return dataset
        import tensorflow as tf

        self._check_shard(dataset)
        if dataset.cardinality() == tf.data.UNKNOWN_CARDINALITY:
            raise ValueError(
                "Several devices learn from a data set of known length: pass shuffle=True to "
                "image_dataset, which puts another image in the place of one that "
                "on_error='skip' leaves out. Received: a data set of unknown length"
            )
        full = count_images(dataset) // batch_size(dataset)
        if full == 0:
            raise ValueError(
                f"{count_images(dataset)} images make no batch of {batch_size(dataset)}; lower the "
                "batch size."
            )
        if full == len(dataset):
            return dataset
        return as_ordered(dataset.take(full), dataset)

    def evaluation_data(self, dataset):
        """A data set for `evaluate` and `validation_data` in which every image counts once.

        Where a process drives several devices, incomplete batches are filled up with rows of
        weight zero, and each image weighs as much as any other. Of several processes all must call
        it. Loss and weighted metrics are those of one device; compile with `weighted_metrics`, not
        `metrics`.

        Args:
            dataset: What `image_dataset` returned (with `shard=devices.shard`), or with one
                process any `tf.data.Dataset` of `(images, labels)` or `(images, labels, weights)`
                in batches of known size. One of unknown length (`on_error="skip"`) is read once
                to count its images.

        Returns:
            The data set itself, or one of batches `(images, labels, weights)`.

        Raises:
            ValueError: If the size of a batch is not known, or the data set is not this
                process's shard.
        """
        self._check_shard(dataset)
        if not self.replicas.pads:
            return dataset
        return as_ordered(self._pad(dataset).dataset, dataset)

    def predict(self, model, dataset, verbose=0):
        """The model's outputs for all images, in their order, each once.

        Every process must call it, with the same model. After it, `dataset.skipped` knows of the
        images that any process has left out.

        Args:
            model: `CIN`, or another Keras model, made inside `distribute()`.
            dataset: As for `evaluation_data`.
            verbose: As for `predict`; other processes than the chief are silent. Defaults to 0.

        Returns:
            Array of shape `(images, num_classes)`, the same in every process.

        Raises:
            ValueError: As for `evaluation_data`.
        """
        self._check_shard(dataset)
        verbose = verbose if self.is_chief else 0
        if self.replicas.pads:
            padded = self._pad(dataset)
            if self.processes > 1:
                self.replicas.prepare_prediction(model)
            rows = np.asarray(model.predict(padded.dataset, verbose=verbose))
            if self.processes > 1:
                rows = self.replicas.own_rows(rows, padded.steps, self.rank)
            rows = rows[: padded.images]
        else:
            rows = model.predict(dataset, verbose=verbose)
        if self.processes == 1:
            return rows
        # The pass that has just ended.
        places = dataset.batches.all_indices(dataset.epochs.epoch - 1)
        for index, reason in self.replicas.gather(dataset.skipped.reasons.items()):
            dataset.skipped.add(index, reason)
        parts = self.replicas.exchange((np.asarray(places), rows))
        order = np.argsort(np.concatenate([places for places, _ in parts]))
        return np.concatenate([rows for _, rows in parts])[order]

    def own_copy(self, model):
        """A model that this process can use alone: to explain, to export.

        Args:
            model: `CIN`, made inside `distribute()`.

        Returns:
            The model itself, or on JAX over several hosts, where its devices are everybody's, a
            copy for this process alone: call it, `copy(images)`, since inside `distribute()`
            Keras' `predict` would share the images with all.
        """
        if not isinstance(self.replicas, HostReplicas):
            return model
        with _alone():
            copy = type(model).from_config(model.get_config())
            copy.set_weights(model.get_weights())
            if hasattr(model, "whitening"):  # which is no weight
                copy.whitening = model.whitening
        return copy

    @contextlib.contextmanager
    def chief_first(self):
        """A context that the other processes enter once the chief has left it.

        For what is to be done once and found done by the others: a download, a split of files.
        """
        if not self.is_chief:
            self.barrier()
        yield
        if self.is_chief:
            self.barrier()

    def barrier(self):
        """Waits until every process is here: before reading what the chief has written."""
        self.replicas.exchange(None)

    def broadcast(self, value):
        """The chief's `value`, any object that can be pickled, in every process."""
        return self.replicas.broadcast(value if self.is_chief else None)

    def _pad(self, dataset):
        return pad_batches(dataset, self.count // self.processes, self.replicas.exchange)

    def _check_shard(self, dataset):
        received = getattr(getattr(dataset, "batches", None), "shard", None)
        if self.processes > 1 and received != self.shard:
            raise ValueError(
                f"Each of {self.processes} processes reads its own part: pass "
                "shard=devices.shard to pair_dataset or image_dataset. "
                f"Received: shard={received} in process {self.rank}"
            )


@contextlib.contextmanager
def distribute():
    """Distributes what happens inside over all local accelerators, or over several hosts.

    On TensorFlow by `tf.distribute.MirroredStrategy`, on one host; on JAX by
    `keras.distribution.DataParallel`, on one host or, with a process each, on many: joined
    already, or by `keras.distribution.initialize` where the environment has the variables
    `KERAS_DISTRIBUTION_JOB_ADDRESSES`, `_NUM_PROCESSES` and `_PROCESS_ID`, or was made by Slurm's
    `srun` or Open MPI's `mpirun`; on PyTorch over the processes of `torchrun`, one a device, on
    one host or many. Without accelerators, the (virtual) CPU devices serve. Create, compile and
    fit the model inside, and on JAX compute nothing before it. Losses and weights are those of one
    device on the same global batch, which must divide by the number of devices; batch
    normalisation sees the whole of it.

    Returns:
        Context manager of `Devices`.

    Raises:
        ValueError: On PyTorch, with several GPUs but without `torchrun`; on TensorFlow, if the
            environment asks for several hosts, for which there are JAX and PyTorch; on JAX, if the
            environment does not say where they are, or they have different numbers of devices.
        ConnectionError: If processes on JAX do not find each other within five minutes.

    Example:

    ```python
    with cin_keras.distribution.distribute() as devices:
        options = {"image_size": 448, "shard": devices.shard}
        batch = devices.local_batch(16)
        pairs = pair_dataset(train, pairs_per_batch=batch, split_batches=True, **options)
        images = image_dataset(validation, batch_size=2 * batch, **options)
        model = cin_keras.CIN(train.num_classes)
        model.fit(pairs, validation_data=devices.evaluation_data(images))
        if devices.is_chief:
            model.save("model.keras")
    ```
    """
    engines = {"tensorflow": _mirrored, "jax": _data_parallel, "torch": _processes}
    with engines[keras.backend.backend()]() as devices:
        token = _CURRENT.set(devices.replicas)
        try:
            yield devices
        finally:
            _CURRENT.reset(token)


def current_replicas():
    """The replicas of the `distribute()` around the caller, or those of one device."""
    return _CURRENT.get() or _ONE_DEVICE


def is_distributing():
    """Whether there is a `distribute()` around the caller."""
    return _CURRENT.get() is not None


def check_current(replicas):
    """Raises ValueError unless `replicas`, a model's, are those of the `distribute()` around."""
    if replicas is not current_replicas():
        raise ValueError(
            "A model is trained on the devices it was made for: create, compile and fit it inside "
            "one and the same `with distribute()`."
        )


@contextlib.contextmanager
def _mirrored():
    import tensorflow as tf

    workers = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {}).get("worker", [])
    if len(workers) > 1:
        raise ValueError(
            "Over several hosts, use JAX, or PyTorch under torchrun (KERAS_BACKEND=jax or torch). "
            f"Received: TF_CONFIG with {len(workers)} workers"
        )
    names = [
        device.name.removeprefix("/device:")
        for device in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    ]
    if len(names) == 1:
        yield Devices(names)
        return
    with _strategy(tuple(names)).scope():
        yield Devices(names, replicas=MirroredReplicas())


@functools.cache
def _strategy(names):
    """The one strategy of a process: a second one counts its sums over devices from the start again.

    TensorFlow would take them for those of the first.
    """
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names)


@contextlib.contextmanager
def _data_parallel():
    with joined_processes() as (rank, count):
        names = keras.distribution.list_devices()
        if len(names) == 1:
            yield Devices(names)
        elif count == 1:
            with keras.distribution.DataParallel(devices=names).scope():
                yield Devices(names, replicas=Replicas(pads=True))
        else:
            # The data sets are each process's own part already; and in this scope one process can
            # make, load and restore a model alone.
            parallel = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
            with parallel.scope(), distribute_without_comparing():
                yield Devices(names, rank, count, HostReplicas(count))


@contextlib.contextmanager
def _processes():
    import torch

    with process_group() as (rank, count):
        if count == 1:
            gpus = torch.cuda.device_count()
            if gpus > 1:
                raise ValueError(
                    f"On PyTorch, every device has a process of its own: start with torchrun "
                    f"--nproc-per-node {gpus}. Received: {gpus} GPUs, no torchrun"
                )
            yield Devices([device_name()])
            return
        replicas = ProcessReplicas(rank, count)
        yield Devices(replicas.exchange(device_name()), rank, count, replicas)


@contextlib.contextmanager
def _alone():
    """Inside the block, models are for this process alone."""
    everywhere = keras.distribution.distribution()
    token = _CURRENT.set(None)
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(everywhere)
        _CURRENT.reset(token)
