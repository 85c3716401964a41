"""Splits of a data set: made at random, class by class, and written down to be used again."""

import collections
import json
import os
import pathlib
import re

import numpy as np

from cin_keras.checks import check_number
from cin_keras.data.samples import check_samples
from cin_keras.files import write_text
from cin_keras.text import first_few, warn

# Not "delete it": a run that began with it goes on with no other.
ANEW = "For another split, train anew without this file."
# What people call the parts of a data set, and what this package does.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
# What else they call such folders, of which nobody knows which part it is.
_PARTS = {"trn", "tst", "fold", "split", "part", "subset", "holdout", "eval", "evaluation"}
# Words that say nothing in the name of such a folder: "train_images", "seg_test".
_FILLERS = {"set", "images", "image", "imgs", "img", "photos", "pictures", "data", "dataset", "seg"}


def split_name(split):
    """The package's name for a part of a data set.

    Args:
        split: Str, `"train"`, `"val"` or `"test"`, or another word for one of them
            (`"validation"`, `"valid"`, …), in any case.

    Returns:
        Str, `"train"`, `"val"` or `"test"`.

    Raises:
        ValueError: If it is none of them.

    Example:

    >>> split_name("Validation")
    'val'
    """
    name = SPLIT_NAMES.get(split.lower()) if isinstance(split, str) else None
    if name is None:
        raise ValueError(f"`split` must be 'train', 'val' or 'test'. Received: split={split!r}")
    return name


def split_of_folder(name):
    """The part of a data set that a folder is called after: `"train"`, `"val"`, `"test"` or `None`.

    Args:
        name: Str, such as `"train"`, `"Test_set"` or `"seg_train"`.

    Example:

    >>> split_of_folder("Training-Images"), split_of_folder("train station")
    ('train', None)
    """
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word and word not in _FILLERS]
    if len(words) != 1:
        return None
    return SPLIT_NAMES.get(words[0]) or SPLIT_NAMES.get(words[0].removesuffix("set"))


def is_like_a_part(name):
    """Whether a folder's name is that of a part of a data set, or a variation of one.

    Args:
        name: Str.

    Example:

    >>> is_like_a_part("x_train"), is_like_a_part("fold3"), is_like_a_part("trainer")
    (True, True, False)
    """
    words = re.split(r"[^a-z]+", name.lower())
    return any(word in SPLIT_NAMES or word in _PARTS for word in words)


def complete_splits(given, split_file, data_dir, needed=None, **options):
    """All parts of a data set: those it has, and those it lacks held out of its `"train"`.

    Args:
        given: Dict from `"train"`, and `"val"` and `"test"` where the data set has them itself, to
            `Samples`.
        split_file: `None`, or the path of a JSON file: if it is there, the split that it wrote
            down; if not, it is written.
        data_dir: Path of the folder that holds the photographs.
        needed: As for `load_split`. Defaults to `None`.
        **options: Arguments of `random_splits`; the fraction of what the data set has is of no
            effect.

    Returns:
        Dict from the part's name to `Samples`.
    """
    if split_file is not None and pathlib.Path(split_file).exists():
        first, *others = given.values()
        return load_split(split_file, first.join(*others), data_dir, needed)
    words = {"val": "validation", "test": "test"}
    options |= {f"{word}_fraction": 0 for name, word in words.items() if name in given}
    parts = {**given, **random_splits(given["train"], **options)}
    splits = {name: parts[name] for name in ("train", "val", "test") if name in parts}
    if split_file is not None:
        save_split(split_file, splits, data_dir)
    return splits


