"""Pairs of photographs, positive (same class) and negative, as a `tf.data` pipeline.

In an epoch of `n` photographs there are about `n / 2` pairs, and every photograph stands in about
one of them: an epoch costs what an epoch of single images costs.
"""

import functools

import keras
import numpy as np

from cin_keras.data.decoding import MAX_PIXELS
from cin_keras.data.images import (
    EpochCounter,
    check_positive,
    check_seed,
    finish,
    read_in_order,
)
from cin_keras.data.skipping import Reader, replacements


def pair_dataset(
    samples,
    image_size=448,
    pairs_per_batch=10,
    positive_fraction=0.5,
    classes_per_batch=None,
    *,
    seed=0,
    augment="crop",
    start_epoch=0,
    on_error="raise",
    max_pixels=MAX_PIXELS,
):
    """A `tf.data` pipeline of pairs of images, for `CIN.fit`.

    A positive pair is two different photographs of one class (of a class that has only one, the
    same photograph twice, cropped differently), a negative pair one each of two classes. Every
    photograph stands in about one pair an epoch. What comes in which order depends on `seed` and
    the number of the epoch alone. Without help each pass takes the next number; the callback
    `SetEpoch` gives every epoch of `fit` its own, also when training is resumed. The last
    incomplete batch is dropped.

    Args:
        samples: `Samples`.
        image_size: Int or `(height, width)`, in pixels. Defaults to 448.
        pairs_per_batch: Int ≥ 1; a batch holds twice as many images. Defaults to 10.
        positive_fraction: Float in [0, 1], share of positive pairs, in every batch as nearly as
            it divides. Defaults to 0.5.
        classes_per_batch: `None`, or an int: every batch is drawn from that many classes, equally
            many images of each (the paper's public code has 4 classes × 5 images). Must divide
            `2 * pairs_per_batch`. Defaults to `None`, any classes.
        seed: Int ≥ 0. Defaults to 0.
        augment: `None` (centre crop), `"crop"` (random crop and flip) or `"randaugment"` (both,
            then KerasCV's RandAugment, whose own random numbers `seed` starts but which the
            number of the epoch does not determine). Defaults to `"crop"`.
        start_epoch: Int ≥ 0, number of the first epoch. Defaults to 0.
        on_error: `"raise"`, or `"skip"` to leave out images that cannot be decoded. Another
            photograph of the same class stands in for one, drawn by seed, epoch and position, not
            the partner in the pair as long as the class has a third; where a class has no good
            photograph, one of another class stands in, with that class's label. So batches stay
            full, labels are those of the images shown, and an epoch remains a function of seed
            and number. A bad file is read once and listed once; see `SkippedImages`. Defaults to
            `"raise"`.
        max_pixels: Int ≥ 1; larger images count as ones that cannot be decoded. Defaults to
            178,956,970.

    Returns:
        `tf.data.Dataset` of known length, batches `((images_a, images_b), (labels_a, labels_b))`:
        uint8 of shape `(pairs, height, width, 3)`, RGB from 0 to 255, and int32 of shape
        `(pairs,)`. Its attribute `skipped` is a `SkippedImages`.

    Raises:
        ValueError: For arguments out of range, fewer samples than one batch needs, or negative
            pairs asked of a single class. While iterating, an image that cannot be decoded stops
            the run with an error that names the file (with `"skip"`, if none is good).

    Example:

    >>> samples = cin_keras.data.drawn_cars(images_per_class=4, image_size=64)
    >>> pairs = cin_keras.data.pair_dataset(samples, image_size=64, pairs_per_batch=8)
    >>> len(pairs)
    3
    >>> (images_a, images_b), (labels_a, labels_b) = next(iter(pairs))
    >>> images_a.shape
    TensorShape([8, 64, 64, 3])
    """
    sampler = PairSampler(
        samples.labels,
        pairs_per_batch=pairs_per_batch,
        positive_fraction=positive_fraction,
        classes_per_batch=classes_per_batch,
        seed=seed,
    )

    @functools.lru_cache(maxsize=2)
    def order(epoch):
        return sampler.epoch(epoch).reshape(-1)

    def stand_ins(epoch, position, index):
        partner = order(epoch)[position ^ 1]
        return replacements(samples.labels, check_seed(seed), epoch, position, index, partner)

    epochs = EpochCounter(order, start_epoch)
    reader = Reader(samples, on_error, max_pixels, stand_ins)
    images = 2 * pairs_per_batch
    dataset = read_in_order(
        reader, epochs, image_size, augment, check_seed(seed), images * len(sampler)
    )
    dataset = finish(dataset.batch(images, drop_remainder=True), epochs, augment, check_seed(seed))
    pairs = dataset.map(
        lambda images, labels: ((images[0::2], images[1::2]), (labels[0::2], labels[1::2]))
    )
    pairs.epochs = epochs
    pairs.skipped = reader.skipped
    return pairs


