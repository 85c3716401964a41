"""Any data set from its path: which layout a folder has, and the samples in it."""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from cin_keras.checks import check_number, check_path
from cin_keras.data.loaders.cub_200_2011 import cub_200_2011
from cin_keras.data.loaders.fgvc_aircraft import fgvc_aircraft
from cin_keras.data.loaders.folders import look_into
from cin_keras.data.loaders.image_folder import folder_splits, image_folder
from cin_keras.data.loaders.oxford_iiit_pet import oxford_iiit_pet
from cin_keras.data.loaders.stanford_cars import stanford_cars
from cin_keras.data.loaders.table import from_table, table_splits
from cin_keras.data.shards import from_shards, shard_splits
from cin_keras.data.splits import complete_splits
from cin_keras.text import first_few, warn

TABLE_OPTIONS = ("path_column", "label_column", "split_column", "class_names", "delimiter")


_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar", ".bz2", ".xz")


class Published(NamedTuple):
    """A published data set.

    Args:
        load: Function from a folder and a split to `Samples`.
        train: Str, what it calls the split to train on.
        markers: Str, files and folders any of which tells the layout, with spaces between.
    """

    load: Callable
    train: str
    markers: str


PUBLISHED = {
    "stanford_cars": Published(
        stanford_cars,
        "train",
        "devkit/cars_meta.mat devkit/cars_train_annos.mat cars_train_annos.mat cars_train car_ims",
    ),
    "cub_200_2011": Published(
        cub_200_2011,
        "train",
        "train_test_split.txt CUB_200_2011/train_test_split.txt nabirds/train_test_split.txt "
        "image_class_labels.txt CUB_200_2011/image_class_labels.txt",
    ),
    "fgvc_aircraft": Published(
        fgvc_aircraft,
        "trainval",
        "data/variants.txt data/images_variant_train.txt fgvc-aircraft-2013b/data/variants.txt "
        "variants.txt",
    ),
    "oxford_iiit_pet": Published(
        oxford_iiit_pet,
        "train",
        "annotations/trainval.txt oxford-iiit-pet/annotations/trainval.txt annotations/list.txt",
    ),
}


def find_layout(data_dir):
    """Recognises how a data set lies in a folder.

    Args:
        data_dir: Path of a folder, or of a CSV file.

    Returns:
        Str: `"stanford_cars"`, `"cub_200_2011"` (NABirds, too), `"fgvc_aircraft"`,
        `"oxford_iiit_pet"`, `"shards"` (as `write_shards` writes, which may be an address such as
        `gs://bucket/folder`), `"table"` (a file) or `"image_folder"`, what else has folders in it.

    Raises:
        FileNotFoundError: If there is nothing at this path.
        ValueError: If it is a folder without folders.

    Example:

    >>> import tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> (folder / "cat").mkdir()
    >>> find_layout(folder)
    'image_folder'
    """
    root = check_path("data_dir", data_dir)
    if shard_splits(data_dir):
        return "shards"
    if root.is_file():
        return "table"
    if not root.is_dir():
        raise FileNotFoundError(f"No data set. Received: data_dir={str(data_dir)!r}")
    for name, published in PUBLISHED.items():
        if any(_is_there(root / marker) for marker in published.markers.split()):
            return name
    found = look_into(root)
    if found.problem:
        raise ValueError(f"{root} cannot be read: {found.problem}")
    packed = [f.name for f in found.others if f.name.lower().endswith(_ARCHIVES)]
    if packed and not found.folders:
        raise ValueError(f"{root} holds {first_few(packed)}, not photographs: unpack it first.")
    if not found.folders:
        raise ValueError(
            f"{root} holds no data set: neither Stanford Cars (cars_train/, devkit/), CUB-200-2011 "
            "or NABirds (images.txt, …), FGVC-Aircraft (data/variants.txt, …) or Oxford-IIIT Pet "
            "(images/, annotations/) nor one folder of photographs a class. For a table of "
            "photographs and labels, give its own path."
        )
    return "image_folder"


def _is_there(path):
    """Whether there is a file or a folder that no folders of classes are in, as in somebody's own."""
    inner = look_into(path).folders if path.is_dir() else ()
    return path.exists() and all(folder.name == path.name for folder in inner)


def find_data_set(data_dir, split="train", **options):
    """Lists one part of a data set, whichever of the layouts it has.

    Args:
        data_dir: Path of a folder, or of a CSV file; see `find_layout`.
        split: Str, as the loader of that layout takes it: `"train"`, `"test"`, …. Defaults to
            `"train"`.
        **options: Other arguments of that loader, such as `level` of `fgvc_aircraft`, or
            `split_column=None` of a table whose column is to be ignored.

    Returns:
        `Samples`.

    Raises:
        FileNotFoundError: As the loader.
        ValueError: As the loader.

    Example:

    ```python
    test = cin_keras.data.find_data_set("data/stanford_cars", "test")
    ```
    """
    return _loader(find_layout(data_dir), options)(data_dir, split)


