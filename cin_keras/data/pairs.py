"""Pairs of photographs, positive (same class) and negative, as a `tf.data` pipeline.

In an epoch of `n` photographs there are about `n / 2` pairs, and every photograph stands in about
one of them: an epoch costs what an epoch of single images costs.
"""

import functools

import numpy as np

from cin_keras.checks import check_bool, check_choice, check_int, check_number
from cin_keras.data.pipeline import EpochCounter, as_ordered, check_shard, read_in_batches
from cin_keras.data.samples import check_samples
from cin_keras.data.skipping import replacements


def pair_dataset(
    samples,
    image_size=448,
    pairs_per_batch=10,
    positive_fraction=0.5,
    classes_per_batch=None,
    *,
    sampling="image",
    seed=0,
    augment="crop",
    start_epoch=0,
    on_error="raise",
    max_pixels=None,
    cache=None,
    shard=None,
    split_batches=False,
):
    """A `tf.data` pipeline of pairs of images, for `CIN.fit`.

    A positive pair is two different photographs of one class (of a class that has only one, the
    same photograph twice, cropped differently), a negative pair one each of two classes. Every
    photograph stands in about one pair an epoch. What comes in which order depends on `seed` and
    the number of the epoch alone. Without help each pass takes the next number; the callback
    `SetEpoch` gives every epoch of `fit` its own, also when training is resumed. The last
    incomplete batch is dropped.

    Args:
        samples: `Samples`, or what `cin_keras.data.with_cache` made of them for `image_size`.
        image_size: Int or `(height, width)`, in pixels. Defaults to 448.
        pairs_per_batch: Int ≥ 1; a batch holds twice as many images. Defaults to 10.
        positive_fraction: Float in [0, 1], share of positive pairs, in every batch as nearly as
            it divides. Defaults to 0.5.
        classes_per_batch: `None`, or an int: every batch is drawn from that many classes, equally
            many images of each (the paper's public code has 4 classes × 5 images). Must divide
            `2 * pairs_per_batch`. Defaults to `None`, any classes.
        sampling: `"image"`, every photograph stands in about one pair an epoch, or `"class"`,
            every class has about equally many images an epoch, whatever its size: of a large
            class a part, drawn anew every epoch; those of a small class several times. The
            length of an epoch is the same. Defaults to `"image"`.
        seed: Int ≥ 0. Defaults to 0.
        augment: `None` (centre crop), `"crop"` (random crop and flip) or `"randaugment"` (both,
            then KerasCV's RandAugment, on random numbers that follow from seed and epoch as all
            else does). Defaults to `"crop"`.
        start_epoch: Int ≥ 0, number of the first epoch. Defaults to 0.
        on_error: `"raise"`, or `"skip"` to leave out images that cannot be decoded. Another
            photograph of the same class stands in for one, drawn by seed, epoch and position, not
            the partner in the pair as long as the class has a third; where a class has no good
            photograph, one of another class stands in, with that class's label. So batches stay
            full, labels are those of the images shown, and an epoch remains a function of seed
            and number. A bad file is read once and listed once; see `SkippedImages`. Defaults to
            `"raise"`.
        max_pixels: Int ≥ 1; larger images count as ones that cannot be decoded; or `None` for the
            limit of the samples. Defaults to `None`.
        cache: `None`, `"memory"`, or a folder on disk, to decode every image only once and keep
            it at 8/7 of `image_size`, from which crops are taken at whole pixels; see
            `cin_keras.data.with_cache`. Defaults to `None`.
        shard: `None`, or `(index, count)`, the part of one of `count` hosts, `index` from 0:
            every `count`-th batch of the epoch, with the same crops. All have equally many
            batches; the last ones that do not go round (fewer than `count`) are dropped.
            Defaults to `None`, the whole epoch.
        split_batches: Bool. `True` divides every batch over the hosts instead: `pairs_per_batch`
            is a host's part, and `count` times as many pairs are a batch of the epoch, so that
            the hosts see in each step what one host sees without `shard` in batches of that size.
            `positive_fraction` and `classes_per_batch` speak of the whole batch. Defaults to
            `False`.

    Returns:
        `tf.data.Dataset` of known length, batches `((images_a, images_b), (labels_a, labels_b))`:
        uint8 of shape `(pairs, height, width, 3)`, RGB from 0 to 255, and int32 of shape
        `(pairs,)`. Its attribute `skipped` is a `SkippedImages`. As many threads read it as there
        are cores.

    Raises:
        ValueError: For arguments out of range, fewer samples than one batch (of every shard)
            needs, or negative pairs asked of a single class. While iterating, an image that cannot
            be decoded stops the run with an error that names the file (with `"skip"`, if none is
            good).

    Example:

    >>> samples = cin_keras.data.drawn_cars(images_per_class=4, image_size=64)
    >>> pairs = cin_keras.data.pair_dataset(samples, image_size=64, pairs_per_batch=8)
    >>> len(pairs)
    3
    >>> (images_a, images_b), (labels_a, labels_b) = next(iter(pairs))
    >>> images_a.shape
    TensorShape([8, 64, 64, 3])
    """
    check_samples(samples)
    shard_index, shards = check_shard(shard)
    pairs_per_batch = check_int("pairs_per_batch", pairs_per_batch, least=1)
    parts = shards if check_bool("split_batches", split_batches) else 1
    sampler = PairSampler(
        samples.labels,
        pairs_per_batch=parts * pairs_per_batch,
        positive_fraction=positive_fraction,
        classes_per_batch=classes_per_batch,
        seed=seed,
        sampling=sampling,
    )
    positions = _positions(len(sampler) * parts, pairs_per_batch, shard_index, shards)

    @functools.lru_cache(maxsize=2)
    def order(epoch):
        return sampler.epoch(epoch).reshape(-1)

    def stand_ins(epoch, position, index):
        partner = order(epoch)[position ^ 1]
        return replacements(samples.labels, sampler.seed, epoch, position, index, partner)

    images = read_in_batches(
        samples,
        EpochCounter(order, positions, start_epoch),
        2 * pairs_per_batch,
        image_size=image_size,
        augment=augment,
        seed=sampler.seed,
        on_error=on_error,
        max_pixels=max_pixels,
        cache=cache,
        shard=shard,
        stand_ins=stand_ins,
    )
    pairs = images.map(
        lambda images, labels: (
            (images[:pairs_per_batch], images[pairs_per_batch:]),
            (labels[:pairs_per_batch], labels[pairs_per_batch:]),
        )
    )
    return as_ordered(pairs, images)


