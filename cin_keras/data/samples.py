"""The list of photographs that every data set of this package comes down to."""

import collections
import dataclasses
import difflib
import hashlib
import numbers
import os

import numpy as np
from PIL import Image

from cin_keras.checks import (
    check_bool,
    check_int,
    check_labels,
    check_list,
    check_names,
    check_number,
    short,
)
from cin_keras.data.decoding import (
    MAX_PIXELS,
    UnreadableImage,
    decode,
    file_bytes,
    file_size,
    naming,
)
from cin_keras.data.hierarchy import check_hierarchy
from cin_keras.data.records import Records
from cin_keras.data.stores import add_states, is_remote
from cin_keras.text import plural

# What a sample may have beside its path and label, one entry a sample.
_OPTIONAL = ("boxes", "encoded", "parts", "bottom_strips", "crops")


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
            for data sets that live in memory, or `cin_keras.data.records.Records`, which are
            read when asked for, as those of `from_shards`. Defaults to `None`.
        parts: `None`, or a sequence of dicts, one a sample: part name → box in pixels, as in
            `boxes`. Defaults to `None`.
        bottom_strips: `None`, or integers of shape `(samples,)`: rows of pixels at the bottom of
            an image that are no part of the photograph (a line of credits) and that `read` cuts
            off. Defaults to `None`.
        crops: `None`, or numbers of shape `(samples, 4)`, as `boxes`: the part of the image,
            upright and without its bottom strip, that `read` returns; what of it lies outside the
            image is left out. `boxes` and `parts` count from its corner. See `crop_to_boxes`.
            Defaults to `None`.
        max_pixels: Int ≥ 1; `read` refuses an image of more pixels, as `cin_keras.data.decode`
            does. For another limit, `dataclasses.replace(samples, max_pixels=...)`. Defaults to
            178,956,970.
        hierarchy: `None`, or a dict from the name of a level, the coarsest first, to a sequence of
            str, one a class: the group that the class is in. Defaults to `None`.

    Raises:
        ValueError: If the lengths differ, there is no sample, a label is no class, a class name
            stands twice, a box or crop is empty, or a strip is negative.

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
    bottom_strips: np.ndarray | None = None
    crops: np.ndarray | None = None
    max_pixels: int = MAX_PIXELS
    hierarchy: dict | None = None

    def __post_init__(self):
        paths = check_list("paths", self.paths, in_order=True)
        wrong = [path for path in paths if not (isinstance(path, (str, os.PathLike)) and str(path))]
        if wrong or not paths:
            received = f"{short(wrong[0])} among them" if wrong else "no paths"
            raise ValueError(f"`paths` must be one str a sample, one or more. Received: {received}")
        paths = tuple(str(path) for path in paths)
        class_names = check_names("class_names", self.class_names)
        twice = [name for name, count in collections.Counter(class_names).items() if count > 1]
        if twice:
            raise ValueError(f"Class names must differ. Received twice: {twice[:5]}")
        values = {"paths": paths, "class_names": class_names}
        values |= {name: getattr(self, name) for name in ("labels", *_OPTIONAL)}
        for name in ("labels", *_OPTIONAL):
            value = values[name]
            if value is None:
                continue
            in_memory = name in ("encoded", "parts") and not isinstance(value, Records)
            if in_memory or not hasattr(value, "__len__"):  # as `zip` has none
                value = values[name] = check_list(name, value)
            if len(value) != len(paths):
                raise ValueError(
                    f"`{name}` must have one entry a sample. "
                    f"Received: {len(value)} {name} for {len(paths)} paths"
                )
        labels = check_labels("labels", values["labels"], len(class_names), names=paths)
        values["labels"] = labels.astype("int32")
        for name in ("boxes", "crops"):
            if values[name] is not None:
                values[name] = _check_boxes(name, values[name], paths)
        if self.bottom_strips is not None:
            strips = np.asarray(values["bottom_strips"])
            if strips.ndim != 1 or not np.issubdtype(strips.dtype, np.integer) or strips.min() < 0:
                raise ValueError(
                    "`bottom_strips` must be one integer of at least 0 a sample. "
                    f"Received: bottom_strips={short(self.bottom_strips)}"
                )
            values["bottom_strips"] = strips.astype("int32")
        values["hierarchy"] = check_hierarchy(self.hierarchy, class_names)
        values["max_pixels"] = check_int("max_pixels", self.max_pixels, least=1)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def num_classes(self):
        """Number of classes (int), classes without a sample included."""
        return len(self.class_names)

    def __len__(self):
        return len(self.paths)

    def __repr__(self):
        counts = np.bincount(self.labels, minlength=self.num_classes)
        return (
            f"Samples({plural(self.num_classes, 'class', 'classes')}, {plural(len(self), 'image')}, "
            f"{counts.min()}–{counts.max()} a class)"
        )

    def subset(self, indices):
        """The samples at `indices` (integers, or a mask), in that order, with the same classes."""
        try:
            indices = np.arange(len(self))[list(indices)]
        except (IndexError, TypeError, ValueError) as error:
            raise ValueError(
                f"`indices` must be whole numbers below {len(self)}, or a mask of {len(self)}. "
                f"Received: indices={short(indices)}"
            ) from error
        if not len(indices):
            raise ValueError(
                f"A subset must have a sample. Received: no index, or a mask of none, for {self!r}"
            )

        def pick(values):
            if isinstance(values, Records):
                return values.subset(indices)
            if isinstance(values, tuple):
                return tuple(values[i] for i in indices)
            return None if values is None else values[indices]

        names = ("paths", "labels", *_OPTIONAL)
        return dataclasses.replace(self, **{name: pick(getattr(self, name)) for name in names})

    def filter(self, classes, renumber=True):
        """The samples of some classes.

        Args:
            classes: Iterable of class names (str) and labels (int), in any order.
            renumber: Bool. `True` keeps those classes only and numbers them from 0, in the order
                that they have here: the training and the test samples of a data set, filtered by
                the same names, stay alike. `False` keeps every class name and label, for a model
                that has an output for each. Defaults to `True`.

        Returns:
            `Samples`, in the order of this one.

        Raises:
            ValueError: If a class is not among these, stands twice, or none of them has a sample.

        Example:

        >>> samples = Samples(["a.jpg", "b.jpg", "c.jpg"], [0, 1, 2], ["cat", "dog", "owl"])
        >>> few = samples.filter(["owl", "cat"])
        >>> few.class_names, few.labels.tolist()
        (('cat', 'owl'), [0, 1])
        """
        wanted = [self._label_of(item) for item in check_list("classes", classes)]
        twice = [self.class_names[k] for k, n in collections.Counter(wanted).items() if n > 1]
        if twice:
            raise ValueError(f"`classes` must differ. Received twice: {twice[:5]}")
        chosen = np.isin(self.labels, wanted)
        if not chosen.any():
            raise ValueError(
                f"No sample is of the classes asked for. Received: classes={list(classes)[:5]!r} "
                f"for {self!r}"
            )
        kept = self.subset(chosen)
        if not check_bool("renumber", renumber):
            return kept
        order = np.sort(wanted)
        return dataclasses.replace(
            kept,
            labels=np.searchsorted(order, kept.labels),
            class_names=[self.class_names[k] for k in order],
            hierarchy=self.hierarchy
            and {level: [groups[k] for k in order] for level, groups in self.hierarchy.items()},
        )

    def _label_of(self, item):
        """The label of a class given by name or label."""
        if isinstance(item, numbers.Integral) and not isinstance(item, bool):
            if 0 <= item < self.num_classes:
                return int(item)
            raise ValueError(
                f"Labels lie in 0..{self.num_classes - 1} here. Received: label {int(item)}"
            )
        if item in self.class_names:
            return self.class_names.index(item)
        near = difflib.get_close_matches(str(item), self.class_names)
        raise ValueError(
            f"No class of these {self.num_classes} is called {item!r}. "
            + (f"Near it: {', '.join(map(repr, near))}" if near else "See `class_names`.")
        )

    def join(self, *others):
        """These samples, then the others'.

        Classes are matched by their names, as they are written: those of this one keep their
        numbers, names that only others have come after them.

        Args:
            *others: `Samples`. Parts, strips and crops that only some of them have are kept; a
                hierarchy, if all have the same levels and agree.

        Returns:
            `Samples`.

        Raises:
            ValueError: If some have boxes and some not, or some are in memory and some in files.

        Example:

        >>> cats = Samples(["a.jpg"], [0], ["cat"])
        >>> cats.join(Samples(["b.jpg", "c.jpg"], [0, 1], ["dog", "cat"])).labels.tolist()
        [0, 1, 0]
        """
        together = (self, *map(check_samples, others))
        for name, advice in (
            ("boxes", "; to do without, dataclasses.replace(samples, boxes=None)"),
            ("encoded", ""),
        ):
            have = [getattr(item, name) is not None for item in together]
            if any(have) and not all(have):
                raise ValueError(
                    f"Samples with `{name}` and samples without cannot be joined{advice}. "
                    f"Received: {together[have.index(True)]!r} with, "
                    f"{together[have.index(False)]!r} without"
                )
        class_names = list(dict.fromkeys(name for item in together for name in item.class_names))
        number = {name: label for label, name in enumerate(class_names)}
        missing = {"parts": {}, "bottom_strips": 0, "crops": (0, 0, np.inf, np.inf)}

        def gather(name):
            if all(getattr(item, name) is None for item in together):
                return None
            first, *rest = (getattr(item, name) for item in together)
            if all(isinstance(value, Records) for value in (first, *rest)):
                return first.join(rest)
            values = []
            for item in together:
                value = getattr(item, name)
                values.extend([missing[name]] * len(item) if value is None else value)
            return values

        return Samples(
            paths=[path for item in together for path in item.paths],
            labels=np.concatenate(
                [np.array([number[n] for n in item.class_names])[item.labels] for item in together]
            ),
            class_names=class_names,
            max_pixels=max(item.max_pixels for item in together),
            hierarchy=_common_hierarchy(together, class_names),
            **{name: gather(name) for name in _OPTIONAL},
        )

    def crop_to_boxes(self, margin=0.0):
        """The same samples, each image cut to its box by whoever reads it.

        The crop is rounded outwards to whole pixels. `boxes` and `parts` count from its corner
        afterwards; a part that lies outside it is left out.

        Args:
            margin: Float ≥ 0, what to keep around the box on every side, as a share of the box's
                width and height. Defaults to 0.0.

        Returns:
            `Samples` with `crops`.

        Raises:
            ValueError: If there are no boxes, or `margin` is negative.

        Example:

        >>> samples = Samples(["a.jpg"], [0], ["cat"], boxes=[[10, 20, 50, 60]])
        >>> cropped = samples.crop_to_boxes(margin=0.25)
        >>> cropped.crops.tolist(), cropped.boxes.tolist()
        ([[0.0, 10.0, 60.0, 70.0]], [[10.0, 10.0, 50.0, 50.0]])
        """
        if self.boxes is None:
            raise ValueError(f"These samples have no boxes to crop to. Received: {self!r}")
        check_number("margin", margin, least=0)
        around = margin * np.tile(self.boxes[:, 2:] - self.boxes[:, :2], 2)
        crops = self.boxes + around * (-1, -1, 1, 1)
        crops = np.concatenate([np.floor(crops[:, :2]), np.ceil(crops[:, 2:])], axis=1)
        before = [[0, 0, np.inf, np.inf]] if self.crops is None else self.crops
        before = np.broadcast_to(np.asarray(before, "float32"), crops.shape)
        size = before[:, 2:] - before[:, :2]
        crops = np.clip(crops, 0, np.tile(size, 2))
        corner = np.tile(crops[:, :2], 2)
        parts = self.parts
        if parts is not None:
            parts = [
                dict(_parts_in(part_boxes, crop))
                for part_boxes, crop in zip(parts, crops, strict=True)
            ]
        return dataclasses.replace(
            self, crops=crops + np.tile(before[:, :2], 2), boxes=self.boxes - corner, parts=parts
        )

    def split(self, fraction, seed=0):
        """Holds out a share of the samples, class by class.

        Args:
            fraction: Float in (0, 1), the share to hold out, of all samples as of every class as
                nearly as it divides: a class of 15 gives one or two at 0.1, ten of them 15.
                The classes of which less than one sample is due share what is due to them
                together, one sample each, drawn by `seed`, those of three and more before those
                of two. No class is held out wholly, and one sample is held out at least. All
                boxes of one photograph go the same way, as one sample of the class of its first.
            seed: Int ≥ 0. Defaults to 0.

        Returns:
            `(rest, held_out)`, two `Samples`; each keeps the order of this one.

        Raises:
            ValueError: If `fraction` is not in (0, 1) or no class has two photographs.
        """
        check_number("fraction", fraction, above=0, below=1)
        seed = check_int("seed", seed, least=0)
        places = {}
        first = np.array([places.setdefault(path, i) for i, path in enumerate(self.paths)])
        photographs = self._by_class(np.unique(first))
        counts = _shares(np.array([*map(len, photographs)]), fraction, np.random.default_rng([seed, 1]))
        rng, held_out = np.random.default_rng(seed), np.zeros(len(self), bool)
        for members, count in zip(photographs, counts):
            if len(members) > 1:
                held_out[rng.permutation(members)[:count]] = True
        held_out = held_out[first]
        kept = np.bincount(self.labels, ~held_out, minlength=self.num_classes)
        # Of a class that is only in photographs of others, all boxes may have gone with these.
        back = (kept == 0)[self.labels]
        held_out &= ~np.isin(first, first[back])
        if not held_out.any():
            raise ValueError(
                "Nothing can be held out: no class has two photographs. Give more photographs a class, "
                f"or parts of their own, train/, val/ and test/. Received: {self!r}"
            )
        return self.subset(~held_out), self.subset(held_out)

    def limit(self, count, seed=0):
        """Some of the samples, spread evenly over the classes, for a quick try.

        Args:
            count: Int ≥ 1, how many at most.
            seed: Int ≥ 0; it draws those of each class, and the classes that have one more.
                Defaults to 0.

        Returns:
            `Samples`, in the order of this one.

        Raises:
            ValueError: If `count` or `seed` is out of range.

        Example:

        >>> samples = Samples(["a.jpg", "b.jpg", "c.jpg"], [0, 0, 1], ["cat", "dog"])
        >>> samples.limit(2).labels.tolist()
        [0, 1]
        """
        count = check_int("count", count, least=1)
        rng = np.random.default_rng(check_int("seed", seed, least=0))
        order = rng.permutation(len(self))
        rank = np.empty(len(self), int)
        for members in self._by_class(order):
            rank[members] = np.arange(len(members))
        chosen = order[np.argsort(rank[order], kind="stable")][:count]
        return self.subset(np.sort(chosen))

    def _by_class(self, indices):
        """The indices of each class, label by label, in the order given."""
        ordered = indices[np.argsort(self.labels[indices], kind="stable")]
        return np.split(
            ordered, np.searchsorted(self.labels[ordered], np.arange(1, self.num_classes))
        )

    def read(self, index, max_pixels=None, at_least=None):
        """Decodes one sample, by the rules of `cin_keras.data.decode`.

        Args:
            index: Int, which sample.
            max_pixels: Int ≥ 1; an image of more pixels is refused; or `None` for the limit of these
                samples. Defaults to `None`.
            at_least: `(height, width)`, in pixels, that will do: a larger JPEG may come in a half,
                a quarter or an eighth of its size, unless it is cut; or `None` for all pixels.
                Defaults to `None`.

        Returns:
            A `PIL.Image.Image` in mode RGB, upright as its EXIF orientation says, transparent
            parts on white, without its bottom strip and cut to its crop.

        Raises:
            UnreadableImage: A ValueError, if the file is missing or is no image that can be
                decoded, or nothing of it is left to see; it names the file.
        """
        check_int("index", index, least=-len(self), most=len(self) - 1)
        source = self.paths[index] if self.encoded is None else self._encoded(index)
        max_pixels = self.max_pixels if max_pixels is None else max_pixels
        if self.crops is not None or self.bottom_strips is not None:
            at_least = None  # they are cut in whole pixels
        image = decode(source, name=self.paths[index], max_pixels=max_pixels, at_least=at_least)
        return self._cut(image, index)

    def encoded_bytes(self, index):
        """The file of one sample (int), or what is in memory in its place, as bytes.

        Raises:
            UnreadableImage: A ValueError that names the file, if it cannot be read.
        """
        return file_bytes(self.paths[index]) if self.encoded is None else self._encoded(index)

    def encoded_size(self, index):
        """How many bytes `encoded_bytes` has; of a file without reading it."""
        if isinstance(self.encoded, Records):
            return int(self.encoded.sizes[index])
        return file_size(self.paths[index]) if self.encoded is None else len(self.encoded[index])

    def _encoded(self, index):
        with naming(self.paths[index], self.paths[index]):
            return self.encoded[index]

    def _cut(self, image, index):
        """The part of a decoded, upright image that belongs to the sample."""
        left, top, right, bottom = 0, 0, *image.size
        if self.bottom_strips is not None:
            bottom -= int(self.bottom_strips[index])
            if bottom <= 0:
                raise UnreadableImage(
                    self.paths[index],
                    f"nothing is left of its {image.height} rows when the strip of "
                    f"{self.bottom_strips[index]} rows along its bottom is cut off",
                )
        if self.crops is not None:
            crop = self.crops[index]
            left, top = np.maximum(np.floor(crop[:2]), 0)
            right, bottom = np.minimum(np.ceil(crop[2:]), (right, bottom))
            if left >= right or top >= bottom:
                raise UnreadableImage(
                    self.paths[index],
                    f"its crop {crop.tolist()} lies outside its {image.width}×{image.height} "
                    "pixels",
                    "Correct its box or leave it out of the data set.",
                )
        box = tuple(int(edge) for edge in (left, top, right, bottom))
        if box == (0, 0, *image.size):
            return image
        # As `image.crop(box)`, which has a limit on pixels of Pillow's own.
        size = box[2] - box[0], box[3] - box[1]
        return image.resize(size, Image.Resampling.NEAREST, box)