class SetEpoch(keras.callbacks.Callback):
    """Ties the order of a `pair_dataset` or `image_dataset` to the number of the epoch in `fit`.

    With it, epoch 7 sees the same images in the same order in a run that is resumed at epoch 7 as
    in one that was never interrupted, whatever else has read from the data set.

    Args:
        dataset: What `pair_dataset` or `image_dataset` returned (a data set derived from it has
            lost the counter).

    Raises:
        TypeError: If the data set has no epoch counter.

    Example:

    ```python
    pairs = cin_keras.data.pair_dataset(samples)
    model.fit(pairs, epochs=10, callbacks=[cin_keras.data.SetEpoch(pairs)])
    ```
    """

    def __init__(self, dataset):
        super().__init__()
        if not isinstance(getattr(dataset, "epochs", None), EpochCounter):
            raise TypeError(
                "SetEpoch needs the data set as pair_dataset or image_dataset returned it. "
                f"Received: dataset={dataset!r}"
            )
        self.epochs = dataset.epochs

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.epoch = epoch


class PairSampler:
    """The pairs of every epoch, as indices of samples; a function of seed and epoch alone.

    Args:
        labels: Integers of shape `(samples,)`.
        pairs_per_batch: Int ≥ 1. Defaults to 10.
        positive_fraction: Float in [0, 1]. Defaults to 0.5.
        classes_per_batch: `None` or int, as for `pair_dataset`. Defaults to `None`.
        seed: Int ≥ 0. Defaults to 0.

    Raises:
        ValueError: As for `pair_dataset`.

    Example:

    >>> sampler = cin_keras.data.PairSampler([0, 0, 0, 0, 1, 1, 1, 1], pairs_per_batch=2)
    >>> sampler.epoch(0).shape
    (2, 2, 2)
    """

    def __init__(
        self,
        labels,
        pairs_per_batch=10,
        positive_fraction=0.5,
        classes_per_batch=None,
        seed=0,
    ):
        check_positive(pairs_per_batch=pairs_per_batch)
        self.labels = np.asarray(labels)
        self.pairs_per_batch = pairs_per_batch
        self.positive_fraction = positive_fraction
        self.classes_per_batch = classes_per_batch
        self.seed = check_seed(seed)
        self.classes, counts = np.unique(self.labels, return_counts=True)
        if not 0 <= positive_fraction <= 1:
            raise ValueError(
                "`positive_fraction` must lie in [0, 1]. "
                f"Received: positive_fraction={positive_fraction}"
            )
        if positive_fraction < 1 and len(self.classes) < 2:
            raise ValueError(
                "Negative pairs need two classes; use positive_fraction=1.0 or more classes. "
                f"Received: {len(self.labels)} samples of {len(self.classes)} class, "
                f"positive_fraction={positive_fraction}"
            )
        if len(self) == 0:
            raise ValueError(
                f"One batch of {pairs_per_batch} pairs needs {2 * pairs_per_batch} images; lower "
                f"`pairs_per_batch`. Received: {len(self.labels)} images"
            )
        if classes_per_batch is not None:
            self._check_classes_per_batch()
        # Indices by class: those of class k are _by_class[_starts[k]:_starts[k + 1]].
        self._by_class = np.argsort(self.labels, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(counts)])

    def _check_classes_per_batch(self):
        images = 2 * self.pairs_per_batch
        check_positive(classes_per_batch=self.classes_per_batch)
        least = 1 if self.positive_fraction == 1 else 2
        if not least <= self.classes_per_batch <= len(self.classes):
            raise ValueError(
                f"`classes_per_batch` must lie between {least} and the number of classes, "
                f"{len(self.classes)}. Received: classes_per_batch={self.classes_per_batch}"
            )
        if images % self.classes_per_batch:
            raise ValueError(
                f"`classes_per_batch` must divide the {images} images of a batch. "
                f"Received: classes_per_batch={self.classes_per_batch}"
            )
        if self.positive_fraction * self.pairs_per_batch > max(self._feasible_positives()):
            raise ValueError(
                f"{self.classes_per_batch} classes × {images // self.classes_per_batch} images "
                f"make at most {max(self._feasible_positives())} positive pairs a batch. Received: "
                f"positive_fraction={self.positive_fraction}, "
                f"pairs_per_batch={self.pairs_per_batch}"
            )

    def __len__(self):
        """Batches in an epoch."""
        return len(self.labels) // (2 * self.pairs_per_batch)

    def epoch(self, number):
        """The pairs of epoch `number` (int ≥ 0).

        Returns:
            int64 of shape `(batches, pairs_per_batch, 2)`.
        """
        rng = np.random.default_rng([self.seed, number])
        if self.classes_per_batch is not None:
            return self._few_classes_a_batch(rng)
        pairs = len(self) * self.pairs_per_batch
        positives = self._count_positives(pairs)
        order = self._shuffled_by_class(rng)
        positive, rest = self._positive_pairs(order, positives, pairs - positives, rng)
        negative = self._negative_pairs(rest, pairs - positives, rng)
        merged = _merge_evenly(positive, negative)
        return merged.reshape(len(self), self.pairs_per_batch, 2)

    def _count_positives(self, pairs):
        return int(np.floor(self.positive_fraction * pairs + 0.5))

    def _shuffled_by_class(self, rng):
        """All indices, those of a class together, shuffled within it."""
        keys = rng.random(len(self.labels))
        return self._by_class[np.lexsort([keys, self.labels[self._by_class]])]

    def _positive_pairs(self, order, count, negatives, rng):
        """`count` positive pairs from `order`, and the indices left over for the negative ones.

        Neighbours in `order` are paired; the odd one of a class, if it is needed, goes with
        another of its class, which is then seen twice, or, alone in its class, with itself.
        """
        sizes = np.diff(self._starts)
        position = np.arange(len(order)) - np.repeat(self._starts[:-1], sizes)
        size = np.repeat(sizes, sizes)
        first = np.flatnonzero(position % 2 == 0)
        odd = position[first] + 1 == size[first]
        # The odd one's partner is the class's first, itself where there is no other.
        partner = np.where(odd, first - position[first], first + 1)
        # The negative pairs take at most one image each of a class: what a large class has
        # beyond that comes first. Then whole neighbours before odd ones, in random order.
        optional = position[first] >= size[first] - negatives
        chosen = np.lexsort([rng.random(len(first)), odd, optional])[:count]
        pairs = np.stack([order[first[chosen]], order[partner[chosen]]], axis=1)
        used = np.zeros(len(order), bool)
        used[first[chosen]] = used[partner[chosen]] = True
        return rng.permutation(pairs), order[~used]

    def _negative_pairs(self, rest, count, rng):
        """`count` negative pairs from the indices in `rest`, which are at least twice as many."""
        labels, rest = self.labels, rng.permutation(rest)
        a, b = rest[:count], rest[count : 2 * count]
        for i in np.flatnonzero(labels[a] == labels[b]):
            other = np.flatnonzero((labels[a] != labels[a[i]]) & (labels[b] != labels[a[i]]))
            # An earlier swap may have parted the two already.
            if other.size and labels[a[i]] == labels[b[i]]:
                j = rng.choice(other)
                b[i], b[j] = b[j], b[i]
        clash = np.flatnonzero(labels[a] == labels[b])
        if clash.size:
            # One class has more than half: others replace it, those not seen yet first.
            spare = np.concatenate([rest[2 * count :], rng.permutation(len(labels))])
            b[clash] = np.resize(spare[labels[spare] != labels[a[clash[0]]]], clash.size)
        return np.stack([a, b], axis=1)

    def _few_classes_a_batch(self, rng):
        """Batches of `classes_per_batch` classes × equally many images."""
        batches = len(self)
        size = 2 * self.pairs_per_batch // self.classes_per_batch
        chunks = self._chunks_per_class(batches * self.classes_per_batch, rng)
        order = self._shuffled_by_class(rng)
        drawn = [[] for _ in range(batches)]
        for k in rng.permutation(len(self.classes)):
            members = order[self._starts[k] : self._starts[k + 1]]
            # No class has more chunks than there are batches. Its chunks go to those that have
            # the fewest so far, so that in the end all have `classes_per_batch`.
            fewest = np.lexsort([rng.random(batches), [len(batch) for batch in drawn]])
            parts = np.resize(members, (chunks[k], size))
            for batch, chunk in zip(fewest[: chunks[k]], parts, strict=True):
                drawn[batch].append(chunk)
        epoch, positives = [], 0
        for i, batch in enumerate(drawn):
            wanted = self._count_positives((i + 1) * self.pairs_per_batch) - positives
            count = min(self._feasible_positives(), key=lambda p: abs(p - wanted))
            positives += count
            epoch.append(self._pairs_of_few_classes(batch, count, rng))
        return np.array(epoch)

    def _chunks_per_class(self, total, rng):
        """How many chunks of each class, in proportion to its images, rounded at random."""
        limit = len(self)
        counts = np.diff(self._starts)
        share = np.minimum(total * counts / counts.sum(), limit)
        while share.sum() < total - 1e-9:
            free = share < limit
            share[free] += (total - share.sum()) * counts[free] / counts[free].sum()
            share = np.minimum(share, limit)
        # Systematic sampling: every class gets the floor or the ceiling of its share.
        order = rng.permutation(len(share))
        edges = np.floor(np.concatenate([[0], np.cumsum(share[order])]) + rng.random())
        edges[-1] = edges[0] + total
        chunks = np.empty(len(share), int)
        chunks[order] = np.diff(edges).astype(int)
        return chunks

    def _positives_per_class(self, positives):
        """`positives` pairs spread over the classes of a batch."""
        per_class, extra = divmod(positives, self.classes_per_batch)
        return [per_class + (k < extra) for k in range(self.classes_per_batch)]

    def _feasible_positives(self):
        """How many pairs of a batch can be positive such that the rest make negative pairs."""
        size = 2 * self.pairs_per_batch // self.classes_per_batch
        feasible = []
        for positives in range(self.pairs_per_batch + 1):
            rest = [size - 2 * count for count in self._positives_per_class(positives)]
            if min(rest) >= 0 and 2 * max(rest) <= sum(rest):
                feasible.append(positives)
        return feasible

    def _pairs_of_few_classes(self, chunks, positives, rng):
        """The pairs of one batch from its chunks, `(classes, images)`."""
        pairs, rest = [], []
        per_class = self._positives_per_class(positives)
        # Neighbours in a chunk are different images even where a small class repeats in it.
        for chunk, count in zip(rng.permutation(chunks), per_class, strict=True):
            pairs.extend(chunk[: 2 * count].reshape(count, 2))
            rest.append(chunk[2 * count :])
        # Half a turn around the rest, class by class, never meets the same class.
        rest = np.concatenate(rest)
        half = len(rest) // 2
        pairs.extend(np.stack([rest[:half], rest[half:]], axis=1))
        return np.array(pairs)


def _merge_evenly(a, b):
    """The rows of `a` and `b`, each in its order, mixed at an even rate."""
    places = np.concatenate([(np.arange(len(rows)) + 0.5) / max(len(rows), 1) for rows in (a, b)])
    return np.concatenate([a, b])[np.argsort(places, kind="stable")]