def _positions(batches, pairs_per_batch, shard_index, shards):
    """The places of the epoch that a shard's images have, one after the other.

    The two images of pair k are at the places 2 k and 2 k + 1 of the epoch. A batch is read with
    the first image of every pair first: two halves, which need not be copied to be parted.
    """
    if batches < shards:
        raise ValueError(
            f"{shards} shards need at least one batch each; lower `pairs_per_batch` or the number "
            f"of shards. Received: shard={(shard_index, shards)}, {batches} batches of "
            f"{pairs_per_batch} pairs"
        )
    places = np.arange(2 * pairs_per_batch * batches).reshape(-1, pairs_per_batch, 2)
    places = places[shard_index::shards][: batches // shards]
    return places.transpose(0, 2, 1).reshape(-1)


class PairSampler:
    """The pairs of every epoch, as indices of samples; a function of seed and epoch alone.

    It holds one small integer a sample, and `epoch` works on a few arrays of that length.

    Args:
        labels: Integers of shape `(samples,)`.
        pairs_per_batch: Int ≥ 1. Defaults to 10.
        positive_fraction: Float in [0, 1]. Defaults to 0.5.
        classes_per_batch: `None` or int, as for `pair_dataset`. Defaults to `None`.
        seed: Int ≥ 0. Defaults to 0.
        sampling: `"image"` or `"class"`, as for `pair_dataset`. Defaults to `"image"`.

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
        sampling="image",
    ):
        self.labels = np.asarray(labels)
        self.pairs_per_batch = check_int("pairs_per_batch", pairs_per_batch, least=1)
        self.positive_fraction = check_number(
            "positive_fraction", positive_fraction, least=0, most=1
        )
        self.classes_per_batch = classes_per_batch
        self.sampling = check_choice("sampling", sampling, ("image", "class"))
        self.seed = check_int("seed", seed, least=0)
        self.classes, ranks, self._sizes = np.unique(
            self.labels, return_inverse=True, return_counts=True
        )
        # The class of every sample, from 0 without gaps; integers of 16 bits sort fastest.
        self._class_of = ranks.astype(np.min_scalar_type(len(self.classes)))
        self._starts = np.cumsum(self._sizes) - self._sizes
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

    def _check_classes_per_batch(self):
        images = 2 * self.pairs_per_batch
        least = 1 if self.positive_fraction == 1 else 2
        self.classes_per_batch = check_int(
            "classes_per_batch", self.classes_per_batch, least, most=len(self.classes)
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
        positive, rest = self._positive_pairs(positives, pairs - positives, rng)
        negative = self._negative_pairs(rest, pairs - positives, positive, rng)
        merged = _merge_evenly(positive, negative)
        return merged.reshape(len(self), self.pairs_per_batch, 2)

    def _count_positives(self, pairs):
        return int(np.floor(self.positive_fraction * pairs + 0.5))

    def _shuffled_by_class(self, rng):
        """All indices, shuffled; those of class k are together, from `_starts[k]` on."""
        order = rng.permutation(len(self.labels))
        return order[np.argsort(self._class_of[order], kind="stable")]

    def _divide(self, total, rng, limit=None):
        """Divides `total` over the classes, evenly or by their images as `sampling` says.

        Every class gets its share, rounded down or up at random, and none more than `limit`.
        """
        weights = self._sizes if self.sampling == "image" else np.ones_like(self._sizes)
        parts = np.zeros(len(weights), np.int64)
        free = np.ones(len(weights), bool)
        while limit is not None:
            too_large = free & (total * weights > limit * weights[free].sum())
            if not too_large.any():
                break
            parts[too_large] = limit
            total -= limit * np.count_nonzero(too_large)
            free &= ~too_large
        # Systematic sampling, in whole numbers: a common random start, then equal steps.
        order = rng.permutation(np.flatnonzero(free))
        if order.size:
            ends = np.cumsum(weights[order])
            edges = (total * ends + rng.integers(ends[-1])) // ends[-1]
            parts[order] = np.diff(edges, prepend=0)
        return parts

    def _positive_pairs(self, count, negatives, rng):
        """`count` positive pairs, and the indices left over for the negative ones.

        The images of a class, shuffled, are paired with their neighbours; the odd one at the end,
        if it is needed, goes with the next of its class, which begins again after its last.
        """
        order = self._shuffled_by_class(rng)
        drawn = self._divide(2 * (count + negatives), rng)
        position = np.arange(drawn.sum()) - np.repeat(np.cumsum(drawn) - drawn, drawn)
        start, size, in_all = (np.repeat(x, drawn) for x in (self._starts, self._sizes, drawn))
        index = order[start + position % size]

        first = np.flatnonzero(position % 2 == 0)
        odd = position[first] + 1 == in_all[first]
        # The negative pairs take at most one image each of a class: what a large class has
        # beyond that comes first. Then whole neighbours before odd ones, in random order.
        optional = position[first] >= in_all[first] - negatives
        chosen = np.lexsort([rng.random(len(first)), odd, optional])[:count]
        first, odd = first[chosen], odd[chosen]
        partner = (position[first] + 1) % size[first]
        pairs = np.stack([index[first], order[start[first] + partner]], axis=1)

        used = np.zeros(len(index), bool)
        used[first] = used[first[~odd] + 1] = True
        again = odd & (partner < in_all[first])
        used[(first - position[first] + partner)[again]] = True
        return rng.permutation(pairs), index[~used]

    def _negative_pairs(self, rest, count, positive, rng):
        """`count` negative pairs from the indices in `rest`, which are at least twice as many."""
        rest = rng.permutation(rest)
        pairs = rest[: 2 * count].reshape(count, 2)
        classes = self._class_of[pairs]
        clash = classes[:, 0] == classes[:, 1]
        if not clash.any():
            return pairs
        # The pairs of one class exchange images with each other, and, where one class has most of
        # them, with as many pairs without it as there must be to part it.
        in_clash = np.bincount(classes[clash, 0], minlength=len(self.classes))
        common = in_clash.argmax()
        others = np.flatnonzero(~clash & (classes != common).all(axis=1))
        needed = max(2 * in_clash[common] - in_clash.sum(), 0)
        among = np.concatenate([np.flatnonzero(clash), rng.permutation(others)[:needed]])
        images = rng.permutation(pairs[among].reshape(-1))
        shuffled_classes = rng.permutation(len(self.classes))
        images = images[np.argsort(shuffled_classes[self._class_of[images]], kind="stable")]
        # Half a turn around the images, class by class, never meets the same class, unless one
        # has more than half of them.
        pairs[among] = images.reshape(2, -1).T
        if needed > len(others):
            # Then others replace it, those not seen yet first.
            classes = self._class_of[pairs]
            clash = np.flatnonzero(classes[:, 0] == classes[:, 1])
            spare = rng.permutation(np.flatnonzero(self._class_of != common))
            seen = np.zeros(len(self.labels), bool)
            seen[positive] = seen[pairs] = True
            spare = spare[np.argsort(seen[spare], kind="stable")]
            pairs[clash, 1] = np.resize(spare, len(clash))
        return pairs

    def _few_classes_a_batch(self, rng):
        """Batches of `classes_per_batch` classes × equally many images."""
        classes = self._classes_of_batches(rng)
        size = 2 * self.pairs_per_batch // self.classes_per_batch
        # The classes of all batches, sorted: their images follow one another, and begin again
        # where a class has been used up.
        by_class = np.argsort(classes, axis=None, kind="stable")
        label = classes.reshape(-1)[by_class]
        earlier = np.arange(len(label)) - np.searchsorted(label, label)
        position = earlier[:, None] * size + np.arange(size)
        images = np.empty((len(label), size), np.int64)
        order = self._shuffled_by_class(rng)
        images[by_class] = order[self._starts[label, None] + position % self._sizes[label, None]]
        images = images.reshape(len(self), self.classes_per_batch, size)

        positives = self._positives_of_batches()
        epoch = np.empty((len(self), self.pairs_per_batch, 2), np.int64)
        for count in np.unique(positives):
            batches = positives == count
            epoch[batches] = self._pairs_of_few_classes(images[batches], count)
        return epoch

    def _classes_of_batches(self, rng):
        """Different classes for every batch: shape `(batches, classes_per_batch)`, shuffled."""
        batches = len(self)
        # No class is more often there than there are batches.
        times = self._divide(batches * self.classes_per_batch, rng, limit=batches)
        shuffled = rng.permutation(len(self.classes))
        rows = np.repeat(shuffled, times[shuffled]).reshape(self.classes_per_batch, batches)
        # Each row gives every batch one class, in random order. The class at a row's beginning may
        # stand at the end of the row above: it goes to batches that do not have it yet.
        above = np.full(batches, -1)
        for row in rows:
            begins = np.count_nonzero(row == row[0])
            places = rng.permutation(batches)
            places = places[np.argsort(above[places] == row[0], kind="stable")]
            places[begins:] = rng.permutation(places[begins:])
            row[places] = row.copy()
            above = row
        return rng.permuted(rows.T, axis=1)

    def _positives_of_batches(self):
        """How many pairs of each batch are positive, such that the sum is right on the way."""
        feasible = self._feasible_positives()
        positives, total = np.empty(len(self), np.int64), 0
        for i in range(len(self)):
            wanted = self._count_positives((i + 1) * self.pairs_per_batch) - total
            positives[i] = min(feasible, key=lambda count: abs(count - wanted))
            total += int(positives[i])
        return positives

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

    def _pairs_of_few_classes(self, images, positives):
        """The pairs of batches with `positives` positive ones each.

        Args:
            images: Indices of shape `(batches, classes, images)`.
            positives: Int.

        Returns:
            Integers of shape `(batches, pairs, 2)`.
        """
        pairs, rest = [], []
        # Neighbours are different images even where a small class repeats.
        for k, count in enumerate(self._positives_per_class(positives)):
            pairs.append(images[:, k, : 2 * count].reshape(len(images), count, 2))
            rest.append(images[:, k, 2 * count :])
        # Half a turn around the rest, class by class, never meets the same class.
        rest = np.concatenate(rest, axis=1)
        pairs.append(rest.reshape(len(rest), 2, -1).transpose(0, 2, 1))
        return np.concatenate(pairs, axis=1)


def _merge_evenly(a, b):
    """The rows of `a` and `b`, each in its order, mixed at an even rate."""
    places = np.concatenate([(np.arange(len(rows)) + 0.5) / max(len(rows), 1) for rows in (a, b)])
    return np.concatenate([a, b])[np.argsort(places, kind="stable")]