def random_splits(samples, *, validation_fraction=0.1, test_fraction=0.1, seed=0):
    """Splits samples at random into those to train on, to choose a model by and to test it on.

    Args:
        samples: `Samples`.
        validation_fraction: Float in [0, 1), the share of the samples that goes to `"val"`, class
            by class as nearly as their images divide (see `Samples.split`). Defaults to 0.1.
        test_fraction: Float in [0, 1), likewise for `"test"`. Defaults to 0.1.
        seed: Int ≥ 0. Defaults to 0.

    Returns:
        Dict of `"train"`, and `"val"` and `"test"` where their fractions are not 0, to `Samples`.

    Raises:
        ValueError: If a fraction is not in range, both together leave nothing to train on, or no
            class has enough images.

    Example:

    >>> samples = cin_keras.data.drawn_cars(images_per_class=10, image_size=32)
    >>> random_splits(samples)["train"]
    Samples(12 classes, 96 images, 8–8 a class)
    """
    check_samples(samples)
    check_number("validation_fraction", validation_fraction, least=0, below=1)
    check_number("test_fraction", test_fraction, least=0, below=1)
    if validation_fraction + test_fraction >= 1:
        raise ValueError(
            "`validation_fraction` and `test_fraction` must leave something to train on. Received: "
            f"validation_fraction={validation_fraction}, test_fraction={test_fraction}"
        )
    counts = np.bincount(samples.labels, minlength=samples.num_classes)
    few = [samples.class_names[label] for label in np.flatnonzero((counts > 0) & (counts < 3))]
    if few and (test_fraction or validation_fraction):
        warn(
            f"{len(few)} of the {samples.num_classes} classes {'has' if len(few) == 1 else 'have'} "
            "fewer than three images, too few "
            f"to train on, to choose by and to test on: {first_few(few)}."
        )
    splits = {"train": samples}
    if test_fraction:
        splits["train"], splits["test"] = samples.split(test_fraction, seed)
    if validation_fraction:
        # The share of the whole, as a share of what is left.
        fraction = validation_fraction / (1 - test_fraction)
        splits["train"], splits["val"] = splits["train"].split(fraction, seed)
    return splits


def check_parts(splits, names, split_file):
    """Raises ValueError unless there are all of the parts that somebody needs.

    Args:
        splits: Dict from parts to `Samples`.
        names: Sequence of str.
        split_file: Path of the file that they are from.
    """
    missing = [name for name in names if name not in splits]
    if missing:
        raise ValueError(
            f"{split_file} says nothing of {', '.join(map(repr, missing))}, only of "
            f"{', '.join(map(repr, splits))}: give another file, or none."
        )


def save_split(path, splits, data_dir, about=None):
    """Writes down which photograph belongs to which part, as a JSON file.

    The file has the names of the classes and, for every part, the photographs' paths relative to
    `data_dir`, one a line. It appears whole or not at all.

    Args:
        path: Path of the file to write; its folder is made if need be.
        splits: Dict from the part's name (str) to `Samples`, all of the same classes.
        data_dir: Path of the folder that holds the photographs.
        about: Dict of what else the file says of the split for people to read, such as the seed,
            of what JSON can hold, or `None`. Defaults to `None`.

    Raises:
        ValueError: If the parts have different classes, or a photograph stands in two of them, or
            twice in one.

    Example:

    >>> import tempfile
    >>> samples = cin_keras.data.drawn_cars(images_per_class=10, image_size=32)
    >>> path = tempfile.mkdtemp() + "/split.json"
    >>> save_split(path, random_splits(samples), ".")
    >>> load_split(path, samples, ".")["test"]
    Samples(12 classes, 12 images, 1–1 a class)
    """
    class_names = {samples.class_names for samples in splits.values()}
    if len(class_names) != 1:
        raise ValueError(
            "The parts of a split must have the same classes. Received: "
            + ", ".join(f"{name} with {part!r}" for name, part in splits.items())
        )
    content = {"about": about} if about else {}
    content["class_names"] = list(class_names.pop())
    part_of = {}
    for name, samples in splits.items():
        content[name] = [path_within(data_dir, path) for path in samples.paths]
        for photograph in content[name]:
            if photograph in part_of:
                raise ValueError(
                    f"A photograph must stand once in a split. Received: {photograph!r} "
                    f"in {part_of[photograph]!r} and in {name!r}. Of one with several boxes keep one, or "
                    "write no split down."
                )
            part_of[photograph] = name
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    # A name that is no UTF-8 comes back from JSON's escape as it is on the disk.
    write_text(path, text.encode("utf-8", "backslashreplace").decode())


