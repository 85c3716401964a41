"""What the loaders of published data sets share: text files that list photographs, checked."""

import os
import pathlib

import numpy as np

from cin_keras.checks import check_path
from cin_keras.text import first_few


def read_list(path):
    """A text file of lines such as `17 some value`.

    Args:
        path: Path of the file.

    Returns:
        Dict from the first word of a line to the rest of it, both str, in the file's order.

    Raises:
        ValueError: If a line has one word only, a first word stands twice, or the file is no text;
            it names the file and line.
    """
    values = {}
    for number, line in enumerate(read_lines(path), start=1):
        key, _, value = line.partition(" ")
        if not value.strip():
            raise ValueError(f"Line {number} of {path} must hold two entries. Received: {line!r}")
        if key in values:
            raise ValueError(f"{path} lists {key} more than once, again in line {number}")
        values[key] = value.strip()
    return values


def read_boxes(path, values):
    """The values of `read_list` as float32 `(values, 4)`; ValueError names the file and line."""
    boxes = []
    for key, value in values.items():
        try:
            boxes.append([float(word) for word in value.split()])
        except ValueError:
            boxes.append([])
        if len(boxes[-1]) != 4:
            raise ValueError(f"{path} must give 4 numbers for {key}. Received: {value!r}")
    return np.array(boxes, "float32")


def read_lines(path):
    """The lines of a text file without the blank ones; an error in one sentence if it is none."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        text = pathlib.Path(path).read_text("utf-8-sig")  # editors put a mark in front of it
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error})") from None
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        raise ValueError(f"{path} is empty")
    return lines


def existing_file(*candidates):
    """The first path that is a file; FileNotFoundError naming them all if none is."""
    for path in map(pathlib.Path, candidates):
        if path.is_file():
            return path
    raise FileNotFoundError(f"Missing file: {' or '.join(map(str, candidates))}")


def check_same_images(images, images_file, others, file):
    """Raises ValueError unless two lists have the same images; it names one that is missing.

    Args:
        images: Dict or set of str.
        images_file: Path of the file that has them, for messages.
        others: Dict or set of str, the images of the other list.
        file: Path of the other file.
    """
    for left_out, where, beside in (
        ([image for image in images if image not in others], file, images_file),
        ([image for image in others if image not in images], images_file, file),
    ):
        if left_out:
            raise ValueError(
                f"{where} has no line for image {left_out[0]}, which {beside} has "
                f"({len(left_out)} such images)"
            )


def check_classes(classes, file, known, known_file, what="class"):
    """Raises ValueError, naming image and class, unless all classes are known ones.

    Args:
        classes: Dict from an image to its class, str.
        file: Path of the file that says so.
        known: Container of classes.
        known_file: Path of the file that lists them.
        what: Str, what a class is called. Defaults to `"class"`.
    """
    for image, name in classes.items():
        if name not in known:
            raise ValueError(
                f"{file} gives image {image} the {what} {name!r}, which is none of the "
                f"{len(known)} in {known_file}"
            )


def check_photographs(folder, names, annotation_file, all_listed=True):
    """Every annotation has its photograph, and every photograph one annotation.

    Args:
        folder: `pathlib.Path`.
        names: List of str, the photographs' paths in it, with `/`.
        annotation_file: Path of the file that lists them, for messages.
        all_listed: Bool, whether no others may be there. Defaults to `True`.

    Raises:
        FileNotFoundError: If the folder or photographs are missing; it names the first.
        ValueError: If a photograph is listed twice, or one is there that is not listed.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"Missing folder: {folder}")
    if len(set(names)) != len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{annotation_file} lists {twice} more than once")
    present = set()
    for parent, _, files in os.walk(folder):
        inside = pathlib.Path(parent).relative_to(folder).as_posix()
        present.update(file if inside == "." else f"{inside}/{file}" for file in files)
    absent = [name for name in names if name not in present]
    if absent:
        raise FileNotFoundError(
            f"{len(absent)} of the {len(names)} photographs that {annotation_file} lists are not "
            f"in {folder}: {first_few(absent)}"
        )
    if not all_listed:
        return
    stray = sorted(
        name
        for name in present - set(names)
        if name.lower().endswith((".jpg", ".jpeg")) and not os.path.basename(name).startswith(".")
    )
    if stray:
        raise ValueError(
            f"{len(stray)} photographs in {folder} are not listed in {annotation_file}: "
            f"{first_few(stray)}. Remove them, or get the annotations that belong to this folder."
        )


def find_folder(data_dir, name, marker, nested):
    """The folder that holds a data set: `data_dir`, or one of the folders `nested` in it.

    Args:
        data_dir: Path, as the user gave it.
        name: Str, of the data set, for messages.
        marker: Str, path of a file or folder that tells that it is there.
        nested: Sequence of str, folders in which archives put it.

    Returns:
        `pathlib.Path`; `data_dir` if the marker is nowhere.

    Raises:
        FileNotFoundError: If there is no folder `data_dir`.
    """
    root = check_path("data_dir", data_dir)
    if not root.is_dir():
        raise FileNotFoundError(
            f"No folder for {name}. Received: data_dir={str(data_dir)!r}. To get the data set: "
            "cin_keras.data.download"
        )
    for candidate in (root, *(root / folder for folder in nested)):
        if (candidate / marker).exists():
            return candidate
    return root
