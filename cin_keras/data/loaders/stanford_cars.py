"""Stanford Cars: 16,185 photographs of 196 makes, models and years.

Krause et al., "3D Object Representations for Fine-Grained Categorization", 3dRR 2013.
"""

import numpy as np

from cin_keras.checks import check_choice, check_path
from cin_keras.data.loaders.listings import check_photographs, existing_file
from cin_keras.data.samples import Samples

WHERE_TO_GET_IT = """\
The original Stanford Cars, from ai.stanford.edu, has been gone since 2023. \
`cin_keras.data.download("stanford_cars", ...)` gets a copy from Kaggle, as does \
`python recipes/cars.py --download`. By hand, get
- the photographs, `cars_train` and `cars_test`, from Kaggle, the data set \
"jessicali9530/stanford-cars-dataset"
  (https://www.kaggle.com/datasets/jessicali9530/stanford-cars-dataset);
- the folder `devkit` from https://github.com/pytorch/vision/files/11644847/car_devkit.tgz;
- the labels of the test photographs, `cars_test_annos_withlabels.mat`, from
  https://www.kaggle.com/code/subhangaupadhaya/pytorch-stanfordcars-classification/input
  (remove a " (1)" from its name)
and put all four into {data_dir}. What others report of these copies: \
https://github.com/pytorch/vision/issues/7545"""
# Where copies of the data set have its lists.
_DEVKITS = ("devkit", ".", "car_devkit/devkit", "car_devkit")
_BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


def stanford_cars(data_dir, split="train"):
    """Lists Stanford Cars in its official layout.

    ```
    data_dir/cars_train/00001.jpg …
    data_dir/cars_test/00001.jpg …
    data_dir/devkit/cars_meta.mat
    data_dir/devkit/cars_train_annos.mat
    data_dir/cars_test_annos_withlabels.mat    (or in devkit/)
    ```

    The photographs may lie one folder deeper, `cars_train/cars_train/`, as Kaggle's copy has them,
    and the lists beside them, without `devkit/`. The archive that has all in one is read as well:

    ```
    data_dir/car_ims/000001.jpg …
    data_dir/cars_annos.mat
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
        FileNotFoundError: If a file or photograph is missing; it names them. Without the folder,
            it says where to get the data set.

    Example:

    ```python
    train = cin_keras.data.stanford_cars("data/stanford_cars", "train")
    ```
    """
    check_choice("split", split, ("train", "test"))
    root = check_path("data_dir", data_dir)
    if not root.is_dir():
        raise FileNotFoundError(
            f"No folder for Stanford Cars. Received: data_dir={str(data_dir)!r}. "
            + WHERE_TO_GET_IT.format(data_dir=root)
        )
    if (root / "car_ims").is_dir() and not (root / "cars_train").is_dir():
        return _read_combined(root, split)
    meta_file = _find_list(root, "cars_meta.mat")
    name = "cars_train_annos.mat" if split == "train" else "cars_test_annos_withlabels.mat"
    annotation_file = _find_list(root, name)
    records = _read_records(annotation_file, ("fname", *_BOX))
    folder = root / f"cars_{split}"
    if (folder / folder.name).is_dir():
        folder = folder / folder.name
    names = [str(name) for name in records["fname"]]
    check_photographs(folder, names, annotation_file)
    return _samples(folder, names, records, annotation_file, meta_file)


def _read_combined(root, split):
    """The samples of the archive that has all photographs in one folder."""
    annotation_file = _find_list(root, "cars_annos.mat")
    records = _read_records(annotation_file, ("relative_im_path", "test", *_BOX))
    names = np.array([str(name) for name in records["relative_im_path"]])
    folder = root / "car_ims"
    check_photographs(folder, [name.removeprefix("car_ims/") for name in names], annotation_file)
    chosen = records["test"].astype(int) == (split == "test")
    if not chosen.any():
        raise ValueError(f"{annotation_file} puts no photograph into {split!r}")
    return _samples(root, names[chosen], records[chosen], annotation_file, annotation_file)


def _samples(folder, names, records, annotation_file, meta_file):
    class_names = [str(name) for name in np.atleast_1d(_read_mat(meta_file, "class_names"))]
    labels = records["class"].astype(int) - 1
    wrong = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
    if wrong.size:
        raise ValueError(
            f"{annotation_file} gives {names[wrong[0]]} the class {labels[wrong[0]] + 1}, but "
            f"{meta_file} names the classes 1 to {len(class_names)} ({wrong.size} such photographs)"
        )
    left, top, right, bottom = (records[field].astype("float32") for field in _BOX)
    return Samples(
        paths=[str(folder / name) for name in names],
        labels=labels,
        class_names=class_names,
        boxes=np.stack([left - 1, top - 1, right, bottom], axis=1),
    )


def _find_list(root, name):
    return existing_file(*(root / devkit / name for devkit in _DEVKITS))


def _read_records(path, needed):
    records = np.atleast_1d(_read_mat(path, "annotations"))
    missing = {*needed, "class"} - set(records.dtype.names or ())
    if missing:
        raise ValueError(f"{path} has no field {', '.join(sorted(missing))}")
    return records


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
