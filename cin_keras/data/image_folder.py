"""Somebody's own photographs: one folder a class, or `train/`, `val/`, `test/` above that."""

import collections
import os
import pathlib
import warnings

from cin_keras.data.decoding import IMAGE_SUFFIXES
from cin_keras.data.listings import first_few, natural_order
from cin_keras.data.samples import Samples
from cin_keras.data.splits import SPLIT_NAMES, load_split, random_splits, save_split, split_name
from cin_keras.files import holds_results

_HIDDEN = {"thumbs.db", "desktop.ini", "__macosx"}


def image_folder(
    data_dir,
    split=None,
    *,
    validation_fraction=0.1,
    test_fraction=0.1,
    seed=0,
    split_file=None,
):
    """Lists the photographs of a folder whose folders are the classes.

    ```
    data_dir/cat/1.jpg …          or    data_dir/train/cat/1.jpg …
    data_dir/dog/1.jpg …                data_dir/train/dog/1.jpg …
                                        data_dir/val/cat/1.jpg …     (or validation, valid)
                                        data_dir/test/cat/1.jpg …
    ```

    Classes and photographs come in natural order (2 before 10). Photographs in folders within the
    folder of a class belong to the class. Hidden files are ignored, and so are folders in which this
    package has written results (a run, an evaluation, explanations). A warning of one sentence
    names each: files that are no images by their names and images that lie in no class, which are
    left out; folders of classes that hold no image, which are no classes; classes that have no
    image to train on; folders within the folder of a class.

    Args:
        data_dir: Path of the folder.
        split: `None`, `"train"`, `"val"` or `"test"`. Where the folder is divided into such
            folders, the photographs of one of them, `None` meaning `"train"`; their classes are
            those of all of them together. Where it is not, that part of a random split, class by
            class (see `random_splits`), `None` meaning all photographs. Defaults to `None`.
        validation_fraction: Float in [0, 1), of the random split. Defaults to 0.1.
        test_fraction: Float in [0, 1), of the random split. Defaults to 0.1.
        seed: Int ≥ 0, of the random split. Defaults to 0.
        split_file: `None`, or the path of a JSON file: if it is there, the split that it wrote
            down, whatever was added to the folder since and whatever the fractions and the seed;
            if not, it is written. Put it beside the run. Not for divided folders. Defaults to
            `None`.

    Returns:
        `Samples`; the names of the classes are those of their folders.

    Raises:
        FileNotFoundError: If there is no such folder, or a photograph of `split_file` is missing.
        ValueError: If it does not hold one folder a class, or arguments do not fit it.

    Example:

    >>> import tempfile
    >>> data_dir = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("cat/1.jpg", "cat/2.jpg", "cat/10.jpg", "dog/1.jpg", "dog/2.jpg"):
    ...     (data_dir / name).parent.mkdir(exist_ok=True)
    ...     (data_dir / name).touch()
    >>> image_folder(data_dir)
    Samples(2 classes, 5 images, 2–3 a class)
    >>> image_folder(data_dir, "train", test_fraction=0)
    Samples(2 classes, 3 images, 1–2 a class)
    """
    root = pathlib.Path(data_dir)
    divided = _divisions(root)
    if divided:
        if split_file is not None:
            raise ValueError(
                f"{root} is divided into {', '.join(f.name for f in divided.values())}/ already, "
                f"and needs no `split_file`. Received: split_file={str(split_file)!r}"
            )
        return _list_division(root, divided, split_name(split or "train"))
    if split is None and split_file is not None:
        raise ValueError(
            "With `split_file`, `split` must be 'train', 'val' or 'test'. "
            f"Received: split=None, split_file={str(split_file)!r}"
        )
    samples = _list_classes(root)
    if split is None:
        return samples
    name = split_name(split)
    splits = split_by_file(
        samples,
        split_file,
        root,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=seed,
    )
    if name not in splits:
        raise ValueError(
            f"The split has no {name!r}, but {', '.join(map(repr, splits))}: its fraction is 0. "
            f"Received: split={split!r}"
        )
    return splits[name]


