"""Small data sets that the tests of the pipelines and loaders share."""

import io

import numpy as np
from PIL import Image

from cin_keras.data import Samples


def encode(array, format="PNG", **kwargs):
    """An image as bytes; `array` is one, or a `PIL.Image.Image`."""
    image = array if isinstance(array, Image.Image) else Image.fromarray(np.asarray(array, "uint8"))
    stream = io.BytesIO()
    image.save(stream, format, **kwargs)
    return stream.getvalue()


def from_arrays(*images):
    """Samples of these images, each a class of its own."""
    names = [str(i) for i in range(len(images))]
    return Samples(names, range(len(images)), names, encoded=[encode(image) for image in images])


def coloured_samples(labels, size=16):
    """One-coloured images that tell what they are: red is the label, green the index."""
    images = [np.full((size, size, 3), (label, i, 99)) for i, label in enumerate(labels)]
    names = [f"class {k}" for k in range(max(labels) + 1)]
    paths = [f"{i}.png" for i in range(len(labels))]
    return Samples(paths, labels, names, encoded=[encode(image) for image in images])


# === Stanford Cars ===

CLASS_NAMES = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "BMW M3 Coupe 2012"]
BOX_FIELDS = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]


def write_stanford_cars(root, train=(1, 1, 2, 2, 3, 3), test=(3, 1, 2, 2)):
    """The official layout; `train` and `test` are classes from 1."""
    for split, classes in (("train", train), ("test", test)):
        (root / f"cars_{split}").mkdir(parents=True)
        for name in photograph_names(len(classes)):
            image = np.full((24, 32, 3), 60 if split == "train" else 180)
            (root / f"cars_{split}" / name).write_bytes(encode(image, "JPEG"))
    (root / "devkit").mkdir()
    write_class_names(root / "devkit" / "cars_meta.mat", CLASS_NAMES)
    write_annotations(root / "devkit" / "cars_train_annos.mat", train)
    write_annotations(root / "devkit" / "cars_test_annos.mat", test, with_classes=False)
    write_annotations(root / "cars_test_annos_withlabels.mat", test)
    return root


def photograph_names(count):
    return [f"{number:05}.jpg" for number in range(1, count + 1)]


def write_class_names(path, class_names):
    from scipy.io import savemat

    savemat(path, {"class_names": np.array([class_names], object)})


def write_annotations(path, classes, names=None, with_classes=True):
    """Boxes from (1, 2) on, 10 + number pixels wide and 12 high, counted from 1, ends included."""
    from scipy.io import savemat

    fields = BOX_FIELDS + ["class"] * with_classes + ["fname"]
    records = np.empty((1, len(classes)), [(field, object) for field in fields])
    names = names or photograph_names(len(classes))
    for number, (label, name) in enumerate(zip(classes, names, strict=True)):
        values = dict(zip(BOX_FIELDS, (1, 2, 10 + number, 13), strict=True))
        values.update({"class": label, "fname": name})
        records[0, number] = tuple(values[field] for field in fields)
    savemat(path, {"annotations": records})
