"""The file of a gallery: arrays of NumPy alone, so that reading it runs nothing."""

import json
import os
import pathlib
import zipfile

import numpy as np

from cin_keras.checks import check_path
from cin_keras.files import seen_from, whole_file

KIND = "cin_keras gallery"
VERSION = 1


def write_gallery(path, embeddings, labels, class_names, paths, about):
    """Writes the file, whole.

    Args:
        path: Str or path that ends in `.npz`.
        embeddings: float32 `(images, width)`.
        labels: int32 `(images,)`.
        class_names: List of str.
        paths: List of str. Where they are relative ones of files, the file notes the folder in
            which they hold, as seen from itself.
        about: Dict of what JSON can hold; its `"folder"`, where it has one, is that in which the
            paths of before have held, as `read_gallery` returns it: paths below it are written
            relative to it.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        ValueError: If the name has another ending.
        OSError: If it cannot be written.
    """
    path = check_path("path", path)
    if path.suffix != ".npz":
        raise ValueError(f"The name of a gallery must end in '.npz'. Received: {str(path)!r}")
    folder, paths = _as_seen_from(about.get("folder"), paths)
    folder = folder and seen_from(os.path.dirname(os.path.realpath(path)), folder)
    about = {"kind": KIND, "version": VERSION, **about, "folder": folder}
    with whole_file(path) as partial:
        np.savez(
            partial,
            embeddings=embeddings,
            labels=labels,
            class_names=_as_bytes(class_names),
            paths=_as_bytes(paths),
            about=_as_bytes([json.dumps(about)]),
        )
    return path


def read_gallery(path):
    """Reads what `write_gallery` has written.

    Args:
        path: Str or path.

    Returns:
        `(embeddings, labels, class_names, paths, about)`. Relative paths of files that were meant
        from another folder than the current one are made absolute; `about["folder"]` is that
        folder, or `None`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or something else.
        MemoryError: If it does not fit.
    """
    name = str(check_path("path", path))
    if not pathlib.Path(path).exists():
        raise FileNotFoundError(f"There is no file {name!r}.")
    if not pathlib.Path(path).is_file() or not zipfile.is_zipfile(path):
        raise ValueError(
            f"{name!r} is no gallery, or cut off: give the '.npz' file that Gallery.save has "
            "written, or write it again."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            # It is written without compression: nothing unfolds.
            unfolded = sum(member.file_size for member in archive.infolist())
            if unfolded > pathlib.Path(path).stat().st_size:
                raise ValueError
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(_as_text(file["about"])[0])
            if not isinstance(about, dict) or about.get("kind") != KIND:
                raise ValueError
            is_readable = about.get("version") == VERSION
            if is_readable:  # another one may hold other arrays
                embeddings, labels = file["embeddings"], file["labels"]
                class_names, paths = (_as_text(file[key]) for key in ("class_names", "paths"))
                _check(embeddings, labels, class_names, paths)
    except MemoryError as error:
        raise MemoryError(
            f"There is not enough memory for the gallery {name!r}, which takes about as much as "
            f"its file: {pathlib.Path(path).stat().st_size:,} bytes."
        ) from error
    # NumPy raises many kinds for a damaged file.
    except Exception as error:
        raise ValueError(
            f"{name!r} is damaged, or no gallery: give the '.npz' file that Gallery.save has "
            "written, or write it again."
        ) from error
    if not is_readable:
        raise ValueError(
            f"{name!r} is a gallery in version {about.get('version')} of its form, and this cin_keras reads "
            f"{VERSION}: use the cin_keras that has written it, or make it again."
        )
    about["folder"], paths = _paths_from(about.get("folder"), path, paths)
    return embeddings, labels, class_names, paths, about


def _as_seen_from(folder, paths):
    """The folder in which relative paths hold, or `None` for mere names, and the paths in it."""
    here = os.path.realpath(".")
    if folder in (None, here):
        return here if _any_lies_in(".", paths) else None, paths
    seen, below = [], os.path.join(folder, "")
    for path in paths:
        if _any_lies_in(".", [path]):
            path = os.path.abspath(path)
        seen.append(path.removeprefix(below))
    return folder, seen


def _paths_from(folder, file, paths):
    """The noted folder, and paths that hold from the current one; as they are where it has none."""
    if not isinstance(folder, str):
        return None, paths
    there = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(file)), folder))
    if not _any_lies_in(there, paths):
        return None, paths
    if there == os.path.realpath("."):
        return there, paths
    return there, [os.path.join(there, path) for path in paths]


def _any_lies_in(folder, paths):
    """Whether one of the relative paths is there, seen from a folder: a photograph or a shard."""
    for path in paths:
        shard, end, _ = path.partition(".tfrecord/")
        if not os.path.isabs(path) and os.path.exists(os.path.join(folder, shard + end.rstrip("/"))):
            return True
    return False


def _check(embeddings, labels, class_names, paths):
    """ValueError unless the arrays fit together."""
    images = len(paths)
    fits = (
        embeddings.dtype == np.float32
        and embeddings.ndim == 2
        and len(embeddings) == images
        and labels.dtype == np.int32
        and labels.shape == (images,)
        and len(set(class_names)) == len(class_names)
        and np.isfinite(embeddings).all()
        and np.array_equal(np.unique(labels), np.arange(len(class_names)))
    )
    if not fits:
        raise ValueError


def _as_bytes(texts):
    """Texts as one array of bytes; as `np.str_` each would be as long as the longest."""
    text = "".join(f"{each}\0" for each in texts)
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), "uint8")


def _as_text(array):
    return array.tobytes().decode("utf-8", "surrogatepass").split("\0")[:-1]
