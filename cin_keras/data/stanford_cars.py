"""Stanford Cars: 16,185 photographs of 196 makes, models and years.

Krause et al., "3D Object Representations for Fine-Grained Categorization", 3dRR 2013.
"""

import pathlib

import numpy as np

from cin_keras.data.samples import Samples, existing_file

_FOLDERS = {"train": "cars_train", "test": "cars_test"}


def stanford_cars(data_dir, split="train"):
    """Lists Stanford Cars in its official layout.

    ```
    data_dir/cars_train/00001.jpg …
    data_dir/cars_test/00001.jpg …
    data_dir/devkit/cars_meta.mat
    data_dir/devkit/cars_train_annos.mat
    data_dir/cars_test_annos_withlabels.mat    (or in devkit/)
    ```

    Args:
        data_dir: Path of the folder that holds the above.
        split: `"train"` (8,144 photographs in the original) or `"test"` (8,041). Defaults to
            `"train"`.

    Returns:
        `Samples`: labels from 0, class names such as `"Acura RL Sedan 2012"`, and the boxes of
        the cars (the annotation's, which count from 1 and include the last pixel, turned into
        pixels from 0 with exclusive right and bottom).

    Raises:
        ValueError: If `split` is neither, or annotations and photographs do not fit together.
        FileNotFoundError: If a file or photograph is missing; it names them.

    Example:

    ```python
    train = cin_keras.data.stanford_cars("data/stanford_cars", "train")
    ```
    """
    if split not in _FOLDERS:
        raise ValueError(f"`split` must be 'train' or 'test'. Received: split={split!r}")
    root = pathlib.Path(data_dir)
    if not root.is_dir():
        raise FileNotFoundError(
            f"No folder for Stanford Cars. Received: data_dir={str(data_dir)!r}"
        )
    meta_file = existing_file(root / "devkit" / "cars_meta.mat")
    if split == "train":
        annotation_file = existing_file(root / "devkit" / "cars_train_annos.mat")
    else:
        name = "cars_test_annos_withlabels.mat"
        annotation_file = existing_file(root / name, root / "devkit" / name)
    class_names = [str(name) for name in np.atleast_1d(_read_mat(meta_file, "class_names"))]
    records = np.atleast_1d(_read_mat(annotation_file, "annotations"))
    needed = ("fname", "class", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
    missing = set(needed) - set(records.dtype.names or ())
    if missing:
        raise ValueError(f"{annotation_file} has no field {', '.join(sorted(missing))}")
    names = [str(name) for name in records["fname"]]
    labels = records["class"].astype(int) - 1
    wrong = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
    if wrong.size:
        raise ValueError(
            f"{annotation_file} gives {names[wrong[0]]} the class {labels[wrong[0]] + 1}, but "
            f"{meta_file} names the classes 1 to {len(class_names)} ({wrong.size} such photographs)"
        )
    _check_photographs(root / _FOLDERS[split], names, annotation_file)
    left, top, right, bottom = (records[field].astype("float32") for field in needed[2:])
    return Samples(
        paths=[str(root / _FOLDERS[split] / name) for name in names],
        labels=labels,
        class_names=class_names,
        boxes=np.stack([left - 1, top - 1, right, bottom], axis=1),
    )


def _read_mat(path, variable):
    from scipy.io import loadmat

    try:
        return loadmat(path, squeeze_me=True)[variable]
    except KeyError:
        raise ValueError(f"{path} has no variable {variable!r}") from None
    except Exception as error:  # SciPy raises many kinds for a file that is no .mat.
        raise ValueError(
            f"Cannot read {path} as a MATLAB file ({type(error).__name__}: {error})"
        ) from error


def _check_photographs(folder, names, annotation_file):
    """Every annotation has its photograph, and every photograph one annotation."""
    if not folder.is_dir():
        raise FileNotFoundError(f"Missing folder: {folder}")
    if len(set(names)) != len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{annotation_file} lists {twice} more than once")
    present = {path.name for path in folder.iterdir()}
    absent = [name for name in names if name not in present]
    if absent:
        raise FileNotFoundError(
            f"{len(absent)} of the {len(names)} photographs that {annotation_file} lists are not "
            f"in {folder}: {_first(absent)}"
        )
    stray = sorted(
        name
        for name in present - set(names)
        if name.lower().endswith((".jpg", ".jpeg")) and not name.startswith(".")
    )
    if stray:
        raise ValueError(
            f"{len(stray)} photographs in {folder} are not listed in {annotation_file}: "
            f"{_first(stray)}. Remove them, or get the annotations that belong to this folder."
        )


def _first(names, count=5):
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")
