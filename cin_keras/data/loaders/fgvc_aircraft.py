"""FGVC-Aircraft: 10,000 photographs of 100 variants of aircraft, by family and manufacturer too.

Maji, Kannala, Rahtu, Blaschko, Vedaldi, "Fine-Grained Visual Classification of Aircraft",
arXiv 1306.5151, 2013.
"""

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

SPLITS = ("train", "val", "trainval", "test")
# Rows of pixels along the bottom of every photograph that name its owner.
CREDIT_STRIP = 20
_CLASSES = {"variant": "variants", "family": "families", "manufacturer": "manufacturers"}


def fgvc_aircraft(data_dir, split="train", level="variant"):
    """Lists FGVC-Aircraft in its official layout.

    ```
    data_dir/data/images/0034309.jpg …
    data_dir/data/variants.txt, families.txt, manufacturers.txt
    data_dir/data/images_variant_train.txt …    (a level and a split each)
    data_dir/data/images_box.txt                (optional)
    ```

    The strip of 20 pixels along the bottom of every photograph, which names its owner, is cut off
    whenever an image is read.

    Args:
        data_dir: Path of the folder that holds the above, of the one around it, which then has it
            as `fgvc-aircraft-2013b`, or of `data` itself. `cin_keras.data.download` can get it.
        split: `"train"` (3,334 photographs in the original), `"val"` (3,333), `"trainval"` (both,
            what published results are trained on) or `"test"` (3,333). Defaults to `"train"`.
        level: `"variant"` (such as `"737-700"`), `"family"` (`"Boeing 737"`) or
            `"manufacturer"` (`"Boeing"`). Defaults to `"variant"`.

    Returns:
        `Samples`: labels from 0 in the order of the list of classes, and, if there is
        `images_box.txt`, the boxes of the aircraft (the annotation's, which count from 1 and
        include the last pixel, turned into pixels from 0 with exclusive right and bottom). Of
        variants and families, the coarser levels are their `hierarchy`, if the lists of these are
        there.

    Raises:
        ValueError: If `split` or `level` is none of these, or files contradict each other.
        FileNotFoundError: If a file or photograph is missing; it names them.

    Example:

    ```python
    train = cin_keras.data.fgvc_aircraft("data/fgvc-aircraft-2013b", "trainval", "family")
    ```
    """
    check_choice("split", split, SPLITS)
    check_choice("level", level, _CLASSES)
    nested = ["data", "fgvc-aircraft-2013b/data"]
    root = find_folder(data_dir, "FGVC-Aircraft", f"{_CLASSES[level]}.txt", nested)
    classes_file = existing_file(root / f"{_CLASSES[level]}.txt")
    class_names = read_lines(classes_file)
    list_file = existing_file(root / f"images_{level}_{split}.txt")
    listed = read_list(list_file)
    label_of = {name: label for label, name in enumerate(class_names)}
    check_classes(listed, list_file, label_of, classes_file, level)
    names = [f"{image}.jpg" for image in listed]
    check_photographs(root / "images", names, list_file, all_listed=False)
    return Samples(
        paths=[str(root / "images" / name) for name in names],
        labels=[label_of[name] for name in listed.values()],
        class_names=class_names,
        boxes=_read_boxes(root / "images_box.txt", listed, list_file),
        bottom_strips=np.full(len(names), CREDIT_STRIP),
        hierarchy=_read_hierarchy(root, level, class_names),
    )


def _read_hierarchy(root, level, class_names):
    """The groups of the classes on the levels above, as far as the lists of photographs tell."""
    levels = ["manufacturer", "family", "variant"]
    hierarchy = {}
    for coarser in levels[: levels.index(level)]:
        group_of = {}
        for split in ("trainval", "train", "val", "test"):
            files = [root / f"images_{each}_{split}.txt" for each in (level, coarser)]
            if all(file.is_file() for file in files):
                classes, groups = map(read_list, files)
                group_of |= {classes[i]: groups[i] for i in classes.keys() & groups.keys()}
        if all(name in group_of for name in class_names):
            hierarchy[coarser] = [group_of[name] for name in class_names]
    return hierarchy


def _read_boxes(path, images, list_file):
    if not path.is_file():
        return None
    boxes = {image: box for image, box in read_list(path).items() if image in images}
    check_same_images(images, list_file, boxes, path)
    return read_boxes(path, {image: boxes[image] for image in images}) - (1, 1, 0, 0)