def split_by_file(samples, split_file, data_dir, **fractions):
    """The split in `split_file` if there is one, otherwise a random one, which is written there.

    Args:
        samples: `Samples`.
        split_file: Path, or `None` to write nothing.
        data_dir: Path of the folder that holds the photographs.
        **fractions: Arguments of `random_splits`.

    Returns:
        Dict from the part's name to `Samples`.
    """
    if split_file is not None and pathlib.Path(split_file).exists():
        return load_split(split_file, samples, data_dir)
    splits = random_splits(samples, **fractions)
    if split_file is not None:
        save_split(split_file, splits, data_dir)
    return splits


def folder_splits(data_dir):
    """The parts into which a folder of photographs is divided, of `"train"`, `"val"`, `"test"`.

    Args:
        data_dir: Path of the folder.

    Returns:
        Tuple of str; empty where the folder holds the classes themselves.
    """
    return tuple(_divisions(pathlib.Path(data_dir)))


def _divisions(root):
    """The folders of a divided data set, by `"train"`, `"val"`, `"test"`; empty if it is not."""
    if not root.is_dir():
        raise FileNotFoundError(f"No folder of photographs. Received: data_dir={str(root)!r}")
    folders, _ = _visible(root)
    named = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
    if not named:
        return {}
    # A class may be called "train": its folder holds photographs, that of a split holds folders.
    with_classes = [f for f in named if _visible(f)[0] and not _holds_images(f)]
    others = [f for f in folders if f not in named and _holds_any_image(f)]
    if with_classes and others:
        raise ValueError(
            f"{root} must hold one folder a class, or train/, val/ and test/ alone. Received: "
            f"{first_few([f.name + '/' for f in with_classes])} beside "
            f"{first_few([f.name + '/' for f in others])}"
        )
    if not with_classes and not others:
        raise ValueError(
            f"{root / named[0].name} must hold one folder a class. Received: "
            + (
                "photographs that lie in it directly"
                if _holds_images(named[0])
                else "no photograph"
            )
        )
    divided = {}
    for folder in with_classes:
        name = SPLIT_NAMES[folder.name.lower()]
        if name in divided:
            raise ValueError(
                f"{root} holds {divided[name].name}/ and {folder.name}/, which mean the same. "
                "Remove or rename one of them."
            )
        divided[name] = folder
    return {name: divided[name] for name in ("train", "val", "test") if name in divided}


def _list_division(root, divided, split):
    """The photographs in `train/`, `val/` or `test/`, with the classes of all of them."""
    if split not in divided:
        raise ValueError(
            f"{root} has no folder for {split!r} with one folder a class in it, only "
            f"{', '.join(folder.name + '/' for folder in divided.values())}. To hold out a part of "
            f"another, samples.split(0.1). Received: split={split!r}"
        )
    listed = {name: _Listing(folder) for name, folder in divided.items()}
    class_names = sorted(set().union(*(listing.photographs for listing in listed.values())))
    listed[split].warn()
    _check_class_names(root, class_names)
    samples = _samples(listed[split], sorted(class_names, key=natural_order))
    if "train" in listed:
        unseen = [name for name in class_names if name not in listed["train"].photographs]
        if unseen:
            warnings.warn(
                f"{len(unseen)} classes of {root} have no image in {divided['train'].name}/: "
                f"{first_few(unseen)}.",
                stacklevel=3,
            )
    return samples


def _list_classes(root):
    listing = _Listing(root)
    listing.warn()
    _check_class_names(root, listing.photographs)
    if len(listing.photographs) == 1:
        (name,) = listing.photographs
        if name in listing.nested and not _holds_images(root / name):
            raise ValueError(
                f"{root} holds one folder with photographs, {name}, and they lie in folders in it: "
                f"{first_few(listing.nested[name])}. If these are the classes, give "
                f"{str(root / name)!r}. Received: data_dir={str(root)!r}"
            )
    return _samples(listing, list(listing.photographs))