def _common_hierarchy(together, class_names):
    """That of several samples for all of their classes, or `None` where they have none in common."""
    levels = [item.hierarchy and list(item.hierarchy) for item in together]
    if levels[0] is None or any(own != levels[0] for own in levels):
        return None
    group_of = {}
    for item in together:
        for level, groups in item.hierarchy.items():
            for name, group in zip(item.class_names, groups):
                if group_of.setdefault((level, name), group) != group:
                    return None
    return {level: [group_of[level, name] for name in class_names] for level in levels[0]}


def _shares(sizes, fraction, rng):
    """How many samples of each class to hold out, for `Samples.split`.

    Args:
        sizes: Integers of shape `(classes,)`, the samples of each class.
        fraction: Float in (0, 1).
        rng: `numpy.random.Generator`, for what does not divide.

    Returns:
        Integers of shape `(classes,)`.
    """
    due = fraction * sizes
    many = due >= 1
    counts = np.minimum(np.where(many, due + 1e-9, 0).astype(int), np.maximum(sizes - 1, 0))

    def one_more(number, among, key):
        """Of so many classes one more sample, of those with the lowest key first."""
        classes = rng.permutation(np.flatnonzero(among & (counts < sizes - 1)))
        counts[classes[np.argsort(key[classes], kind="stable")][:number]] += 1

    one_more(max(round(due[~many].sum()), not many.any()), among=~many, key=sizes < 3)
    missing = round(due[many].sum()) - counts[many].sum()
    one_more(missing, among=many, key=np.round(counts - due, 9))
    return counts