def find_splits(
    data_dir,
    *,
    validation_fraction=0.1,
    test_fraction=0.1,
    seed=0,
    split_file=None,
    needed=None,
    **options,
):
    """All that a training run needs of a data set, whichever of the layouts it has.

    What the data set divides itself stays so; what it lacks is held out of the training
    photographs at random, class by class. Of FGVC-Aircraft, as published results have it,
    `"trainval"` is what there is to train on.

    Args:
        data_dir: Path of a folder, or of a CSV file; see `find_layout`.
        validation_fraction: Float in (0, 1), the share of the training photographs to hold out for
            `"val"` where the data set has none, as `random_splits` does. Defaults to 0.1.
        test_fraction: Float in (0, 1), likewise for `"test"`. Defaults to 0.1.
        seed: Int ≥ 0, of the random choice. Defaults to 0.
        split_file: `None`, or the path of a JSON file: if it is there, the split that it wrote
            down, whatever was added to the data set since; if not, it is written. Put it beside
            the run. Defaults to `None`.
        needed: Sequence of str, the parts of `split_file` whose photographs must all be there, or
            `None` for every part. Defaults to `None`.
        **options: Other arguments of the layout's loader, such as `level` of `fgvc_aircraft`.

    Returns:
        Dict with `"train"`, `"val"` and `"test"`, as far as `split_file` has them, each `Samples`
        of the same classes.

    Raises:
        FileNotFoundError: As the loader, or if a photograph of a needed part is missing.
        ValueError: As the loader, or if there is nothing to train on.

    Example:

    >>> import tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for i in range(40):
    ...     path = folder / ("cat" if i % 2 else "dog") / f"{i}.jpg"
    ...     path.parent.mkdir(exist_ok=True)
    ...     path.touch()
    >>> find_splits(folder, split_file=folder / "run" / "split.json")["train"]
    Samples(2 classes, 32 images, 16–16 a class)
    """
    check_number("validation_fraction", validation_fraction, above=0, below=1)
    check_number("test_fraction", test_fraction, above=0, below=1)
    layout = find_layout(data_dir)
    load = _loader(layout, options)
    if layout == "image_folder" and pathlib.Path(data_dir, "..", "train_test_split.txt").exists():
        warn(
            f"{data_dir} is a part of a published data set, whose own split of training and test is "
            f"not used: give the folder around it, {os.path.dirname(os.path.abspath(data_dir))!r}."
        )
    official = official_splits(layout, data_dir, options)
    given = {name: load(data_dir, split) for name, split in official.items()}
    if "train" not in given:
        raise ValueError(f"{data_dir} has nothing to train on, only {', '.join(map(repr, given))}")
    if given["train"].num_classes < 2:
        raise ValueError(
            f"{data_dir} has one class only, {given['train'].class_names[0]!r}: there is nothing to "
            "tell apart. Give a folder that holds one folder of photographs a class, or a CSV table "
            "of photographs and labels."
        )
    root = pathlib.Path(data_dir)
    return complete_splits(
        given,
        split_file,
        root.parent if root.is_file() else root,
        needed,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=seed,
    )


def official_splits(layout, data_dir, options):
    """The parts that a data set has of its own.

    Args:
        layout: What `find_layout` returned.
        data_dir: Path of the folder, or of the CSV file.
        options: Dict of other arguments of the layout's loader.

    Returns:
        Dict from `"train"`, `"val"`, `"test"`, as many as there are, to the loader's own name of
        that split; `{"train": None}` where all is one.
    """
    if layout in PUBLISHED:
        return {"train": PUBLISHED[layout].train, "test": "test"}
    if layout == "image_folder":
        names = folder_splits(data_dir)
    elif layout == "shards":
        names = shard_splits(data_dir)
    else:
        known = {key: options[key] for key in ("split_column", "delimiter") if key in options}
        names = _splits_of_table(data_dir, table_splits(data_dir, **known))
    return {name: name for name in names} or {"train": None}


def _splits_of_table(path, rows):
    """Those of the splits of a table (dict to their rows) that are known; says what is left out."""
    names = [name for name in ("train", "val", "test") if name in rows]
    unknown = first_few([f"{name!r} ({n} rows)" for name, n in rows.items() if name not in names])
    if unknown and not names:
        raise ValueError(
            f"{path} has the splits {unknown}, none of which is 'train', 'val' or 'test'. Name "
            "them so, or leave the column out for a random split."
        )
    if unknown:
        warn(
            f"{path} has rows of splits that are neither 'train', 'val' nor 'test', and they are "
            f"left out: {unknown}."
        )
    return names


def _loader(layout, options):
    """The loader of a layout with its options; ValueError for a table's if this is none."""
    ignores_splits = options.get("split_column", "") is None
    options = {name: value for name, value in options.items() if value is not None}
    if layout == "table":
        options |= {"split_column": None} if ignores_splits else {}
        return functools.partial(from_table, **options)
    if layout in PUBLISHED and "levels" in options:
        raise ValueError(
            "`levels` is for nested folders and CSV tables: a published data set has its own. "
            f"Received: levels={options['levels']!r}"
        )
    if layout == "shards" and "levels" in options:
        raise ValueError(f"Shards have levels of their own. Received: levels={options['levels']!r}")
    for name in TABLE_OPTIONS:
        if name in options:
            raise ValueError(f"`{name}` is for a CSV table. Received: {options[name]!r}")
    others = {"shards": from_shards, "image_folder": image_folder}
    load = PUBLISHED[layout].load if layout in PUBLISHED else others[layout]
    return functools.partial(load, **options)