def _check_class_names(root, class_names):
    if not class_names:
        raise ValueError(
            f"{root} must hold one folder of photographs a class, or train/, val/ and test/ with "
            "such folders in them. Received: no folder with a photograph in it"
        )


def _samples(listing, class_names):
    paths, labels = [], []
    for label, name in enumerate(class_names):
        photographs = listing.photographs.get(name, [])
        paths += [str(path) for path in photographs]
        labels += [label] * len(photographs)
    return Samples(paths, labels, class_names)


class _Listing:
    """What a folder holds that has one folder a class.

    Attributes:
        photographs: Dict from the name of a class to its photographs' paths, in natural order.
        nested: Dict from the name of a class to the folders within its folder that hold images.
        empty: Names of folders without any image.
        no_images: Paths of files that are no images by their names.
        loose: Paths of images that lie in no folder of a class.
    """

    def __init__(self, root):
        self.root = root
        self.photographs, self.nested = {}, collections.defaultdict(list)
        self.empty, self.no_images, self.loose = [], [], []
        class_folders, files = _visible(root)
        for file in files:
            (self.loose if _is_image(file) else self.no_images).append(file)
        for class_folder in class_folders:
            photographs = []
            for folder, files in _walk(class_folder):
                images = [file for file in files if _is_image(file)]
                self.no_images += [file for file in files if not _is_image(file)]
                if images and folder != class_folder:
                    inside = folder.relative_to(class_folder).as_posix()
                    self.nested[class_folder.name].append(inside)
                photographs += images
            if photographs:
                self.photographs[class_folder.name] = photographs
            else:
                self.empty.append(class_folder.name)

    def warn(self):
        """One sentence on each kind of thing that a user may not have meant."""

        def relative(paths):
            return first_few([path.relative_to(self.root).as_posix() for path in paths])

        if self.no_images:
            _warn(
                f"{len(self.no_images)} files in {self.root} are no images by their names and are "
                f"left out: {relative(self.no_images)}."
            )
        if self.loose:
            _warn(
                f"{len(self.loose)} images lie in {self.root} itself, in no folder of a class, and "
                f"are left out: {relative(self.loose)}."
            )
        if self.empty:
            _warn(
                f"{len(self.empty)} folders in {self.root} hold no image and are no classes: "
                f"{first_few(self.empty)}."
            )
        if self.nested:
            name, folders = next(iter(self.nested.items()))
            _warn(
                f"Images in folders within the folder of a class belong to the class, in "
                f"{len(self.nested)} of the {len(self.photographs)} classes of {self.root}: "
                f"{name} has {first_few(folders)}."
            )


def _warn(sentence):
    warnings.warn(sentence, stacklevel=5)


def _visible(folder):
    """The folders and the files in a folder that are not hidden, each in natural order."""
    folders, files = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in _HIDDEN:
                continue
            if not entry.is_dir():
                files.append(pathlib.Path(entry.path))
            elif not holds_results(entry.path):
                folders.append(pathlib.Path(entry.path))
    return tuple(
        sorted(paths, key=lambda path: natural_order(path.name)) for paths in (folders, files)
    )


def _walk(folder, above=()):
    """Yields `(folder, files)` of a folder and those in it, in natural order; follows links."""
    real = os.path.realpath(folder)
    if real in above:
        raise ValueError(f"{folder} is a link to a folder that it lies in. Remove the link.")
    folders, files = _visible(folder)
    yield folder, files
    for inner in folders:
        yield from _walk(inner, (*above, real))


def _holds_images(folder):
    return any(_is_image(file) for file in _visible(folder)[1])


def _holds_any_image(folder):
    return any(_is_image(file) for _, files in _walk(folder) for file in files)


def _is_image(path):
    return path.suffix.lower() in IMAGE_SUFFIXES
