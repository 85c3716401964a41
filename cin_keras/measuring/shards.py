"""How fast shards are written, listed and read, on any number of small photographs."""

import io
import itertools
import time

import numpy as np
from PIL import Image

from cin_keras.data import Samples, from_shards, pair_dataset, write_shards
from cin_keras.data.records import Records
from cin_keras.measuring.feeding import random_labels
from cin_keras.measuring.memory import peak_resident_megabytes

DISTINCT = 64


class NumberedPhotographs(Records):
    """JPEG files of a few pictures, each with a number of its own in a comment; none is kept.

    Args:
        count: Int, how many.
        size: Int, pixels of a side.
        seed: Int. Defaults to 0.

    Example:

    >>> photographs = NumberedPhotographs(1000, size=16)
    >>> len({photographs[i] for i in range(1000)})
    1000
    """

    def __init__(self, count, size, seed=0):
        super().__init__([], np.zeros(count), np.arange(count), np.zeros(count))
        rng = np.random.default_rng(seed)
        self._files = []
        for _ in range(DISTINCT):
            coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), "uint8"))
            stream = io.BytesIO()
            coarse.resize((size, size), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
            self._files.append(stream.getvalue())

    def __getitem__(self, index):
        file = self._files[index % DISTINCT]
        return file[:2] + b"\xff\xfe\x00\x0a" + b"%08d" % index + file[2:]


def measure_shards(folder, images, classes, image_size, pairs_per_batch, batches, seed=0):
    """Writes a data set into shards, lists it, and reads pairs from all over it.

    Args:
        folder: Str or path, to be made.
        images: Int, how many; drawn as small as they are read.
        classes: Int ≥ 1.
        image_size: Int, pixels of a side.
        pairs_per_batch: Int ≥ 1.
        batches: Int ≥ 1, to be read.
        seed: Int. Defaults to 0.

    Returns:
        Dict of floats: `images/s, written`; `GB`; `list, s`; `first batch, s`, after that;
        `images/s, read`; `memory, MB`, of this process before, and `memory after, MB`, at most.
    """
    before = peak_resident_megabytes()
    labels = random_labels(images, classes, seed=seed)
    samples = Samples(
        [f"{label:05}/{i:08}.jpg" for i, label in enumerate(labels.tolist())],
        labels,
        [f"{i:05}" for i in range(classes)],
        encoded=NumberedPhotographs(images, image_size, seed),
    )
    start = time.perf_counter()
    write_shards(samples, folder)
    written = images / (time.perf_counter() - start)
    del samples
    start = time.perf_counter()
    samples = from_shards(folder)
    listed = time.perf_counter() - start
    start = time.perf_counter()
    pairs = iter(pair_dataset(samples, image_size, pairs_per_batch, seed=seed))
    next(pairs)
    first = time.perf_counter() - start
    start = time.perf_counter()
    count = sum(1 for _ in itertools.islice(pairs, batches))
    read = count * 2 * pairs_per_batch / (time.perf_counter() - start)
    return {
        "images/s, written": written,
        "GB": float(samples.encoded.sizes.sum()) / 1e9,
        "list, s": listed,
        "first batch, s": first,
        "images/s, read": read,
        "memory, MB": before,
        # A peak cannot fall, but Linux counts those of several threads to some 100 kB only.
        "memory after, MB": max(before, peak_resident_megabytes()),
    }