def _check_boxes(name, boxes, paths):
    try:
        boxes = np.asarray(boxes, "float32")
    except (TypeError, ValueError):
        raise ValueError(
            f"`{name}` must be four numbers a sample: left, top, right, bottom; of a photograph "
            f"without a box, 0, 0 and its width and height. Received: {name}={short(boxes)}"
        ) from None
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            f"`{name}` must have shape (samples, 4): left, top, right, bottom. "
            f"Received: shape={boxes.shape}"
        )
    empty = np.flatnonzero(~(boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    if empty.size:
        raise ValueError(
            f"`{name}` must have right > left and bottom > top. Received: "
            f"{boxes[empty[0]].tolist()} for {paths[empty[0]]!r} ({empty.size} such samples)"
        )
    return boxes


def _parts_in(boxes, crop):
    """The parts that a crop shows, in its own pixels, as `(name, box)`."""
    corner, size = np.tile(crop[:2], 2), np.tile(crop[2:] - crop[:2], 2)
    for name, box in boxes.items():
        left, top, right, bottom = np.clip(np.asarray(box) - corner, 0, size).tolist()
        if left < right and top < bottom:
            yield name, (left, top, right, bottom)


def check_samples(samples):
    """Returns `samples`; ValueError unless they are `Samples`, or read like some."""
    # The data sets of `keras.utils.image_dataset_from_directory` have `class_names`, too.
    if not (hasattr(samples, "class_names") and hasattr(samples, "encoded_bytes")):
        raise ValueError(
            "`samples` must be Samples, as a loader such as `cin_keras.data.find_data_set` or "
            f"`image_folder` lists them. Received: {short(samples)} of type "
            f"{type(samples).__name__}"
        )
    return samples


def fingerprint(*parts):
    """What tells lists of photographs from others, wherever they lie and however that was typed.

    Args:
        *parts: `Samples`.

    Returns:
        Str of 12 hexadecimal digits, from the names of the classes, the labels, and the paths of
        the photographs within the folder that holds all of them, or their shards.

    Example:

    >>> cars = Samples(["a/cars/1.jpg", "a/cars/2.jpg"], [0, 0], ["car"])
    >>> copy = Samples(["/b/1.jpg", "/b/2.jpg"], [0, 0], ["car"])
    >>> fingerprint(cars) == fingerprint(copy), fingerprint(cars) == fingerprint(cars, copy)
    (True, False)
    """
    files = [os.path.abspath(path) for part in parts if part.encoded is None for path in part.paths]
    root = os.path.commonpath(map(os.path.dirname, files)) if files else ""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(repr(part.class_names).encode("utf-8", "surrogateescape"))
        names = part.paths
        if part.encoded is None:
            names = [os.path.relpath(path, root) for path in names]
        elif isinstance(part.encoded, Records):  # a path is that of the shard, then a name
            split = [path.partition(".tfrecord/") for path in names]
            names = [
                os.path.basename(shard) + mark + name if mark else shard
                for shard, mark, name in split
            ]
        for name, label in zip(names, part.labels.tolist()):
            digest.update(f"\n{name}\n{label}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:12]


def state_of(samples):
    """What tells photographs from those that lie in their places later.

    Args:
        samples: `Samples`.

    Returns:
        Str of 12 hexadecimal digits: of files and shards from their sizes and times of change (but
        not of objects in a store, of which each would take a request), in memory from all bytes.

    Example:

    >>> samples = cin_keras.data.drawn_cars(images_per_class=1, image_size=32)
    >>> state_of(samples) == state_of(samples.subset(range(12)))
    True
    """
    digest = hashlib.sha256()
    if samples.encoded is None or isinstance(samples.encoded, Records):
        files = samples.paths if samples.encoded is None else samples.encoded.files
        add_states(digest, (path for path in files if not is_remote(path)))
    else:
        for encoded in samples.encoded:
            digest.update(hashlib.sha256(encoded).digest())
    return digest.hexdigest()[:12]