def load_split(path, samples, data_dir, needed=None):
    """The split that `save_split` wrote down, whatever has been added to the data set since.

    Args:
        path: Path of the JSON file.
        samples: `Samples`, the whole data set.
        data_dir: Path of the folder that holds the photographs; it may have moved.
        needed: Sequence of str, the parts whose photographs must all be there, or `None` for every
            part. Defaults to `None`.

    Returns:
        Dict from the part's name to `Samples`, with the photographs in the order of the file and
        its classes in the order of `samples`. Photographs that it does not list are left out, and
        of parts that are not needed those that are missing; a warning names the first.

    Raises:
        ValueError: If the file is no such file, or a photograph has another class by now.
        FileNotFoundError: If photographs of needed parts are missing; it names the first.
    """
    content = read_split(path)
    class_names = content.pop("class_names")
    where = {path_within(data_dir, photograph): i for i, photograph in enumerate(samples.paths)}
    listed = [photograph for part in content.values() for photograph in part]
    twice = [photograph for photograph, n in collections.Counter(listed).items() if n > 1]
    if twice:
        raise ValueError(
            f"{path} lists {len(twice)} photographs more than once: {first_few(twice)}. {ANEW}"
        )
    needed = content if needed is None else needed
    missing, unneeded = [], []
    for name, part in content.items():
        (missing if name in needed else unneeded).extend(each for each in part if each not in where)
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of the {len(listed)} photographs that {path} lists are not in "
            f"{data_dir}: {first_few(missing)}. Put them back. {ANEW}"
        )
    if unneeded:
        warn(
            f"{len(unneeded)} photographs of other parts that {path} lists are not in {data_dir}: "
            f"{first_few(unneeded)}."
        )
        content = {name: [each for each in part if each in where] for name, part in content.items()}
    new = sorted(set(where) - set(listed))
    if new:
        warn(
            f"{len(new)} images of {data_dir} are not in the split that {path} wrote down, and are "
            f"left out: {first_few(new)}. {ANEW}"
        )
    for photograph in (each for part in content.values() for each in part):
        name = samples.class_names[samples.labels[where[photograph]]]
        if name not in class_names:
            raise ValueError(
                f"{path} lists {photograph!r}, but not its class, {name!r}. {ANEW}"
            )
    unknown = [name for name in class_names if name not in samples.class_names]
    if unknown:
        raise ValueError(
            f"{path} has {len(unknown)} classes that {data_dir} has not: {first_few(unknown)}. "
            f"{ANEW}"
        )
    return {
        name: samples.subset([where[each] for each in content[name]]).filter(class_names)
        for name in ("train", "val", "test")  # in whatever order the file has them
        if content.get(name)
    }


def read_split(path):
    """The content of a file that `save_split` wrote, a dict of lists; ValueError if it is none."""
    try:
        content = json.loads(pathlib.Path(path).read_text("utf-8-sig"))
        content.pop("about", None)
        known = content.keys() <= {"class_names", "train", "val", "test"} and len(content) > 1
        if known and content["class_names"] and all(map(_is_list, content.values())):
            return content
    except (ValueError, AttributeError, TypeError, KeyError):  # of a list, a number, another object
        pass
    raise ValueError(
        f"{path} is no split as `save_split` writes it: a JSON file of class names and of lists of "
        f"photographs. {ANEW}"
    )


def _is_list(value):
    return isinstance(value, list) and value and all(isinstance(item, str) for item in value)


def path_within(data_dir, path):
    """How a split calls a photograph (str): by its path, from the folder that holds them all.

    Example:

    >>> path_within("birds", "birds/images/1.jpg")
    'images/1.jpg'
    """
    return pathlib.PurePath(os.path.relpath(path, data_dir)).as_posix()
