"""CUB-200-2011, 11,788 photographs of 200 species of birds, and NABirds, which has its files.

Wah, Branson, Welinder, Perona, Belongie, "The Caltech-UCSD Birds-200-2011 Dataset", Technical
Report CNS-TR-2011-001, California Institute of Technology, 2011.
Van Horn et al., "Building a Bird Recognition App and Large Scale Dataset with Citizen Scientists",
CVPR 2015.
"""

import collections
import re

import numpy as np

from cin_keras.checks import check_choice
from cin_keras.data.loaders.listings import (
    check_classes,
    check_photographs,
    check_same_images,
    existing_file,
    find_folder,
    read_boxes,
    read_lines,
    read_list,
)
from cin_keras.data.samples import Samples


def cub_200_2011(data_dir, split="train"):
    """Lists CUB-200-2011 in its official layout.

    ```
    data_dir/images/001.Black_footed_Albatross/….jpg …
    data_dir/images.txt
    data_dir/image_class_labels.txt
    data_dir/train_test_split.txt
    data_dir/classes.txt
    data_dir/bounding_boxes.txt
    data_dir/parts/parts.txt, data_dir/parts/part_locs.txt    (optional)
    ```

    NABirds lies in the same files. Its `classes.txt` is a tree of 1,011 nodes, of which 555 have
    photographs: these are the classes, here as there. Where two of them have one name, their
    numbers follow it: `"American Kestrel (880)"`.

    Args:
        data_dir: Path of the folder that holds the above, or of the one around it, which then has
            it as `CUB_200_2011` (or `nabirds`). `cin_keras.data.download` can get it.
        split: `"train"` (5,994 photographs in the original) or `"test"` (5,794). Defaults to
            `"train"`.

    Returns:
        `Samples`: labels from 0 in the order of `classes.txt`, class names such as `"Black footed
        Albatross"`, the boxes of the birds, and as `parts` every part that was seen (`"beak"`,
        `"left eye"`, …), where the annotation gives a point: a box of one pixel around it.

    Raises:
        ValueError: If `split` is neither, or files contradict each other.
        FileNotFoundError: If a file or photograph is missing; it names them.

    Example:

    ```python
    train = cin_keras.data.cub_200_2011("data/CUB_200_2011", "train")
    ```
    """
    check_choice("split", split, ("train", "test"))
    root = find_folder(data_dir, "CUB-200-2011", "images.txt", ["CUB_200_2011", "nabirds"])
    files = {
        name: existing_file(root / f"{name}.txt")
        for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes")
    }
    paths, classes, in_train, boxes = lists = [read_list(file) for file in files.values()]
    for values, file in zip(lists, files.values()):
        check_same_images(paths, files["images"], values, file)
    class_names = read_list(existing_file(root / "classes.txt"))
    check_classes(classes, files["image_class_labels"], class_names, root / "classes.txt")
    for image, flag in in_train.items():
        if flag not in ("0", "1"):
            raise ValueError(
                f"{files['train_test_split']} must say 0 or 1 for image {image}. Received: {flag!r}"
            )
    check_photographs(root / "images", list(paths.values()), files["images"])
    chosen = [image for image in paths if in_train[image] == ("1" if split == "train" else "0")]
    if not chosen:
        raise ValueError(f"{files['train_test_split']} puts no image into {split!r}")
    names = _classes_with_images(class_names, classes)
    label_of = {number: label for label, number in enumerate(names)}
    boxes = read_boxes(files["bounding_boxes"], {image: boxes[image] for image in chosen})
    left, top, width, height = boxes.T
    return Samples(
        paths=[str(root / "images" / paths[image]) for image in chosen],
        labels=[label_of[classes[image]] for image in chosen],
        class_names=names.values(),
        boxes=np.stack([left, top, left + width, top + height], axis=1),
        parts=_read_parts(root / "parts", chosen) if (root / "parts").is_dir() else None,
    )


def _classes_with_images(class_names, classes):
    """The names of the classes that have an image, by their numbers, in the list's order.

    Args:
        class_names: Dict from the number (str) of a class to its name in the list.
        classes: Dict from an image to the number of its class.
    """
    seen = set(classes.values())
    names = {
        number: re.sub(r"^\d+\.", "", name).replace("_", " ")
        for number, name in class_names.items()
        if number in seen
    }
    times = collections.Counter(names.values())
    return {n: f"{name} ({n})" if times[name] > 1 else name for n, name in names.items()}


def _read_parts(folder, images):
    """The visible parts of each image, part name → a box of one pixel around the point."""
    names = read_list(existing_file(folder / "parts.txt"))
    path = existing_file(folder / "part_locs.txt")
    parts = {image: {} for image in images}
    for line in read_lines(path):
        words = line.split()
        try:
            image, part = words[:2]
            x, y, visible = (float(word) for word in words[2:])
            name = names[part]
        except (ValueError, KeyError):
            raise ValueError(
                f"{path} must hold lines of an image, a part of {folder / 'parts.txt'}, x, y and "
                f"whether it is visible. Received: {line!r}"
            ) from None
        if visible and image in parts:
            parts[image][name] = (x - 0.5, y - 0.5, x + 0.5, y + 0.5)
    return [parts[image] for image in images]
