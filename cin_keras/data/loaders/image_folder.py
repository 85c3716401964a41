"""Somebody's own photographs: one folder a class, or `train/`, `val/`, `test/` above that."""

import collections
import os
import pathlib

from cin_keras.checks import check_list, check_path, short
from cin_keras.data.loaders.folders import (
    check_differ_in_more_than_case,
    class_name,
    look_into,
    natural_order,
    walk,
    warn_of_results,
)
from cin_keras.data.samples import Samples
from cin_keras.data.splits import complete_splits, is_like_a_part, split_name, split_of_folder
from cin_keras.text import first_few, warn

# Where data sets keep their photographs, and beside them what belongs to each photograph.
_PHOTOGRAPHS = {"images", "image", "imgs", "img", "jpg", "jpeg", "jpegimages", "photos", "pictures"}
_COMPANIONS = {
    "segmentations", "segmentation", "masks", "mask", "annotations", "annotation", "trimaps",
    "labels", "xmls", "parts", "depth", "edges", "saliency", "thumbnails", "thumbs", "previews", "heatmaps",
}  # fmt: skip


# Folders in the folder of a class that may well be in those of all classes: front/, back/, ….
MOST_VIEWS = 9


def image_folder(
    data_dir,
    split=None,
    *,
    validation_fraction=0.1,
    test_fraction=0.1,
    seed=0,
    split_file=None,
    levels=None,
):
    """Lists the photographs of a folder whose folders are the classes.

    ```
    data_dir/cat/1.jpg …          or    data_dir/train/cat/1.jpg …
    data_dir/dog/1.jpg …                data_dir/train/dog/1.jpg …
                                        data_dir/val/cat/1.jpg …     (or validation, valid, dev)
                                        data_dir/test/cat/1.jpg …
    ```

    Classes and photographs come in natural order (2 before 10). Photographs in folders within the
    folder of a class belong to the class. A folder in a folder of the same name
    (`train/train/cat/`) is what an archive has left, and is looked through. Hidden files and what
    systems leave (`@eaDir`, `__MACOSX`, `Thumbs.db`, …) are ignored, and so are folders in which
    this package has written results (a run, an evaluation, explanations). A warning of one
    sentence names each: files that are no images by their names and images that lie in no class,
    which are left out; folders of classes that hold no image, which are no classes; classes that
    have no image to train on; folders within the folder of a class; folders that cannot be read.

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
        levels: `None`, or a sequence of str, what the levels of nested folders are called, the
            outermost first: with `["make", "model"]`, the folders in `Audi/` are classes,
            `"Audi/A4"`, …, and the makes their `hierarchy`. Defaults to `None`, one level.

    Returns:
        `Samples`; the names of the classes are those of their folders (in Unicode's form C).

    Raises:
        FileNotFoundError: If there is no such folder, or a photograph of `split_file` is missing.
        ValueError: If it does not hold one folder a class, two names of classes differ in upper
            and lower case only, or arguments do not fit it.

    Example:

    >>> import tempfile
    >>> data_dir = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("cat/1.jpg", "cat/2.jpg", "cat/10.jpg", "dog/1.jpg", "dog/2.jpg"):
    ...     (data_dir / name).parent.mkdir(exist_ok=True)
    ...     (data_dir / name).touch()
    >>> image_folder(data_dir)
    Samples(2 classes, 5 images, 2–3 a class)
    >>> image_folder(data_dir, "train", test_fraction=0.0)
    Samples(2 classes, 4 images, 2–2 a class)
    """
    root = check_path("data_dir", data_dir)
    levels = ("class",) if levels is None else check_list("levels", levels, in_order=True)
    named = [level for level in levels if isinstance(level, str) and level]
    if not levels or len(set(named)) < len(levels):
        raise ValueError(
            "`levels` must name the levels of nested folders, such as ['make', 'model'], each once. "
            f"Received: levels={short(levels)}"
        )
    divided, flat = _divisions(root)
    if divided:
        if split_file is not None:
            raise ValueError(
                f"{root} is divided into {', '.join(f.name for f in divided.values())}/ already, "
                f"and needs no `split_file`. Received: split_file={str(split_file)!r}"
            )
        return _list_division(root, divided, flat, split_name(split or "train"), levels)
    if split is None and split_file is not None:
        raise ValueError(
            "With `split_file`, `split` must be 'train', 'val' or 'test'. "
            f"Received: split=None, split_file={str(split_file)!r}"
        )
    listing = _Listing(_unwrapped(root), len(levels))
    samples = _samples(listing.root, listing, listing.photographs, levels)
    if split is None:
        return samples
    name = split_name(split)
    splits = complete_splits(
        {"train": samples},
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


def folder_splits(data_dir):
    """The parts into which a folder of photographs is divided, of `"train"`, `"val"`, `"test"`.

    Args:
        data_dir: Path of the folder.

    Returns:
        Tuple of str; empty where the folder holds the classes themselves.
    """
    return tuple(_divisions(pathlib.Path(data_dir))[0])


def _divisions(root):
    """How a data set is divided into `"train"`, `"val"`, `"test"`.

    Returns:
        `(divided, flat)`: dict from the part to its folder, empty if it is not divided, and a list
        of folders called like parts that hold photographs of no known class.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"No folder of photographs. Received: data_dir={str(root)!r}")
    root = _unwrapped(root)
    folders = look_into(root).folders
    named = [(folder, split_of_folder(folder.name)) for folder in folders]
    named = [(folder, name) for folder, name in named if name]
    if not named:
        return {}, []
    classes = [
        folder for folder in folders if not split_of_folder(folder.name) and _holds_images(folder)
    ]
    divided, flat = {}, []
    for folder, name in named:
        within = look_into(_unwrapped(folder))
        # A class may be called "train": its folder holds photographs, that of a part folders.
        if any(map(_holds_images, within.folders)) and not (within.images and classes):
            if name in divided:
                raise ValueError(
                    f"{root} holds {divided[name].name}/ and {within.path.name}/, which mean the "
                    "same. Remove or rename one of them."
                )
            divided[name] = within.path
        elif within.images:
            flat.append(folder)
    if classes and divided:
        raise ValueError(
            f"{root} must hold one folder a class, or train/, val/ and test/ alone. Received: "
            f"{_listed(divided.values())} beside {_listed(classes)}"
        )
    held_out = [folder for folder in flat if split_of_folder(folder.name) != "train"]
    if classes and held_out:
        raise ValueError(
            f"{held_out[0]} holds photographs of no known class, beside the classes "
            f"{_listed(classes)}. Move it out of {root}, or put one folder a class into it and the "
            f"classes into {root / 'train'}. If it is a class, give it another name."
        )
    known = _class_words(divided.get("train"))
    for name, folder in list(divided.items()):
        # "images" or "unknown" in test/ is no class: nobody knows what these photographs show.
        if known and known.isdisjoint(_class_words(folder)):
            flat.append(divided.pop(name))
    if not classes and not divided:
        problem = "photographs that lie in it directly" if flat else "no photograph"
        folder = flat[0] if flat else named[0][0]
        raise ValueError(f"{folder} must hold one folder a class. Received: {problem}")
    return {name: divided[name] for name in ("train", "val", "test") if name in divided}, flat


def _unwrapped(folder):
    """The innermost of folders that hold nothing but one folder of the same name."""
    found = look_into(folder)
    name = os.path.basename(os.path.abspath(folder)).lower()
    if len(found.folders) == 1 and not found.images and found.folders[0].name.lower() == name:
        return _unwrapped(found.folders[0])
    return folder


def _holds_images(folder):
    return any(found.images for found in walk(folder))


def _class_words(folder):
    """The names of the folders with images in a folder (or `None`), in small letters."""
    inner = look_into(folder).folders if folder else ()
    return {class_name(folder.name).casefold() for folder in inner if _holds_images(folder)}


def _listed(folders):
    return first_few([f"{folder.name}/" for folder in folders])


def _list_division(root, divided, flat, split, levels):
    """The photographs in `train/`, `val/` or `test/`, with the classes of all of them."""
    if split not in divided:
        raise ValueError(
            f"{root} has no folder for {split!r} with one folder a class in it, only "
            f"{_listed(divided.values())}. To hold out a part of another, samples.split(0.1). "
            f"Received: split={split!r}"
        )
    listed = {name: _Listing(folder, len(levels)) for name, folder in divided.items()}
    class_names = set().union(*(listing.photographs for listing in listed.values()))
    if split == next(iter(divided)):
        top = look_into(_unwrapped(root))
        loose = top.images
        empty = [f for f in top.folders if split_of_folder(f.name) and not _holds_images(f)]
        if empty:
            warn(
                f"{_listed(empty)} in {root} {'hold' if len(empty) > 1 else 'holds'} no photograph, and "
                "is as if it were not there."
            )
        if flat or loose:
            warn(
                f"{_listed(flat) or 'The folder itself'} in {root} holds photographs, but in no folder "
                "that is called like a class of the others: nobody knows their classes, and they are "
                "left out."
            )
    samples = _samples(root, listed[split], sorted(class_names, key=natural_order), levels)
    if "train" in listed:
        unseen = sorted(class_names - set(listed["train"].photographs))
        if unseen:
            warn(
                f"Classes of {root} without an image in {divided['train'].name}/: "
                f"{first_few(unseen)}."
            )
    return samples


def _check_are_classes(listing):
    """Raises ValueError, naming the deeper folder, where the folders are plainly no classes."""
    root = listing.root
    nested = {name: set(inner) for name, inner in listing.nested.items()}
    deep = [name for name in listing.photographs if name in nested and "." not in nested[name]]
    if len(listing.photographs) == 1 and deep:
        (name,) = deep
        raise ValueError(
            f"{root} holds one folder with photographs, {name}, and they lie in folders in it: "
            f"{first_few(listing.nested[name])}. If these are the classes, give "
            f"{str(root / name)!r}. Received: data_dir={str(root)!r}"
        )
    for name in listing.photographs:
        others = [other for other in listing.photographs if other != name]
        masks = [other for other in others if other.lower() in _COMPANIONS]
        if name.lower() in _PHOTOGRAPHS and (masks or others and name in deep):
            raise ValueError(
                f"{root} must hold one folder a class. Received: {name}/ beside "
                f"{first_few([f'{other}/' for other in masks or others])}, which look like the "
                "photographs of a data set and what belongs to them. Give the folder that holds one "
                f"folder a class, such as {str(root / name)!r}"
            )
    stems = {name: {path.stem for path in paths} for name, paths in listing.photographs.items()}
    for name in listing.photographs if len(stems) > 1 else ():
        if name.lower() not in _COMPANIONS:
            continue
        # Files that are numbered in every class are called alike, too.
        others = collections.Counter(stem for other in stems if other != name for stem in stems[other])
        alike = sum(n > 1 for n in others.values())
        belongs = 2 * len(stems[name] & others.keys()) > len(stems[name])
        if belongs and len(stems) > 2 and 10 * alike < len(others):
            raise ValueError(
                f"{root} must hold one folder a class. Received: {name}/, whose images are called as "
                "those of the classes are, and so belong to them. Move it out of there"
            )
        warn(f"{name}/ in {root} is taken for a class. If it is none, move it out of there.")
    if deep and len(deep) == len(listing.photographs):
        common = set.intersection(*(nested[name] for name in deep))
        many = len(common) > max(len(deep), MOST_VIEWS)
        if many or len(common) > 1 and all(map(is_like_a_part, deep)):
            raise ValueError(
                f"{root} must hold one folder a class. Received: {first_few(deep)}, which all hold "
                f"the same folders ({first_few(sorted(common, key=natural_order))}) and so are "
                "parts of a data set. Name them train/, val/ and test/, or give one of them, such "
                f"as {str(root / deep[0])!r}"
            )


def _samples(root, listing, class_names, levels):
    if len(levels) == 1:
        _check_are_classes(listing)
    listing.warn()
    class_names = list(class_names)
    if not class_names:
        where = "" if len(levels) == 1 else f", in {'/'.join(levels)}/"
        raise ValueError(
            f"{root} must hold one folder of photographs a class{where}, or train/, val/ and test/ "
            "with such folders in them. Received: no folder with a photograph in it"
        )
    check_differ_in_more_than_case(class_names, root)
    found = [
        (str(path), label)
        for label, name in enumerate(class_names)
        for path in listing.photographs.get(name, ())
    ]
    paths, labels = zip(*found) if found else ((), ())
    hierarchy = {
        level: ["/".join(name.split("/")[: depth + 1]) for name in class_names]
        for depth, level in enumerate(levels[:-1])
    }
    return Samples(paths, labels, class_names, hierarchy=hierarchy)


class _Listing:
    """What a folder holds that has one folder a class.

    Attributes:
        photographs: Dict from the name of a class to its photographs' paths, in natural order.
        nested: Dict from the name of a class to the folders within its folder that hold images,
            `"."` for itself, where there is another.
        twice: Names of classes that have several folders, which `class_name` takes for the same.
        empty: Names of folders without any image.
        others: Paths of files that are no images by their names.
        loose: Paths of images that lie in no folder of a class.
        results: Paths of folders in which this package has written results.
        problems: List of `Folder` that cannot be listed.
    """

    def __init__(self, root, depth):
        self.root, self.depth = root, depth
        self.above = f"{root} itself" if depth == 1 else f"{root} above the folders of classes"
        self.photographs = collections.defaultdict(list)
        self.nested, self.empty, self.twice = {}, [], []
        self.problems, self.others, self.loose, self.results = [], [], [], []
        for class_folder in self._class_folders(root, depth):
            name = class_name(class_folder.relative_to(root).as_posix())
            inside, found = [], list(walk(class_folder))
            self.twice += [name] if name in self.photographs else []
            for folder in found:
                self.others += folder.others
                self.results += folder.results
                if folder.problem:
                    self.problems.append(folder)
                if folder.images:
                    inside.append(folder.path.relative_to(class_folder).as_posix())
                    self.photographs[name] += folder.images
            if inside not in ([], ["."]):
                self.nested.setdefault(name, []).extend(inside)
            if not inside and not any(folder.results or folder.problem for folder in found):
                self.empty.append(class_folder.name)

    def _class_folders(self, folder, depth):
        """The folders `depth` levels down; what lies above in no class is noted."""
        within = look_into(folder)
        self.others += within.others
        self.loose += within.images
        self.results += within.results
        self.problems += [within] if within.problem else []
        if depth == 1:
            return within.folders
        return [found for inner in within.folders for found in self._class_folders(inner, depth - 1)]

    def warn(self):
        """One sentence on each kind of thing that a user may not have meant."""
        root = self.root

        def tell(found, sentence):
            if found:
                warn(f"{sentence}: {first_few(found)}.")

        others, loose = (
            [path.relative_to(root).as_posix() for path in paths] for paths in (self.others, self.loose)
        )
        tell(others, f"{len(others)} files in {root} are no images by their names and are left out")
        tell(
            loose,
            f"{len(loose)} images lie in {self.above}, in no folder of a class, and are left out",
        )
        tell(self.empty, f"{len(self.empty)} folders in {root} hold no image and are no classes")
        warn_of_results(root, self.results)
        tell(
            self.twice,
            f"Folders of {root} whose names are the same but for blanks at an end or the form of "
            "Unicode are one class",
        )
        for folder in self.problems:
            warn(f"{folder.path} is left out: {folder.problem}.")
        if self.nested:
            name, folders = next(iter(self.nested.items()))
            inner = first_few([folder for folder in folders if folder != "."])
            warn(
                f"Images in folders within the folder of a class belong to the class, in "
                f"{len(self.nested)} of the {len(self.photographs)} classes of {root}: "
                f"{name} has {inner}. To have them as classes of their own, name "
                f"{'one more level' if self.depth > 1 else 'the levels'} of folders: `levels`, or "
                f"--levels {'make,year,model' if self.depth == 2 else 'make,model'}."
            )
