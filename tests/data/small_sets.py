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


def write_combined_stanford_cars(root, classes, test):
    """The archive of all photographs in one folder; boxes as `write_annotations` has them."""
    from scipy.io import savemat

    names = [f"car_ims/{number:06}.jpg" for number in range(1, len(classes) + 1)]
    write_files(root, *names, content=encode(np.full((24, 32, 3), 90), "JPEG"))
    records = np.empty((1, len(classes)), [(f, object) for f in ("relative_im_path", *BOX_FIELDS)
                                           + ("class", "test")])  # fmt: skip
    for number, values in enumerate(zip(names, classes, test, strict=True)):
        records[0, number] = (values[0], 1, 2, 10 + number, 13, *values[1:])
    names = np.array([CLASS_NAMES], object)
    savemat(root / "cars_annos.mat", {"annotations": records, "class_names": names})
    return root


# === CUB-200-2011 ===

BIRDS = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross"]
CUB_FILES = (
    "images.txt",
    "image_class_labels.txt",
    "train_test_split.txt",
    "classes.txt",
    "bounding_boxes.txt",
    "parts/parts.txt",
    "parts/part_locs.txt",
)


def write_cub_200_2011(root, classes=(1, 1, 2, 3, 2, 3), in_train=(1, 0, 1, 1, 0, 1)):
    """The official layout; image i has box (i, 2, 10, 12) as x, y, width, height, and two parts."""
    (root / "parts").mkdir(parents=True)
    lines = {name: [] for name in CUB_FILES}
    for i, (label, train) in enumerate(zip(classes, in_train, strict=True), start=1):
        name = f"{BIRDS[label - 1]}/{i:04}.jpg"
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / name).write_bytes(encode(np.full((24, 32, 3), 40 * i), "JPEG"))
        lines["images.txt"].append(f"{i} {name}")
        lines["image_class_labels.txt"].append(f"{i} {label}")
        lines["train_test_split.txt"].append(f"{i} {train}")
        lines["bounding_boxes.txt"].append(f"{i} {i}.0 2.0 10.0 12.0")
        lines["parts/part_locs.txt"] += [f"{i} 1 {i + 3}.0 5.5 1", f"{i} 2 0.0 0.0 {i % 2}"]
    lines["classes.txt"] = [f"{i} {name}" for i, name in enumerate(BIRDS, start=1)]
    lines["parts/parts.txt"] = ["1 beak", "2 left eye"]
    for name, content in lines.items():
        (root / name).write_text("\n".join(content) + "\n")
    return root


# === FGVC-Aircraft ===

AIRCRAFT = {
    "train": {"0000007": "707-320", "0000012": "F/A-18", "0000013": "737-700"},
    "val": {"0000020": "737-700", "0000021": "F/A-18"},
    "test": {"0000033": "707-320", "0000034": "737-700"},
}
FAMILIES = {"707-320": "Boeing 707", "737-700": "Boeing 737", "F/A-18": "F/A-18"}
MANUFACTURERS = {"707-320": "Boeing", "737-700": "Boeing", "F/A-18": "McDonnell Douglas"}


def write_fgvc_aircraft(root):
    """The official layout; photographs of 30×50 are grey 90, their credit strips white.

    The box of every aircraft is 3, 4, 20, 25, counted from 1, ends included.
    """
    (root / "data" / "images").mkdir(parents=True)
    levels = {
        "variant": ("variants.txt", {name: name for name in FAMILIES}),
        "family": ("families.txt", FAMILIES),
        "manufacturer": ("manufacturers.txt", MANUFACTURERS),
    }
    lists = {**AIRCRAFT, "trainval": {**AIRCRAFT["train"], **AIRCRAFT["val"]}}
    for level, (file, names) in levels.items():
        (root / "data" / file).write_text("\n".join(dict.fromkeys(names.values())) + "\n")
        for split, images in lists.items():
            lines = [f"{image} {names[variant]}\n" for image, variant in images.items()]
            (root / "data" / f"images_{level}_{split}.txt").write_text("".join(lines))
    photograph = np.full((50, 30, 3), 90, "uint8")
    photograph[30:] = 255
    boxes = []
    for split in AIRCRAFT:
        for image in AIRCRAFT[split]:
            path = root / "data" / "images" / f"{image}.jpg"
            path.write_bytes(encode(photograph, "JPEG", quality=95))
            boxes.append(f"{image} 3 4 20 25\n")
    (root / "data" / "images_box.txt").write_text("".join(boxes))
    return root


# === Oxford-IIIT Pet ===


def write_oxford_iiit_pet(root):
    """The official layout: two breeds, of which one has a name of two words; a stray photograph."""
    names = ["Abyssinian_1", "Abyssinian_22", "american_bulldog_3", "american_bulldog_1"]
    photographs = [f"images/{name}.jpg" for name in (*names, "Abyssinian_9")]
    write_files(root, *photographs, "annotations/trimaps/Abyssinian_1.png")
    lines = ["Abyssinian_1 1 1 1", "american_bulldog_3 2 2 1"]
    (root / "annotations" / "trainval.txt").write_text("\n".join(lines) + "\n")
    lines = ["american_bulldog_1 2 2 1", "Abyssinian_22 1 1 1"]
    (root / "annotations" / "test.txt").write_text("\n".join(lines) + "\n")
    return root


# === folders ===


def write_files(root, *names, content=None):
    """Small images, each of a grey of its own, or files of the same content."""
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image = encode(np.full((4, 4, 3), i % 256), "PNG") if content is None else content
        (root / name).write_bytes(image)
    return root
