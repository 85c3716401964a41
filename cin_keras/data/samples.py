"""The list of photographs that every data set of this package comes down to."""

import collections
import dataclasses
import pathlib

import numpy as np

from cin_keras.data.decoding import MAX_PIXELS, decode


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Samples:
    """Photographs, their classes and, where known, the boxes of the objects in them.

    A loader such as `cin_keras.data.stanford_cars` only lists samples; nothing is decoded
    before a pipeline (`pair_dataset`, `image_dataset`) or `read` asks for it.

    Args:
        paths: Sequence of str, one a sample. Files, or, with `encoded`, the samples' names.
        labels: Integers of shape `(samples,)`, from 0 to `len(class_names) - 1`.
        class_names: Sequence of str, one a class.
        boxes: `None`, or numbers of shape `(samples, 4)`: left, top, right, bottom of the
            object in pixels, right and bottom exclusive. Defaults to `None`.
        encoded: `None`, or a sequence of bytes, one a sample: the encoded images themselves,
            for data sets that live in memory. Defaults to `None`.
        parts: `None`, or a sequence of dicts, one a sample: part name → box in pixels, as in
            `boxes`. Defaults to `None`.

    Raises:
        ValueError: If the lengths differ, there is no sample, a label is no class, a class name
            stands twice, or a box is empty.

    Example:

    >>> samples = Samples(["a.jpg", "b.jpg", "c.jpg"], [0, 0, 1], ["cat", "dog"])
    >>> samples
    Samples(2 classes, 3 images, 1–2 a class)
    >>> samples.subset([0, 2]).paths
    ('a.jpg', 'c.jpg')
    """

    paths: tuple
    labels: np.ndarray
    class_names: tuple
    boxes: np.ndarray | None = None
    encoded: tuple | None = None
    parts: tuple | None = None

    def __post_init__(self):
        def assign(name, value):
            object.__setattr__(self, name, value)

        assign("paths", tuple(str(path) for path in self.paths))
        assign("class_names", tuple(str(name) for name in self.class_names))
        if not self.paths:
            raise ValueError("A data set needs at least one sample. Received: no paths")
        labels = np.asarray(self.labels)
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                "`labels` must be one integer a sample, shape (samples,). "
                f"Received: dtype={labels.dtype}, shape={labels.shape}"
            )
        assign("labels", labels.astype("int32"))
        if self.boxes is not None:
            boxes = np.asarray(self.boxes, "float32")
            if boxes.ndim != 2 or boxes.shape[1] != 4:
                raise ValueError(
                    "`boxes` must have shape (samples, 4): left, top, right, bottom. "
                    f"Received: shape={boxes.shape}"
                )
            assign("boxes", boxes)
        for name in ("labels", "boxes", "encoded", "parts"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.paths):
                raise ValueError(
                    f"`{name}` must have one entry a sample. "
                    f"Received: {len(value)} {name} for {len(self.paths)} paths"
                )
        twice = [n for n, k in collections.Counter(self.class_names).items() if k > 1]
        if twice:
            raise ValueError(f"Class names must differ. Received twice: {twice[:5]}")
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= len(self.class_names)))
        if wrong.size:
            raise ValueError(
                f"Labels must lie in 0..{len(self.class_names) - 1} "
                f"({len(self.class_names)} class names). Received: label "
                f"{self.labels[wrong[0]]} for {self.paths[wrong[0]]!r} ({wrong.size} such samples)"
            )
        if self.boxes is not None:
            width, height = (self.boxes[:, 2:] - self.boxes[:, :2]).T
            empty = np.flatnonzero(~((width > 0) & (height > 0)))
            if empty.size:
                raise ValueError(
                    "A box must have right > left and bottom > top. Received: "
                    f"{self.boxes[empty[0]].tolist()} for {self.paths[empty[0]]!r} "
                    f"({empty.size} such samples)"
                )

    @property
    def num_classes(self):
        """Number of classes (int), classes without a sample included."""
        return len(self.class_names)

    def __len__(self):
        return len(self.paths)

    def __repr__(self):
        counts = np.bincount(self.labels, minlength=self.num_classes)
        return (
            f"Samples({self.num_classes} classes, {len(self)} images, "
            f"{counts.min()}–{counts.max()} a class)"
        )

    def subset(self, indices):
        """The samples at `indices` (integers, or a mask), in that order, with the same classes."""
        indices = np.arange(len(self))[list(indices)]

        def pick(values):
            return None if values is None else tuple(values[i] for i in indices)

        return Samples(
            paths=pick(self.paths),
            labels=self.labels[indices],
            class_names=self.class_names,
            boxes=None if self.boxes is None else self.boxes[indices],
            encoded=pick(self.encoded),
            parts=pick(self.parts),
        )

    def split(self, fraction, seed=0):
        """Holds out a share of every class.

        Args:
            fraction: Float in (0, 1), the share of each class to hold out, rounded; a class of
                two or more keeps at least one sample on either side, a class of one stays whole
                in the first part.
            seed: Int. Defaults to 0.

        Returns:
            `(rest, held_out)`, two `Samples`; each keeps the order of this one.

        Raises:
            ValueError: If `fraction` is not in (0, 1) or no class has two samples.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"`fraction` must lie in (0, 1). Received: fraction={fraction}")
        rng = np.random.default_rng(seed)
        held_out = np.zeros(len(self), bool)
        for label in range(self.num_classes):
            members = np.flatnonzero(self.labels == label)
            if len(members) > 1:
                count = min(max(round(fraction * len(members)), 1), len(members) - 1)
                held_out[rng.permutation(members)[:count]] = True
        if not held_out.any():
            raise ValueError(
                f"Nothing can be held out: no class has two samples. Received: {self!r}"
            )
        return self.subset(~held_out), self.subset(held_out)

    def limit(self, count, seed=0):
        """At most `count` samples (int), spread evenly over the classes, for a quick try.

        Raises:
            ValueError: If `count` is less than 1.
        """
        if count < 1:
            raise ValueError(f"`count` must be at least 1. Received: count={count}")
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self))
        rank = np.empty(len(self), int)
        for label in range(self.num_classes):
            members = order[self.labels[order] == label]
            rank[members] = np.arange(len(members))
        chosen = order[np.argsort(rank[order], kind="stable")][:count]
        return self.subset(np.sort(chosen))

    def read(self, index, max_pixels=MAX_PIXELS):
        """Decodes one sample, by the rules of `cin_keras.data.decode`.

        Args:
            index: Int, which sample.
            max_pixels: Int ≥ 1; an image of more pixels is refused. Defaults to 178,956,970.

        Returns:
            A `PIL.Image.Image` in mode RGB, upright as its EXIF orientation says, transparent
            parts on white.

        Raises:
            ValueError: If the file is missing or is no image that can be decoded; it names the
                file.
        """
        source = self.paths[index] if self.encoded is None else self.encoded[index]
        return decode(source, name=self.paths[index], max_pixels=max_pixels)


def existing_file(*candidates):
    """The first path that is a file; FileNotFoundError naming them all if none is."""
    for path in candidates:
        if pathlib.Path(path).is_file():
            return pathlib.Path(path)
    names = " or ".join(str(path) for path in candidates)
    raise FileNotFoundError(f"Missing file: {names}")
